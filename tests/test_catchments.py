"""Catchments: distances, coding of attributes, the whole stage, and what bad input says."""

import numpy as np
import pandas as pd
import pytest

from geomarket.catchments import Huff, distance_pairs, evaluate, great_circle_km, map_catchments, trade_areas
from geomarket.catchments.attraction import AttractionEncoder
from geomarket.errors import NotSupportedError, SettingsError, TableError


def make_world(n_cells=150, n_own=8, n_rivals=12, seed=0):
    rng = np.random.default_rng(seed)
    side = 0.4
    cells = pd.DataFrame(
        {
            "cell": np.arange(1000, 1000 + n_cells),
            "lon": rng.uniform(0, side, n_cells),
            "lat": rng.uniform(50, 50 + side, n_cells),
            "population": rng.gamma(1.5, 300, n_cells),
        }
    )

    def shops(n, prefix):
        return pd.DataFrame(
            {
                "store_id": [f"{prefix}{i}" for i in range(n)],
                "name": "shop",
                "lon": rng.uniform(0, side, n),
                "lat": rng.uniform(50, 50 + side, n),
                "chain": "ours" if prefix == "S" else "theirs",
                "format": rng.choice(["super", "city"], n),
                "size_m2": np.exp(rng.normal(7, 0.5, n)),
            }
        )

    return cells, shops(n_own, "S"), shops(n_rivals, "R")


def make_flows(cells, stores, rivals, seed=0, trips=60):
    rng = np.random.default_rng(seed)
    everyone = pd.concat([stores, rivals], ignore_index=True)
    model = Huff(("log_size",)).fix(everyone, {"log_size": 0.7, "log_km": -1.5})
    shares = model.predict(distance_pairs(cells, everyone), everyone)
    return shares.assign(trips=rng.poisson(trips * shares["probability"])).query("trips > 0")


def test_great_circle_agrees_with_known_distances():
    # Amsterdam to Paris, and a quarter of the meridian
    assert great_circle_km(4.8952, 52.3702, 2.3522, 48.8566) == pytest.approx(430, abs=2)
    assert great_circle_km(0, 0, 0, 90) == pytest.approx(np.pi / 2 * 6371.0088)


def test_pairs_are_the_true_nearest_across_the_date_line():
    cells = pd.DataFrame({"cell": [1], "lon": [179.95], "lat": [10.0]})
    stores = pd.DataFrame({"store_id": ["east", "west"], "lon": [-179.99, 179.5], "lat": [10.0, 10.0]})
    pairs = distance_pairs(cells, stores, k_nearest=1)
    assert pairs["store_id"].tolist() == ["east"]
    assert pairs["km"].iloc[0] == pytest.approx(great_circle_km(179.95, 10, 180.01, 10))


def test_pairs_match_brute_force_and_do_not_hang_on_row_order():
    cells, own, rivals = make_world()
    stores = pd.concat([own, rivals], ignore_index=True)
    pairs = distance_pairs(cells, stores, k_nearest=5)
    full = great_circle_km(
        cells["lon"].to_numpy()[:, None], cells["lat"].to_numpy()[:, None], stores["lon"], stores["lat"]
    )
    brute = np.sort(np.maximum(full, 0.5), axis=1)[:, :5]
    assert np.allclose(pairs["km"].to_numpy().reshape(-1, 5), brute)
    shuffled = distance_pairs(cells, stores.sample(frac=1, random_state=1), k_nearest=5)
    pd.testing.assert_frame_equal(pairs, shuffled)


def test_distances_are_floored_and_reach_can_be_limited():
    cells = pd.DataFrame({"cell": [1, 2], "lon": [0.0, 1.0], "lat": [0.0, 0.0]})
    stores = pd.DataFrame({"store_id": ["A"], "lon": [0.0], "lat": [0.0]})
    assert distance_pairs(cells, stores, floor_km=0.7)["km"].iloc[0] == 0.7
    assert distance_pairs(cells, stores, max_km=50)["cell"].tolist() == [1]
    with pytest.raises(SettingsError, match="no store is that near"):
        distance_pairs(cells.tail(1), stores, max_km=1)


