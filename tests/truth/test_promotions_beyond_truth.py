"""Response store by store, halo and cannibalisation, and the planner's further rules, against known worlds."""

from __future__ import annotations

import datetime as dt
import itertools

import numpy as np
import pandas as pd
import pytest

from geomarket.assortment import SolverOptions
from geomarket.assortment.worker import solve
from geomarket.engine import sales_by_period, store_sku_periods
from geomarket.errors import InfeasibleError, NotSupportedError, SettingsError
from geomarket.promotions import (
    Ban,
    Blackout,
    PromotionResponse,
    PromotionRules,
    Relationship,
    fit_relationship,
    fit_response,
    fit_store_response,
    plan_promotions,
    promotion_panel,
    response_by_type,
    response_holdout,
)
from geomarket.promotions.economics import offer_options
from geomarket.promotions.planner import _baseline, _options, _season_table, promotion_program
from geomarket.promotions.search import OfferSearch
from geomarket.simulate import simulate_market

PERIODS = pd.date_range("2025-01-06", periods=8, freq="7D")


def juice(
    seed: int, n_stores: int = 83, n_skus: int = 11, weeks: int = 121, zones: int = 4, cross: float = 0.0
) -> tuple:
    """Sales of stores in four clusters whose elasticities spread by 0.5 around their SKU's mean in the cluster."""
    rng = np.random.default_rng(seed)
    stores = np.array([f"{i:03d}" for i in range(n_stores)])
    skus = np.array([f"k{j:02d}" for j in range(n_skus)])
    dates = pd.date_range("2022-01-03", periods=weeks, freq="7D")
    shape = (n_stores, n_skus, weeks)
    on = rng.random((zones, n_skus, weeks)) < 0.18
    depth = np.where(on, rng.choice([0.1, 0.15, 0.2, 0.25, 0.3], on.shape), 0.0)
    zone = rng.integers(0, zones, n_stores)
    depth = depth[zone] * ((rng.random(shape) < 0.95) if zones > 1 else 1)
    display = (depth > 0) & (rng.random(shape) < 0.4)
    mailer = (depth > 0) & (rng.random((zones, n_skus, weeks)) < 0.5)[zone]
    after = np.zeros(shape, dtype=bool)
    after[..., 1:] = (depth[..., :-1] > 0) & (depth[..., 1:] == 0)
    cluster = np.arange(n_stores) % 4
    mean = np.array([-2.2, -2.6, -3.0, -2.4])[cluster][:, None] + rng.normal(0, 0.3, n_skus)[None, :]
    truth = mean + rng.normal(0, 0.5, (n_stores, n_skus))
    level = np.log(60 * rng.gamma(4, 0.25, (n_stores, 1, 1)) * rng.gamma(4, 0.25, (1, n_skus, 1)))
    season = 0.3 * np.sin(2 * np.pi * np.arange(weeks) / 52) + rng.normal(0, 0.1, weeks)
    price = np.log1p(-depth)
    rivals = (price.sum(axis=1, keepdims=True) - price) / (n_skus - 1)
    log_mean = level + season + truth[:, :, None] * price + 0.35 * display + 0.6 * mailer - 0.15 * after
    units = rng.poisson(np.exp(log_mean + cross * rivals + rng.normal(0, 0.45, shape)))

    def long(where: np.ndarray, **values: np.ndarray) -> pd.DataFrame:
        s, k, t = np.nonzero(where)
        frame = pd.DataFrame({"store_id": stores[s], "sku": skus[k], "period": dates[t]})
        return frame.assign(**{name: array[where] for name, array in values.items()})

    sales = long(units > 0, units=units.astype(float))
    offers = long(depth > 0, depth=depth, display=display, mailer=mailer)
    listings = pd.DataFrame(list(itertools.product(stores, skus)), columns=["store_id", "sku"])
    clusters = pd.DataFrame({"store_id": stores, "store_cluster": [f"C{c + 1}" for c in cluster]})
    products = pd.DataFrame({"sku": skus, "category": "juice"})
    return (sales, offers, listings, clusters, products), pd.DataFrame(truth, index=stores, columns=skus)


