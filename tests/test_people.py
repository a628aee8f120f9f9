"""Customers in the plan: figures that are right, and none about few people."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import geomarket
from geomarket import engine
from geomarket.customers import lifetime_value, penetration, place_customers, value_customers
from geomarket.errors import NotSupportedError
from geomarket.hexes import build_hexes
from geomarket.market import parse_settings
from geomarket.neighbourhoods import classify
from geomarket.planning.dictionary_people import COLUMNS_OF_PEOPLE, MEANINGS_OF_PEOPLE
from geomarket.planning.people import describe_people, people_tables, try_people
from geomarket.report.customer_sheets import customer_sheets
from geomarket.report.customers import people_section
from geomarket.safeguards.published import GIVES_AWAY, PARTS, publishable_findings

K = 10


@pytest.fixture(scope="module")
def world():
    market = geomarket.simulate_market(n_customers=1_500, n_stores=10, n_skus=80, weeks=40, seed=4)
    hexes = build_hexes(market.areas, 8, market.points)
    types = classify(hexes, levels=(4, 2), random_state=0)
    return market, hexes, types


@pytest.fixture(scope="module")
def settings():
    return parse_settings(
        "[customers]\nhorizon_months = 6\n[targeting]\nchannels = ['mail', 'mobile', 'email']\n"
    )


@pytest.fixture(scope="module")
def shown(world):
    market, hexes, types = world
    placed = place_customers(market.customers, 8, hexes.table["cell"])
    value = value_customers(engine.customer_totals(market.baskets, market.products)).table
    full = penetration(placed.table, hexes.table, types.table, value, outside=len(placed.unplaced))
    return full.suppressed(K)


@pytest.fixture(scope="module")
def ranges(world):
    """Half of today's store and SKU pairs are to go."""
    market, _, _ = world
    pairs = engine.store_sku_periods(market.sales)[["store_id", "sku"]]
    going = pairs.assign(action=np.where(np.arange(len(pairs)) % 2 == 0, "delist", "keep"))

    @dataclasses.dataclass
    class Ranges:
        changes: pd.DataFrame

    return Ranges(going)


@pytest.fixture(scope="module")
def people(world, shown, ranges, settings):
    market, hexes, types = world
    return describe_people(market, hexes, types, shown, None, ranges, settings)


def test_nothing_is_left_out_of_a_full_market(people):
    assert people.skipped == {}
    assert set(people_tables(people)) == set(MEANINGS_OF_PEOPLE)
    assert people.measure == "margin"


def test_no_figure_is_about_few_people(people):
    for name, table in people_tables(people).items():
        for column in ("customers", *PARTS):
            if column in table:
                assert not table[column].between(1, K - 1).any(), (name, column)
        if "customers" in table:
            hidden = table["customers"].isna()
            for column in GIVES_AWAY:
                if column in table:
                    assert table.loc[hidden, column].isna().all(), (name, column)
            for part, ratios in PARTS.items():
                if part in table:
                    rest = table["customers"] - table[part]
                    assert not rest.between(1, K - 1).any(), (name, part)
                    for column in ratios:
                        if column in table:
                            assert table.loc[table[part].isna(), column].isna().all(), (name, column)


def test_every_column_of_its_tables_is_explained(people):
    for name, table in people_tables(people).items():
        common = {
            "customers",
            "customer_share",
            "neighbourhood",
            "category",
            "index_low",
            "index_high",
            "cell",
        }
        assert set(table.columns) <= set(COLUMNS_OF_PEOPLE[name]) | common, name


def test_segments_and_tenths_hold_everybody_once(world, people):
    market, _, _ = world
    totals = engine.customer_totals(market.baskets, market.products)
    assert people.segments["customers"].sum() == people.deciles["customers"].sum() == people.with_baskets
    assert people.segments["revenue"].sum() == pytest.approx(totals["revenue"].sum())
    value = lifetime_value(totals, horizon_months=6, n_draws=10)
    whole = people.lifetime.set_index("measure").loc["lifetime_value"]
    assert whole["expected"] == pytest.approx(value.table["lifetime_value"].sum())
    assert people.deciles["value"].sum() == pytest.approx(whole["expected"])


