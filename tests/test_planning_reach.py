"""What-ifs, targeting, campaign files and fairness in a whole plan, and how they are shown."""

import dataclasses
import io
import json

import geopandas as gpd
import numpy as np
import openpyxl
import pandas as pd
import pytest
import shapely
from market_files import aside, load, write_market

from geomarket.catchments import what_if
from geomarket.catchments.comparison import comparison_sentences, comparison_warnings
from geomarket.errors import NotSupportedError, SettingsError
from geomarket.hexes import cells_from_strings
from geomarket.market import parse_settings
from geomarket.market.model import Variable
from geomarket.planning import run_plan
from geomarket.planning.campaigns import campaign_files, door_drop_list, store_prices, write_campaigns
from geomarket.planning.catchment_details import CatchmentDetails, _edges_with_people
from geomarket.planning.dictionary import table_dictionary
from geomarket.planning.fairness import _by_cell, deprivation_variable, find_fairness
from geomarket.planning.outputs import plan_tables, write_outputs
from geomarket.planning.targeting import left_out_by_rules
from geomarket.planning.whatifs import find_what_ifs
from geomarket.report import render_report, write_workbook
from geomarket.report.catchments import _store_table
from geomarket.safeguards import exposure_ratio
from geomarket.safeguards.protected import refuse_protected
from geomarket.simulate import simulate_market

SETTINGS = """
[plan]
name = "Reach"

[store_clusters]
n_clusters = 3
max_clusters = 3

[catchments]
outside_share = 0.1

[[catchments.what_if]]
name = "<b>Station</b>"
open = [{ name = "Station", lon = 1.31, lat = 46.74, size_m2 = 1200, format = "supermarket" }]

[[catchments.what_if]]
name = "Swap"
close = ["H002"]
resize = [{ store_id = "H003", size_m2 = 2000 }]

[[catchments.what_if]]
name = "Rival"
open = [{ name = "New rival", lon = 1.3, lat = 46.75, size_m2 = 1500, format = "supermarket", own = false }]

[targeting]
cost_per_door = 0.0001
door_drop_budget = 40.0
max_drops_per_hexagon = 3
contact_lists = ["mobile"]
leaflet_lift = 0.3
"""


def sites():
    return pd.DataFrame(
        {
            "store_id": ["S1", "S2"],
            "name": ["Docks", "Ring road"],
            "lon": [1.35, 1.2],
            "lat": [46.70, 46.78],
            "size_m2": [600.0, 2000.0],
            "format": ["convenience", "supermarket"],
        }
    )


@pytest.fixture(scope="module")
def plan():
    market = simulate_market(n_customers=1_500, n_stores=10, n_skus=60, weeks=40, seed=3)
    return run_plan(dataclasses.replace(market, sites=sites()), parse_settings(SETTINGS))


@pytest.fixture(scope="module")
def page(plan):
    return render_report(plan)


def test_what_ifs_add_up_and_are_those_of_the_library(plan):
    table = plan.whatifs.table.set_index("what_if")
    parts = table[["volume", "closed", "other_own", "competitors", "no_store"]].sum(axis=1)
    market = plan.catchments.cells["market"].sum()
    assert (parts.abs() < 1e-9 * market).all()
    net = table[["volume", "closed", "other_own"]].sum(axis=1)
    np.testing.assert_allclose(table["net_own"], net, rtol=1e-12)
    alone = what_if(
        plan.catchments, close=["H002"], change=pd.DataFrame({"store_id": ["H003"], "size_m2": [2000.0]})
    )
    assert table.loc["Swap", "net_own"] == pytest.approx(alone.net_own, rel=1e-12)
    moved = plan.whatifs.stores.groupby("what_if")["change"].sum() + table["no_store"]
    assert (moved.abs() < 1e-6 * market).all()


def test_what_ifs_go_the_way_they_must(plan):
    table = plan.whatifs.table.set_index("what_if")
    assert table.loc["<b>Station</b>", "volume"] > 0 > table.loc["<b>Station</b>", "other_own"]
    assert (
        table.loc["<b>Station</b>", "no_store"] < 0
    )  # with an outside share a new store wins from there too
    assert table.loc["Rival", "volume"] == 0 and table.loc["Rival", "net_own"] < 0
    assert table.loc["Rival", "competitors"] > 0
    assert table.loc["Swap", "closed"] < 0 < table.loc["Swap", "volume"]
    ranked = plan.whatifs.sites
    assert ranked["name"].tolist() == ["Ring road", "Docks"] and ranked["net_own"].is_monotonic_decreasing


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ('close = ["X999"]', "X999"),
        ('close = ["H001"]\nresize = [{ store_id = "H001", size_m2 = 9 }]', "both closed and resized"),
        ('resize = [{ store_id = "H001" }]', "nothing about it changes"),
        ('resize = [{ store_id = "H001", attributes = { colour = 3 } }]', "no column colour"),
        ('open = [{ name = "A", lon = 1.3, lat = 46.7 }]', "size_m2"),
    ],
)
def test_a_what_if_that_cannot_be_says_which_and_why(plan, case, message):
    settings = parse_settings(f'[[catchments.what_if]]\nname = "Case"\n{case}')
    with pytest.raises(SettingsError, match=message) as told:
        find_what_ifs(plan.catchments, dataclasses.replace(plan.market, sites=None), settings)
    assert "Case" in str(told.value)


