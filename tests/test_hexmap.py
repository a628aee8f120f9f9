"""Packing of hexagons for the browser: exact geometry, honest summaries, stable bytes."""

from __future__ import annotations

import base64
import gzip
import json

import folium
import h3
import numpy as np
import pandas as pd
import pytest

from geomarket.errors import TableError
from geomarket.hexes.cells import (
    cell_boundaries,
    cell_centres,
    cells_from_strings,
    neighbours,
    parents,
    points_to_cells,
)
from geomarket.hexmap import (
    WORLD,
    HexColumn,
    as_script_json,
    bundle,
    class_colours,
    encode_hexes,
    encode_lines,
    encode_members,
    explore_cells,
    format_for,
    level_world,
    nice_breaks,
    number_view,
    project,
    shades,
    write_number,
)
from geomarket.hexmap.encoding import MISSING


def disc(lon: float, lat: float, rings: int, resolution: int = 8) -> np.ndarray:
    middle = points_to_cells([lon], [lat], resolution)
    return np.sort(np.append(neighbours(middle, rings)["neighbour"].to_numpy(), middle))


class Reader:
    """What hexpainter.js does, in Python, written from the format's description."""

    def __init__(self, packed: dict) -> None:
        self.bytes = np.frombuffer(gzip.decompress(base64.b64decode(packed["blob"])), dtype=np.uint8).astype(
            np.int64
        )
        self.position = 0

    def unsigned(self, count: int, planes: int) -> np.ndarray:
        block = self.bytes[self.position : self.position + count * planes].reshape(planes, count)
        self.position += count * planes
        return (block << (8 * np.arange(planes)[:, None])).sum(axis=0)

    def signed(self, count: int, planes: int) -> np.ndarray:
        zigzag = self.unsigned(count, planes)
        return np.where(zigzag % 2 == 0, zigzag // 2, -(zigzag + 1) // 2)

    def centres(self, count: int, planes: int) -> np.ndarray:
        steps = self.signed(count, planes)
        for i in range(7, count):
            steps[i] += steps[i - 7]
        return np.cumsum(steps)


def read_columns(packed: dict, reader: Reader, finest: dict) -> dict[str, np.ndarray]:
    n = len(finest["x"])
    codes, in_rows = {}, {}
    for column in packed["columns"]:
        if "row" in column:
            in_rows[column["row"]] = column["name"]
            continue
        if "same" in column:
            continue
        found = reader.unsigned(n, column["planes"])
        codes[column["name"]] = np.cumsum(found) % 256 ** column["planes"] if column["delta"] else found
    rows = reader.bytes[reader.position : reader.position + n * len(in_rows)].reshape(n, len(in_rows))
    reader.position += rows.size
    codes |= {name: rows[:, k] for k, name in in_rows.items()}
    names = [column["name"] for column in packed["columns"]]
    codes |= {c["name"]: codes[names[c["same"]]] for c in packed["columns"] if "same" in c}
    figures = {}
    for column in packed["columns"]:
        code = codes[column["name"]]
        value = np.where(code == MISSING, np.nan, (code - 1) * column["step"] + column["offset"])
        figures[column["name"]] = {"class": code - 1, "sum": value * np.abs(value), "mean": value}[
            column["kind"]
        ]
    return figures


def average(values: np.ndarray, weights: np.ndarray | None, member: np.ndarray, count: int) -> np.ndarray:
    frame = pd.DataFrame({"v": values, "w": 1.0 if weights is None else weights, "m": member})[
        ~np.isnan(values)
    ]
    mean = frame.assign(vw=frame["v"] * frame["w"]).groupby("m")[["vw", "w"]].sum()
    mean = (mean["vw"] / mean["w"].where(mean["w"] > 0)).fillna(frame.groupby("m")["v"].mean())
    return mean.reindex(range(count)).to_numpy()


def majority(codes: np.ndarray, weights: np.ndarray | None, member: np.ndarray, count: int) -> np.ndarray:
    frame = pd.DataFrame({"c": codes, "w": 1.0 if weights is None else weights, "m": member})[codes >= 0]
    mass = frame.groupby(["m", "c"])["w"].agg(["sum", "size"]).reset_index()
    best = mass.sort_values(["sum", "size", "c"], ascending=[False, False, True]).drop_duplicates("m")
    return best.set_index("m")["c"].reindex(range(count), fill_value=-1).to_numpy()


def decode(packed: dict) -> list[dict]:
    reader, levels = Reader(packed), []
    for head in packed["levels"]:
        n = head["count"]
        level = {
            "resolution": head["resolution"],
            "x": reader.centres(n, head["centrePlanes"][0]) * head["world"] / head["centreWorld"],
            "y": reader.centres(n, head["centrePlanes"][1]) * head["world"] / head["centreWorld"],
        }
        corners = [np.cumsum(reader.signed(n, planes)) for planes in head["cornerPlanes"]]
        level["corners"] = np.column_stack(corners).reshape(n, 6, 2)
        level["odd"] = {int(i): np.array(ring).reshape(-1, 2) for i, ring in head["odd"].items()}
        level["children"] = reader.unsigned(n, head["children"])
        levels.append(level)
    figures = read_columns(packed, reader, levels[0])
    levels[0] |= figures
    for level in levels[1:]:
        member = np.repeat(np.arange(len(level["children"])), level["children"])
        for column in packed["columns"]:
            name = column["name"]
            weights = None if packed["weight"] is None else figures[packed["weight"]]
            make = majority if column["kind"] == "class" else average
            weights = None if column["kind"] == "sum" else weights
            level[name] = make(figures[name], weights, member, len(level["children"]))
    assert reader.position == len(reader.bytes)
    return levels


@pytest.mark.parametrize("resolution", [4, 7, 8, 9, 10])
def test_corners_come_back_within_a_unit(resolution):
    cells = disc(4.4, 51.2, 12, resolution)
    packed = encode_hexes(cells, [])
    level = decode(packed)[0]
    world = packed["levels"][0]["world"]
    corners, plain, _ = cell_boundaries(cells)
    corners = np.where(plain[:, None, None], corners, np.nan)
    # half a unit for the corner, an eighth for the centre; back in degrees
    lon = (level["x"][:, None] + level["corners"][..., 0]) / world * 360 - 180
    assert np.nanmax(np.abs(lon - corners[..., 0])) <= 0.63 * 360 / world
    y = (level["y"][:, None] + level["corners"][..., 1]) / world
    lat = np.degrees(np.arctan(np.sinh((0.5 - y) * 2 * np.pi)))
    assert np.nanmax(np.abs(lat - corners[..., 1])) <= 0.63 * 360 / world
    # an edge is some hundred units long: rounding can't be seen
    edge = np.hypot(*np.diff(level["corners"][:, :2], axis=1).T)
    assert edge.min() > 150


@pytest.mark.parametrize(("resolution", "sides"), [(8, 5), (7, 10)])
def test_pentagons_and_cells_with_extra_corners_keep_their_own_ring(resolution, sides):
    pentagon = cells_from_strings(sorted(h3.get_pentagons(resolution))[3:4])
    cells = np.unique(np.append(neighbours(pentagon, 2)["neighbour"].to_numpy(), pentagon))
    packed = encode_hexes(cells, [])
    level = decode(packed)[0]
    i = int(np.flatnonzero(cells == pentagon[0])[0])
    corners, plain, others = cell_boundaries(cells)
    assert not plain[i]
    assert set(level["odd"]) == set(np.flatnonzero(~plain))
    assert len(level["odd"][i]) == sides == len(others[list(np.flatnonzero(~plain)).index(i)])
    meridian = packed["meridian"]
    for j in np.flatnonzero(plain):
        x, _ = project(corners[j, :, 0], corners[j, :, 1], meridian, level_world(resolution))
        assert np.abs(level["x"][j] + level["corners"][j, :, 0] - x).max() <= 1.2


def test_a_market_on_the_antimeridian_is_in_one_piece():
    cells = disc(179.99, -16.5, 6)
    level = decode(encode_hexes(cells, []))[0]
    lon = cell_centres(cells)[0]
    assert lon.min() < 0 < lon.max()
    assert np.ptp(level["x"]) < WORLD / 360
    assert np.abs(level["corners"]).max() < WORLD / 3600


def test_figures_come_back_within_half_a_step_and_missing_stays_missing():
    rng = np.random.default_rng(1)
    cells = disc(4.4, 51.2, 10)
    share = rng.random(len(cells))
    share[3] = np.nan
    codes = rng.integers(-1, 5, len(cells))
    packed = encode_hexes(cells, [HexColumn("share", share), HexColumn("kind", codes, "class")])
    level = decode(packed)[0]
    step = packed["columns"][0]["step"]
    assert 1 / 500 <= step <= 1 / 200
    assert np.isnan(level["share"][3])
    assert np.isnan(level["share"]).sum() == 1
    assert np.nanmax(np.abs(level["share"] - share)) <= step / 2 + 1e-9
    np.testing.assert_array_equal(level["kind"], codes)


@pytest.mark.parametrize(
    "values", [[np.nan] * 7, [5.0] * 7, [0, 0, 0, 0, 0, 0, 1e9], [-3, -2, -1, 0, 1, 2, 70_000]]
)
def test_awkward_columns(values):
    cells = disc(4.4, 51.2, 1)
    packed = encode_hexes(cells, [HexColumn("a", np.array(values, dtype=float))])
    found = decode(packed)[0]["a"]
    step = packed["columns"][0]["step"]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    assert np.allclose(found, values, atol=step / 2 * 1.0001, equal_nan=True)


@pytest.mark.parametrize(
    "values", [[np.nan] * 7, [5.0] * 7, [0, 0, 0, 0, 0, 1, 1e9], [-300, -2, -1, 0, 1, 2, 70_000]]
)
def test_amounts_keep_small_ones_as_well_as_large_ones(values):
    cells = disc(4.4, 51.2, 1)
    packed = encode_hexes(cells, [HexColumn("a", np.array(values, dtype=float), "sum")])
    found, step = decode(packed)[0]["a"], packed["columns"][0]["step"]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    # the square root is rounded by half a step
    far = np.sqrt(np.abs(values)) * step + step**2 / 4
    assert (np.abs(found - values) <= far * 1.0001)[~np.isnan(values)].all()
    assert all(found[np.array(values) == 0] == 0)


def test_figures_that_repeat_in_rows_are_packed_in_rows():
    cells = disc(4.4, 51.2, 60)
    area = parents(cells, 7)
    rng = np.random.default_rng(5)
    _, area = np.unique(area, return_inverse=True)
    columns = [HexColumn(f"v{k}", rng.integers(0, 201, area.max() + 1)[area].astype(float)) for k in range(6)]
    noise = HexColumn("noise", rng.random(len(cells)))
    packed = encode_hexes(cells, [*columns, noise])
    in_rows = {column["name"] for column in packed["columns"] if "row" in column}
    assert in_rows == {column.name for column in columns}
    alone = [len(encode_hexes(cells, [column])["blob"]) for column in [*columns, noise]]
    bare = len(encode_hexes(cells, [])["blob"])
    assert len(packed["blob"]) - bare < 0.8 * sum(size - bare for size in alone)
    found = decode(packed)[0]
    for column in [*columns, noise]:
        np.testing.assert_allclose(found[column.name], column.values, atol=0.001)


def test_row_order_does_not_matter():
    rng = np.random.default_rng(2)
    cells = disc(4.4, 51.2, 8)
    value, kind, weight = rng.random(len(cells)), rng.integers(0, 3, len(cells)), rng.random(len(cells))
    mixed = rng.permutation(len(cells))

    def pack(order: np.ndarray) -> str:
        columns = [HexColumn("v", value[order]), HexColumn("k", kind[order], "class")]
        return json.dumps(encode_hexes(cells[order], columns, weight=weight[order], coarsest_cells=5))

    assert pack(np.arange(len(cells))) == pack(mixed)


def test_a_parents_majority_is_counted_over_the_finest_cells():
    # seven parents of seven: the majority of majorities is class 1, most residents are in class 0
    grandparent = parents(points_to_cells([4.4], [51.2], 8), 6)
    around = disc(4.4, 51.2, 12)
    cells = around[parents(around, 6) == grandparent[0]]
    parent = parents(cells, 7)
    kinds = np.empty(len(cells), dtype=np.int64)
    for k, code in enumerate(np.unique(parent)):
        mine = np.flatnonzero(parent == code)
        kinds[mine] = 0
        if k < 4:
            kinds[mine[:4]] = 1
    packed = encode_hexes(cells, [HexColumn("kind", kinds, "class")], coarsest_cells=1)
    fine, middle, coarse = decode(packed)[:3]
    assert (middle["kind"] == 1).sum() == 4
    assert len(middle["kind"]) == 7
    assert (fine["kind"] == 0).sum() > (fine["kind"] == 1).sum()
    assert coarse["kind"].tolist() == [0]
    assert coarse["children"].tolist() == [len(cells)]


def test_means_of_parents_are_weighted_and_sums_are_per_cell():
    cells = disc(4.4, 51.2, 9)
    rng = np.random.default_rng(3)
    people, rate = rng.gamma(2, 100, len(cells)), rng.random(len(cells))
    rate[::7] = np.nan
    packed = encode_hexes(
        cells,
        [HexColumn("rate", rate, "mean"), HexColumn("people", people, "sum")],
        weight=people,
        coarsest_cells=2,
    )
    fine, coarse = decode(packed)[0], decode(packed)[2]
    parent = parents(cells, 6)
    step = packed["columns"][0]["step"]
    for k, code in enumerate(np.unique(parent)):
        mine = (parent == code) & np.isfinite(rate)
        assert coarse["rate"][k] == pytest.approx(np.average(rate[mine], weights=people[mine]), abs=step)
        assert coarse["people"][k] == pytest.approx(people[parent == code].mean(), rel=0.005)
    assert len(fine["rate"]) == len(cells)


def test_a_market_of_so_much_a_head_costs_nothing():
    cells = disc(4.4, 51.2, 20)
    people = np.random.default_rng(4).gamma(2, 200, len(cells))
    one = encode_hexes(cells, [HexColumn("people", people, "sum")])
    both = encode_hexes(
        cells, [HexColumn("people", people, "sum"), HexColumn("market", 2400 * people, "sum")]
    )
    assert both["columns"][1]["same"] == 0
    assert len(both["blob"]) == len(one["blob"])
    found = decode(both)[0]
    np.testing.assert_allclose(found["market"], 2400 * found["people"])


def test_weights_are_sent_once():
    cells = disc(4.4, 51.2, 9)
    people = np.arange(len(cells), dtype=float)
    shown = encode_hexes(cells, [HexColumn("people", people, "sum")], weight=people)
    assert [column["name"] for column in shown["columns"]] == ["people"] == [shown["weight"]]
    hidden = encode_hexes(cells, [HexColumn("rate", people / 1000)], weight=people)
    assert [column["name"] for column in hidden["columns"]] == ["rate", hidden["weight"]]
    assert encode_hexes(cells, [])["weight"] is None


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (np.array([], dtype=np.int64), "empty"),
        (np.repeat(disc(4.4, 51.2, 1), 2), "more than once"),
        (np.append(disc(4.4, 51.2, 1), points_to_cells([4.4], [51.2], 7)), "resolutions 7, 8"),
    ],
)
def test_bad_cells_are_named(cells, words):
    with pytest.raises(TableError, match=words):
        encode_hexes(cells, [])


