"""Promotion response against simulations and statsmodels, the planner against enumeration and accounting."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from geomarket.assortment import SolverOptions
from geomarket.assortment.worker import solve
from geomarket.engine import sales_by_period, store_sku_periods
from geomarket.promotions import (
    PromotionResponse,
    PromotionRules,
    fit_response,
    plan_promotions,
    promotion_panel,
    shrink,
)
from geomarket.promotions.planner import promotion_program
from geomarket.promotions.poisson import Block, clustered_covariance, fit_poisson
from geomarket.simulate import simulate_market

EFFECTS = {"price": -2.0, "display": 0.35, "mailer": 0.6, "dip": -0.15}


def trade(
    seed: int,
    *,
    n_stores: int,
    n_skus: int,
    weeks: int,
    mean: float,
    effects: dict[str, float] = EFFECTS,
    elasticity: np.ndarray | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Sales and promotions of stores in two regions that promote at different times; season common to all."""
    rng = np.random.default_rng(seed)
    shape = (n_stores, n_skus, weeks)
    rate = mean * rng.gamma(4, 0.25, (n_stores, 1, 1)) * rng.gamma(2, 0.5, (1, n_skus, 1))
    season = 0.3 * np.sin(2 * np.pi * np.arange(weeks) / 52) + rng.normal(0, 0.1, weeks)
    on = rng.random((2, n_skus, weeks)) < 0.15
    depth = np.where(on, rng.choice([0.1, 0.2, 0.3], on.shape), 0.0)[np.arange(n_stores) % 2]
    display, mailer = (depth > 0) & (rng.random(shape) < 0.4), (depth > 0) & (rng.random(shape) < 0.5)
    after = np.zeros(shape, dtype=bool)
    after[..., 1:] = (depth[..., :-1] > 0) & (depth[..., 1:] == 0)
    price = np.full(n_stores, effects["price"]) if elasticity is None else elasticity
    log_lift = price[:, None, None] * np.log1p(-depth)
    log_lift = log_lift + effects["display"] * display + effects["mailer"] * mailer + effects["dip"] * after
    units = rng.poisson(rate * np.exp(season + log_lift))
    stores = np.array([f"{i:03d}" for i in range(n_stores)])
    skus = np.array([f"k{i:02d}" for i in range(n_skus)])
    dates = pd.date_range("2023-01-02", periods=weeks, freq="7D")

    def frame(where: np.ndarray) -> pd.DataFrame:
        s, k, t = np.nonzero(where)
        return pd.DataFrame({"store_id": stores[s], "sku": skus[k], "period": dates[t]})

    sales = frame(units > 0).assign(units=units[units > 0].astype(float))
    offers = frame(depth > 0)
    offers = offers.assign(depth=depth[depth > 0], display=display[depth > 0], mailer=mailer[depth > 0])
    listings = frame(np.ones((n_stores, n_skus, 1), dtype=bool))[["store_id", "sku"]]
    return sales, offers, listings, pd.DataFrame({"sku": skus, "category": "tea"})


def test_response_is_recovered_from_sales_and_offers() -> None:
    """T8.2 at small size: 24 stores in 3 clusters, 12 SKUs, a year; largest standard error about 0.02."""
    sales, offers, listings, products = trade(1, n_stores=24, n_skus=12, weeks=52, mean=8.0)
    stores = sorted(set(listings["store_id"]))
    clusters = pd.DataFrame(
        {"store_id": stores, "store_cluster": [f"C{1 + i % 3}" for i in range(len(stores))]}
    )
    response = fit_response(promotion_panel(sales, offers, listings, clusters, products))
    means = response.means.set_index("term")
    assert (means["se"] < 0.05).all()
    for term, truth in EFFECTS.items():
        assert means.loc[term, "estimate"] == pytest.approx(truth, abs=0.05 if term != "price" else 0.15), (
            term
        )
    # Clusters don't differ here: their shrunken estimates lie closer to the mean than their own.
    price = response.table[response.table["term"] == "price"]
    mean = means.loc["price", "estimate"]
    assert (abs(price["estimate"] - mean) <= abs(price["raw"] - mean) + 1e-12).all()
    assert response.refusals.empty


