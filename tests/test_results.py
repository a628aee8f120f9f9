"""Every result object shows itself in a notebook; the spatial ones on a map."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

import folium
import numpy as np
import pandas as pd
import pytest

import geomarket
from geomarket.hexes import cell_centres, neighbours, points_to_cells
from geomarket.results import Result

# results about areas or stores, not hexagons
SPATIAL = {
    "Catchments",
    "DoorDrops",
    "HexLayer",
    "Hexes",
    "Neighbourhoods",
    "Penetration",
    "Plan",
    "Prospects",
}


def all_results() -> list[type[Result]]:
    for module in pkgutil.walk_packages(geomarket.__path__, "geomarket."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = set(), [Result]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind.__module__.startswith("geomarket."):
                found.add(kind)
                waiting.append(kind)
    return sorted(found, key=lambda kind: (kind.__module__, kind.__name__))


@pytest.mark.parametrize("kind", all_results(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_result_speaks_for_itself(kind):
    assert kind._repr_html_ is Result._repr_html_ or "_repr_html_" in vars(kind)
    assert kind.summary is not Result.summary, "a result says its finding in sentences of its own"
    assert hasattr(kind, "explore") == (kind.__name__ in SPATIAL)


@dataclass(frozen=True)
class Odd(Result):
    table: pd.DataFrame

    def summary(self) -> list[str]:
        return ["<script>alert(1)</script>"]


def test_names_are_text_in_a_notebook():
    shown = Odd(pd.DataFrame({"name": ["<img src=x>"] * 20}))._repr_html_()
    assert "<script>" not in shown
    assert "<img" not in shown
    assert shown.count("&lt;img") == 8
    assert "12 more rows" in shown


def cells_around() -> pd.DataFrame:
    middle = points_to_cells([4.4], [51.2], 8)
    cells = np.sort(np.append(neighbours(middle, 3)["neighbour"].to_numpy(), middle))
    lon, lat = cell_centres(cells)
    return pd.DataFrame({"cell": cells, "lon": lon, "lat": lat, "population": np.arange(len(cells)) * 10.0})


def test_prospects_and_door_drops_are_mapped():
    from geomarket.customers.prospects import Prospects
    from geomarket.promotions.targeting import DoorDrops

    cells = cells_around()
    scored = cells.assign(
        score=np.linspace(50, 200, len(cells)), rate=0.1, prospects=cells["population"] * 0.1
    )
    lift = pd.DataFrame(
        {"population_share": [0.2], "customer_share": [0.4], "lift": [2.0], "low": [1.5], "high": [2.5]}
    )
    prospects = Prospects(scored, lift, pd.DataFrame(), 5, 0.9)
    page = prospects.explore(tiles=None).get_root().render()
    assert "Prospect score" in page
    with pytest.raises(geomarket.TableError, match="choose from score, rate, prospects"):
        prospects.explore("colour")

    reached = cells.assign(doors=100.0, drops=1, benefit=9.0, cost=5.0, net=4.0, reason="reached")
    empty = pd.DataFrame()
    drops = DoorDrops(empty, reached, empty, empty, empty, 0.1)
    for column in ("reason", "net"):
        shown = drops.explore(column, tiles=None)
        assert isinstance(shown, folium.Map)
    assert "Door drops: net" in shown.get_root().render()
    with pytest.raises(geomarket.TableError, match="choose from"):
        drops.explore("cell")


def test_a_layer_on_hexagons_is_mapped():
    import geopandas as gpd
    import shapely

    from geomarket.hexes import interpolate
    from geomarket.market.model import AreaLayer, Variable

    frame = gpd.GeoDataFrame(
        {"area_id": ["a", "b"], "people": [100.0, 300.0], "young": [50.0, 60.0]},
        geometry=[shapely.box(0, 50, 0.1, 50.1), shapely.box(0.1, 50, 0.2, 50.1)],
        crs=4326,
    )
    young = Variable("young", "aged under 30", "rate", "young", denominator="people")
    layer = interpolate(AreaLayer("census", frame, (young,), population="people"), 7)
    assert "aged under 30" in layer.explore(tiles=None).get_root().render()
    with pytest.raises(geomarket.TableError, match="choose from young, coverage"):
        layer.explore("old")


def test_results_that_no_plan_holds_have_their_figures():
    from geomarket.frontier.by_category import CategoryFrontiers
    from geomarket.neighbourhoods import assign_to_centroids
    from geomarket.store_clusters import compare_clusters

    before = pd.Series({"s1": "C1", "s2": "C1", "s3": "C2"})
    moves = compare_clusters(before, pd.Series({"s1": "C1", "s2": "C1", "s4": "C2"}))
    axes = moves.plot()
    assert {text.get_text() for text in axes.texts} == {"2", "1"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["C1", "C2", "closed"]
    rates = pd.DataFrame({"renting": [0.0, 0.1, 0.9], "owning": [1.0, 0.8, 0.0]})
    published = pd.DataFrame({"renting": [0.2, 0.9], "owning": [0.9, 0.2]}, index=["1", "2"])
    bars = assign_to_centroids(rates, published).plot().patches
    assert [round(bar.get_width(), 1) for bar in bars] == [33.3, 66.7]
    table = pd.DataFrame({"category": ["tea", "jam"], "net": [5.0, -2.0], "shop_net": [4.0, 0.0]})
    axes = CategoryFrontiers(table, {}).plot()
    assert [bar.get_width() for bar in axes.patches] == [-2.0, 5.0]