def test_what_ifs_in_plan_toml_are_checked_when_read():
    for text, message in (
        ('[[catchments.what_if]]\nname = "A"', "at least one store"),
        ('[[catchments.what_if]]\nname = "A"\nclose = ["1"]\n' * 2, "named twice"),
        (
            '[[catchments.what_if]]\nname = "A"\nopen = [{ name = "B", lon = 999, lat = 1 }]',
            r"\[\[catchments.what_if\]\] n",
        ),
        ('[targeting]\nchannels = ["fax"]', "mail"),
        ('[targeting]\ncontact_lists = ["email"]', "channels does not"),
        ("[fairness]\nband = [1.1, 1.3]", "around 1"),
    ):
        with pytest.raises(SettingsError, match=message):
            parse_settings(text)
    assert find_what_ifs(None, dataclasses.make_dataclass("M", ["sites"])(None), parse_settings("")) is None


def test_sites_are_read_and_may_not_be_stores_already(tmp_path):
    given = pd.DataFrame(
        {
            "store_id": ["S1", "007", "S2", "S3"],
            "lon": [10.1, 10.1, 10.12, 30.0],
            "lat": [50.1, 50.1, 50.12, 50.1],
            "size_m2": ["900", "500", "", "700"],
            "rent": [10, 20, 30, 40],
        }
    )
    market = load(write_market(tmp_path, {"sites": given}))
    assert market.sites["store_id"].tolist() == ["S1", "S2"]
    assert market.sites["rent"].tolist() == [10, 30] and market.sites["size_m2"].isna().tolist() == [
        False,
        True,
    ]
    reasons = {row[2].split(",")[0]: row[3] for row in aside(market, "sites")}
    assert reasons["007"] == "is also one of the own stores"
    assert any("outside the areas" in reason for reason in reasons.values())


def test_details_hold_what_is_known_of_trade_areas(plan):
    details = plan.catchment_details
    assert isinstance(details, CatchmentDetails)
    table = details.table
    assert (table["km_50"] <= table["km_70"]).all() and (table["km_70"] <= table["km_90"]).all()
    assert (table["hexagons_50"] < table["hexagons_90"]).all()
    assert details.decay["modelled"].sum() == pytest.approx(1.0)
    assert details.decay["observed"].sum() == pytest.approx(1.0)
    top = details.whitespace
    assert top["whitespace"].is_monotonic_decreasing and (top["place"] != "").all()
    assert details.overlap["overlap"].between(0, 1).all()
    assert not details.overlap.duplicated(["store_id", "other"]).any()


def test_no_distance_is_shown_that_fewer_than_k_customers_travelled():
    seen = pd.DataFrame(
        {"km": [0.5, 1.5, 4.0, 6.0, 40.0], "store_id": list("AABBA"), "customers": [30, 4, 12, 12, 3]}
    )
    edges = _edges_with_people(seen, [0, 1, 2, 5, 20], 10)
    band = np.searchsorted(edges, seen["km"], side="right") - 1
    people = seen.groupby([band, "store_id"])["customers"].sum().groupby(level=0).max()
    assert (people >= 10).all() and len(people) == len(edges) and edges[0] == 0


def test_a_model_worse_than_a_guess_is_said_loudly():
    rows = [("huff", "out", "random cells", -0.2), ("uniform", "out", "random cells", 0.0)]
    rows.append(("default", "out", "random cells", -13.0))
    comparison = pd.DataFrame(rows, columns=["model", "sample", "test", "pseudo_r2"])
    worse = comparison_warnings(comparison)
    assert "no better than a guess" in worse[0] and "Textbook exponents" in worse[1]
    assert comparison_sentences(comparison)[0] == worse[0]
    fine = comparison.assign(pseudo_r2=[0.4, 0.0, 0.3])
    assert comparison_warnings(fine) == [] and len(comparison_sentences(fine)) == 1