def test_columns_of_wrong_length_and_too_many_classes_are_named():
    cells = disc(4.4, 51.2, 1)
    with pytest.raises(TableError, match="'a' has 3 values for 7 cells"):
        encode_hexes(cells, [HexColumn("a", np.zeros(3))])
    with pytest.raises(TableError, match="more than 254 classes"):
        encode_hexes(cells, [HexColumn("a", np.full(7, 300), "class")])


def test_two_bytes_a_cell():
    lon, lat = np.meshgrid(np.arange(3.0, 5.0, 0.008), np.arange(50.5, 51.5, 0.006))
    cells = np.unique(points_to_cells(lon.ravel(), lat.ravel(), 8))
    assert len(cells) > 20_000
    blob = base64.b64decode(encode_hexes(cells, [], coarsest_cells=len(cells))["blob"])
    assert len(blob) / len(cells) < 2.0


def test_members_and_lines_come_back():
    groups = [np.array([40, 7, 9]), np.array([], dtype=np.int64), np.array([70_000])]
    packed = encode_members(groups)
    reader = Reader(packed)
    sizes = reader.unsigned(packed["groups"], packed["sizePlanes"])
    steps = reader.unsigned(packed["members"], packed["memberPlanes"])
    found = [np.cumsum(part).tolist() for part in np.split(steps, np.cumsum(sizes)[:-1])]
    assert found == [[7, 9, 40], [], [70_000]]

    line = np.array([[4.0, 51.0], [4.5, 51.2], [4.1, 50.9]])
    packed = encode_lines([line, line + 1], 4.0)
    reader = Reader(packed)
    assert reader.unsigned(2, packed["sizePlanes"]).tolist() == [3, 3]
    x = np.cumsum(reader.signed(6, packed["planes"][0]))
    np.testing.assert_array_equal(x[:3], project(line[:, 0], line[:, 1], 4.0)[0])


