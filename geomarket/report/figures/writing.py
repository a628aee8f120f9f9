"""Every figure of a plan, drawn and written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from geomarket.errors import SettingsError
from geomarket.report.figures import advice, evidence, offers, people, stores
from geomarket.report.figures.maps import PlanMap
from geomarket.report.figures.slides import settled, styled
from geomarket.report.map import NeighbourhoodKey
from geomarket.report.names import natural_key

__all__ = ["write_figures", "write_measurement_figures"]

_FORMATS = frozenset({"png", "svg", "pdf"})
_TYPICAL_STORES = 6
_Drawing = Callable[[Any, NeighbourhoodKey], Figure | list[Figure] | None]
_DRAWINGS: dict[str, _Drawing] = {
    "verdict": advice.verdict,
    "neighbourhoods": people.neighbourhoods,
    "migration": people.migration,
    "customers": people.customers,
    "customer_value": people.customer_value,
    "customer_forecast": people.customer_forecast,
    "quadrants": people.quadrants,
    "channels": people.channels,
    "pairs": people.pairs,
    "catchments": stores.catchments,
    "catchment_models": stores.catchment_models,
    "what_ifs": stores.what_ifs,
    "store_clusters": stores.store_clusters,
    "store_cluster_trade": stores.store_cluster_trade,
    "store_trade": stores.store_trade,
    "range_gain": advice.range_gain,
    "promotions": offers.promotions,
    "targeting": offers.targeting,
    "frontier": advice.frontier,
    "measurement_power": evidence.measurement_power,
    "fairness": evidence.fairness,
    "forecasts": advice.forecasts,
}


@styled
def write_figures(
    plan: Any, folder: str | os.PathLike[str], formats: Sequence[str] = ("png", "svg"), dpi: int = 144
) -> list[Path]:
    """Write the report's figures as image files for slides, 16 by 9, drawn without a browser.

    Parameters
    ----------
    plan : Plan
        A finished plan.
    folder : path-like
        Made if missing; files of the same name are replaced.
    formats : sequence of {"png", "svg", "pdf"}
        What to write. Words stay words in SVG and PDF.
    dpi : int
        Dots an inch of PNG files; 144 makes 1920 by 1080.

    Returns
    -------
    list of Path
        A figure for every chart of the report, under the name the chart has there (``data-figure``), as far as the
        plan has what it shows; a map for every layer of the report's map (``map_neighbourhoods``, ``map_own_share``,
        …), of stores and competitors (``map_stores``), of typical stores' catchments (``map_catchments``) and of the
        test (``map_measurement``). What doesn't fit one slide goes on in ``…_2``. What the report hides is hidden
        here. The same plan gives the same bytes under one version of matplotlib and one set of fonts.

    Raises
    ------
    SettingsError
        If a format is not one of the three.
    """
    return _written(_figures(plan), Path(folder), formats, dpi)


@styled
def write_measurement_figures(
    found: Any, folder: str | os.PathLike[str], formats: Sequence[str] = ("png", "svg"), dpi: int = 144
) -> list[Path]:
    """Write the figure of what a plan's test found, as :func:`write_figures` does.

    Parameters
    ----------
    found : PlanMeasurement
        From :func:`geomarket.measure_plan`.
    folder, formats, dpi
        As of :func:`write_figures`.

    Returns
    -------
    list of Path
        ``measured`` in each format.

    Raises
    ------
    SettingsError
        If a format is not one of the three.
    """
    return _written([("measured", evidence.measured(found))], Path(folder), formats, dpi)


def _written(
    figures: Iterable[tuple[str, Figure]], folder: Path, formats: Sequence[str], dpi: int
) -> list[Path]:
    unknown = sorted(set(formats) - _FORMATS)
    if unknown:
        raise SettingsError(f"formats: {', '.join(unknown)} can't be written; choose from png, svg and pdf.")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures:
        settled(figure)
        for kind in formats:
            path = folder / f"{name}.{kind}"
            figure.savefig(path, dpi=dpi, metadata=_metadata(kind, str(figure.get_label())))
            written.append(path)
    return written


def _metadata(kind: str, title: str) -> dict[str, str | None]:
    """Return what the file says about itself: a date would change its bytes from run to run."""
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}[kind]
    return {"Title": title, **undated}


def _figures(plan: Any) -> Iterator[tuple[str, Figure]]:
    """Give every figure with its name, one at a time."""
    ground = PlanMap(plan)
    for name, view in ground.names().items():
        yield name, ground.draw(view)
    yield "map_stores", ground.draw_stores()
    typical = _typical_stores(plan)
    if typical:
        yield "map_catchments", ground.draw_catchments(typical)
    if getattr(plan, "experiment", None) is not None:
        yield "map_measurement", ground.draw_arms(plan.experiment.design)
    for name, draw in _DRAWINGS.items():
        yield from _numbered(name, draw(plan, ground.key))
    for name, calendars in offers.promotion_calendars(plan).items():
        yield from _numbered(name, calendars)


def _numbered(name: str, found: Figure | list[Figure] | None) -> Iterator[tuple[str, Figure]]:
    figures = [] if found is None else found if isinstance(found, list) else [found]
    for k, figure in enumerate(figures):
        yield f"{name}_{k + 1}" if k else name, figure


def _typical_stores(plan: Any) -> list[str]:
    """Return the typical store of each of the first store clusters that has a catchment and a place."""
    if plan.catchments is None:
        return []
    placed = plan.market.stores.dropna(subset=["lon", "lat"])["store_id"]
    known = set(plan.catchments.areas["store_id"]) & set(placed)
    table = plan.store_clusters.table
    typical = table[table["medoid"].astype(bool) & table["store_id"].isin(known)].drop_duplicates(
        "store_cluster"
    )
    ordered = sorted(typical.itertuples(), key=lambda row: natural_key(str(row.store_cluster)))
    return [str(row.store_id) for row in ordered][:_TYPICAL_STORES]
