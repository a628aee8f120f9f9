"""A page per store cluster and per store: what a store manager pins to the wall."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from geomarket.hexmap import asset_text
from geomarket.report.charts import as_figure
from geomarket.report.clusters import cluster_sections
from geomarket.report.map import NeighbourhoodKey, neighbourhood_key, trade_by_type
from geomarket.report.map_stores import trial_by_store
from geomarket.report.minimap import catchment_map
from geomarket.report.names import natural_key, slug
from geomarket.report.numbers import count, money, percent, plural
from geomarket.report.page import ASSETS, content_security_policy, environment
from geomarket.report.people import swatch
from geomarket.report.promotions import CHANNELS
from geomarket.report.tables import Cell, Column, Table
from geomarket.report.validation import doubted

__all__ = ["write_pages"]

_MARK = ".geomarket-pages"

_NEXT_PERIODS = {"week": 4, "month": 1}
_WHEN = {"phase 1": "now", "waits": "not before proof"}


def write_pages(plan: Any, folder: str | os.PathLike[str]) -> list[Path]:
    """Write a folder with an index, a page per store cluster and a one-pager per store.

    Parameters
    ----------
    plan : Plan
        A finished plan.
    folder : path-like
        New, or written by this function before: then its pages are replaced, and pages of stores that are gone
        are removed.

    Returns
    -------
    list of Path
        The pages, index first. The same plan gives the same bytes.

    Raises
    ------
    FileExistsError
        If the folder holds something else. Name another one.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise FileExistsError(
                f"{folder} holds files that write_pages did not write. Name another folder, or empty this one."
            )
        for pattern in ("index.html", "cluster-*.html", "store-*.html"):
            for stale in folder.glob(pattern):
                stale.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).write_text("Pages of a geomarket plan; replaced as a whole.\n", encoding="utf-8")

    key = neighbourhood_key(plan.neighbourhoods)
    writer = _Writer(plan, folder)
    stores = _store_pages(plan, key)
    clusters = doubted(plan, cluster_sections(plan, key, every_line=True), "clusters")
    written = [
        writer.write("index.html", "index.html.j2", "Stores", stores=_index(stores), clusters=clusters)
    ]
    for cluster in clusters:
        members = [store for store in stores if store.cluster == cluster["code"]]
        title = f"{cluster['code']} · {cluster['name']}"
        written.append(
            writer.write(
                f"cluster-{cluster['slug']}.html",
                "cluster.html.j2",
                title,
                cluster=cluster,
                members=_index(members),
            )
        )
    for store in stores:
        written.append(writer.write(store.file, "store.html.j2", store.name, store=store, key=key))
    return written


@dataclass(frozen=True)
class _StorePage:
    """What one store's page shows."""

    store_id: str
    name: str
    file: str
    cluster: str
    cluster_name: str
    cluster_file: str
    facts: list[tuple[str, str]]
    to_list: Table
    to_delist: Table
    promotions: dict[str, Any] | None
    trial: str
    until: str
    shares: list[dict[str, Any]]
    map: Markup | None
    counts: dict[str, int]
    waiting: int


