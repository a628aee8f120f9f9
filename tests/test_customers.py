"""Customers: value, segments, places and penetration."""

import numpy as np
import pandas as pd
import pytest

from geomarket.customers import (
    cumulative_segments,
    penetration,
    place_customers,
    quintiles,
    value_customers,
    wilson_interval,
)
from geomarket.errors import SettingsError, TableError
from geomarket.hexes.cells import cell_centres, points_to_cells
from geomarket.safeguards import audit_tables


def make_totals(n=200, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "customer_id": [f"c{i:04d}" for i in range(n)],
            "trips": rng.integers(1, 30, n),
            "first_date": pd.Timestamp("2023-01-01"),
            "last_date": pd.Timestamp("2023-06-01") + pd.to_timedelta(rng.integers(0, 200, n), unit="D"),
            "revenue": rng.lognormal(4, 1, n).round(2),
            "margin": rng.lognormal(3, 1, n).round(2),
            "units": 1.0,
        }
    )


def test_quintiles_share_ties_and_split_evenly():
    assert quintiles(pd.Series(np.arange(100))).value_counts().tolist() == [20] * 5
    assert quintiles(pd.Series([7.0] * 10)).nunique() == 1
    assert quintiles(pd.Series([7.0])).tolist() == [5]


def test_segments_hold_their_share_of_spending():
    totals = make_totals(2000)
    value = value_customers(totals)
    by = value.segments.set_index("segment")
    largest = totals["revenue"].max() / totals["revenue"].sum()
    assert 0.5 <= by.loc["heavy", "revenue_share"] <= 0.5 + largest
    assert 0.8 <= by.loc[["heavy", "medium"], "revenue_share"].sum() <= 0.8 + largest
    assert by["customers"].sum() == 2000
    spend = value.table.groupby("segment")["monetary"]
    assert spend.min()["heavy"] >= spend.max()["medium"] >= spend.min()["medium"] >= spend.max()["light"]


def test_equal_spend_is_never_split():
    assert cumulative_segments(pd.Series([10.0] * 7)).nunique() == 1
    assert cumulative_segments(pd.Series([40.0, 10, 10, 10, 10, 20])).tolist() == [
        "heavy",
        "medium",
        "medium",
        "medium",
        "medium",
        "heavy",
    ]


def test_customers_who_return_what_they_bought_are_light():
    totals = make_totals(10).assign(revenue=[100.0, 50, 20, 0, -5, 1, 1, 1, 1, 1])
    value = value_customers(totals)
    assert value.table["segment"].iloc[3:5].tolist() == ["light", "light"]
    assert any("2 customers returned" in line for line in value.summary())


def test_scores_do_not_hang_on_row_order_and_input_is_left_alone():
    totals = make_totals()
    copy = totals.copy()
    first = value_customers(totals, as_of="2024-01-01").table.sort_values("customer_id", ignore_index=True)
    pd.testing.assert_frame_equal(totals, copy)
    again = value_customers(totals.sample(frac=1, random_state=1), as_of="2024-01-01").table
    pd.testing.assert_frame_equal(first, again.sort_values("customer_id", ignore_index=True))
    assert first["recency"].min() == (pd.Timestamp("2024-01-01") - totals["last_date"].max()).days


def test_value_without_margins():
    assert value_customers(make_totals().drop(columns="margin")).table["margin"].isna().all()


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        (lambda t: t.drop(columns="trips"), {}, TableError, r"column\(s\) trips missing"),
        (lambda t: t.assign(customer_id="x"), {}, TableError, r"199 rows repeat a customer_id \(x"),
        (lambda t: t.head(0), {}, TableError, "no customers"),
        (lambda t: t, {"as_of": "2023-06-02"}, TableError, "shopped after as_of = 2023-06-02"),
        (lambda t: t, {"heavy_share": 0.8, "medium_share": 0.4}, SettingsError, "at most 1 together"),
    ],
)
def test_bad_totals_are_named(change, arguments, error, message):
    with pytest.raises(error, match=message):
        value_customers(change(make_totals()), **arguments)


