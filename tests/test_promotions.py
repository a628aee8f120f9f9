"""The promotion rooms as the planning room uses them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.promotions import PromotionRules, fit_response, plan_promotions, promotion_panel

WEEKS = pd.date_range("2024-01-01", periods=40, freq="7D")


def tables() -> dict[str, pd.DataFrame]:
    """Two stores, one SKU, three weeks, small enough to check by hand."""
    return {
        "sales": pd.DataFrame(
            {
                "store_id": ["1", "1", "2", "2", "3"],
                "sku": "a",
                "period": WEEKS[[0, 1, 0, 2, 0]],
                "units": [10.0, 30.0, 4.0, 6.0, 99.0],
            }
        ),
        "promotions": pd.DataFrame(
            {
                "store_id": ["1", "1"],
                "sku": "a",
                "period": WEEKS[[1, 1]],
                "depth": [0.1, 0.2],
                "display": [True, False],
                "mailer": [False, False],
            }
        ),
        "listings": pd.DataFrame({"store_id": ["1", "2"], "sku": "a"}),
        "clusters": pd.DataFrame({"store_id": ["1", "2", "3"], "store_cluster": "C1"}),
        "products": pd.DataFrame({"sku": ["a"], "category": ["tea"]}),
    }


def test_stores_with_and_without_the_offer_are_kept_apart() -> None:
    panel = promotion_panel(**tables())
    assert panel["units"].tolist() == [4.0, 10.0, 0.0, 30.0, 6.0, 0.0]
    assert panel["stores"].tolist() == [1, 1, 1, 1, 1, 1]
    assert panel["depth"].tolist() == [0.0, 0.0, 0.0, 0.2, 0.0, 0.0]
    assert panel["display"].tolist() == [False, False, False, True, False, False]
    assert panel["lag_depth"].tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 0.2]
    assert panel["lead"].tolist() == [False, True, False, False, False, False]
    assert panel["zeros"].tolist() == [0, 0, 1, 0, 0, 1]
    assert panel["mechanic"].eq("price cut").all()
    assert panel["period"].tolist() == WEEKS[[0, 0, 1, 1, 2, 2]].tolist()
    # Plain rates: store 1 sold 10 in 1 plain week, store 2 sold 10 in 3; the cluster 20 in 4, one week's weight on it.
    assert panel["exposure"].iloc[3] == pytest.approx((10 + 5) / 2)
    assert panel["exposure"].iloc[2] == pytest.approx((10 + 5) / 4)


def test_the_deepest_offer_gives_the_mechanic() -> None:
    """Of two offers for a SKU the deeper's mechanic counts, whichever comes first and whoever runs it."""
    given = tables()
    offers = given["promotions"].assign(mechanic=["price cut", "multibuy"])
    everywhere = offers.head(1).assign(store_id=np.nan, depth=0.3, mechanic="half price")
    for order in (1, -1):
        panel = promotion_panel(**{**given, "promotions": offers.iloc[::order]})
        assert panel.loc[panel["depth"] > 0, "mechanic"].tolist() == ["multibuy"]
        both = pd.concat([offers, everywhere]).iloc[::order]
        panel = promotion_panel(**{**given, "promotions": both})
        assert set(panel.loc[panel["depth"] > 0, "mechanic"]) == {"half price"}


def test_an_offer_without_a_store_runs_everywhere() -> None:
    given = tables()
    given["promotions"] = given["promotions"].head(1).assign(store_id=np.nan)
    panel = promotion_panel(**given)
    assert (panel["period"] == WEEKS[1]).sum() == 1
    on = panel[panel["depth"] > 0].iloc[0]
    assert (on["stores"], on["units"], on["depth"]) == (2, 30.0, 0.1)


def test_listing_dates_bound_the_panel() -> None:
    given = tables()
    given["listings"] = given["listings"].assign(first_period=WEEKS[[0, 1]], last_period=WEEKS[[1, 2]])
    panel = promotion_panel(**given)
    assert panel.groupby("period")["stores"].sum().tolist() == [1, 2, 1]


def test_the_panel_does_not_depend_on_row_order_nor_change_its_input() -> None:
    given = tables()
    before = {name: frame.copy(deep=True) for name, frame in given.items()}
    panel = promotion_panel(**given)
    turned = promotion_panel(**{name: frame.iloc[::-1] for name, frame in given.items()})
    pd.testing.assert_frame_equal(panel, turned)
    for name, frame in given.items():
        pd.testing.assert_frame_equal(frame, before[name])