def test_the_simulated_markets_effects_are_recovered() -> None:
    """From a whole simulated city: promotions by region and store, stock coming and going, SKUs taking from each other.

    Errors of the category means over eight categories; one category's standard error is about 0.1 for the price and
    0.03 for the rest.
    """
    market = simulate_market(n_customers=600, n_stores=24, n_skus=120, weeks=78, seed=3)
    sales = sales_by_period(market.sales, ("store_id", "sku"))
    clusters = market.stores[["store_id"]].assign(store_cluster="C1")
    panel = promotion_panel(
        sales, market.promotions, store_sku_periods(market.sales), clusters, market.products
    )
    means = fit_response(panel).means.pivot(index="category", columns="term", values="estimate")
    store = market.truth.response_by_store.mean()
    off = means["price"] - store["price"] * market.truth.price_factor.reindex(means.index)
    assert len(off) == 8
    assert abs(off.mean()) < 0.12
    assert off.std() < 0.25
    for term, bound in (("display", 0.05), ("mailer", 0.08), ("dip", 0.05)):
        assert abs(means[term].mean() - store[term]) < bound, term


def test_sparse_sales_need_counts_not_logs() -> None:
    """T8.3: with a third of zeros, least squares on log(1 + units) misses by more than 0.5; Poisson does not.

    12 seeds; the standard error of the mean estimate is about 0.03.
    """
    effects = {"price": -2.5, "display": 0.0, "mailer": 0.5, "dip": 0.0}
    poisson, logs = [], []
    for seed in range(12):
        sales, offers, listings, products = trade(
            100 + seed, n_stores=30, n_skus=6, weeks=40, mean=1.3, effects=effects
        )
        clusters = listings[["store_id"]].drop_duplicates().assign(store_cluster="C1")
        panel = promotion_panel(sales, offers, listings, clusters, products)
        poisson.append(fit_response(panel, min_offers=10).means.set_index("term")["estimate"])
        logs.append(_log_regression(sales, offers, listings))
    estimates, naive = pd.DataFrame(poisson), np.mean(logs, axis=0)
    assert estimates["price"].mean() == pytest.approx(-2.5, abs=0.15)
    assert estimates["mailer"].mean() == pytest.approx(0.5, abs=0.10)
    assert abs(naive[0] + 2.5) > 0.5
    assert naive[1] < 0.4


def _log_regression(sales: pd.DataFrame, offers: pd.DataFrame, listings: pd.DataFrame) -> np.ndarray:
    """Log(1 + units) on log price, display, mailer, dip with pair and period effects, the textbook shortcut."""
    periods = pd.DataFrame({"period": sorted(sales["period"].unique())})
    grid = listings.merge(periods, how="cross").merge(sales, how="left").merge(offers, how="left")
    grid = grid.fillna({"units": 0.0, "depth": 0.0}).assign(price=lambda f: np.log1p(-f["depth"]))
    grid["mailer"] = grid["mailer"].fillna(False).astype(float)
    grid["y"] = np.log1p(grid["units"])
    columns = grid[["y", "price", "mailer"]]
    for _ in range(3):  # balanced panel: one pass of each is exact
        columns = columns - columns.groupby([grid["store_id"], grid["sku"]]).transform("mean")
        columns = columns - columns.groupby(grid["period"]).transform("mean")
    return np.linalg.lstsq(columns[["price", "mailer"]].to_numpy(), columns["y"].to_numpy(), rcond=None)[0]