def make_map(seed=0, n_customers=3000):
    rng = np.random.default_rng(seed)
    lon, lat = rng.uniform(5, 5.1, 4000), rng.uniform(52, 52.06, 4000)
    cells = np.unique(points_to_cells(lon, lat, 8))
    table = pd.DataFrame({"cell": cells, "population": rng.gamma(3, 300, len(cells)).round()})
    types = pd.DataFrame({"cell": cells, "neighbourhood": rng.choice(["A1", "A2", "B1"], len(cells))})
    types["name"] = types["neighbourhood"].map({"A1": "Old town", "A2": "Suburb", "B1": "Village"})
    pick = rng.integers(0, len(cells), n_customers)
    where = cell_centres(cells[pick])
    customers = pd.DataFrame(
        {"customer_id": [f"c{i:04d}" for i in range(n_customers)], "lon": where[0], "lat": where[1]}
    )
    return customers, table, types


def test_customers_are_placed_or_returned_with_the_reason():
    customers, cells, _ = make_map()
    customers.loc[0, "lon"] = np.nan
    customers.loc[1, "lat"] = 40.0
    placed = place_customers(customers, 8, cells["cell"])
    assert len(placed.table) == len(customers) - 2
    assert placed.table["cell"].dtype == np.int64
    assert placed.unplaced["reason"].tolist() == ["no coordinates", "outside the plan's area"]
    assert set(placed.table["cell"]) <= set(cells["cell"])
    assert len(placed.summary()) == 3
    with pytest.raises(TableError, match="repeat a customer_id"):
        place_customers(pd.concat([customers, customers]), 8)
    with pytest.raises(TableError, match=r"column\(s\) lon missing"):
        place_customers(customers.drop(columns="lon"), 8)


def test_penetration_counts_everyone_once():
    customers, cells, types = make_map()
    placed = place_customers(customers, 8).table
    value = value_customers(make_totals(3000)).table
    result = penetration(placed, cells, types, value)
    table = result.table.set_index("neighbourhood")
    assert table["customers"].sum() == 3000
    assert result.cells["customers"].sum() == 3000
    assert table["population"].sum() == cells["population"].sum()
    assert table["revenue"].sum() == pytest.approx(value["monetary"].sum())
    assert (table["low"] < table["penetration"]).all()
    assert (table["penetration"] < table["high"]).all()
    assert (table["population_share"] * table["index"]).sum() == pytest.approx(100)
    assert table.loc["A1", "name"] == "Old town"
    assert table["heavy"].sum() == (value["segment"] == "heavy").sum()
    assert result.unplaced == 0


def test_what_is_undefined_is_nan():
    customers, cells, types = make_map()
    placed = place_customers(customers, 8).table
    types.loc[types["neighbourhood"] == "B1", "neighbourhood"] = None
    cells["population"] = np.where(types["neighbourhood"] == "A1", 0.0, cells["population"])
    cells.loc[types["neighbourhood"] == "A2", "population"] *= 10
    result = penetration(placed, cells, types)
    table = result.table.set_index("neighbourhood")
    assert table.loc["A1", ["penetration", "low", "high", "index", "index_low"]].isna().all()
    assert table.loc["A2", "index"] == pytest.approx(100)
    assert table[["heavy_share", "revenue", "margin"]].isna().all().all()
    assert result.unplaced == placed["cell"].map(types.set_index("cell")["neighbourhood"]).isna().sum() > 0
    assert any("are in no type's count" in line for line in result.summary())
    assert any("More customers than people in A1" in line for line in result.summary())


def test_wilson_interval_knows_its_limits():
    low, high = wilson_interval([0, 10, 5, 1], [10, 10, 0, 0.5])
    assert low[0] == 0.0
    assert 0 < high[0] < 0.3
    assert high[1] == 1.0
    assert np.isnan([low[2], high[2], low[3], high[3]]).all()