def flat_panel(depth: np.ndarray, seed: int = 0, elasticity: float = -2.0, **columns: object) -> pd.DataFrame:
    """One cluster, ``depth`` of shape (n_skus, n_weeks), 60 units in a plain week."""
    rng = np.random.default_rng(seed)
    sku, week = (a.ravel() for a in np.indices(depth.shape))
    lag = np.zeros_like(depth)
    lag[:, 1:] = depth[:, :-1]
    frame = pd.DataFrame(
        {
            "store_cluster": "C1",
            "category": "tea",
            "sku": np.char.mod("k%02d", sku),
            "period": WEEKS[week],
            "exposure": 60.0,
            "stores": 4,
            "depth": depth.ravel(),
            "display": False,
            "mailer": False,
            "lag_depth": lag.ravel(),
            "units": rng.poisson(60 * (1 - depth.ravel()) ** elasticity).astype(float),
        }
    )
    return frame.assign(**columns)


def staggered(seed: int = 0, share: float = 0.15) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random((12, 40)) < share, rng.choice([0.1, 0.2, 0.3], (12, 40)), 0.0)


def test_a_response_is_reported_with_its_evidence() -> None:
    response = fit_response(flat_panel(staggered()))
    price = response.means.set_index("term").loc["price"]
    assert price["estimate"] == pytest.approx(-2.0, abs=4 * price["se"])
    assert price["se"] < 0.1
    assert price["n"] == (staggered() > 0).sum()
    assert response.depths.loc[0, ["shallowest", "deepest"]].tolist() == [0.1, 0.3]
    line = response.table.set_index("term").loc["price"]
    assert line["high"] - line["low"] == pytest.approx(2 * 1.645 * line["se"], rel=1e-3)
    assert set(response.table["term"]) == {"price", "dip"}
    assert "lifts a SKU's units by" in response.summary()[0]
    assert any("every store at once" in caution for caution in response.cautions)
    assert len(response.plot().containers) == 1


def test_price_cuts_of_the_whole_category_at_once_are_refused() -> None:
    """Chain-wide and category-wide: the price can't be told from the season."""
    depth = np.zeros((12, 40))
    depth[:, ::5] = 0.2
    response = fit_response(flat_panel(depth))
    assert response.table.empty
    reasons = response.refusals.set_index("scope")["reason"]
    assert "collinear" in reasons["tea: price"]
    assert "season" in reasons["tea: price"]


def test_too_few_offers_are_refused() -> None:
    depth = np.zeros((12, 40))
    depth[:2, 7] = 0.2
    response = fit_response(flat_panel(depth))
    assert response.table.empty
    assert "2 offers of 2 SKUs; an estimate needs 20 of 3" in response.refusals.loc[0, "reason"]


def test_no_price_variation_is_refused_but_leaflets_are_estimated() -> None:
    panel = flat_panel(np.zeros((12, 40)))
    mailer = np.random.default_rng(3).random(len(panel)) < 0.15
    panel = panel.assign(mailer=mailer, units=np.where(mailer, panel["units"] * 2, panel["units"]))
    response = fit_response(panel)
    assert response.refusals["reason"].str.contains("no price variation").any()
    assert response.means.set_index("term").loc["mailer", "estimate"] == pytest.approx(np.log(2), abs=0.05)


def test_a_wrong_sign_is_refused() -> None:
    response = fit_response(flat_panel(staggered(), elasticity=+1.5))
    assert response.table.empty
    assert response.refusals["reason"].str.startswith("wrong sign").any()


def test_nothing_on_offer_is_not_supported() -> None:
    with pytest.raises(NotSupportedError, match="no price cut, display or leaflet"):
        fit_response(flat_panel(np.zeros((12, 40))))
    with pytest.raises(TableError, match="depth outside 0 to 1"):
        fit_response(flat_panel(staggered()).assign(depth=20.0))
    with pytest.raises(TableError, match="no column exposure"):
        fit_response(flat_panel(staggered()).drop(columns="exposure"))


def test_forward_buying_by_the_month() -> None:
    """With ``dip_form`` "depth" the dip hangs on last month's cut, also where this month has one."""
    depth = staggered(5, 0.3)
    panel = flat_panel(depth)
    lag = panel["lag_depth"].to_numpy()
    units = np.random.default_rng(1).poisson(60 * (1 - panel["depth"]) ** -2.0 * (1 - lag) ** 0.8)
    response = fit_response(panel.assign(units=units.astype(float)), dip_form="depth")
    dip = response.means.set_index("term").loc["dip"]
    assert dip["estimate"] == pytest.approx(-0.8, abs=4 * dip["se"])
    assert dip["se"] < 0.1


