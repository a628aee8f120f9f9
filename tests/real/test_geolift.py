"""The published walk-through of Meta's GeoLift: our synthetic control finds what it reports."""

import pandas as pd
import pytest

from geomarket.experiments import synthetic_control
from geomarket.experiments.panel import build_panel
from geomarket.experiments.synthetic import conformal_p

pytestmark = pytest.mark.real

PUBLISHED = {"lift": 0.054, "att": 155.556, "incremental": 4_667, "p": 0.01, "scaled_l2": 0.1636}
MARKETS = ["chicago", "portland"]


@pytest.fixture(scope="module")
def sales(data_home):
    panel = pd.read_csv(f"{data_home}/geolift/test_data.csv")
    return panel.rename(columns={"location": "market", "date": "period", "Y": "sales"})


@pytest.fixture(scope="module")
def found(sales):
    days = pd.to_datetime(sales["period"]).drop_duplicates().sort_values()
    return synthetic_control(sales, MARKETS, days.iloc[-15], unit="market", value="sales", most_placebos=703)


def test_lift_and_money_are_the_published_ones(found):
    assert found.lift == pytest.approx(PUBLISHED["lift"], abs=0.005)
    assert found.effect == pytest.approx(PUBLISHED["att"], abs=0.01)
    assert found.incremental == pytest.approx(PUBLISHED["incremental"], abs=1)


def test_fit_before_the_test_is_the_published_one(found):
    assert found.fit == pytest.approx(PUBLISHED["scaled_l2"], abs=1e-4)


def test_p_of_shuffled_days_is_the_published_one(sales):
    panel = build_panel(sales, "market", "sales")
    order = [*MARKETS, *[name for name in panel.units if name not in MARKETS]]
    values = panel.take(pd.Index(order)).values
    p = conformal_p(values, 2, 90, shuffles=4_000)
    assert p == pytest.approx(PUBLISHED["p"], abs=0.01)
    # days of a market are not independent: shifts around the calendar keep that, and are less sure
    assert conformal_p(values, 2, 90) > p


def test_pairs_of_untouched_markets_differ_as_much_by_chance(found):
    assert len(found.placebo) == 38 * 37 // 2
    assert found.p > 0.1
    assert found.low < 0 < found.high