def test_stores_estimates_are_shrunk_to_their_cluster() -> None:
    """T8.1, T8.2 and T8.7 at full size: 83 stores, 11 brands, 121 weeks; two worlds.

    Seen over 12 worlds: error 0.62 times the stores' own, coverage 0.84 to 0.91.
    """
    covered = []
    for seed in (0, 2):
        tables, truth = juice(seed)
        response = fit_store_response(*tables)
        price = response.table[response.table["term"] == "price"]
        real = np.array([truth.loc[store, sku] for store, sku in zip(price["store_id"], price["sku"])])
        common = response.means[response.means["term"] == "price"].set_index("store_cluster")["estimate"]

        def error(values: pd.Series, real: np.ndarray = real) -> float:
            return float(np.sqrt(np.mean((values - real) ** 2)))

        assert error(price["estimate"]) <= 0.8 * error(price["raw"])
        assert error(price["estimate"]) < 0.9 * error(price["store_cluster"].map(common))
        assert (price["estimate"] > 0).sum() == 0
        covered.append(((price["low"] <= real) & (real <= price["high"])).mean())
        means = response.means.groupby("term")["estimate"].mean()
        for term, value in (("display", 0.35), ("mailer", 0.6), ("dip", -0.15)):
            assert means[term] == pytest.approx(value, abs=0.05)
    assert 0.80 <= np.mean(covered) <= 0.95


def test_cross_price_is_refused_where_all_stores_promote_alike_and_found_where_not() -> None:
    """Standard error of the planted 0.8 about 0.1."""
    tables, _ = juice(5, n_stores=24, weeks=52, zones=1)
    refused = fit_store_response(*tables)
    assert "cross" not in set(refused.means["term"])
    assert refused.refusals["reason"].str.startswith("cross-price").any()
    assert (refused.means["term"] == "price").sum() == 4
    tables, _ = juice(5, n_stores=40, weeks=104, cross=0.8)
    found = fit_store_response(*tables)
    cross = found.means[found.means["term"] == "cross"]
    assert cross["estimate"].mean() == pytest.approx(0.8, abs=0.35)


@pytest.fixture(scope="module")
def city() -> tuple:
    market = simulate_market(n_customers=600, n_stores=40, n_skus=160, weeks=104, seed=3)
    sales = sales_by_period(market.sales, ("store_id", "sku"))
    clusters = market.stores[["store_id"]].assign(store_cluster="C1")
    history = (sales, market.promotions, store_sku_periods(market.sales), clusters, market.products)
    panel = promotion_panel(*history)
    return market, history, panel, fit_response(panel)


def test_halo_and_cannibalisation_are_recovered(city: tuple) -> None:
    """The four planted halos are found among 112 candidates, and the share lost within the category is the true one."""
    market, history, _, response = city
    found = fit_relationship(response, *history)
    mailer = found.table[found.table["kind"] == "mailer"].set_index(["category", "gains"])
    planted = market.truth.halo
    for row in planted.itertuples():
        line = mailer.loc[(row.category, row.gains)]
        assert abs(line["raw"] - row.strength) < 3 * line["raw_se"]
        assert 0 < line["estimate"] < line["raw"] + 1e-9
    at = pd.MultiIndex.from_frame(planted[["category", "gains"]])
    assert mailer.loc[at, "known"].sum() >= 3
    others = found.table.drop(
        index=found.table.index[(found.table["kind"] == "mailer") & found.table["known"]]
    )
    assert others["known"].mean() < 0.05
    # The truth: of a quarter, what goes to substitutes that the same store lists.
    listed = history[2].groupby("sku")["store_id"].nunique() / market.stores["store_id"].nunique()
    category = market.products.set_index("sku")["category"]
    shares = market.truth.substitution
    inside = shares[shares["sku"].map(category) == shares["substitute"].map(category)]
    reach = (inside["share"] * inside["substitute"].map(listed).fillna(0)).groupby(inside["sku"]).sum()
    real = market.truth.cannibalisation * float(reach.mean())
    assert found.cannibalisation["share"].mean() == pytest.approx(real, abs=0.05)


