"""Static figures: every one written, stable, and painted in the colours of the data."""

from __future__ import annotations

import numpy as np
import pytest
import report_fixture
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from geomarket.errors import SettingsError
from geomarket.hexmap import class_colours
from geomarket.report import map_figure, write_figures

NAMES = [
    "map_neighbourhoods",
    "map_own_share",
    "map_whitespace",
    "catchments",
    "frontier",
    "neighbourhoods",
    "store_clusters",
    "customers",
    "promotions",
]


def small_plan(**options):
    return report_fixture.make_plan(
        **{"radius_km": 4.0, "n_stores": 6, "n_clusters": 2, "skus_per_category": 4, **options}
    )


def painted(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].reshape(-1, 3)


def test_all_figures_in_all_formats_and_the_same_again(tmp_path):
    tiny = {"radius_km": 1.5, "n_stores": 2, "n_clusters": 1}
    first = write_figures(small_plan(**tiny), tmp_path / "a", ("png", "svg"), dpi=50)
    second = write_figures(small_plan(**tiny), tmp_path / "b", ("png", "svg"), dpi=50)
    assert [path.name for path in first] == [f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")]
    for one, two in zip(first, second):
        assert one.read_bytes() == two.read_bytes(), one.name
        assert one.stat().st_size > 3000


def test_optional_parts_are_left_out(tmp_path):
    plan = small_plan(catchments=False, customers=False, promotions=False)
    names = [path.stem for path in write_figures(plan, tmp_path, ("svg",))]
    assert names == ["map_neighbourhoods", "frontier", "neighbourhoods", "store_clusters"]


def test_map_is_painted_in_the_shares_of_the_types():
    plan = small_plan()
    pixels = painted(map_figure(plan))
    share = plan.neighbourhoods.table["supergroup"].value_counts(normalize=True).sort_index()
    rgb = [np.round(np.array(to_rgb(colour)) * 255) for colour in class_colours(len(share))]
    found = np.array([(np.abs(pixels - colour) <= 1).all(axis=1).sum() for colour in rgb], dtype=float)
    np.testing.assert_allclose(found / found.sum(), share.to_numpy(), atol=0.05)


def test_a_market_on_the_antimeridian_is_drawn_in_one_piece():
    figure = map_figure(small_plan(centre=(179.99, -16.5)))
    left, right = figure.axes[0].get_xlim()
    bottom, top = figure.axes[0].get_ylim()
    assert right - left < 3 * (top - bottom)


def test_unknown_columns_and_formats_are_named(tmp_path):
    with pytest.raises(SettingsError, match="no column 'incom'"):
        map_figure(small_plan(), "incom")
    with pytest.raises(SettingsError, match="gif"):
        write_figures(small_plan(), tmp_path, ("gif",))