def test_script_json_can_hold_any_text():
    text = as_script_json({"name": "</script><!-- & \u2028"})
    assert not any(sign in text for sign in "<>&\u2028")
    assert json.loads(text) == {"name": "</script><!-- & \u2028"}
    with pytest.raises(ValueError, match="JSON compliant"):
        as_script_json(float("nan"))


def test_bundle_keeps_everything_but_imports_and_exports():
    a = "export async function one() {}\nexport class Two {}\n"
    b = 'import {\n  one,\n  Two,\n} from "./a.js";\none(new Two());\n'
    assert bundle([a, b]) == "async function one() {}\nclass Two {}\n\none(new Two());\n"


def test_breaks_hold_about_equally_many_and_are_round():
    values = np.random.default_rng(4).lognormal(3, 1, 5000)
    breaks = nice_breaks(values, 7)
    share = np.diff(np.concatenate([[0], np.searchsorted(np.sort(values), breaks), [5000]])) / 5000
    assert len(breaks) == 6
    assert share.min() > 0.5 / 7
    assert share.max() < 1.5 / 7
    assert all(float(f"{value:.2g}") == value for value in breaks)


@pytest.mark.parametrize("values", [[], [np.nan], [3.0, 3.0, 3.0], [0.0] * 99 + [1.0]])
def test_breaks_of_awkward_values(values):
    breaks = nice_breaks(values)
    assert len(breaks) <= 1
    view = number_view("v", "V", values, format_for("count", "people", values))
    assert len(view["classLabels"]) == len(view["colours"]) == len(breaks) + 1