def test_response_by_neighbourhood_type_is_recovered(city: tuple) -> None:
    """From how stores' response goes along with their mix; a type's standard error is about 0.1 for the price."""
    market, history, _, _ = city
    mix = market.truth.catchment_mix.rename_axis("store_id").reset_index()
    profile = mix.melt("store_id", var_name="neighbourhood", value_name="share")
    types = response_by_type(fit_store_response(*history), profile).set_index(["term", "neighbourhood"])
    for term in ("price", "mailer"):
        mine = types.loc[term]
        real = market.truth.response[term].reindex(mine.index)
        # Trade that offers take from other SKUs makes a price cut's effect look a tenth larger than it is.
        away = (mine["estimate"] - real * (1.06 if term == "price" else 1.0)) / mine["se"]
        assert away.abs().max() < 4
    prices = types.loc["price", "estimate"]
    assert np.corrcoef(prices, market.truth.response["price"].reindex(prices.index))[0, 1] > 0.9
    with pytest.raises(NotSupportedError, match="twice as many stores as types"):
        few = profile.assign(neighbourhood=profile["store_id"] + profile["neighbourhood"])
        response_by_type(fit_store_response(*history), few)


def test_offers_held_out_are_forecast_better_than_without_a_response(city: tuple) -> None:
    holdout = response_holdout(city[2], only=3).set_index(["category", "model"])["poisson_deviance"]["all"]
    assert holdout["response"] < 0.5 * holdout["no promotion"]
    assert holdout["response"] < holdout["pooled"]


def test_halo_is_refused_where_every_store_offers_the_same() -> None:
    tables, _ = juice(1, n_stores=12, weeks=52, zones=1)
    sales, offers, listings, clusters, products = tables
    products = products.assign(category=np.where(products["sku"] < "k05", "juice", "water"))
    response = fit_response(promotion_panel(sales, offers, listings, clusters, products), min_offers=5)
    with pytest.raises(NotSupportedError, match="can't be told from the season"):
        fit_relationship(response, sales, offers, listings, clusters, products)


def random_offers(seed: int) -> pd.DataFrame:
    """12 options of two vendors, some at a loss."""
    rng = np.random.default_rng(seed)
    every = list(itertools.product(["C1", "C2"], ["a", "b", "c"], range(4), [0.1, 0.2], ["shelf", "mailer"]))
    picked = [every[i] for i in rng.choice(len(every), 12, replace=False)]
    offers = pd.DataFrame(picked, columns=["store_cluster", "sku", "t", "depth", "channel"])
    return offers.assign(
        category=np.where(offers["sku"] == "c", "soup", "tea"),
        vendor=np.where(offers["sku"] == "a", "Acme", "Bolt"),
        net=rng.normal(8.0, 10.0, 12),
        cost=rng.gamma(2.0, 10.0, 12),
    )


def allowed(offers: pd.DataFrame, rules: PromotionRules, plans: np.ndarray) -> np.ndarray:
    """Which plans keep the rules, written out a second time."""
    rows, cost = list(offers.itertuples()), offers["cost"].to_numpy()
    fine = plans @ cost <= rules.budget
    for i, j in itertools.combinations(range(len(rows)), 2):
        same = (rows[i].store_cluster, rows[i].sku) == (rows[j].store_cluster, rows[j].sku)
        if same and abs(rows[i].t - rows[j].t) < rules.spacing:
            fine &= ~(plans[:, i] & plans[:, j])
    for name, most in rules.channel_budgets.items():
        fine &= plans @ (cost * offers["channel"].eq(name).to_numpy()) <= most
    for vendor, least in rules.vendor_minimums.items():
        fine &= plans @ offers["vendor"].eq(vendor).to_numpy(dtype=int) >= least
    return fine


