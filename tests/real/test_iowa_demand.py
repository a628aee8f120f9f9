"""Demand on Iowa's real trade: fitted on 2020, judged on the 16,055 pairs that Hy-Vee first ordered in 2021."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from geomarket import engine
from geomarket.datasets import load_iowa
from geomarket.demand import (
    LowRank,
    fit_biproportional,
    fit_demand,
    holdout_metrics,
    learn_discount,
    make_pairs,
)

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def years(data_home):
    market = load_iowa(data_home)
    windows = {
        "2020": (None, "2021-01-01"),
        "early": (None, "2020-07-01"),
        "late": ("2020-07-01", "2021-01-01"),
        "2021": ("2021-01-01", None),
    }
    # A year is a year, whenever in it a listing began: no correction for part-year listing.
    length = {"2020": 1.0, "early": 0.5, "late": 0.5, "2021": 1.0}
    frames = {
        name: engine.store_sku_periods(market.sales, window).assign(exposure=length[name])
        for name, window in windows.items()
    }
    return market, frames


@pytest.fixture(scope="module")
def new_pairs(years):
    _, frames = years
    before, after = frames["2020"], frames["2021"]
    listing = before.groupby("sku")["store_id"].nunique()
    seen = pd.MultiIndex.from_frame(before[["store_id", "sku"]])
    new = after[~pd.MultiIndex.from_frame(after[["store_id", "sku"]]).isin(seen)]
    return new[new["store_id"].isin(before["store_id"]) & (new["sku"].map(listing) >= 3) & (new["units"] > 0)]


def judged(rate, new):
    figures = holdout_metrics(pd.factorize(new["sku"])[0], new["units"].to_numpy(), np.ones(len(new)), rate)
    return {**figures, "spearman": float(spearmanr(rate, new["units"])[0])}


def fitted(years, name):
    market, frames = years
    family = LowRank(rank=8, ridge=25.0)
    return fit_demand(
        frames[name],
        market.stores,
        market.products,
        None,
        1,
        families=[family],
        tune=False,
        blend=False,
        holdout_share=0,
    )


def forecast(demand, new):
    units = demand.table.set_index(["store_id", "sku"])["units"]
    return units.reindex(pd.MultiIndex.from_frame(new[["store_id", "sku"]])).to_numpy()


def test_size_times_rate_runs_as_high_on_new_pairs_as_others_have_found(years, new_pairs):
    market, frames = years
    assert len(new_pairs) == 16_055
    pairs = make_pairs(frames["2020"], market.stores, market.products, 1)
    size, rate = fit_biproportional(pairs.store, pairs.sku, pairs.units, pairs.exposure, *pairs.shape)
    surface = size[:, None] * rate
    place = (pairs.stores.get_indexer(new_pairs["store_id"]), pairs.skus.get_indexer(new_pairs["sku"]))
    plain = judged(surface[place], new_pairs)
    assert plain["bias"] == pytest.approx(0.52, abs=0.01)
    assert plain["wmape"] == pytest.approx(1.20, abs=0.01)
    assert plain["spearman"] == pytest.approx(0.49, abs=0.01)
    after = judged(surface[place] / (1 + plain["bias"]), new_pairs)
    assert after["wmape"] == pytest.approx(0.92, abs=0.01)


def test_low_rank_after_a_discount_learnt_within_2020_beats_the_figures_to_beat(years, new_pairs):
    _, frames = years
    discount = learn_discount(fitted(years, "early"), frames["late"], 1)
    demand = fitted(years, "2020")
    plain = forecast(demand, new_pairs)
    breadth = demand.table.groupby("sku")["listed"].mean()
    factor, _ = discount.factors(
        plain[None, :],
        demand.table.drop_duplicates("sku").set_index("sku")["category"].reindex(new_pairs["sku"]).tolist(),
        new_pairs["sku"].map(breadth).to_numpy(),
    )
    figures, learnt = judged(plain, new_pairs), judged(plain * factor[0], new_pairs)
    hindsight = judged(plain / (1 + figures["bias"]), new_pairs)
    assert hindsight["wmape"] < 0.88
    assert learnt["wmape"] < 0.84 and abs(learnt["bias"]) < 0.15
    assert learnt["poisson_deviance"] < figures["poisson_deviance"]
    assert figures["spearman"] > 0.53 and figures["spearman_within_sku"] > 0.29