def test_travel_times_are_used_and_gaps_filled_by_the_pace_of_their_band():
    cells = pd.DataFrame({"cell": [1, 2], "lon": [0.0, 0.01], "lat": [0.0, 0.0]})
    stores = pd.DataFrame({"store_id": ["A", "B"], "lon": [0.005, 0.013], "lat": [0.0, 0.0]})
    travel = pd.DataFrame({"store_id": ["A", "B"], "cell": [1, 2], "minutes": [0.2, 3.0]})
    pairs = distance_pairs(cells, stores, travel=travel).set_index(["cell", "store_id"])
    assert pairs.loc[(1, "A"), "minutes"] == 1.0
    assert not pairs.loc[(2, "B"), "minutes_estimated"]
    assert pairs["minutes_estimated"].sum() == 2
    assert pairs["minutes"].notna().all()
    with pytest.raises(TableError, match="none of its 1 rows"):
        distance_pairs(cells, stores, travel=travel.assign(cell=99).head(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.drop(columns="lon"), r"stores: column\(s\) lon missing"),
        (lambda s: s.assign(lon=np.nan), r"stores: 8 of 8 rows have lon/lat missing"),
        (lambda s: s.assign(store_id="X"), r"stores: 7 of 8 rows repeat a store_id \(X"),
        (lambda s: s.head(0), "stores: no rows"),
    ],
)
def test_stores_that_cannot_be_placed_are_named(change, message):
    cells, own, _ = make_world()
    with pytest.raises(TableError, match=message):
        distance_pairs(cells, change(own))


def test_attributes_are_coded_once_for_all_stores():
    stores = pd.DataFrame(
        {
            "store_id": list("abcdefg"),
            "size_m2": [100.0, 200.0, np.nan, 400.0, 500.0, 600.0, 700.0],
            "format": ["x", "x", "x", "y", "y", "z", None],
            "parking": [True, False, True, False, True, True, False],
        }
    )
    encoder = AttractionEncoder(["log_size_m2", "format", "parking"], min_stores=2).fit(stores)
    assert encoder.terms_ == [
        "log_size_m2",
        "log_size_m2 unknown",
        "format=y",
        "format=(other)",
        "parking",
    ]
    coded = encoder.transform(stores)
    known = np.log([100, 200, 400, 500, 600, 700]).mean()
    assert coded[2, :2].tolist() == [known, 1.0]
    # a rare level, a missing one and one never seen are all "(other)"
    new = encoder.transform(stores.tail(1).assign(format="never seen"))
    assert coded[5, 3] == coded[6, 3] == new[0, 3] == 1.0


def test_attributes_that_do_not_exist_or_have_no_logarithm_are_named():
    stores = pd.DataFrame({"store_id": ["a", "b"], "size_m2": [0.0, 10.0]})
    with pytest.raises(TableError, match="no column 'sise'"):
        AttractionEncoder(["sise"]).fit(stores)
    with pytest.raises(TableError, match=r"1 of 2 rows have size_m2 at or below 0 \(a\)"):
        AttractionEncoder(["log_size"]).fit(stores)


def test_what_the_data_cannot_tell_is_nan_and_said():
    cells, own, rivals = make_world()
    flows = make_flows(cells, own, rivals)
    everyone = pd.concat([own.assign(own=True), rivals.assign(own=False)], ignore_index=True)
    pairs = distance_pairs(cells, own)
    fit = Huff(("log_size", "own")).fit(pairs, everyone, flows[flows["store_id"].isin(own["store_id"])])
    params = fit.params_.set_index("term")
    assert np.isnan(params.loc["own", "estimate"])
    assert params.loc["log_size", "estimate"] > 0
    assert any("own" in note for note in fit.notes_)
    twice = Huff(("log_size", "log_size_m2")).fit(pairs, own, flows[flows["store_id"].isin(own["store_id"])])
    assert twice.params_["estimate"].isna().tolist() == [False, True, False]