@pytest.mark.parametrize("seed", range(20))
def test_plan_with_channel_budgets_and_promises_equals_enumeration(seed: int) -> None:
    """T8.4 with the further rules: 4,096 plans tried; infeasible where none of them keeps the rules."""
    offers = random_offers(seed)
    rules = PromotionRules(
        budget=[90.0, 150.0, np.inf][seed % 3],
        channel_budgets={"mailer": [20.0, 60.0][seed % 2], "shelf": 80.0},
        vendor_minimums={"Acme": seed % 4, "Bolt": (seed // 4) % 3},
        spacing=1 + seed % 2,
        max_per_sku=12,
        max_per_category_period=12,
        channel_slots={},
    )
    program, columns = promotion_program(offers, rules, 4)
    result = solve(program, SolverOptions(gap=0.0), OfferSearch.of(offers, rules))
    plans = np.array(list(itertools.product([False, True], repeat=12)))
    fine = allowed(offers, rules, plans)
    if not fine.any():
        assert result.status == "infeasible"
        return
    worth = plans @ offers["net"].to_numpy()
    assert result.objective == pytest.approx(worth[fine].max(), abs=1e-6)
    assert allowed(offers, rules, result.x[columns][None, :] > 0.5).all()


def known_response(relationship: Relationship | None = None) -> PromotionResponse:
    effects = {"price": -3.0, "display": 0.3, "mailer": 0.4, "dip": -0.1, "mechanic: 3 for 2": 0.2}
    lines = [
        {"store_cluster": cluster, "category": category, "term": term, "estimate": value * scale, "se": 0.1}
        for cluster, scale in (("C1", 1.0), ("C2", 1.2))
        for category in ("tea", "soup")
        for term, value in effects.items()
    ]
    table = pd.DataFrame(lines).assign(
        low=np.nan, high=np.nan, n=50, raw=np.nan, raw_se=np.nan, shrunk_from="own"
    )
    depths = pd.DataFrame({"category": ["tea", "soup"], "shallowest": 0.1, "deepest": 0.4})
    mechanics = pd.concat([depths.assign(mechanic="price cut"), depths.assign(mechanic="3 for 2")])
    return PromotionResponse(
        table, pd.DataFrame(), pd.DataFrame(), (), depths, mechanics=mechanics, relationship=relationship
    )


def small_market() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(4)
    stores, skus = [f"{i}" for i in range(6)], [f"{c}{i}" for c in ("tea", "soup") for i in range(6)]
    demand = pd.DataFrame(list(itertools.product(stores, skus)), columns=["store_id", "sku"])
    price, share = np.round(rng.uniform(2, 9, 12), 2), rng.uniform(0.4, 0.6, 12)
    products = pd.DataFrame(
        {
            "sku": skus,
            "name": skus,
            "price": price,
            "category": [s.rstrip("0123456789") for s in skus],
            "vendor": ["Acme", "Bolt"] * 6,
            "sugary": [i % 3 == 0 for i in range(12)],
        }
    )
    demand = demand.merge(products[["sku", "category"]]).assign(
        units=rng.gamma(2, 10, len(demand)), listed=True
    )
    demand["margin"] = demand["units"] * demand["sku"].map(dict(zip(skus, price * share)))
    return demand, products, pd.DataFrame({"store_id": stores, "store_cluster": ["C1", "C2"] * 3})


def test_every_further_rule_is_kept() -> None:
    demand, products, clusters = small_market()
    rules = PromotionRules(
        depths=(0.1, 0.2, 0.3),
        spacing=2,
        max_depth=0.35,
        max_depth_by={"soup": 0.15},
        price_endings=(0.99, 0.49),
        blackouts=(
            Blackout(dt.date(2025, 1, 15), dt.date(2025, 1, 16)),
            Blackout(dt.date(2025, 2, 3), dt.date(2025, 2, 3), ("tea",)),
        ),
        bans=(
            Ban("no multibuys on sugar", attribute="sugary", mechanics=("3 for 2",)),
            Ban("no leaflets for tea0", skus=("tea1",), channels=("mailer",)),
        ),
        channel_budgets={"mailer": 60.0},
    )
    plan = plan_promotions(known_response(), demand, products, clusters, rules, periods=PERIODS)
    table = plan.table
    assert len(table) > 20
    assert set(table["mechanic"]) == {"price cut", "3 for 2"}
    assert (table.loc[table["category"] == "soup", "depth"] <= 0.15 + 1e-9).all()
    assert table["depth"].max() <= 0.35
    priced = table[table["mechanic"] == "price cut"]
    cents = np.round(priced["offer_price"] % 1, 6)
    assert cents.isin([0.99, 0.49]).all()
    regular = priced["sku"].map(products.set_index("sku")["price"])
    assert (regular * (1 - priced["depth"])).to_numpy() == pytest.approx(priced["offer_price"].to_numpy())
    assert PERIODS[1] not in set(table["period"])
    assert PERIODS[4] not in set(table.loc[table["category"] == "tea", "period"])
    assert PERIODS[4] in set(table.loc[table["category"] == "soup", "period"])
    sugary = products.loc[products["sugary"], "sku"]
    assert "3 for 2" not in set(table.loc[table["sku"].isin(sugary), "mechanic"])
    assert "3 for 2" in set(table["mechanic"])
    assert "mailer" not in set(table.loc[table["sku"] == "tea1", "channel"])
    assert table.loc[table["channel"] == "mailer", "cost"].sum() <= 60.0
    assert (plan.checks["worst_violation"] <= 1e-9).all()
    assert {"price_endings", "ban: no multibuys on sugar", "max_depth"} <= set(plan.checks["rule"])
    steps = plan.waterfall()
    assert steps["amount"].iloc[:-1].sum() == pytest.approx(table["net"].sum(), rel=1e-9)
    assert plan.calendar()["offers"].sum() == len(table)


def test_promises_are_kept_at_a_loss_and_clashes_are_named() -> None:
    demand, products, clusters = small_market()
    dear = demand.assign(margin=0.05 * demand["margin"])
    rules = PromotionRules(vendor_minimums={"Acme": 3}, confidence=0.5)
    plan = plan_promotions(known_response(), dear, products, clusters, rules, periods=PERIODS)
    assert len(plan.table) == 3
    assert plan.table["promised"].all()
    assert (plan.table["net"] < 0).all()
    assert "only because their vendor was promised them" in " ".join(plan.summary())
    all_year = Blackout(dt.date(2025, 1, 1), dt.date(2025, 12, 31))
    with pytest.raises(InfeasibleError, match=r"Acme was promised 3 offers, but only 0 .* blackouts \("):
        broke = PromotionRules(vendor_minimums={"Acme": 3}, blackouts=(all_year,))
        plan_promotions(known_response(), dear, products, clusters, broke, periods=PERIODS)
    with pytest.raises(InfeasibleError, match="promise to vendor Acme"):
        broke = PromotionRules(vendor_minimums={"Acme": 3}, budget=0.5)
        plan_promotions(known_response(), dear, products, clusters, broke, periods=PERIODS)
    for given, words in [
        (
            {"bans": (Ban("x", categories=("coffee",)),)},
            "category 'coffee' is not known. There are soup, tea",
        ),
        ({"mechanics": ("bundle",)}, "mechanic 'bundle' is not known"),
        ({"vendor_minimums": {"Cork": 1}}, "vendor 'Cork' is not known. There are Acme, Bolt"),
        ({"max_depth_by": {"coffee": 0.1}}, "category 'coffee'"),
    ]:
        with pytest.raises(SettingsError, match=words):
            plan_promotions(
                known_response(), demand, products, clusters, PromotionRules(**given), periods=PERIODS
            )


def test_only_offers_that_pay_with_the_certainty_asked_for() -> None:
    """The chance of a line is the share of draws of its response in which it pays, to 0.03 (4 standard errors)."""
    demand, products, clusters = small_market()
    uncertain = known_response()
    uncertain.table["se"] = 0.6
    plans = {
        sure: plan_promotions(
            uncertain, demand, products, clusters, PromotionRules(confidence=sure, spacing=1), periods=PERIODS
        )
        for sure in (0.5, 0.8, 0.95)
    }
    sizes = [len(plan.table) for plan in plans.values()]
    assert sizes[0] > sizes[1] > sizes[2]
    for sure, plan in plans.items():
        assert (plan.table["chance"] >= sure).all()
    line = plans[0.5].table.sort_values("chance").iloc[0]
    own = demand[(demand["sku"] == line["sku"])].merge(clusters)
    own = own[own["store_cluster"] == line["store_cluster"]]
    others = demand[(demand["category"] == line["category"]) & (demand["sku"] != line["sku"])].merge(clusters)
    others = others[others["store_cluster"] == line["store_cluster"]]
    effect = uncertain.coefficients().loc[(line["store_cluster"], line["category"])]
    extra = effect.get(f"mechanic: {line['mechanic']}", 0.0)
    shown = 0.0 if line["channel"] == "shelf" else effect[line["channel"]]
    cut = np.log1p(-line["depth"])
    n_terms = (line["channel"] != "shelf") + (line["mechanic"] != "price cut")
    error = 0.6 * np.sqrt(cut**2 + n_terms)
    draws = np.random.default_rng(0).normal(effect["price"] * cut + shown + extra, error, 20_000)
    price = products.set_index("sku").loc[line["sku"], "price"]
    unit, base = own["margin"].sum() / own["units"].sum(), own["units"].sum()
    uplift = base * np.expm1(draws)
    net = uplift * (unit - line["depth"] * price) - base * line["depth"] * price
    net -= 0.25 * uplift * others["margin"].sum() / others["units"].sum()
    net -= base * -np.expm1(effect["dip"]) * unit
    assert (net > 0).mean() == pytest.approx(line["chance"], abs=0.03)
    risk = plans[0.5].risk
    assert risk["low"] < risk["median"] < risk["high"]
    assert 0 <= risk["chance"] <= 1


def test_halo_and_estimated_cannibalisation_enter_the_waterfall_exactly() -> None:
    """T8.6 with a relationship: each line's halo and loss worked out by hand from the effects."""
    demand, products, clusters = small_market()
    table = pd.DataFrame(
        {
            "category": ["tea", "tea"],
            "gains": ["soup", "soup"],
            "kind": ["mailer", "units"],
            "estimate": [0.2, 0.1],
            "known": [True, True],
        }
    )
    share = pd.DataFrame({"category": ["tea"], "share": [0.4]})
    response = known_response(Relationship(table, share, pd.DataFrame()))
    plan = plan_promotions(response, demand, products, clusters, PromotionRules(), periods=PERIODS)
    assert set(plan.table["category"]) == {"tea", "soup"}
    both = demand.merge(clusters)
    for line in plan.table.itertuples():
        mine = both[both["store_cluster"] == line.store_cluster]
        tea, soup = mine[mine["category"] == "tea"], mine[mine["category"] == "soup"]
        if line.category == "soup":
            assert line.halo == 0.0
            continue
        usual = tea["units"].sum()
        own = tea.loc[tea["sku"] == line.sku, "units"].sum()
        log_change = 0.1 * np.log1p(line.uplift_units / usual) + (
            0.2 * own / usual if line.channel == "mailer" else 0
        )
        assert line.halo == pytest.approx(soup["margin"].sum() * np.expm1(log_change), rel=1e-9)
        others = tea[tea["sku"] != line.sku]
        unit = others["margin"].sum() / others["units"].sum()
        assert line.cannibalised == pytest.approx(0.4 * line.uplift_units * unit, rel=1e-9)
    off = plan_promotions(response, demand, products, clusters, PromotionRules(halo=False), periods=PERIODS)
    assert (off.table["halo"] == 0).all()
    assert plan.table["net"].sum() > off.table["net"].sum()


def test_options_are_those_of_their_own_rows_whatever_these_are_called() -> None:
    demand, products, clusters = small_market()
    response, rules = known_response(), PromotionRules()
    base, earned, _ = _baseline(response, demand, products, clusters, None, rules)
    calendar = [pd.Timestamp(period) for period in PERIODS]
    season = _season_table(None, earned["category"], calendar)
    one = offer_options(base, response, rules, calendar, season)
    other = offer_options(base.set_index(np.arange(len(base)) + 7), response, rules, calendar, season)
    assert one["net"].notna().all() and one["category"].nunique() == 2
    pd.testing.assert_frame_equal(one, other)
    offers = _options(base, response, rules, calendar, season, None, products, [])
    kept = one.merge(
        offers, on=["store_cluster", "sku", "t", "channel", "depth", "mechanic"], suffixes=("", "_kept")
    )
    assert len(kept) == len(offers) > 10 and offers["category"].nunique() == 2
    assert kept["net"].to_numpy() == pytest.approx(kept["net_kept"].to_numpy())