def test_class_limits_are_told_apart():
    view = number_view("v", "V", [0.1231, 0.1232, 0.1233, 0.1234], format_for("rate", "share", [0.12]))
    assert len(set(view["classLabels"])) == len(view["classLabels"])
    assert view["format"]["style"] == "percent"


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (0.125, {"style": "percent", "digits": 0, "unit": ""}, "13%"),
        (2.5, {"style": "number", "digits": 0, "unit": "km"}, "3 km"),
        (-0.2, {"style": "number", "digits": 0, "unit": ""}, "0"),
        (-1500.0, {"style": "money", "digits": 0, "unit": "$"}, "−$1,500"),
        (float("nan"), {"style": "money", "digits": 0, "unit": "$"}, "no data"),
    ],
)
def test_numbers_as_people_write_them(value, number_format, text):
    assert write_number(value, number_format) == text


@pytest.mark.parametrize("count", [1, 5, 7, 8, 9, 10, 40])
def test_class_colours_differ(count):
    assert len(set(class_colours(count))) == count
    assert len(set(shades("#4477AA", count))) == count


def explored(name: str = "Mill Lane") -> folium.Map:
    cells = disc(4.4, 51.2, 4)
    table = pd.DataFrame(
        {"cell": cells, "kind": np.where(cells % 2, "B", "A"), "people": np.arange(len(cells)) * 1.0}
    )
    stores = pd.DataFrame({"name": [name], "lon": [4.4], "lat": [51.2]})
    labels = {"A": f"A {name}", "B": "B"}
    return explore_cells(
        table, "kind", labels=labels, weight="people", tooltip={"people": "People"}, stores=stores
    )