def test_only_customers_with_consent_are_counted_as_contacts(world, people):
    market, _, _ = world
    known = market.customers[
        market.customers["customer_id"].isin(
            engine.customer_totals(market.baskets, market.products)["customer_id"]
        )
    ]
    by = people.worth.groupby("channel")["customers"].sum(min_count=2)
    for channel in ("mail", "mobile", "email"):
        agreed = int(known[f"consent_{channel}"].astype(bool).sum())
        assert np.isnan(by[channel]) or by[channel] == agreed
    assert by.notna().any()
    idle = people.worth[people.worth["contact"] == "not worth it"].dropna()
    assert (idle["saved"] > 0).all()
    assert idle["saved"].to_numpy() == pytest.approx(
        (idle["cost"] * idle["customers"] - idle["gain"]).to_numpy()
    )


def test_who_is_hit_by_the_ranges_is_counted_from_the_baskets(world, people, ranges):
    """The same count by hand, from the lines themselves."""
    market, _, _ = world
    lines = market.baskets.to_pandas().merge(market.products[["sku", "category"]], on="sku")
    lines["revenue"] = lines["revenue"].astype(float)
    from geomarket.customers import relationship_value

    flags = relationship_value(engine.customer_category(market.baskets, market.products)).flags
    gone = ranges.changes.query("action == 'delist'").assign(gone=True)[["store_id", "sku", "gone"]]
    mine = lines.merge(flags, on=["customer_id", "category"]).merge(gone, on=["store_id", "sku"], how="left")
    mine["lost"] = mine["revenue"].where(mine["gone"].notna(), 0.0)
    sums = mine.groupby(["category", "customer_id"])[["revenue", "lost"]].sum()
    hit = (sums["lost"] >= 0.5 * sums["revenue"]) & (sums["lost"] > 0)
    counted = hit.groupby("category").sum()
    table = people.relationship.set_index("category")
    told = table["hit"].dropna()
    assert len(told) > 0
    assert told.to_dict() == counted[told.index].astype(float).to_dict()
    flagged = flags.groupby("category").size()
    assert (table["flagged"].dropna() == flagged[table["flagged"].dropna().index]).all()


def test_quadrants_are_of_shown_types_and_agree_with_penetration(people, shown):
    everybody = people.quadrants[people.quadrants["category"] == "all"].set_index("neighbourhood")
    expected = shown.table.set_index("neighbourhood")
    pd.testing.assert_series_equal(everybody["customers"], expected["customers"], check_names=False)
    hidden = expected.index[expected["customers"].isna()]
    rest = people.quadrants[people.quadrants["neighbourhood"].isin(hidden)]
    assert rest["customers"].isna().all()
    assert rest["quadrant"].isna().all()
    sure = people.quadrants.dropna(subset=["quadrant"])
    above = sure["quadrant"].isin(["core", "niche"])
    assert (sure.loc[above, "index"] >= 100).all()
    assert (sure.loc[~above, "index"] < 100).all()


def test_scores_are_hidden_with_the_counts_they_are_near(people, shown, world):
    _, _, types = world
    told = shown.table.dropna(subset=["customers", "heavy"])["neighbourhood"]
    kind = types.table.set_index("cell")["neighbourhood"].reindex(people.prospects["cell"])
    scored = people.prospects["score"].notna().to_numpy()
    assert kind[scored].isin(told).all()
    assert scored.any()


def test_shares_of_channels_add_up(people):
    sums = people.channels.groupby("neighbourhood")["preference"].sum()
    assert sums.to_numpy() == pytest.approx(1.0)