def test_offers_timed_to_a_skus_own_peaks_are_refused() -> None:
    """Each SKU is promoted in the middle of a peak of its own, which period effects can't take out."""
    rng = np.random.default_rng(2)
    peak = np.zeros((12, 40))
    depth = np.zeros((12, 40))
    for sku in range(12):
        for week in rng.choice(np.arange(2, 38, 6), 4, replace=False):
            peak[sku, week - 1 : week + 2] = 0.6
            depth[sku, week] = 0.2
    panel = flat_panel(depth)
    lead = np.zeros_like(depth, dtype=bool)
    lead[:, :-1] = (depth[:, 1:] > 0) & (depth[:, :-1] == 0)
    mean = 60 * np.exp(peak.ravel()) * (1 - panel["depth"]) ** -1.0
    timed = panel.assign(lead=lead.ravel(), units=rng.poisson(mean).astype(float))
    response = fit_response(timed)
    assert response.table.empty
    assert "promotions timed to peaks" in response.refusals.set_index("scope").loc["tea", "reason"]
    honest = panel.assign(lead=lead.ravel())
    assert "before" in set(fit_response(honest).means["term"])


def test_one_sku_does_not_stand_for_its_category() -> None:
    depth = staggered()
    depth[1:] = np.where(np.arange(40) == 7, 0.01, 0.0)
    depth[1:4, ::6] = 0.01
    response = fit_response(flat_panel(depth))
    reason = response.refusals.set_index("scope")["reason"]["tea: price"]
    assert "rests on one SKU: k00" in reason


def test_a_mechanic_is_told_apart_from_its_depth() -> None:
    """At the same depths half of the offers are multibuys, which sell e^0.4 times as much."""
    depth = staggered(3, 0.3)
    panel = flat_panel(depth)
    multibuy = (np.random.default_rng(8).random(len(panel)) < 0.5) & (panel["depth"] > 0)
    mechanic = pd.Categorical(np.where(multibuy, "multibuy", "price cut"), ["price cut", "multibuy"])
    units = np.random.default_rng(9).poisson(60 * (1 - panel["depth"]) ** -2.0 * np.exp(0.4 * multibuy))
    response = fit_response(panel.assign(mechanic=mechanic, units=units.astype(float)))
    line = response.means.set_index("term").loc["mechanic: multibuy"]
    assert line["estimate"] == pytest.approx(0.4, abs=max(4 * line["se"], 0.05))
    assert response.means.set_index("term").loc["price", "estimate"] == pytest.approx(-2.0, abs=0.2)
    assert "As multibuy, the same price cut sells" in " ".join(response.summary())
    plan = plan_promotions(response, *market(), PromotionRules(depths=(0.2,)), periods=WEEKS[:4])
    assert set(plan.table["mechanic"]) == {"multibuy"}


def test_logs_where_dense_and_counts_where_not() -> None:
    panel = flat_panel(staggered())
    dense, thin = fit_response(panel), fit_response(panel.assign(zeros=1, stores=4))
    assert dense.forms["form"].tolist() == ["log"]
    assert thin.forms["form"].tolist() == ["poisson"]
    logs, counts = (r.means.set_index("term").loc["price"] for r in (dense, thin))
    assert logs["estimate"] == pytest.approx(counts["estimate"], abs=0.1)
    noise = np.exp(np.random.default_rng(4).normal(0, 0.5, len(panel)))
    units = np.random.default_rng(5).poisson(60 * noise * (1 - panel["depth"]) ** -2.0).astype(float)
    spread = panel.assign(units=np.maximum(units, 1.0))
    errors = {
        form: fit_response(spread, form=form).means.set_index("term").loc["price"]
        for form in ("log", "poisson")
    }
    assert errors["log"]["estimate"] == pytest.approx(-2.0, abs=4 * errors["log"]["se"])
    assert errors["log"]["se"] < 1.1 * errors["poisson"]["se"]


def market() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    skus = [f"k{i:02d}" for i in range(12)]
    demand = pd.DataFrame(
        {"store_id": "1", "sku": skus, "category": "tea", "units": 60.0, "margin": 60.0, "listed": True}
    )
    products = pd.DataFrame({"sku": skus, "name": skus, "price": 2.0})
    return demand, products, pd.DataFrame({"store_id": ["1"], "store_cluster": ["C1"]})


@pytest.fixture(scope="module")
def strong() -> object:
    return fit_response(flat_panel(staggered(), elasticity=-4.0))


