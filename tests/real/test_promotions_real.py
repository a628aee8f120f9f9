"""Response to real promotions: a grocer's panel with displays and leaflets by store and week."""

import pytest

from geomarket.datasets import load_complete_journey, load_journey_promotions
from geomarket.promotions import fit_response, promotion_panel, response_holdout

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def history(data_home):
    return load_journey_promotions(load_complete_journey(data_home), min_weeks=50, min_stores=60)


@pytest.fixture(scope="module")
def panel(history):
    clusters = history.listings[["store_id"]].drop_duplicates().assign(store_cluster="all")
    return promotion_panel(history.sales, history.promotions, history.listings, clusters, history.products)


def test_odd_rows_are_counted(history):
    assert history.quality.set_index("check")["rows"]["repeated key"] > 0
    assert history.promotions["depth"].max() <= 0.7
    assert not history.promotions.duplicated(["store_id", "sku", "period"]).any()
    assert history.promotions["period"].dt.dayofweek.eq(0).all()
    local = history.promotions["store_id"].notna()
    assert (history.promotions.loc[local, "display"] | history.promotions.loc[local, "mailer"]).all()
    assert (history.promotions.loc[~local, "depth"] >= 0.03).all()


def test_displays_and_leaflets_sell_and_shoppers_stock_up(panel):
    """Published for grocers: elasticities of promotions about -1 to -3; all categories together, so little chance."""
    response = fit_response(panel)
    median = response.means.groupby("term")["estimate"].median()
    assert -3.0 < median["price"] < -0.8
    assert 0.05 < median["display"] < 0.6
    assert 0.05 < median["mailer"] < 0.6
    assert median["dip"] < 0.0
    assert any("every store at once" in caution for caution in response.cautions)
    holdout = response_holdout(panel, only=3).set_index(["category", "model"])["poisson_deviance"]["all"]
    assert holdout["response"] < 0.85 * holdout["no promotion"]
    assert holdout["response"] < 1.02 * holdout["pooled"]