def test_row_order_does_not_change_a_fit():
    cells, own, rivals = make_world()
    everyone = pd.concat([own, rivals], ignore_index=True)
    flows = make_flows(cells, own, rivals)
    pairs = distance_pairs(cells, everyone)
    first = Huff(("log_size", "format"), min_stores=1).fit(pairs, everyone, flows)
    again = Huff(("log_size", "format"), min_stores=1).fit(
        pairs.sample(frac=1, random_state=1),
        everyone.sample(frac=1, random_state=2).reset_index(drop=True),
        flows.sample(frac=1, random_state=3),
    )
    assert np.allclose(first.params_.drop(columns="term"), again.params_.drop(columns="term"), rtol=1e-8)
    shares = again.predict(pairs.sample(frac=1, random_state=4), everyone).sort_index()
    assert np.allclose(shares["probability"], first.predict(pairs, everyone)["probability"], rtol=1e-8)


def test_flows_that_cannot_be_used_are_named():
    cells, own, _ = make_world()
    pairs = distance_pairs(cells, own)
    flows = pd.DataFrame({"cell": [1000], "store_id": ["S0"], "trips": [-1.0]})
    with pytest.raises(TableError, match="1 of 1 rows have trips negative or missing"):
        Huff().fit(pairs, own, flows)
    with pytest.raises(TableError, match=r"flows: column\(s\) trips missing"):
        Huff().fit(pairs, own, flows.drop(columns="trips"))
    with pytest.raises(NotSupportedError, match="at least two stores to choose from"):
        Huff().fit(pairs.head(1), own, flows.assign(trips=3.0))
    with pytest.raises(SettingsError, match="decay 'sudden'"):
        Huff(decay="sudden").fit(pairs, own, flows.assign(trips=1.0))
    with pytest.raises(TableError, match=r"store_id not in stores \(S1"):
        Huff().fit(pairs, own.head(1), flows.assign(trips=1.0))


def test_a_column_that_separates_visited_from_unvisited_stores_is_an_error():
    cells, own, rivals = make_world()
    flows = make_flows(cells, own, rivals)
    everyone = pd.concat([own.assign(own=1), rivals.assign(own=0)], ignore_index=True)
    only_own = flows[flows["store_id"].isin(own["store_id"])]
    with pytest.raises(NotSupportedError, match="separates"):
        Huff(("own",)).fit(distance_pairs(cells, everyone), everyone, only_own)


def test_lost_flows_are_counted():
    cells, own, rivals = make_world()
    flows = make_flows(cells, own, rivals)
    everyone = pd.concat([own, rivals], ignore_index=True)
    fit = Huff().fit(distance_pairs(cells, everyone, k_nearest=3), everyone, flows)
    assert any("outside the cell's choice set" in note for note in fit.notes_)


def check_identities(result, cells, own):
    table = result.table
    assert np.allclose(table.groupby("cell")["probability"].sum(), 1.0)
    market = result.cells.set_index("cell")["market"]
    assert table["demand"].sum() == pytest.approx(market.sum())
    served = table[table["own"]].groupby("cell")["demand"].sum()
    assert np.allclose(
        result.cells["whitespace"], market.to_numpy() - served.reindex(market.index, fill_value=0)
    )
    assert result.cells["cell"].tolist() == cells["cell"].tolist()
    assert set(result.areas["store_id"]) <= set(own["store_id"])
    assert result.summary()


