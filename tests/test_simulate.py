"""The simulated market: its tables hold together, and what it says of itself is so."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest
import shapely
from scipy.optimize import minimize
from scipy.special import gammaln
from scipy.stats import chi2
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from geomarket.errors import SettingsError
from geomarket.market import load_market, parse_settings, read_settings
from geomarket.market.connection import BASKETS_SCHEMA, SALES_SCHEMA
from geomarket.market.contract import TABLES
from geomarket.market.model import Market
from geomarket.planning import DEMO_SETTINGS
from geomarket.simulate import SimulatedTruth, simulate_market, write_simulated_market
from geomarket.simulate.geography import build_city, km_between

SMALL = {"n_customers": 1_200, "n_stores": 12, "n_skus": 80, "weeks": 30}
FRAMES = (
    "stores", "competitors", "products", "store_totals", "customers", "contacts", "promotions", "points", "travel",
)  # fmt: skip


@lru_cache(maxsize=8)
def market(**settings: object) -> Market:
    return simulate_market(**{**SMALL, **settings})


@lru_cache(maxsize=4)
def sales(**settings: object) -> pd.DataFrame:
    table = market(**settings).sales.to_pandas()
    return table.assign(period=pd.to_datetime(table["period"]), revenue=table["revenue"].astype(float))


@lru_cache(maxsize=4)
def baskets(**settings: object) -> pd.DataFrame:
    table = market(**settings).baskets.to_pandas()
    return table.assign(date=pd.to_datetime(table["date"]), revenue=table["revenue"].astype(float))


def truth(**settings: object) -> SimulatedTruth:
    return market(**settings).truth


# ------------------------------------------------------------------ same seed, same bytes
def test_same_arguments_give_identical_tables() -> None:
    one, other = simulate_market(**SMALL), simulate_market(**SMALL)
    for name in FRAMES:
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), check_exact=True)
    for first, second in zip(one.areas, other.areas):
        assert first.variables == second.variables
        assert first.frame.to_wkb().equals(second.frame.to_wkb())
    assert one.sales.to_pyarrow().equals(other.sales.to_pyarrow())
    assert one.baskets.to_pyarrow().equals(other.baskets.to_pyarrow())
    pd.testing.assert_frame_equal(one.truth.demand, other.truth.demand, check_exact=True)
    assert one.inputs == other.inputs


def test_another_seed_gives_another_market() -> None:
    one, other = market(), market(seed=1)
    assert one.inputs != other.inputs
    assert not one.areas[0].frame["population"].equals(other.areas[0].frame["population"])
    assert not one.products["price"].equals(other.products["price"])


def test_one_size_leaves_the_other_tables_as_they_are() -> None:
    base = market()
    more_customers = market(n_customers=1_300)
    assert base.sales.to_pyarrow().equals(more_customers.sales.to_pyarrow())
    pd.testing.assert_frame_equal(base.promotions, more_customers.promotions)
    more_stores = market(n_stores=14)
    pd.testing.assert_frame_equal(base.products, more_stores.products)
    places = ["store_id", "name", "lon", "lat", "format", "size_m2"]
    pd.testing.assert_frame_equal(base.stores[places], more_stores.stores[places].head(12))
    more_skus = market(n_skus=90)
    pd.testing.assert_frame_equal(base.products, more_skus.products.head(80))
    pd.testing.assert_frame_equal(base.customers, more_skus.customers)


# ------------------------------------------------------------------ the data contract
@pytest.mark.parametrize("name", sorted(set(FRAMES) - {"points", "travel"}))
def test_tables_meet_the_contract(name: str) -> None:
    frame, contract = getattr(market(), name), TABLES[name]
    missing = [column for column in contract.required if column not in frame.columns]
    assert not missing
    assert not frame.duplicated(list(contract.key)).any()
    for column in contract.columns:
        if column.name not in frame.columns:
            continue
        values = frame[column.name]
        assert values.notna().all(), column.name
        if column.above is not None:
            assert (values > column.above).all()
        if column.minimum is not None:
            assert (values >= column.minimum).all()
        if column.kind == "id":
            assert pd.api.types.is_string_dtype(values)
        if column.kind == "date":
            assert values.dtype == "datetime64[ns]"


def test_big_tables_have_the_declared_types() -> None:
    for table, schema in ((market().sales, SALES_SCHEMA), (market().baskets, BASKETS_SCHEMA)):
        assert table.schema() == ibis.schema(schema)


def test_sales_refer_to_known_stores_skus_and_mondays() -> None:
    table = sales()
    assert not table.duplicated(["store_id", "sku", "period"]).any()
    assert set(table["store_id"]) <= set(market().stores["store_id"])
    assert set(table["sku"]) <= set(market().products["sku"])
    assert (table["period"].dt.day_of_week == 0).all()
    assert table["period"].nunique() == SMALL["weeks"]
    assert (table["units"] > 0).all()


def test_it_says_it_is_simulated() -> None:
    assert market().simulated and "(simulated)" in market().name
    assert "simulated" in market().notes[0] and "invented" in market().notes[0]
    assert set(market().inputs) == {"simulated"} and len(market().inputs["simulated"]) == 64
    assert len(market().quarantine) == 0


def test_names_are_unique_and_prices_laddered() -> None:
    for frame in (market().stores, market().competitors, market().products):
        assert frame["name"].is_unique
    products = market(n_skus=600, weeks=12).products
    assert products["name"].is_unique
    standard = products[(products["pack"] == "standard") & ~products["organic"]]
    ladder = standard.groupby(["subcategory", "tier"])["price"].mean().unstack().mean()
    assert ladder["own label"] < ladder["mainstream"] < ladder["premium"]
    assert (products["cost"] < products["price"]).all()
    assert ((products["price"] * 100).round() % 10 == 9).all()


# ------------------------------------------------------------------ people and places
def test_areas_tile_the_city_without_gap_or_overlap() -> None:
    city = build_city(0)
    areas = city.areas.to_crs("EPSG:3035")
    assert 400 <= len(areas) <= 600 and city.districts["name"].nunique() == 12
    assert areas.is_valid.all() and set(areas.geom_type) == {"Polygon"}
    whole = areas.union_all()
    assert areas.area.sum() == pytest.approx(whole.area, rel=1e-9)
    assert city.wards.to_crs("EPSG:3035").area.sum() == pytest.approx(whole.area, rel=1e-6)


def test_census_counts_add_up_to_their_denominators() -> None:
    layer = market().areas[0]
    frame = layer.frame
    for denominator, parts in {
        "population": ["age_0_14", "age_15_24", "age_25_39", "age_40_59", "age_60_74", "age_75_plus"],
        "households": ["tenure_owner", "tenure_private", "tenure_social"],
        "adults": ["edu_degree", "edu_school", "edu_none"],
        "employed": ["occ_professional", "occ_service", "occ_manual"],
        "active": ["employed", "unemployed"],
    }.items():
        assert (frame[parts].sum(axis=1) == frame[denominator]).all(), denominator
    assert (frame["adults"] == frame["population"] - frame["age_0_14"]).all()
    assert 600_000 <= frame["population"].sum() <= 1_000_000
    for variable in layer.variables:
        assert variable.label and pd.api.types.is_integer_dtype(frame[variable.column])
        if variable.kind == "rate":
            assert (frame[variable.column] <= frame[variable.denominator]).all()
    assert [variable.name for variable in layer.variables if variable.protected] == ["born_abroad"]
    assert not any(variable.classify for variable in layer.variables if variable.protected)


def test_census_shows_the_latent_types() -> None:
    layer = market().areas[0]
    used = [variable for variable in layer.variables if variable.kind == "rate" and variable.classify]
    rates = np.column_stack([layer.frame[v.column] / layer.frame[v.denominator] for v in used])
    rates = (rates - rates.min(axis=0)) / np.ptp(rates, axis=0)
    found = KMeans(6, n_init=10, random_state=0).fit_predict(rates)
    assert adjusted_rand_score(truth().area_types["type"], found) >= 0.9
    # and the share of each count is what the mix of types makes it, within the noise of an area's own character
    expected = truth().area_types.drop(columns="type") @ truth().type_profiles.T
    for name in ("age_75_plus", "tenure_social", "cars_none", "edu_degree"):
        variable = next(v for v in used if v.name == name)
        share = layer.frame[variable.column].sum() / layer.frame[variable.denominator].sum()
        weight = layer.frame[variable.denominator].to_numpy()
        assert share == pytest.approx(np.average(expected[name], weights=weight), rel=0.06)


def test_types_live_in_patches() -> None:
    kinds = truth().area_types["type"].to_numpy()
    centres = shapely.centroid(market().areas[0].frame.geometry.to_numpy())
    lon, lat = shapely.get_x(centres), shapely.get_y(centres)
    km = km_between(lon, lat, lon, lat)
    np.fill_diagonal(km, np.inf)
    same = (kinds[km.argsort(axis=1)[:, :4]] == kinds[:, None]).mean()
    by_chance = (pd.Series(kinds).value_counts(normalize=True) ** 2).sum()
    assert same > 3 * by_chance


def test_population_points_lie_in_their_city_and_carry_its_people() -> None:
    points = market().points
    assert points["weight"].sum() == pytest.approx(market().areas[0].frame["population"].sum(), rel=1e-3)
    city = build_city(0)
    inside = shapely.contains_xy(
        city.areas.geometry.to_numpy()[city.points["area"]],
        points["lon"].to_numpy(),
        points["lat"].to_numpy(),
    )
    assert inside.all()
    by_area = np.bincount(city.points["area"], points["weight"], len(city.areas))
    np.testing.assert_allclose(by_area, market().areas[0].frame["population"], rtol=0.01, atol=2)


def test_customers_live_where_the_truth_says() -> None:
    customers, city = market().customers, build_city(0)
    home = shapely.points(customers["lon"].to_numpy(), customers["lat"].to_numpy())
    tree = shapely.STRtree(city.areas.geometry.to_numpy())
    at_home, area = tree.query(home, predicate="intersects")
    assert len(np.unique(at_home)) == len(customers)
    own = truth().customers.loc[customers["customer_id"].iloc[at_home], "type"].to_numpy()
    mix = truth().area_types.drop(columns="type")
    share = mix.to_numpy()[area, mix.columns.get_indexer(own)]
    assert share.mean() > 2 / 6
    assert set(truth().customers["cell"]) <= set(city.cells["cell"])


def test_travel_reaches_every_store_from_every_cell() -> None:
    travel, city = market().travel, build_city(0)
    assert travel["cell"].dtype == np.int64
    assert not travel.duplicated(["store_id", "cell"]).any()
    assert len(travel) == len(city.cells) * len(market().stores)
    stores = market().stores
    km = km_between(*(table[axis].to_numpy() for table in (city.cells, stores) for axis in ("lon", "lat")))
    minutes = travel["minutes"].to_numpy().reshape(len(stores), -1).T
    assert (minutes >= 2).all() and np.corrcoef(np.log(km.ravel() + 1), np.log(minutes.ravel()))[0, 1] > 0.9


# ------------------------------------------------------------------ demand and listing
def test_without_localisation_demand_is_size_times_rate() -> None:
    plain = truth(localisation="none")
    assert (plain.lift == 1).all().all()
    np.testing.assert_allclose(plain.demand, np.outer(plain.store_size, plain.sku_rate), rtol=1e-12)
    total = np.log(plain.demand.to_numpy()).var()
    assert total == pytest.approx(
        np.log(plain.store_size).var(ddof=0) + np.log(plain.sku_rate).var(ddof=0), rel=1e-9
    )
    assert plain.response.nunique().eq(1).all() and (plain.taste == 1).all().all()


@pytest.mark.parametrize("localisation", ["strong", "latent"])
def test_demand_is_size_times_rate_times_lift(localisation: str) -> None:
    known = truth(localisation=localisation)
    np.testing.assert_allclose(
        known.demand, np.outer(known.store_size, known.sku_rate) * known.lift, rtol=1e-12
    )
    assert np.log(known.lift).std(axis=0).mean() > 0.2


def test_only_strong_localisation_follows_the_catchments() -> None:
    def explained(localisation: str) -> float:
        known = truth(localisation=localisation, n_stores=40, weeks=12)
        lift = np.log(known.lift.to_numpy())
        mix = known.catchment_mix.to_numpy()
        fitted = mix @ np.linalg.lstsq(mix, lift, rcond=None)[0]
        return 1 - ((lift - fitted) ** 2).sum() / ((lift - lift.mean(axis=0)) ** 2).sum()

    # six types fit 5 of 39 degrees of freedom by chance alone
    assert explained("strong") > 0.5 > 0.25 > explained("latent")


def test_strong_lift_is_the_catchments_mix_of_tastes_and_noise() -> None:
    known = truth(n_stores=40, weeks=12)
    noise = np.log(known.lift) - np.log(known.catchment_mix @ known.taste)
    pairs = noise.size
    assert noise.to_numpy().mean() == pytest.approx(-0.02, abs=0.02)
    assert noise.to_numpy().std() == pytest.approx(0.20, abs=3 * 0.20 / np.sqrt(2 * pairs) + 0.01)


def test_catchment_mix_is_the_money_weighted_mix_of_cells() -> None:
    known, city = truth(), build_city(0)
    np.testing.assert_allclose(known.catchment_mix.sum(axis=1), 1, rtol=1e-12)
    assert known.flows["demand"].sum() == pytest.approx(1)
    np.testing.assert_allclose(known.flows.groupby("cell")["probability"].sum(), 1, rtol=1e-12)
    assert known.flows["cell"].isin(city.cells["cell"]).all()


def test_shares_follow_huff() -> None:
    known, city = truth(), build_city(0)
    everyone = pd.concat([market().stores, market().competitors], ignore_index=True)
    cell = known.flows["cell"].iloc[0]
    home = city.cells[city.cells["cell"] == cell]
    km = km_between(*(table[axis].to_numpy() for table in (home, everyone) for axis in ("lon", "lat")))[0]
    pull = (
        everyone["size_m2"] ** known.huff["size"]
        * np.maximum(km, known.huff["floor_km"]) ** known.huff["distance"]
    )
    np.testing.assert_allclose(known.flows["probability"].head(len(everyone)), pull / pull.sum(), rtol=1e-9)


def test_ranges_fit_the_shelves_and_follow_local_demand() -> None:
    known, stores, products = truth(n_skus=300), market(n_skus=300).stores, market(n_skus=300).products
    shelves = stores.filter(like="shelf_cm_")
    for week in known.season.index[[0, -1]]:
        listed = known.listed_at(week).to_numpy()
        trial = np.zeros_like(listed)
        trials = known.trial_pairs()
        at = (
            known.demand.index.get_indexer(trials["store_id"]),
            known.demand.columns.get_indexer(trials["sku"]),
        )
        trial[at] = True
        width = pd.DataFrame((listed & ~trial) * products["width_cm"].to_numpy()).T.groupby(
            products["category"].to_numpy()
        )
        used = width.sum().T[products["category"].drop_duplicates()]
        order = [
            f"shelf_cm_{'_'.join(name.lower().replace(',', '').replace('-', ' ').split())}" for name in used
        ]
        assert (used.to_numpy() <= shelves[order].to_numpy() + 0.5).all()
        assert 0.35 < listed.mean() < 0.65
        log_rate = np.log(known.demand.to_numpy())
        assert log_rate[listed & ~trial].mean() > log_rate[~listed].mean() + 0.5


def test_trials_are_listed_at_random() -> None:
    known = truth(n_stores=40, n_skus=200, weeks=12)
    rank = known.demand.rank(axis=1, pct=True).to_numpy()
    never = np.ones(known.demand.shape, dtype=bool)
    rows = known.listings
    at = (known.demand.index.get_indexer(rows["store_id"]), known.demand.columns.get_indexer(rows["sku"]))
    trial = np.zeros_like(never)
    trial[at] = rows["trial"].to_numpy()
    never[at] = False
    among = never | trial
    assert trial.sum() > 50
    error = rank[among].std() / np.sqrt(trial.sum())
    assert abs(rank[trial].mean() - rank[among].mean()) < 3 * error


def test_substitution_shares_and_inflow() -> None:
    known, products = truth(), market().products.set_index("sku")
    share = known.substitution
    np.testing.assert_allclose(share.groupby("sku")["share"].sum(), 1, rtol=1e-12)
    same = (
        products.loc[share["sku"], "subcategory"].to_numpy()
        == products.loc[share["substitute"], "subcategory"]
    )
    assert same.all() and (share["sku"] != share["substitute"]).all()
    store, sku = known.demand.index[3], known.demand.columns[10]
    listed = known.listed_at(known.season.index[-1]).loc[store]
    inflow = sum(
        known.demand.loc[store, row.sku] * known.transfer[products.loc[row.sku, "category"]] * row.share
        for row in share[share["substitute"] == sku].itertuples()
        if not listed[row.sku]
    )
    assert known.sales_rate.loc[store, sku] == pytest.approx(known.demand.loc[store, sku] + inflow, rel=1e-12)


# ------------------------------------------------------------------ sales, prices, promotions
@pytest.mark.parametrize("localisation", ["strong", "none", "latent"])
def test_sales_are_poisson_about_the_true_mean(localisation: str) -> None:
    known = truth(localisation=localisation)
    sold = market(localisation=localisation).sales.group_by(["store_id", "sku"]).agg(
        units=lambda table: table.units.sum()
    ).to_pandas()  # fmt: skip
    units = sold.pivot(index="store_id", columns="sku", values="units")
    units = units.reindex(index=known.demand.index, columns=known.demand.columns).fillna(0).to_numpy(float)
    mean = known.expected_units.to_numpy()
    assert (units[mean == 0] == 0).all()
    units, mean = units[mean > 0], mean[mean > 0]
    assert abs(units.sum() - mean.sum()) < 3 * np.sqrt(mean.sum())
    spread = ((units - mean) ** 2 / mean).sum()
    assert abs(spread - len(mean)) < 3 * np.sqrt((2 + 1 / mean).sum())


def test_nothing_sells_where_it_is_not_listed() -> None:
    joined = sales().merge(truth().listings, on=["store_id", "sku"], how="left")
    assert joined["first_period"].notna().all()
    assert (joined["period"] >= joined["first_period"]).all() and (
        joined["period"] <= joined["last_period"]
    ).all()


def test_units_per_listed_week_agree_with_the_window() -> None:
    known, weeks = truth(), SMALL["weeks"]
    rows = known.listings
    whole = rows[
        (rows["first_period"] == known.season.index[0]) & (rows["last_period"] == known.season.index[-1])
    ]
    at = (known.demand.index.get_indexer(whole["store_id"]), known.demand.columns.get_indexer(whole["sku"]))
    assert len(whole) > 200
    np.testing.assert_allclose(
        weeks * known.weekly_units.to_numpy()[at], known.expected_units.to_numpy()[at], rtol=1e-9
    )


def test_revenue_is_units_at_the_promoted_price() -> None:
    offers = market().promotions[["store_id", "sku", "period", "depth"]]
    table = sales().merge(offers, on=["store_id", "sku", "period"], how="left").fillna({"depth": 0.0})
    price = table["sku"].map(market().products.set_index("sku")["price"])
    np.testing.assert_allclose(
        table["revenue"], table["units"] * (price * (1 - table["depth"])).round(2), atol=1e-6
    )
    assert 0.02 < (table["depth"] > 0).mean() < 0.35


def test_promotions_run_only_where_listed_and_vary_between_stores() -> None:
    offers = market().promotions
    joined = offers.merge(truth().listings, on=["store_id", "sku"], how="left")
    assert joined["first_period"].notna().all()
    assert joined["period"].between(joined["first_period"], joined["last_period"]).all()
    assert offers["depth"].between(0.05, 0.5).all()
    flags = offers[["depth", "display", "mailer"]].astype(float).corr().to_numpy()
    assert np.abs(flags[np.triu_indices(3, 1)]).max() < 0.1
    by_region = offers.merge(market().stores[["store_id", "promo_region"]], on="store_id")
    apart = by_region.groupby(["sku", "period"])["promo_region"].nunique().mean()
    assert apart < 1.5  # regions promote at different times


def test_promotion_effects_are_recovered_by_poisson_regression() -> None:
    size = {"n_stores": 8, "n_skus": 160, "weeks": 104, "n_customers": 100}
    known, frame = truth(**size), sales(**size)
    products = market(**size).products.set_index("sku")
    offers = market(**size).promotions
    weeks = known.season.index
    gradient, hessian, beta = np.zeros(4), np.zeros((4, 4)), known.response_by_store.mean().to_numpy()
    for store in known.demand.index:  # one scoring step from the truth: how far the data want to move
        listing = known.listings[known.listings["store_id"] == store].set_index("sku")
        on_shelf = (weeks.to_numpy() >= listing["first_period"].to_numpy()[:, None]) & (
            weeks.to_numpy() <= listing["last_period"].to_numpy()[:, None]
        )

        def grid(
            table: pd.DataFrame, value: str, store: str = store, skus: pd.Index = listing.index
        ) -> np.ndarray:
            part = table[table["store_id"] == store].pivot(index="sku", columns="period", values=value)
            return part.reindex(index=skus, columns=weeks).astype(float).fillna(0).to_numpy()

        units = grid(frame, "units") * on_shelf
        depth = grid(offers, "depth")
        after = np.zeros_like(depth)
        after[:, 1:] = (depth[:, :-1] > 0) & (depth[:, 1:] == 0)
        factor = known.price_factor[products.loc[listing.index, "category"]].to_numpy()[:, None]
        terms = np.stack(
            [factor * np.log1p(-depth), grid(offers, "display"), grid(offers, "mailer"), after], axis=-1
        )
        season = known.season[products.loc[listing.index, "subcategory"]].to_numpy().T
        share = season * np.exp(terms @ known.response_by_store.loc[store].to_numpy()) * on_shelf
        share /= share.sum(axis=1, keepdims=True)
        total = units.sum(axis=1)
        gradient += np.einsum("ij,ijk->k", units - total[:, None] * share, terms)
        mean = np.einsum("ij,ijk->ik", share, terms)
        hessian += np.einsum("i,ij,ijk,ijl->kl", total, share, terms, terms) - np.einsum(
            "i,ik,il->kl", total, mean, mean
        )
    step = np.linalg.solve(hessian, gradient)
    assert beta[0] < -1.5 and (beta[1:3] > 0.1).all() and beta[3] < -0.05
    # what the regression leaves out (cannibalisation, halo, shared weeks) moves it a little
    assert (np.abs(step) < np.array([0.10, 0.03, 0.03, 0.03])).all(), step


# ------------------------------------------------------------------ customers and their baskets
def test_baskets_are_a_part_of_sales() -> None:
    carded = baskets().assign(
        period=lambda t: t["date"] - pd.to_timedelta(t["date"].dt.day_of_week, unit="D")
    )
    carded = carded.groupby(["store_id", "sku", "period"])[["units", "revenue"]].sum().reset_index()
    joined = carded.merge(sales(), on=["store_id", "sku", "period"], how="left", suffixes=("", "_sold"))
    assert joined["units_sold"].notna().all()
    assert (joined["units"] <= joined["units_sold"]).all()
    np.testing.assert_allclose(
        joined["revenue"] / joined["units"], joined["revenue_sold"] / joined["units_sold"]
    )
    assert 0.02 < carded["units"].sum() / sales()["units"].sum() < 0.5


def test_a_basket_is_one_trip() -> None:
    trips = baskets().groupby("basket_id")[["customer_id", "store_id", "date", "channel"]].nunique()
    assert (trips == 1).all().all()
    assert not baskets().duplicated(["basket_id", "sku"]).any()
    assert set(baskets()["channel"]) == {"store", "online"}
    assert truth().lost_trips < 0.01 * len(trips)


def test_first_trip_is_on_the_day_the_customer_joined() -> None:
    first = baskets().groupby("customer_id")["date"].min()
    joined = market().customers.set_index("customer_id")["joined"].reindex(first.index)
    assert (first >= joined).all()
    assert (first == joined).mean() > 0.99


def huff_by_logit(
    trips: pd.DataFrame, known: SimulatedTruth, stores: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Conditional logit on trips between own stores, by damped Newton."""
    cells = build_city(0).cells
    home = cells["cell"].searchsorted(known.customers["cell"].reindex(trips["customer_id"]))
    chosen = np.zeros((len(cells), len(stores)))
    np.add.at(chosen, (home, pd.Index(stores["store_id"]).get_indexer(trips["store_id"])), 1)
    km = km_between(*(table[axis].to_numpy() for table in (cells, stores) for axis in ("lon", "lat")))
    size = np.broadcast_to(np.log(stores["size_m2"].to_numpy()), km.shape)
    terms = np.stack([size, np.log(np.maximum(km, known.huff["floor_km"]))], axis=-1)
    beta, total = np.array([1.0, -1.5]), chosen.sum(axis=1)
    for _ in range(30):
        share = np.exp(terms @ beta - (terms @ beta).max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        mean = np.einsum("ij,ijk->ik", share, terms)
        hessian = np.einsum("i,ij,ijk,ijl->kl", total, share, terms, terms) - np.einsum(
            "i,ik,il->kl", total, mean, mean
        )
        step = np.linalg.solve(hessian, np.einsum("ij,ijk->k", chosen - total[:, None] * share, terms))
        beta = beta + step * min(1.0, 0.3 / np.abs(step).max())
    return beta, np.sqrt(np.diag(np.linalg.inv(hessian)))


def test_huff_exponents_are_recovered_from_trips() -> None:
    trips = baskets().drop_duplicates("basket_id")
    beta, error = huff_by_logit(trips, truth(), market().stores)
    assert abs(beta[0] - truth().huff["size"]) < 4 * error[0]
    assert abs(beta[1] - truth().huff["distance"]) < 4 * error[1]
    assert error.max() < 0.05


def test_visits_are_bg_nbd() -> None:
    size = {"n_customers": 4_000, "weeks": 60}
    trips = baskets(**size).drop_duplicates("basket_id")
    by = trips.groupby("customer_id")["date"]
    repeats = by.size().to_numpy() - 1.0
    end = truth(**size).season.index[-1] + pd.Timedelta(days=7)
    recency = (by.max() - by.min()).dt.days.to_numpy() / 7
    span = (end - by.min()).dt.days.to_numpy() / 7

    def loss(log_params: np.ndarray) -> float:
        r, alpha, a, b = np.exp(log_params)
        common = gammaln(r + repeats) - gammaln(r) + r * np.log(alpha)
        beta = gammaln(a + b) + gammaln(b + repeats) - gammaln(b) - gammaln(a + b + repeats)
        alive = -(r + repeats) * np.log(alpha + span)
        lapsed = np.log(a) - np.log(b + np.maximum(repeats, 1) - 1) - (r + repeats) * np.log(alpha + recency)
        lapsed = np.where(repeats > 0, lapsed, -np.inf)
        return -(common + beta + np.logaddexp(alive, lapsed)).sum()

    known = np.log([truth(**size).loyalty[name] for name in ("r", "alpha", "a", "b")])
    best = minimize(loss, known, method="BFGS", options={"gtol": 0.05})
    assert 2 * (loss(known) - best.fun) < chi2.ppf(0.999, 4)


def test_money_per_trip_is_gamma_gamma_by_type() -> None:
    size = {"n_customers": 4_000, "weeks": 60}
    known = truth(**size)
    spent = baskets(**size).groupby(["customer_id", "basket_id"])["revenue"].sum()
    each = spent.groupby("customer_id").mean()
    kind = known.customers["type"].reindex(each.index)
    usual = known.spend["p"] * known.spend["gamma"] / (known.spend["q"] - 1)
    for name, index in known.spend["index"].items():
        own = each[kind == name]
        assert abs(own.mean() - index * usual) < 3 * own.std() / np.sqrt(len(own)) + 0.03 * usual, name


def test_contacts_keep_to_consent_and_answer_as_the_truth_says() -> None:
    contacts, known = market(n_customers=4_000, weeks=60).contacts, truth(n_customers=4_000, weeks=60)
    customers = market(n_customers=4_000, weeks=60).customers.set_index("customer_id")
    for channel in ("mail", "mobile", "email"):
        reached = contacts.loc[contacts["channel"] == channel, "customer_id"]
        assert customers.loc[reached, f"consent_{channel}"].all()
    kind = known.customers["type"].reindex(contacts["customer_id"]).to_numpy()
    cells = contacts.groupby([kind, "channel"])["responded"].agg(["sum", "size"])
    rate = np.array([known.channel_tastes.loc[kind, channel] for kind, channel in cells.index])
    z = (cells["sum"] - rate * cells["size"]) / np.sqrt(rate * (1 - rate) * cells["size"])
    assert (z**2).sum() < chi2.ppf(0.999, len(z))


def test_store_totals_are_the_sales_of_each_year() -> None:
    totals = market(weeks=60).store_totals
    own = totals[totals["store_id"].isin(market(weeks=60).stores["store_id"])]
    sold = sales(weeks=60)
    sold = sold.groupby(["store_id", sold["period"].dt.year])["revenue"].sum()
    np.testing.assert_allclose(own.set_index(["store_id", "year"])["revenue"], sold, atol=0.01)
    assert set(totals["store_id"]) == set(own["store_id"]) | set(market(weeks=60).competitors["store_id"])


# ------------------------------------------------------------------ bad arguments
@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ({"n_stores": 3}, r"n_stores = 3 is out of range.*4 to 2,000"),
        ({"n_skus": 40.5}, "n_skus = 40.5 is not a whole number"),
        ({"weeks": True}, "weeks = True is not a whole number"),
        ({"n_customers": 10}, "n_customers = 10 is out of range"),
        ({"seed": -1}, "seed = -1 is out of range"),
        ({"localisation": "weak"}, "localisation = 'weak' is not known.*'strong'"),
    ],
)
def test_bad_arguments_are_refused(argument: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        simulate_market(**{**SMALL, **argument})


def test_files_of_a_simulated_market_hold_the_same_market(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written store by store and read back, every table is the one made in memory."""
    size = {"n_customers": 800, "n_stores": 8, "n_skus": 60, "weeks": 20, "seed": 3}
    told: list[tuple[int, int]] = []
    plan = write_simulated_market(
        tmp_path / "city", **size, on_store=lambda done, of: told.append((done, of))
    )
    market, made = load_market(plan, today=dt.date(2024, 1, 1)), simulate_market(**size)
    assert told[-1] == (8, 8)
    for name in (
        "stores",
        "competitors",
        "products",
        "customers",
        "contacts",
        "store_totals",
        "travel",
        "points",
    ):
        read, known = getattr(market, name), getattr(made, name)
        shared = [column for column in known.columns if column in read.columns]
        assert set(known.columns) <= set(read.columns), name
        pd.testing.assert_frame_equal(read[shared], known[shared], check_dtype=False, obj=name)
    keys = ["store_id", "sku", "period"]
    pd.testing.assert_frame_equal(
        market.promotions.sort_values(keys, ignore_index=True)[made.promotions.columns],
        made.promotions.sort_values(keys, ignore_index=True),
        check_dtype=False,
    )
    for name, keys in (("sales", ["store_id", "sku", "period"]), ("baskets", ["basket_id", "sku"])):
        read, known = (getattr(m, name).order_by(keys).execute() for m in (market, made))
        pd.testing.assert_frame_equal(read, known[read.columns], check_dtype=False, obj=name)
    for read, known in zip(market.areas, made.areas):
        assert [v for v in read.variables if v.kind != "count"] == [
            v for v in known.variables if v.kind != "count"
        ]
        assert (read.population, read.vintage, read.name) == (known.population, known.vintage, known.name)
        figures = [variable.column for variable in known.variables]
        pd.testing.assert_frame_equal(
            pd.DataFrame(read.frame).set_index("area_id")[figures],
            pd.DataFrame(known.frame).set_index("area_id")[figures],
            check_dtype=False,
            check_index_type=False,
        )
    assert market.quarantine.empty
    demo, written = parse_settings(DEMO_SETTINGS["simulated"]), read_settings(plan)
    for section in ("assortment", "frontier", "promotions", "targeting"):
        assert getattr(written, section) == getattr(demo, section), section
    monkeypatch.setattr("geomarket.market.scratch.LARGE", 1)
    monkeypatch.setattr("geomarket.market.scratch.PART", 300)
    in_parts = load_market(plan, today=dt.date(2024, 1, 1))
    for name in ("sales", "baskets"):
        assert getattr(in_parts, name).to_pyarrow().equals(getattr(market, name).to_pyarrow())