def test_what_is_not_given_is_left_out_with_a_reason(world, shown, settings):
    market, hexes, types = world
    skipped: dict[str, str] = {}
    without = dataclasses.replace(market, baskets=None)
    assert try_people(without, hexes, types, shown, None, None, settings, skipped) is None
    assert "baskets" in skipped["customer value"]
    assert try_people(market, hexes, types, None, None, None, settings, {}) is None
    with pytest.raises(NotSupportedError, match="customers"):
        describe_people(
            dataclasses.replace(market, customers=None), hexes, types, shown, None, None, settings
        )
    plain = market.customers[["customer_id", "lon", "lat"]]
    off = parse_settings("[customers]\nprospects = false\nassociations = false\n")
    found = describe_people(
        dataclasses.replace(market, customers=plain, contacts=None), hexes, types, shown, None, None, off
    )
    assert set(found.skipped) == {"who is worth contacting", "consent"}
    assert found.prospects.empty
    assert found.associations.empty
    assert found.response.empty
    assert (found.relationship["hit"].fillna(0) == 0).all()


def test_few_customers_without_a_basket_are_no_difference_of_totals(world, shown, settings):
    market, hexes, types = world
    totals = engine.customer_totals(market.baskets, market.products)
    known = market.customers[market.customers["customer_id"].isin(totals["customer_id"])]
    idle = known.head(3).assign(customer_id=["idle 1", "idle 2", "idle 3"])
    more = dataclasses.replace(market, customers=pd.concat([known, idle], ignore_index=True))
    off = parse_settings("[customers]\nprospects = false\nassociations = false\n")
    found = describe_people(more, hexes, types, shown, None, None, off)
    assert found.with_baskets == len(known) + 3
    assert found.segments["customers"].sum() == len(known) + 3
    assert any("without a basket" in note for note in found.notes)


def test_it_says_what_it_found_and_draws(people):
    text = " ".join(people.summary())
    for words in (
        "heavy",
        "expected to bring",
        "foretold",
        "not worth a contact",
        "Small here",
        "go together",
    ):
        assert words in text
    assert "[" not in text
    people.plot().figure.clear()


def test_the_report_and_the_workbook_show_it(world, people):
    market, _, types = world

    @dataclasses.dataclass
    class Stub:
        market: object
        neighbourhoods: object
        people: object

    plan = Stub(market, types, people)
    section = people_section(plan)
    for part in (
        "value",
        "calibration",
        "quadrants",
        "channels",
        "consent",
        "worth",
        "answers",
        "relationship",
    ):
        assert section[part] is not None, part
    assert "<svg" in section["quadrants"]["narrow"]
    sheets = customer_sheets(plan)
    assert len(sheets) == 8
    for sheet in sheets:
        assert len(sheet.shown) == len(sheet.fields), sheet.name
        assert len(sheet.name) <= 31
    assert people_section(Stub(market, types, None)) is None
    assert customer_sheets(Stub(market, types, None)) == []


def test_findings_about_people_tell_no_line_and_no_small_number():
    quality = pd.DataFrame(
        {
            "table": ["customers", "baskets", "stores"],
            "column": ["lon", "sku", "lon"],
            "check": ["no number", "unknown", "no number"],
            "rows": [3, 40, 2],
            "of_rows": [100, 900, 12],
            "action": "set aside",
            "message": [
                "customers: 3 of 100 rows (C7)",
                "baskets: 40 of 900 rows (x)",
                "stores: 2 of 12 (S1)",
            ],
        }
    )
    lines = pd.DataFrame(
        {
            "table": ["customers", "customers", "stores"],
            "row": pd.array([7, 9, 1], dtype="Int64"),
            "column": "lon",
            "value": ["C7", "C9", "S1"],
            "reason": "no number",
        }
    )
    told, left = publishable_findings(quality, lines)
    assert np.isnan(told["rows"].iloc[0])
    assert told["rows"].iloc[1:].tolist() == [40, 2]
    assert "C7" not in told["message"].iloc[0]
    assert told["message"].iloc[2] == "stores: 2 of 12 (S1)"
    assert len(left) == 2
    assert "C7" not in left["value"].tolist()
    assert left.loc[left["table"] == "stores", "value"].tolist() == ["S1"]