def test_the_stage_from_flows():
    cells, own, rivals = make_world()
    flows = make_flows(cells, own, rivals)
    own_flows = flows[flows["store_id"].isin(own["store_id"])]
    types = pd.DataFrame({"cell": cells["cell"], "neighbourhood": np.where(cells.index % 3, "A1", None)})
    types.loc[types.index % 2 == 0, "neighbourhood"] = "B1"
    before = cells.copy(), own.copy(), own_flows.copy()
    result = map_catchments(cells, own, rivals, flows=own_flows, neighbourhoods=types)
    for frame, copy in zip((cells, own, own_flows), before):
        pd.testing.assert_frame_equal(frame, copy)
    check_identities(result, cells, own)
    assert result.source == "flows"
    assert result.unit == "trips"
    # known customers' trips in all are what own stores are expected to draw
    assert result.table.loc[result.table["own"], "demand"].sum() == pytest.approx(own_flows["trips"].sum())
    assert np.allclose(result.profile.groupby("store_id")["share"].sum(), 1.0)
    assert len(result.profile) == len(own) * 2
    assert any("competitor is taken to draw" in note for note in result.notes)
    scores = result.comparison.query("sample == 'out'").set_index("model")["pseudo_r2"]
    assert scores["huff"] > scores["size_only"] > scores["uniform"] == 0.0
    assert "nearest" in scores.index
    assert np.isnan(scores["nearest"])
    again = map_catchments(cells, own, rivals, flows=own_flows, neighbourhoods=types)
    pd.testing.assert_frame_equal(result.table, again.table)
    pd.testing.assert_frame_equal(result.comparison, again.comparison)


def test_textbook_exponents_worse_than_uniform_are_reported():
    cells, own, rivals = make_world()
    everyone = pd.concat([own, rivals], ignore_index=True)
    model = Huff(("log_size",)).fix(everyone, {"log_size": -0.5, "log_km": 0.1})
    shares = model.predict(distance_pairs(cells, everyone), everyone)
    flows = shares.assign(trips=np.random.default_rng(0).poisson(50 * shares["probability"]))
    result = map_catchments(cells, own, rivals, flows=flows, attraction=("log_size",))
    assert any("Textbook exponents would have been worse" in line for line in result.summary())


def test_the_stage_from_totals():
    cells, own, rivals = make_world(400, 10, 30)
    rng = np.random.default_rng(5)
    everyone = pd.concat([own, rivals], ignore_index=True)
    model = Huff(("log_size", "chain")).fix(everyone, {"log_size": 0.9, "chain=ours": 0.4, "log_km": -1.5})
    shares = model.predict(distance_pairs(cells, everyone), everyone)
    population = cells.set_index("cell")["population"]
    drawn = (shares["probability"] * shares["cell"].map(population)).groupby(shares["store_id"]).sum() * 20
    years = [
        pd.DataFrame(
            {"store_id": drawn.index, "year": y, "revenue": drawn * rng.lognormal(0, 0.1, len(drawn))}
        )
        for y in (2020, 2021)
    ]
    totals = pd.concat([*years, pd.DataFrame({"store_id": ["gone"], "year": [2020], "revenue": [1.0]})])
    result = map_catchments(cells, own, rivals, totals=totals)
    check_identities(result, cells, own)
    assert result.source == "totals"
    assert result.unit == "revenue"
    assert set(result.comparison["test"]) == {"fit year", "other year", "stores held out"}
    out = result.comparison.query("test == 'stores held out'").set_index("model")["r2_log"]
    assert out["huff"] > out["size_only"] > out["uniform"]
    assert set(result.by_format["format"]) == {"super", "city"}
    assert any("not to known customers" in note for note in result.notes)
    assert any("not on the map" in note for note in result.notes)
    assert any("Fitted to 2020, judged on 2021" in note for note in result.notes)
    in_2020 = totals[(totals["year"] == 2020) & (totals["store_id"] != "gone")]["revenue"].sum()
    assert result.table["demand"].sum() == pytest.approx(in_2020)
    with pytest.raises(SettingsError, match="totals hold the years 2020, 2021"):
        map_catchments(cells, own, rivals, totals=totals, fit_year=1999)