def test_door_drops_keep_their_rules_and_their_money(plan):
    doors = plan.targeting.doors
    assert len(doors.table) > 20
    assert doors.table["cost"].sum() <= 40.0 + 1e-9
    assert doors.cells["drops"].max() <= 3
    assert doors.money["amount"].iloc[:-1].sum() == pytest.approx(doors.money["amount"].iloc[-1], rel=1e-9)
    assert doors.money["amount"].iloc[-1] == pytest.approx(plan.targeting.values["value"].sum(), rel=1e-9)
    assert 0 <= doors.certificate["gap"].iloc[0] < 0.02
    households = plan.hexes.table.set_index("cell")["households"]
    np.testing.assert_allclose(doors.table["doors"], households[doors.table["cell"]], rtol=1e-12)


def test_contacts_keep_consent_and_show_no_small_count(plan):
    rows = plan.targeting.contact_rows
    assert len(rows) and set(rows["channel"]) == {"mobile"}
    agreed = plan.market.customers.set_index("customer_id")["consent_mobile"]
    assert agreed[rows["customer_id"]].all()
    assert rows.groupby("customer_id").size().max() <= 2
    table = plan.targeting.contacts
    shown = table["customers"].dropna()
    assert ((shown == 0) | (shown >= plan.settings.privacy.k)).all()
    hidden = table["customers"].isna()
    assert table.loc[hidden, ["contacts", "cost", "net", "benefit"]].isna().all().all()
    assert hidden.sum() != 1


def test_campaign_files_can_be_handed_on(plan, tmp_path):
    files = campaign_files(plan)
    drops = pd.read_csv(io.StringIO(files["door_drops.csv"]))
    assert len(drops) == len(plan.targeting.doors.table)
    assert not {"benefit", "net", "cost"} & set(drops.columns)
    assert set(cells_from_strings(drops["hexagon"])) == set(plan.targeting.doors.table["cell"])
    shapes = gpd.read_file(io.BytesIO(files["door_drops.geojson"].encode()))
    assert shapes.crs.to_epsg() == 4326 and len(shapes) == drops["hexagon"].nunique()
    assert shapes.is_valid.all() and shapes.geometry.exterior.is_ccw.all()
    assert shapes["drops"].sum() == len(drops)
    spots = door_drop_list(plan).drop_duplicates("hexagon").set_index("hexagon").loc[shapes["hexagon"]]
    assert shapely.contains_xy(shapes.geometry.to_numpy(), spots["lon"], spots["lat"]).all()
    write_campaigns(plan, tmp_path / "campaigns")
    assert len(list((tmp_path / "campaigns" / "prices").glob("store_*.csv"))) > 0


def test_prices_are_those_of_the_offers_in_stores_that_list_the_product(plan):
    prices = store_prices(plan)
    kept = plan.ranges.shelf("first phase")
    listed = set(zip(kept["store_id"], kept["sku"]))
    assert set(zip(prices["store_id"], prices["sku"])) <= listed
    cut = prices["mechanic"] == "price cut"
    assert cut.any() and (prices.loc[cut, "price"] < prices.loc[cut, "regular_price"]).all()
    assert (prices.loc[~cut, "price"] == prices.loc[~cut, "regular_price"]).all()
    assert (pd.to_datetime(prices["to"]) - pd.to_datetime(prices["from"])).dt.days.eq(6).all()
    regular = plan.market.products.set_index("sku")["price"]
    np.testing.assert_allclose(prices["regular_price"], regular[prices["sku"]].round(2))


def test_no_file_names_a_customer_unless_asked_by_channel(plan, tmp_path):
    assert "contacts_mobile.csv" in campaign_files(plan)
    silent = parse_settings(SETTINGS.replace('contact_lists = ["mobile"]', ""))
    quiet = dataclasses.replace(plan, settings=silent)
    ids = set(plan.market.customers["customer_id"])
    for name, content in campaign_files(quiet).items():
        assert not name.startswith("contacts") and not any(i in content for i in ids), name
    for name, frame in plan_tables(plan).items():
        assert "customer_id" not in frame.columns, name
    out = tmp_path / "out"
    out.mkdir()
    write_outputs(plan, out, {})
    assert (out / "campaigns" / "contacts_mobile.csv").exists()
    write_outputs(quiet, out, {})
    assert not (out / "campaigns" / "contacts_mobile.csv").exists()
    assert json.loads((out / "manifest.json").read_text())["complete"]


