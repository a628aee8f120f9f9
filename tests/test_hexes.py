import geopandas as gpd
import numpy as np
import pytest
import shapely

from geomarket.errors import TableError
from geomarket.hexes import build_hexes, interpolate
from geomarket.market.model import AreaLayer, Variable


def squares(n=4, west=-1.0, south=51.0, side=0.05):
    boxes = [
        shapely.box(west + i * side, south + j * side, west + (i + 1) * side, south + (j + 1) * side)
        for i in range(n)
        for j in range(n)
    ]
    rng = np.random.default_rng(1)
    people = rng.integers(50, 500, len(boxes)).astype(float)
    return gpd.GeoDataFrame(
        {
            "area_id": [f"a{i:03d}" for i in range(len(boxes))],
            "people": people,
            "young": np.round(people * rng.uniform(0.1, 0.5, len(boxes))),
            "income": rng.uniform(20, 60, len(boxes)),
        },
        geometry=boxes,
        crs=4326,
    )


COUNT = Variable("people_now", "people", "count", "people")
RATE = Variable("young", "aged under 30", "rate", "young", denominator="people")
MEAN = Variable("income", "income", "mean", "income", denominator="people")


def layer(frame=None, variables=(COUNT, RATE, MEAN), name="census", population="people"):
    return AreaLayer(name, squares() if frame is None else frame, tuple(variables), population=population)


def test_totals_and_means_are_conserved():
    found = interpolate(layer(), 8)
    frame = squares()
    assert found.table["people_now"].sum() == pytest.approx(frame["people"].sum(), rel=1e-12)
    assert found.table["young__num"].sum() == pytest.approx(frame["young"].sum(), rel=1e-12)
    assert found.conservation["conserved"].all()
    mean = np.average(found.table["income"], weights=found.table["income__den"])
    assert mean == pytest.approx(np.average(frame["income"], weights=frame["people"]), rel=1e-12)


def test_second_layer_is_reported_as_uncovered_outside_the_grid():
    other = layer(squares(6).rename(columns={"people": "p"}), [Variable("p2", "p", "count", "p")], "wide", "p")
    hexes = build_hexes([layer(), other], 8)
    row = hexes.conservation.query("variable == 'p2'").iloc[0]
    assert row["uncovered"] > 0.3 * row["source_total"]
    assert row["hex_total"] + row["uncovered"] == pytest.approx(row["source_total"], rel=1e-12)
    assert hexes.table["population"].sum() == pytest.approx(squares()["people"].sum())


def test_no_crs_is_refused():
    with pytest.raises(TableError, match="set_crs"):
        interpolate(layer(squares().set_crs(None, allow_override=True)), 8)