def test_flows_and_totals_together_set_own_against_competitors():
    cells, own, rivals = make_world(300, 10, 14)
    everyone = pd.concat([own.assign(own=True), rivals.assign(own=False)], ignore_index=True)
    truth = {"log_size": 0.7, "own": 0.9, "log_km": -1.5}
    shares = Huff(("log_size", "own")).fix(everyone, truth)
    shares = shares.predict(distance_pairs(cells, everyone), everyone)
    population = cells.set_index("cell")["population"]
    drawn = shares["probability"] * shares["cell"].map(population)
    flows = shares.assign(trips=drawn)[shares["store_id"].isin(own["store_id"])]
    totals = drawn.groupby(shares["store_id"]).sum().rename("revenue").reset_index()
    result = map_catchments(cells, own, rivals, flows=flows, totals=totals, attraction=("log_size", "own"))
    estimate = result.params.set_index("term")["estimate"]
    assert {term: pytest.approx(estimate[term], abs=1e-6) for term in truth} == truth
    assert not any("as the reference level" in note for note in result.notes)
    assert any("Own stores draw 2.46 times" in note for note in result.notes)


def test_the_stage_without_flows_or_totals_says_it_fitted_nothing():
    cells, own, rivals = make_world()
    result = map_catchments(cells, own, rivals)
    check_identities(result, cells, own)
    assert result.source == "given"
    assert result.comparison.empty
    assert result.unit == "people"
    assert any("textbook exponents" in line for line in result.summary())
    with pytest.raises(SettingsError, match="nothing to compare"):
        result.plot()
    given = map_catchments(cells, own, attraction=("log_size",), parameters={"log_size": 0.5, "log_km": -1.0})
    assert given.params["estimate"].tolist() == [0.5, -1.0]
    assert np.allclose(given.cells["own_share"], 1.0)


def test_travel_times_are_used_where_they_tell_more():
    cells, own, rivals = make_world()
    rng = np.random.default_rng(2)
    everyone = pd.concat([own, rivals], ignore_index=True)
    pairs = distance_pairs(cells, everyone)
    travel = pairs.assign(minutes=2 * pairs["km"] * rng.lognormal(0, 0.7, len(pairs)))[
        ["cell", "store_id", "minutes"]
    ]
    with_times = distance_pairs(cells, everyone, travel=travel)
    for truth, measure in (({"log_minutes": -1.5}, "minutes"), ({"log_km": -1.5}, "km")):
        model = Huff((), distance=measure).fix(everyone, truth)
        shares = model.predict(with_times, everyone)
        flows = shares.assign(trips=rng.poisson(80 * shares["probability"]))
        result = map_catchments(cells, own, rivals, flows=flows, travel=travel)
        assert result.model.distance == measure
        assert any("so they are used" in n or "so it is used" in n for n in result.notes)
        asked = map_catchments(cells, own, rivals, flows=flows, travel=travel, distance="minutes")
        assert asked.model.distance == "minutes"
    with pytest.raises(SettingsError, match="needs a travel table"):
        map_catchments(cells, own, rivals, distance="minutes")


def test_all_stores_are_in_reach_unless_they_are_too_many():
    cells, own, rivals = make_world(50, 20, 30)
    assert len(map_catchments(cells, own, rivals).table) == 50 * 50
    assert len(map_catchments(cells, own, rivals, k_nearest=4).table) == 50 * 4