def test_text_that_looks_like_a_formula_is_defused(plan):
    offers = plan.promotions.table.assign(name='=HYPERLINK("x")')
    hostile = dataclasses.replace(plan, promotions=dataclasses.replace(plan.promotions, table=offers))
    content = next(text for name, text in campaign_files(hostile).items() if name.startswith("prices"))
    assert pd.read_csv(io.StringIO(content))["product"].str.startswith("'=").all()


def test_a_protected_trait_steers_nothing_unless_named(plan):
    wanted = "only_where = { born_abroad = 0.1 }\n"
    with pytest.raises(SettingsError, match="born_abroad is a protected trait"):
        left_out_by_rules(plan.hexes, parse_settings("[targeting]\n" + wanted).targeting)
    named = parse_settings("[targeting]\n" + wanted + 'allow_protected = ["born_abroad"]\n').targeting
    assert 0 < len(left_out_by_rules(plan.hexes, named)) < len(plan.hexes.table)
    with pytest.raises(SettingsError, match="no layer of areas has"):
        left_out_by_rules(plan.hexes, parse_settings("[targeting]\nonly_where = { moons = 1 }").targeting)
    variable = Variable("faith", "faith", "rate", "n", "population", protected=True)
    with pytest.raises(SettingsError, match='allow_protected = \\["faith"\\]'):
        refuse_protected([variable], ["faith"], [], "here")


def test_a_variable_that_does_not_exist_stops_the_plan_at_once():
    market = simulate_market(n_customers=500, n_stores=6, n_skus=40, weeks=12)
    seen = []
    with pytest.raises(SettingsError, match="moons"):
        run_plan(market, parse_settings('[fairness]\nattribute = "moons"'), seen.append)
    assert seen == ["Hexagons"]


def fairness_of(plan, **changes):
    parts = {
        name: getattr(plan, name)
        for name in (
            "market",
            "hexes",
            "catchments",
            "demand",
            "ranges",
            "promotions",
            "targeting",
            "settings",
        )
    }
    parts["clusters"] = plan.store_clusters
    return find_fairness(**{**parts, **changes})


def test_fairness_compares_what_people_meet(plan):
    fairness = plan.fairness
    assert fairness.attribute == "income_low"
    assert {"breadth", "breadth_today", "depth", "door_drops"} <= set(fairness.table["exposure"])
    people = fairness.quintiles.groupby("exposure")["people"].sum()
    assert people.max() <= plan.hexes.table["population"].sum() * (1 + 1e-9)
    outside = fairness.table[~fairness.table["ratio"].between(0.8, 1.25)]
    assert len(fairness.warnings) == len(outside)
    assert all(warning in plan.warnings for warning in fairness.warnings)


def test_a_planted_inequality_is_found_and_an_equal_offer_passes(plan):
    poverty = plan.hexes.table.set_index("cell")["income_low"]
    own = plan.catchments.table[plan.catchments.table["own"]]
    middle = (own["cell"].map(poverty) * own["demand"]).groupby(own["store_id"]).sum() / own.groupby(
        "store_id"
    )["demand"].sum()
    poor = set(middle.index[middle > middle.median()])
    changes = plan.ranges.changes
    every = changes.assign(action="keep")
    equal = fairness_of(plan, ranges=dataclasses.replace(plan.ranges, changes=_same_range(every)))
    assert equal.table.set_index("exposure").loc["breadth", "verdict"] == "equal"
    assert equal.table.set_index("exposure").loc["breadth", "ratio"] == pytest.approx(1.0)
    same = _same_range(every)
    thin = same[~(same["store_id"].isin(poor) & (same.groupby("store_id").cumcount() % 5 > 0))]
    unequal = fairness_of(plan, ranges=dataclasses.replace(plan.ranges, changes=thin))
    line = unequal.table.set_index("exposure").loc["breadth"]
    assert line["ratio"] < 0.8 and line["verdict"] == "unequal"
    assert any("as planned" in warning for warning in unequal.warnings)


def _same_range(changes):
    """Every store lists the same products."""
    stores = sorted(changes["store_id"].unique())
    skus = sorted(changes["sku"].unique())
    index = pd.MultiIndex.from_product([stores, skus], names=["store_id", "sku"])
    return pd.DataFrame(index=index).reset_index().assign(action="keep")