def test_fit_equals_statsmodels_with_dummies() -> None:
    """The absorbed fit is the dummy fit: estimates to 1e-7, the plain clustered covariance to 1e-5.

    The covariance in use, with leverage taken out, lies between the plain one and the jackknife over SKUs.
    """
    rng = np.random.default_rng(4)
    sku, period = (a.ravel() for a in np.meshgrid(np.arange(12), np.arange(20), indexing="ij"))
    keep = rng.random(sku.size) < 0.8
    sku, period = sku[keep], period[keep]
    terms = np.column_stack(
        [np.where(rng.random(sku.size) < 0.4, -0.3, 0.0), rng.random(sku.size) < 0.3]
    ).astype(float)
    offset = rng.normal(1, 0.4, sku.size)
    units = rng.poisson(np.exp(offset + 0.1 * sku - 0.05 * period + terms @ [-2.0, 0.4])).astype(float)
    fit = fit_poisson([Block(units, offset, terms, sku, period, sku)])
    dummies = pd.get_dummies(pd.DataFrame({"s": sku.astype(str), "t": period.astype(str)}), dtype=float)
    design = np.column_stack([terms, dummies.drop(columns="t_0")])
    model = sm.GLM(units, design, family=sm.families.Poisson(), offset=offset)
    oracle = model.fit(
        cov_type="cluster", cov_kwds={"groups": sku, "use_correction": False}, tol=1e-12, maxiter=100
    )
    assert fit.estimate == pytest.approx(oracle.params[:2], abs=1e-7)
    # Score and information of each SKU, with the dummies projected out by least squares.
    mean = oracle.fittedvalues
    root = np.sqrt(mean)[:, None]
    others = design[:, 2:] * root
    projected = terms - (others @ np.linalg.lstsq(others, terms * root, rcond=None)[0]) / root
    scores = np.array([projected[sku == s].T @ (units - mean)[sku == s] for s in range(12)])
    information = np.array(
        [(projected[sku == s].T * mean[sku == s]) @ projected[sku == s] for s in range(12)]
    )
    plain = clustered_covariance(scores, information, information.sum(axis=0), leverage=False)
    assert plain == pytest.approx(np.asarray(oracle.cov_params())[:2, :2], rel=1e-5)
    in_use = clustered_covariance(scores, information, information.sum(axis=0))
    assert fit.covariance == pytest.approx(in_use, rel=1e-5)
    assert (np.diag(in_use) > np.diag(plain)).all()
    left_out = []
    for s in range(12):
        rest = sku != s
        block = Block(
            units[rest],
            offset[rest],
            terms[rest],
            np.unique(sku[rest], return_inverse=True)[1],
            period[rest],
            sku[rest],
        )
        left_out.append(fit_poisson([block]).estimate - fit.estimate)
    jackknife = np.array(left_out).T @ np.array(left_out) * 11 / 12
    assert (np.diag(in_use) < 1.05 * np.diag(jackknife)).all()


def test_shrinkage_beats_own_and_pooled_and_covers() -> None:
    """T8.1 and T8.7 for the shrinkage itself: truths spread by 0.5, known errors of 0.3 to 0.8, 400 worlds of 12."""
    rng = np.random.default_rng(7)
    own_error, pooled_error, shrunk_error, covered = [], [], [], []
    for _ in range(400):
        truth = rng.normal(-2.0, 0.5, 12)
        se = rng.uniform(0.3, 0.8, 12)
        own = truth + rng.normal(0, se)
        weight = 1 / se**2
        mean, mean_se = (weight * own).sum() / weight.sum(), weight.sum() ** -0.5
        result = shrink(own, se, mean, mean_se)
        own_error.append(own - truth)
        pooled_error.append(mean - truth)
        shrunk_error.append(result.estimate - truth)
        covered.append(abs(result.estimate - truth) <= 1.645 * result.se)
    own_rmse, pooled_rmse, rmse = (
        np.sqrt(np.mean(np.square(e))) for e in (own_error, pooled_error, shrunk_error)
    )
    assert rmse <= 0.8 * own_rmse
    assert rmse < 0.95 * pooled_rmse
    assert 0.80 <= np.mean(covered) <= 0.95


def test_missing_estimates_become_the_mean_never_zero() -> None:
    result = shrink([np.nan, -3.0, -1.0, np.nan], [np.nan, 0.1, 0.1, np.nan], mean=-2.0, mean_se=0.2)
    assert result.estimate[[0, 3]].tolist() == [-2.0, -2.0]
    assert (result.estimate < -0.9).all()
    assert result.se[0] > result.se[1]
    assert result.between == pytest.approx(np.sqrt(2 - 0.01), rel=1e-6)


def random_offers(seed: int) -> pd.DataFrame:
    """Up to 12 options over 2 clusters, 3 SKUs, 4 periods."""
    rng = np.random.default_rng(seed)
    every = list(itertools.product(["C1", "C2"], ["a", "b", "c"], range(4), [0.1, 0.2], ["shelf", "mailer"]))
    picked = [every[i] for i in rng.choice(len(every), 12, replace=False)]
    offers = pd.DataFrame(picked, columns=["store_cluster", "sku", "t", "depth", "channel"])
    return offers.assign(
        category=np.where(offers["sku"] == "c", "soup", "tea"),
        net=rng.gamma(2.0, 10.0, 12),
        cost=rng.gamma(2.0, 10.0, 12),
    )