@pytest.mark.parametrize("outside_share", [0.0, 0.2])
def test_a_country_in_pieces_is_the_same_as_in_one(outside_share):
    cells, own, rivals = make_world()
    everyone = pd.concat([own.assign(own=True), rivals.assign(own=False)], ignore_index=True)
    pairs = distance_pairs(cells, everyone, k_nearest=6)
    population = cells.set_index("cell")["population"]
    model = Huff(("log_size",), outside_share=outside_share).fix(
        everyone, {"log_size": 0.7, "distance": -1.5}
    )
    model.set_outside(pairs, everyone, population)
    shares = model.predict(pairs, everyone)
    volume = (shares["probability"] * shares["cell"].map(population)).groupby(shares["store_id"]).sum()
    result = evaluate(model, cells, everyone, k_nearest=6, chunk_cells=40)
    assert np.allclose(
        result.stores.set_index("store_id")["volume"], volume.reindex(result.stores["store_id"])
    )
    mine = shares[shares["store_id"].isin(own["store_id"])].groupby("cell")["probability"].sum()
    assert np.allclose(result.cells["own_share"], result.cells["cell"].map(mine).fillna(0.0))
    assert (result.cells["nearest_km"] >= 0).all()
    with pytest.raises(SettingsError, match="runs on minutes"):
        evaluate(Huff(distance="minutes").fix(everyone, {}), cells, everyone)
    with pytest.raises(TableError, match="population is missing"):
        evaluate(model, cells.drop(columns="population"), everyone)


def test_stores_of_unknown_size_still_draw():
    cells, own, rivals = make_world()
    flows = make_flows(cells, own, rivals)
    own_flows = flows[flows["store_id"].isin(own["store_id"])]
    result = map_catchments(cells, own, rivals.drop(columns="size_m2"), flows=own_flows)
    assert "log_size_m2" not in set(result.params["term"])
    some = rivals.assign(size_m2=rivals["size_m2"].where(rivals.index > 2))
    result = map_catchments(cells, own, some, flows=own_flows)
    assert result.params.set_index("term").loc["log_size_m2 unknown", "estimate"] is not None
    assert result.table["probability"].notna().all()


def test_unknown_population_stays_unknown():
    cells, own, rivals = make_world()
    cells.loc[0, "population"] = np.nan
    result = map_catchments(cells, own, rivals)
    assert np.isnan(result.cells.loc[0, "market"])
    assert np.isnan(result.cells.loc[0, "whitespace"])
    assert result.cells.loc[0, "own_share"] > 0


def test_a_store_cannot_be_own_and_competitor():
    cells, own, rivals = make_world()
    with pytest.raises(TableError, match=r"1 store_id also stand in stores \(S0\)"):
        map_catchments(cells, own, pd.concat([rivals, own.head(1)]))


def test_flows_to_unknown_stores_are_named():
    cells, own, rivals = make_world()
    flows = pd.DataFrame({"cell": [1000], "store_id": ["nowhere"], "trips": [1]})
    with pytest.raises(TableError, match=r"store_id not in stores or competitors \(nowhere\)"):
        map_catchments(cells, own, rivals, flows=flows)


def test_trade_areas_are_the_smallest_that_hold_the_bands():
    rng = np.random.default_rng(0)
    demand = pd.DataFrame(
        {
            "cell": np.tile(np.arange(40), 3),
            "store_id": np.repeat(list("abc"), 40),
            "demand": rng.exponential(1, 120),
        }
    )
    areas = trade_areas(demand)
    for store, rows in areas.groupby("store_id"):
        ordered = demand[demand["store_id"] == store]["demand"].sort_values(ascending=False).to_numpy()
        held = ordered.cumsum() / ordered.sum()
        for band in (0.5, 0.7, 0.9):
            inside = rows[rows["band"] <= band]
            assert inside["share"].sum() >= band
            assert len(inside) == 1 + int((held < band).sum())
    with pytest.raises(SettingsError, match="ascending shares"):
        trade_areas(demand, bands=(0.7, 0.5))
    with pytest.raises(TableError, match=r"column\(s\) trips missing"):
        trade_areas(demand, "trips")


def test_the_figure_shows_every_model():
    import matplotlib

    matplotlib.use("Agg")
    cells, own, rivals = make_world()
    result = map_catchments(cells, own, rivals, flows=make_flows(cells, own, rivals))
    axes = result.plot()
    assert len(axes.patches) == 5
    assert result._repr_html_().startswith("<h4>Catchments")