def test_a_plan_keeps_its_rules_and_gives_reasons(strong: object) -> None:
    rules = PromotionRules(
        depths=(0.1, 0.2), max_per_category_period=2, spacing=3, max_per_sku=2, budget=300.0
    )
    plan = plan_promotions(strong, *market(), rules, periods=WEEKS[:8])
    table = plan.table
    assert 0 < len(table) <= 16
    assert table.groupby("period").size().max() <= 2
    assert table.groupby("sku").size().max() <= 2
    gaps = table.sort_values("period").groupby("sku")["period"].diff().dropna()
    assert (gaps >= pd.Timedelta(days=21)).all()
    assert table["cost"].sum() <= 300.0
    assert (plan.checks["worst_violation"] <= 1e-9).all()
    assert table["reason"].str.contains("lifts units by").all()
    assert table["channel"].eq("shelf").all()  # neither display nor leaflet could be estimated
    words = " ".join(plan.summary())
    assert f"{table['net'].sum():,.2f} net" in words
    assert "Assumed, not estimated: 25%" in words
    assert len(plan.plot().patches) == 8


def test_more_budget_never_earns_less(strong: object) -> None:
    nets = []
    for budget in (0.0, 50.0, 100.0, 200.0, 400.0, np.inf):
        rules = PromotionRules(depths=(0.1, 0.2), budget=budget)
        nets.append(plan_promotions(strong, *market(), rules, periods=WEEKS[:8]).table["net"].sum())
    assert nets[0] == 0
    assert np.all(np.diff(nets) >= -1e-9)
    assert nets[-1] > nets[1] > 0


def test_depths_never_seen_are_not_planned(strong: object) -> None:
    plan = plan_promotions(strong, *market(), PromotionRules(depths=(0.05, 0.2, 0.5)), periods=WEEKS[:4])
    assert set(plan.table["depth"]) <= {0.2}
    scopes = plan.refusals.set_index("scope")["reason"]
    assert "outside the price cuts seen (10% to 30%)" in scopes["tea at 50% off"]
    assert "tea at 5% off" in scopes.index


def test_categories_without_a_response_are_returned(strong: object) -> None:
    demand, products, clusters = market()
    demand.loc[demand["sku"] == "k01", "category"] = "soup"
    products.loc[products["sku"] == "k02", "price"] = np.nan
    plan = plan_promotions(strong, demand, products, clusters, periods=WEEKS[:4])
    reasons = plan.refusals.set_index("scope")["reason"]
    assert reasons["soup in C1"] == "no response could be estimated"
    assert reasons["k02"] == "no price above 0"
    assert not set(plan.table["sku"]) & {"k01", "k02"}


def test_the_planned_range_replaces_todays(strong: object) -> None:
    demand, products, clusters = market()
    listings = pd.DataFrame({"store_id": "1", "sku": ["k05", "k06"]})
    plan = plan_promotions(strong, demand, products, clusters, periods=WEEKS[:4], listings=listings)
    assert set(plan.table["sku"]) == {"k05", "k06"}


def test_funding_and_contact_cost_move_the_plan_the_right_way(strong: object) -> None:
    plain = plan_promotions(strong, *market(), PromotionRules(), periods=WEEKS[:4])
    funded = plan_promotions(strong, *market(), PromotionRules(funding_share=0.5), periods=WEEKS[:4])
    dear = plan_promotions(strong, *market(), PromotionRules(contact_cost={"shelf": 1e4}), periods=WEEKS[:4])
    assert funded.table["net"].sum() > plain.table["net"].sum() > 0
    assert dear.table.empty


def test_bad_settings_and_tables_say_what_and_where(strong: object) -> None:
    for settings, words in [
        ({"depths": (1.2,)}, "between 0 and 1"),
        ({"depths": ()}, "between 0 and 1"),
        ({"channels": ("radio",)}, "'radio' is not known"),
        ({"budget": -1.0}, "at least 0"),
        ({"funding_share": 2.0}, "between 0 and 1"),
        ({"spacing": 0}, "spacing must be at least 1"),
        ({"contact_cost": {"mailer": -1.0}}, "contact_cost"),
    ]:
        with pytest.raises(SettingsError, match=words):
            PromotionRules(**settings)
    demand, products, clusters = market()
    with pytest.raises(TableError, match="products: no column price"):
        plan_promotions(strong, demand, products.drop(columns="price"), clusters, periods=WEEKS[:4])
    with pytest.raises(TableError, match="each once"):
        plan_promotions(strong, demand, products, clusters, periods=[WEEKS[0], WEEKS[0]])
    with pytest.raises(TableError, match="sales: no column units"):
        promotion_panel(**{**tables(), "sales": tables()["sales"].drop(columns="units")})


def test_same_input_same_plan(strong: object) -> None:
    demand, products, clusters = market()
    one = plan_promotions(strong, demand, products, clusters, PromotionRules(budget=200.0), periods=WEEKS[:8])
    two = plan_promotions(
        strong,
        demand.iloc[::-1],
        products.iloc[::-1],
        clusters,
        PromotionRules(budget=200.0),
        periods=WEEKS[:8],
    )
    pd.testing.assert_frame_equal(one.table, two.table)