def allowed(offers: pd.DataFrame, rules: PromotionRules, plans: np.ndarray) -> np.ndarray:
    """Which plans (rows of booleans over the offers) keep the rules, written out a second time."""
    rows = list(offers.itertuples())
    fine = plans @ offers["cost"].to_numpy() <= rules.budget
    for i, j in itertools.combinations(range(len(rows)), 2):
        same = (rows[i].store_cluster, rows[i].sku) == (rows[j].store_cluster, rows[j].sku)
        if same and abs(rows[i].t - rows[j].t) < rules.spacing:
            fine &= ~(plans[:, i] & plans[:, j])
    mailer = offers["channel"].eq("mailer").to_numpy()
    for keys, most, counted in (
        (["store_cluster", "sku"], rules.max_per_sku, True),
        (["store_cluster", "category", "t"], rules.max_per_category_period, True),
        (["store_cluster", "category", "t"], rules.channel_slots["mailer"], mailer),
    ):
        for members in offers.groupby(keys).indices.values():
            fine &= (plans & counted)[:, members].sum(axis=1) <= most
    return fine


@pytest.mark.parametrize("seed", range(20))
def test_plan_equals_enumeration(seed: int) -> None:
    """T8.4: 12 binaries, 4,096 plans tried."""
    offers = random_offers(seed)
    rules = PromotionRules(
        budget=[40.0, 80.0, np.inf][seed % 3],
        spacing=1 + seed % 3,
        max_per_sku=1 + seed % 2,
        max_per_category_period=1 + seed % 2,
        channel_slots={"mailer": 1},
    )
    program, columns = promotion_program(offers, rules, 4)
    result = solve(program, SolverOptions(gap=0.0))
    plans = np.array(list(itertools.product([False, True], repeat=12)))
    worth = plans @ offers["net"].to_numpy()
    assert result.objective == pytest.approx(worth[allowed(offers, rules, plans)].max(), abs=1e-6)
    assert allowed(offers, rules, result.x[columns][None, :] > 0.5).all()


def known_response(
    price: float = -2.5, display: float = 0.3, mailer: float = 0.4, dip: float = -0.15
) -> PromotionResponse:
    effects = {"price": price, "display": display, "mailer": mailer, "dip": dip}
    lines = [
        {"store_cluster": cluster, "category": category, "term": term, "estimate": value * scale, "se": 0.1}
        for cluster, scale in (("C1", 1.0), ("C2", 1.4))
        for category in ("tea", "soup")
        for term, value in effects.items()
    ]
    table = pd.DataFrame(lines).assign(
        low=np.nan, high=np.nan, n=50, raw=np.nan, raw_se=np.nan, shrunk_from="own"
    )
    depths = pd.DataFrame({"category": ["tea", "soup"], "shallowest": 0.1, "deepest": 0.3})
    return PromotionResponse(table, pd.DataFrame(), pd.DataFrame(), (), depths)