class _Writer:
    """Renders pages that share style, script and policy."""

    def __init__(self, plan: Any, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._style = Markup(asset_text("report.css", ASSETS))
        self._script = Markup(asset_text("tables.js", ASSETS).replace("export function", "function"))
        self._environment = environment()

    def write(self, name: str, template: str, title: str, **values: Any) -> Path:
        path = self._folder / name
        page = self._environment.get_template(template).render(
            title=title,
            market=self._plan.market,
            style=self._style,
            script=self._script,
            policy=content_security_policy(self._script, self._style),
            **values,
        )
        path.write_text(page, encoding="utf-8", newline="\n")
        return path


def _files(store_ids: list[str]) -> dict[str, str]:
    """Return a file name per store; ids that differ only in odd signs get a number."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for store_id in store_ids:
        base = slug(store_id)
        name = base
        number = 2
        while name.lower() in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name.lower())
        names[store_id] = f"store-{name}.html"
    return names


def _store_pages(plan: Any, key: NeighbourhoodKey) -> list[_StorePage]:
    clusters = plan.store_clusters.table.sort_values(
        "store_id", key=lambda ids: ids.astype("str").map(natural_key)
    )
    stores = plan.market.stores.drop_duplicates("store_id").set_index("store_id")
    changes = dict(list(plan.ranges.changes.groupby("store_id")))
    trade = dict(list(trade_by_type(plan).groupby("store_id")))
    areas = {} if plan.catchments is None else dict(list(plan.catchments.areas.groupby("store_id")))
    types = plan.neighbourhoods.table.dropna(subset=["supergroup"])
    colours = {int(cell): key.colour(code) for cell, code in zip(types["cell"], types["supergroup"])}
    products = plan.market.products.drop_duplicates("sku").set_index("sku")["name"].astype("str")
    files = _files(clusters["store_id"].astype("str").tolist())
    shelves = _shelves(plan)
    trial = trial_by_store(plan)
    ground = plan.hexes.table["cell"].to_numpy(dtype=np.int64)
    empty = plan.ranges.changes.iloc[:0]
    pages = []
    for row in clusters.to_dict("records"):
        store_id, cluster = str(row["store_id"]), str(row["store_cluster"])
        store = stores.loc[store_id] if store_id in stores.index else pd.Series(dtype=object)
        name = str(store.get("name", store_id))
        mine = changes.get(store_id, empty)
        # what waits for a trial is nothing for the store to do
        waits = mine["when"].eq("waits") if "when" in mine else pd.Series(False, index=mine.index)
        due = mine[~waits]
        until = trial.get(store_id, {}).get("until", "")
        pages.append(
            _StorePage(
                store_id=store_id,
                name=name,
                file=files[store_id],
                cluster=cluster,
                cluster_name=str(row["name"]),
                cluster_file=f"cluster-{slug(cluster)}.html",
                facts=_facts(store),
                to_list=doubted(
                    plan, _change_table(plan, due, products, "list", "Put on the shelf", until), "table"
                ),
                to_delist=_change_table(plan, due, products, "delist", "Take off the shelf", until),
                promotions=_promotions(plan, cluster, shelves.get(store_id, set())),
                trial=trial.get(store_id, {}).get("trial", ""),
                until=until,
                shares=_shares(trade.get(store_id), key),
                map=_map(areas.get(store_id), colours, store, name, ground),
                counts={
                    "list": int((due["action"] == "list").sum()),
                    "delist": int((due["action"] == "delist").sum()),
                    "keep": int(
                        (due["action"] == "keep").sum() + (waits & mine["action"].eq("delist")).sum()
                    ),
                },
                waiting=int(waits.sum()),
            )
        )
    return pages


def _facts(store: pd.Series) -> list[tuple[str, str]]:
    facts = []
    if isinstance(store.get("format"), str):
        facts.append(("Format", str(store["format"])))
    if pd.notna(store.get("size_m2")):
        facts.append(("Sales area", f"{count(store['size_m2'])} m²"))
    return facts


def _change_table(
    plan: Any, changes: pd.DataFrame, products: pd.Series, action: str, caption: str, until: str
) -> Table:
    currency = plan.market.currency
    period = getattr(plan.ranges, "period", plan.market.period)
    phased = "when" in changes
    lines = changes[changes["action"] == action]
    lines = lines.assign(when=lines["when"] if phased else "")
    # "phase 1" comes before "phase 2", and both before "waits"
    lines = lines.sort_values(["when", "category", "margin", "sku"], ascending=[True, True, False, True])
    whens = _WHEN | ({"phase 1": "first"} if until else {})
    rows = [
        [
            Cell(
                str(products.get(line["sku"], line["sku"])),
                note=f"{line['sku']} · {line['category']}: {line['reason']}",
            ),
            *([Cell(whens.get(line["when"], str(line["when"])).replace(" ", "\u00a0"))] if phased else []),
            Cell(count(line["units"], 1), float(line["units"])),
            Cell(money(line["margin"], currency, 2), float(line["margin"])),
        ]
        for line in lines.to_dict("records")
    ]
    heads = [Column("Product and reason", "main")]
    heads += [Column("When")] if phased else []
    heads += [Column(f"Units a {period}", "number"), Column(f"Margin a {period}", "number")]
    return Table(f"{caption}: {plural(len(rows), 'product')}", heads, rows)


def _shelves(plan: Any) -> dict[str, set[str]]:
    """Return the SKUs each store sells once the first phase is done: offers on others are none of its business."""
    if hasattr(plan.ranges, "shelf"):
        shelf = plan.ranges.shelf("first phase")
    else:
        shelf = plan.ranges.changes[plan.ranges.changes["action"] != "delist"]
    return {str(store): set(skus) for store, skus in shelf.groupby("store_id")["sku"]}


def _promotions(plan: Any, cluster: str, sold: set[str]) -> dict[str, Any] | None:
    """Return the cluster's offers on what the store sells: those of the next periods, and the later ones."""
    if plan.promotions is None:
        return None
    table = plan.promotions.table
    mine = table[table["store_cluster"] == cluster].sort_values(["period", "category", "sku"])
    kept = mine[mine["sku"].isin(sold)]
    if mine.empty:
        return None
    starts = pd.Series(pd.to_datetime(table["period"]).unique()).sort_values()
    periods = _NEXT_PERIODS.get(plan.market.period, 1)
    first = pd.to_datetime(kept["period"]).isin(starts.head(periods))
    many = len(starts) > periods
    caption = f"The first {plural(periods, plan.market.period)}" if many else "All of them"
    return {
        "soon": _promotion_table(kept[first], caption),
        "later": _promotion_table(kept[~first], "Later") if many and not first.all() else None,
        "others": len(mine) - len(kept),
    }


def _promotion_table(offers: pd.DataFrame, caption: str) -> Table:
    rows = [
        [
            Cell(str(line["name"]), note=f"{line['sku']} · {line['category']}"),
            Cell(f"{pd.Timestamp(line['period']):%d %b %Y}", pd.Timestamp(line["period"]).timestamp()),
            Cell(percent(line["depth"]), float(line["depth"])),
            Cell(CHANNELS.get(str(line["channel"]), str(line["channel"])).lower()),
        ]
        for line in offers.to_dict("records")
    ]
    heads = [Column("Product", "main"), Column("From", "number"), Column("Price cut", "number")]
    return Table(f"{caption}: {plural(len(rows), 'promotion')}", [*heads, Column("Where")], rows)


def _shares(trade: pd.DataFrame | None, key: NeighbourhoodKey) -> list[dict[str, Any]]:
    if trade is None:
        return []
    ranked = trade.sort_values(["share", "supergroup"], ascending=[False, True])
    return [
        {"swatch": swatch(key.colour(code)), "label": key.label(code), "share": percent(share)}
        for code, share in zip(ranked["supergroup"], ranked["share"])
        if share >= 0.005
    ]


def _map(
    areas: pd.DataFrame | None,
    colours: dict[int, str],
    store: pd.Series,
    name: str,
    ground: npt.NDArray[np.int64],
) -> Markup | None:
    if areas is None or pd.isna(store.get("lon")) or pd.isna(store.get("lat")):
        return None
    cells = areas["cell"].to_numpy(dtype=np.int64)
    core = frozenset(int(cell) for cell in cells[(areas["band"] == areas["band"].min()).to_numpy()])
    where = (float(store["lon"]), float(store["lat"]))
    title = f"Catchment of {name} by neighbourhood type"
    # the widest band has far outliers: the picture is as wide as the bands before it
    bands = sorted(areas["band"].unique())
    inner = cells[(areas["band"] < bands[-1]).to_numpy()] if len(bands) > 1 else cells
    chart = catchment_map(cells, colours, core, where, title, ground=ground, frame=inner)
    return as_figure(chart, "map_catchments")


def _index(stores: list[_StorePage]) -> Table:
    tried = any(store.trial for store in stores)
    rows = [
        [
            Cell(
                store.name,
                markup=Markup('<a href="{}">{}</a>').format(store.file, store.name),
            ),
            Cell(store.store_id),
            Cell(f"{store.cluster} · {store.cluster_name}"),
            *([Cell(store.trial.split(",")[0])] if tried else []),
            Cell(f"{store.counts['list']:,}", float(store.counts["list"])),
            Cell(f"{store.counts['delist']:,}", float(store.counts["delist"])),
        ]
        for store in stores
    ]
    heads = [Column("Store", "main"), Column("Id"), Column("Cluster"), *([Column("Trial")] if tried else [])]
    heads += [Column("To list", "number"), Column("To delist", "number")]
    return Table(plural(len(rows), "store"), heads, rows)