def test_income_is_turned_round_and_traits_can_be_named(plan):
    low = fairness_of(plan).table.set_index("exposure")["ratio"]
    by_income = parse_settings(SETTINGS + '\n[fairness]\nattribute = "median_income"\n')
    turned = fairness_of(plan, settings=by_income)
    assert turned.table.set_index("exposure").loc["breadth", "ratio"] == pytest.approx(
        low["breadth"], abs=0.1
    )
    as_is = parse_settings(SETTINGS + '\n[fairness]\nattribute = "median_income"\nlow_is_deprived = false\n')
    flipped = fairness_of(plan, settings=as_is).table.set_index("exposure").loc["breadth", "ratio"]
    assert flipped == pytest.approx(1 / turned.table.set_index("exposure").loc["breadth", "ratio"], rel=0.02)
    trait = parse_settings(SETTINGS + '\n[fairness]\nattribute = "born_abroad"\n')
    watched = fairness_of(plan, settings=trait)
    assert watched.protected and any("steers nothing" in note for note in watched.notes)
    with pytest.raises(SettingsError, match="no layer of areas has it"):
        deprivation_variable(plan.hexes, "moons")
    bare = dataclasses.replace(plan.hexes, variables=plan.hexes.variables[:2])
    with pytest.raises(NotSupportedError, match="Name the variable"):
        deprivation_variable(bare, "auto")


def test_people_meet_the_mean_of_the_stores_they_are_likely_to_shop_at(plan):
    offered = pd.DataFrame({"breadth": [10.0, 20.0]}, index=["H001", "H003"])
    met = _by_cell(plan.catchments, offered).set_index("cell")["breadth"]
    own = plan.catchments.table[plan.catchments.table["store_id"].isin(offered.index)]
    cell = met.index[len(met) // 2]
    here = own[own["cell"] == cell].set_index("store_id")["probability"]
    assert met[cell] == pytest.approx((10 * here["H001"] + 20 * here["H003"]) / here.sum())
    areas = met.reset_index().assign(rank=range(len(met)))
    assert exposure_ratio(areas, "breadth", "rank").ratio > 0


def test_the_report_shows_it_and_escapes_names(plan, page):
    assert "<b>Station</b>" not in page and "&lt;b&gt;Station&lt;/b&gt;" in page
    for anchor in ("catchments", "targeting", "fairness"):
        assert f'<section id="{anchor}"' in page
    for words in (
        "Planned door drops",
        "Sites considered",
        "What is left to win",
        "Is it fair to poorer areas?",
    ):
        assert words in page
    assert " style=" not in page.split("<main>")[1].split('<script type="application/json"')[0]
    ids = plan.market.customers["customer_id"]
    assert not any(customer in page for customer in ids.head(200))


def test_the_report_does_without_them(plan):
    bare = dataclasses.replace(plan, whatifs=None, targeting=None, fairness=None, catchment_details=None)
    page = render_report(bare)
    assert '<section id="catchments"' in page and '<section id="fairness"' not in page
    empty = plan.targeting.doors
    none = dataclasses.replace(
        empty,
        table=empty.table.head(0),
        by_cluster=empty.by_cluster.head(0),
        cells=empty.cells.assign(drops=0),
    )
    page = render_report(
        dataclasses.replace(plan, targeting=dataclasses.replace(plan.targeting, doors=none, contacts=None))
    )
    assert (
        "no door drop pays" in page
        and "Planned door drops" not in page.split('<section id="map"')[1].split("</section>")[0]
    )


def test_the_workbook_has_their_sheets(plan, tmp_path):
    book = openpyxl.load_workbook(write_workbook(plan, tmp_path / "plan.xlsx"), read_only=True)
    names = ["Trade areas", "Whitespace", "What-ifs", "Sites", "Door drops", "Contacts", "Fairness"]
    assert set(names) <= set(book.sheetnames)
    assert book["Door drops"].max_row - 1 == len(plan.targeting.doors.table)
    heads = [cell.value for cell in next(book["Contacts"].iter_rows(max_row=1))]
    assert "Customers" in heads and not any("customer_id" in str(head) for head in heads)


def test_summaries_and_figures_say_what_a_planner_needs(plan):
    for part in (plan.whatifs, plan.targeting, plan.fairness, plan.catchment_details, plan.targeting.doors):
        lines = part.summary()
        assert lines and all(line.endswith((".", "!")) for line in lines), lines
        assert part.plot() is not None


def test_other_bands_of_trade_areas_are_told_and_explained(plan):
    details = plan.catchment_details
    table = details.table.rename(columns=lambda name: name.replace("_50", "_60").replace("_90", "_85"))
    other = dataclasses.replace(details, table=table.drop(columns=[c for c in table if c.endswith("_70")]))
    assert other.bands == ["60", "85"]
    assert other.summary()[0].startswith("60% of a typical store's trade")
    meanings = table_dictionary({"catchment_stores": other.table})
    assert (meanings.loc[meanings["column"].str.contains("_60|_85"), "meaning"] != "").all()
    heads = {column.label for column in _store_table(other, str).columns}
    assert {"60% within, km", "85% within, km"} <= heads