def test_folium_map_is_painted_not_written_out():
    html = explored().get_root().render()
    assert "L.geoJson" not in html
    assert "addHexLayer(" in html
    assert len(html) < 60_000


def test_folium_map_is_the_same_from_run_to_run():
    assert explored().get_root().render() == explored().get_root().render()


@pytest.mark.parametrize(
    "name",
    [
        "{{ 123457 * 1009 }}",
        "{% endraw %}{{ 123457 * 1009 }}",
        "</script><script>alert(1)</script>",
        "`${alert(1)}`",
    ],
)
def test_folium_map_takes_no_orders_from_a_name(name):
    html = explored(name).get_root().render()
    assert str(123457 * 1009) not in html
    assert "<script>alert(1)" not in html
    # in a template string of folium's own script it would run; in our JSON it is plain text
    assert "${alert" not in html.replace('"A `${alert(1)}`"', "")


def test_explore_names_what_is_wrong():
    cells = disc(4.4, 51.2, 8)
    table = pd.DataFrame({"cell": cells, "name": [f"n{k}" for k in range(len(cells))]})
    with pytest.raises(TableError, match="no column 'kind'"):
        explore_cells(table, "kind")
    with pytest.raises(TableError, match="217 different values"):
        explore_cells(table, "name")


def test_explore_takes_palettes_by_order_and_by_name():
    cells = disc(4.4, 51.2, 1)
    table = pd.DataFrame({"cell": cells, "kind": ["x", "y", None, "x", "y", "x", "y"]})
    by_name = explore_cells(table, "kind", palette={"x": "#111111", "y": "#222222"})
    by_order = explore_cells(table, "kind", palette=["#111111", "#222222"])
    assert by_name.get_root().render() == by_order.get_root().render()
    assert '"missing":1' in by_name.get_root().render()