def small_market(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    stores, skus = [f"{i}" for i in range(6)], [f"{c}{i}" for c in ("tea", "soup") for i in range(6)]
    demand = pd.DataFrame(list(itertools.product(stores, skus)), columns=["store_id", "sku"])
    price, share = rng.uniform(2, 9, 12), rng.uniform(0.3, 0.6, 12)
    products = pd.DataFrame(
        {"sku": skus, "name": skus, "price": price, "category": [s.rstrip("0123456789") for s in skus]}
    )
    demand = demand.merge(products[["sku", "category"]]).assign(units=rng.gamma(2, 10, len(demand)))
    demand["margin"] = demand["units"] * demand["sku"].map(dict(zip(skus, price * share)))
    demand["listed"] = rng.random(len(demand)) < 0.8
    clusters = pd.DataFrame({"store_id": stores, "store_cluster": ["C1", "C2"] * 3})
    return demand, products, clusters


def test_no_uplift_no_plan() -> None:
    """T8.5."""
    demand, products, clusters = small_market()
    periods = pd.date_range("2025-01-06", periods=6, freq="7D")
    nothing = known_response(0.0, 0.0, 0.0, 0.0)
    plan = plan_promotions(nothing, demand, products, clusters, PromotionRules(), periods=periods)
    assert plan.table.empty
    assert plan.summary()[0].startswith("No offer pays")
    assert plan.solver["objective"].tolist() == [0.0]
    responsive = plan_promotions(
        known_response(), demand, products, clusters, PromotionRules(), periods=periods
    )
    assert len(responsive.table) > 5


def test_lines_add_up_to_the_change_of_the_chains_margin() -> None:
    """T8.6: the chain's margin with and without the plan, worked out SKU by SKU from the effects, to 1e-9."""
    demand, products, clusters = small_market(3)
    response = known_response()
    rules = PromotionRules(
        budget=900.0,
        funding_share=0.25,
        contact_cost={"mailer": 1.5, "display": 0.5},
        cannibalisation=0.3,
        spacing=2,
    )
    periods = pd.date_range("2025-01-06", periods=8, freq="7D")
    rise = np.array([1.0, 1.2, 0.9, 1.4, 1.0, 0.7, 1.1, 1.3])
    season = pd.DataFrame({"category": "tea", "period": periods, "index": rise})
    plan = plan_promotions(response, demand, products, clusters, rules, periods=periods, season=season)
    assert len(plan.table) > 8
    assert set(plan.table["channel"]) >= {"mailer", "display"}
    effect = response.coefficients()
    listed = demand[demand["listed"]].merge(clusters)
    change = 0.0
    for line in plan.table.itertuples():
        mine = listed[(listed["store_cluster"] == line.store_cluster) & (listed["category"] == line.category)]
        own, others = mine[mine["sku"] == line.sku], mine[mine["sku"] != line.sku]
        b = effect.loc[(line.store_cluster, line.category)]
        t = list(periods).index(line.period)
        factor = np.append(rise, rise[-1]) if line.category == "tea" else np.ones(9)
        price = products.set_index("sku").loc[line.sku, "price"]
        unit_margin = own["margin"].sum() / own["units"].sum()
        before = own["units"].sum() * factor[t]
        shown = {"shelf": 0.0, "display": b["display"], "mailer": b["mailer"]}[line.channel]
        during = before * (1 - line.depth) ** b["price"] * np.exp(shown)
        cut = line.depth * price
        change += during * (unit_margin - cut) - before * unit_margin
        change += during * cut * 0.25 - rules.contact_cost.get(line.channel, 0.0) * own["store_id"].nunique()
        change -= 0.3 * (during - before) * others["margin"].sum() / others["units"].sum()
        change -= own["units"].sum() * factor[t + 1] * (1 - np.exp(b["dip"])) * unit_margin
        assert line.cost == pytest.approx(
            during * cut * 0.75 + rules.contact_cost.get(line.channel, 0.0) * own["store_id"].nunique(),
            rel=1e-12,
        )
    assert plan.table["net"].sum() == pytest.approx(change, rel=1e-9)
    waterfall = plan.table.eval(
        "incremental_margin - subsidised - cannibalised + halo - dip + funding - contact_cost"
    )
    assert waterfall.to_numpy() == pytest.approx(plan.table["net"].to_numpy(), rel=1e-12)
    assert plan.solver.loc[0, "objective"] == pytest.approx(change, rel=1e-9)
    assert plan.table["cost"].sum() <= 900.0
    assert (plan.table["net_low"] <= plan.table["net"]).all()


def test_numbers_stay_finite_without_warnings() -> None:
    """A SKU that stops selling, a week without a sale and a cluster with one SKU don't upset the fit."""
    sales, offers, listings, products = trade(9, n_stores=6, n_skus=8, weeks=30, mean=2.0)
    quiet = sales["period"] == sales["period"].unique()[5]
    gone = (sales["sku"] == "k03") & (sales["period"] > "2023-04-01")
    clusters = (
        listings[["store_id"]].drop_duplicates().assign(store_cluster=["C1", "C1", "C1", "C2", "C2", "C2"])
    )
    listings = listings[(listings["sku"] == "k00") | (listings["store_id"] < "003")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        periods = sorted(sales["period"].unique())
        panel = promotion_panel(sales[~quiet & ~gone], offers, listings, clusters, products, periods)
        response = fit_response(panel, min_offers=10)
    assert np.isfinite(response.table[["estimate", "se", "low", "high"]].to_numpy()).all()
    price = response.table[response.table["term"] == "price"].set_index("store_cluster")
    assert price.loc["C2", "shrunk_from"] == "category"
    assert price.loc["C2", "estimate"] == response.means.set_index("term").loc["price", "estimate"]