def test_suppressed_penetration_shows_nothing_below_k():
    customers, cells, types = make_map(n_customers=700)
    placed = place_customers(customers, 8).table
    full = penetration(placed, cells, types, value_customers(make_totals(700)).table)
    assert full.cells["customers"].between(1, 9).any()
    shown = full.suppressed(k=10)
    for frame in (shown.cells, shown.table):
        assert not frame["customers"].between(1, 9).any()
        assert not frame["heavy"].between(1, 9).any()
        gone = frame["customers"].isna()
        assert frame.loc[gone, ["revenue", "margin", "penetration"]].isna().all().all()
    assert shown.k == 10
    assert full.k is None
    for code, rows in shown.cells.groupby("neighbourhood"):
        total = shown.table.set_index("neighbourhood").loc[code, "customers"]
        gone = rows["customers"].isna()
        if gone.any() and not np.isnan(total):
            assert gone.sum() >= 2
            assert total - rows["customers"].sum() >= 10


@pytest.mark.parametrize("n_customers", [300, 700, 3000])
def test_the_attacker_learns_nothing_from_suppressed_penetration(n_customers):
    customers, cells, types = make_map(n_customers=n_customers, seed=n_customers)
    placed = place_customers(customers, 8).table
    value = value_customers(make_totals(n_customers)).table
    shown = penetration(placed, cells, types, value).suppressed(k=10)
    tables = {
        "cells": shown.cells,
        "types": shown.table,
        "total": pd.DataFrame({"customers": [float(n_customers)]}),
    }
    keys = {"cells": ["cell"], "types": ["neighbourhood"], "total": []}
    told = ("revenue", "margin", "penetration")
    audit = audit_tables(
        tables, keys, k=10, dependent={"cells": told, "types": (*told, "index", "low", "high")}
    )
    assert audit.passed, audit.table
    heavy = {name: tables[name] for name in ("cells", "types")}
    audit = audit_tables(heavy, keys, "heavy", k=10, within="customers", dependent={"types": ["heavy_share"]})
    assert audit.passed, audit.table


def test_figures_draw():
    import matplotlib

    matplotlib.use("Agg")
    customers, cells, types = make_map()
    value = value_customers(make_totals(3000))
    result = penetration(place_customers(customers, 8).table, cells, types, value.table)
    assert result.plot().get_xlabel().startswith("Penetration index")
    assert value.plot().lines


def test_bad_tables_are_named():
    customers, cells, types = make_map()
    placed = place_customers(customers, 8).table
    with pytest.raises(TableError, match=r"cells: column\(s\) households missing"):
        penetration(placed, cells, types, base="households")
    with pytest.raises(TableError, match="neighbourhoods: 1 rows repeat a cell"):
        penetration(placed, cells, pd.concat([types, types.head(1)]))


def test_customers_nowhere_on_the_map_are_told_unless_they_are_few():
    customers, cells, types = make_map(n_customers=700)
    placed = place_customers(customers, 8).table
    full = penetration(placed, cells, types, outside=25)
    assert any(note.startswith("25 of 725 customers") for note in full.notes)
    shown = full.suppressed(k=10)
    assert shown.outside == 25
    assert len(shown.cells) == len(full.cells)
    few = penetration(placed, cells, types, outside=3).suppressed(k=10)
    assert few.outside is None
    assert not any("3 of 703" in note for note in few.notes)
    # everybody is known to be 703: somebody else must be hidden for the three
    assert few.table["customers"].isna().any() or few.unplaced is None
    with pytest.raises(SettingsError, match="already"):
        shown.suppressed(k=10)


def test_heavy_counts_are_hidden_also_where_somebody_has_no_basket():
    customers, cells, types = make_map(n_customers=700)
    placed = place_customers(customers, 8).table
    # nobody of one cell has a basket
    alone = placed["cell"].value_counts().index[-1]
    bought = placed.loc[placed["cell"] != alone, "customer_id"]
    totals = make_totals(700)
    value = value_customers(totals[totals["customer_id"].isin(bought)]).table
    full = penetration(placed, cells, types, value)
    assert full.cells["heavy"].notna().all()
    shown = full.suppressed(k=10)
    for frame in (shown.cells, shown.table):
        assert not frame["heavy"].between(1, 9).any()
