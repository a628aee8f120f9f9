"""The files a planner hands on: where leaflets go, and what each store charges when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import shapely

from geomarket.hexes import cell_centres, cell_polygons, cell_strings
from geomarket.planning.catchment_details import place_names
from geomarket.planning.plan import Plan

__all__ = ["CAMPAIGNS", "campaign_files", "door_drop_list", "store_prices", "write_campaigns"]

CAMPAIGNS = "campaigns"
"""Folder of the output they are in."""
_DIGITS = 6
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def campaign_files(plan: Plan) -> dict[str, str]:
    """Return the campaign files of a plan: name within their folder -> content.

    Parameters
    ----------
    plan : Plan
        A finished plan. Margins are in none of the files: they leave the house.

    Returns
    -------
    dict
        ``door_drops.csv`` and ``.geojson`` where door drops are planned, ``prices/store_<id>.csv`` for each store with
        offers, and ``contacts_<channel>.csv`` only for channels that the settings name.
    """
    files: dict[str, str] = {}
    targeting = plan.targeting
    if targeting is not None and len(targeting.doors.table):
        drops = door_drop_list(plan)
        files["door_drops.csv"] = _csv(drops)
        files["door_drops.geojson"] = _geojson(drops, plan.market.name)
    if targeting is not None:
        for channel in plan.settings.targeting.contact_lists:
            rows = targeting.contact_rows[targeting.contact_rows["channel"] == channel]
            if len(rows):
                listed = rows[["customer_id", "period", "store_cluster"]].rename(columns={"period": "from"})
                files[f"contacts_{channel}.csv"] = _csv(listed)
    if plan.promotions is not None and len(plan.promotions.table):
        for store, prices in store_prices(plan).groupby("store_id", sort=True):
            files[f"prices/store_{quote(str(store), safe='')}.csv"] = _csv(prices)
    return files


def write_campaigns(plan: Plan, folder: Path) -> None:
    """Write the campaign files into a new folder."""
    for name, content in campaign_files(plan).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="\n")


def door_drop_list(plan: Plan) -> pd.DataFrame:
    """Return the door drops to order: from, to, leaflet, hexagon, place, lon, lat, doors; in this order."""
    assert plan.targeting is not None
    table = plan.targeting.doors.table
    lon, lat = cell_centres(table["cell"].to_numpy(dtype=np.int64))
    listed = pd.DataFrame(
        {
            "from": pd.to_datetime(table["period"]),
            "to": _last_day(table["period"], plan.market.period),
            "leaflet": table["store_cluster"].astype(str),
            "hexagon": cell_strings(table["cell"].to_numpy(dtype=np.int64)),
            "lon": np.round(lon, _DIGITS),
            "lat": np.round(lat, _DIGITS),
            "doors": np.rint(table["doors"]).clip(lower=1).astype("int64"),
        }
    )
    once = listed.drop_duplicates("hexagon").set_index("hexagon")
    places = place_names(once["lon"], once["lat"], plan.market)
    listed.insert(4, "place", listed["hexagon"].map(places))
    return listed.sort_values(["from", "leaflet", "hexagon"], ignore_index=True)


def store_prices(plan: Plan) -> pd.DataFrame:
    """Return what each store charges for its offers: store_id, sku, product, from, to, regular_price, price.

    The mechanic and where the offer is shown stand beside it.
    An offer of a store cluster holds in those of its stores that list the product after the first phase of changes.
    """
    assert plan.promotions is not None
    offers = plan.promotions.table
    clusters = plan.store_clusters.table[["store_id", "store_cluster"]]
    kept = plan.ranges.shelf("first phase")
    rows = offers.merge(clusters, on="store_cluster").merge(kept, on=["store_id", "sku"])
    products = plan.market.products.drop_duplicates("sku").set_index("sku")
    regular = rows["sku"].map(products["price"]).astype(float)
    price = regular * (1 - rows["depth"])
    if "offer_price" in rows:
        # a multibuy leaves the price on the shelf as it is; its mechanic says what is taken off
        price = rows["offer_price"].astype(float).fillna(regular)
    listed = pd.DataFrame(
        {
            "store_id": rows["store_id"].astype(str),
            "sku": rows["sku"].astype(str),
            "product": rows["name"].astype(str),
            "from": pd.to_datetime(rows["period"]),
            "to": _last_day(rows["period"], plan.market.period),
            "regular_price": regular.round(2),
            "price": price.round(2),
            "mechanic": rows["mechanic"].astype(str),
            "shown": rows["channel"].astype(str),
        }
    )
    return listed.sort_values(["store_id", "from", "sku"], ignore_index=True)


def _last_day(period: pd.Series, grain: str) -> pd.Series:
    first = pd.to_datetime(period)
    end = first + pd.offsets.MonthEnd(1) if grain == "month" else first + pd.Timedelta(days=6)
    return pd.Series(end, index=period.index)


def _csv(frame: pd.DataFrame) -> str:
    """Write comma-separated values; a text that a spreadsheet would run as a formula gets an apostrophe before it."""
    texts = frame.select_dtypes(["object", "string"]).columns.difference(["sku", "store_id", "customer_id"])
    safe = frame.assign(**{c: frame[c].map(_harmless, na_action="ignore") for c in texts})
    return str(safe.to_csv(index=False, date_format="%Y-%m-%d", lineterminator="\n"))


def _harmless(text: Any) -> Any:
    return f"'{text}" if isinstance(text, str) and text.lstrip().startswith(_FORMULA) else text


def _geojson(drops: pd.DataFrame, name: str) -> str:
    """Write one feature per hexagon (RFC 7946) with its doors and the days and leaflets of its drops."""
    by_hexagon = drops.groupby("hexagon", sort=True)
    cells = np.array([int(str(cell), 16) for cell in by_hexagon.groups], dtype=np.int64)
    features = []
    for (cell, rows), shape in zip(by_hexagon, cell_polygons(cells), strict=True):
        ring = np.round(shapely.get_coordinates(shapely.orient_polygons(shape)), _DIGITS).tolist()
        features.append(
            {
                "type": "Feature",
                "id": cell,
                "properties": {
                    "hexagon": cell,
                    "place": str(rows["place"].iloc[0]),
                    "doors": int(rows["doors"].iloc[0]),
                    "drops": len(rows),
                    "days": ", ".join(rows["from"].dt.strftime("%Y-%m-%d")),
                    "leaflets": ", ".join(rows["leaflet"]),
                },
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            }
        )
    content = {"type": "FeatureCollection", "name": f"Door drops: {name}", "features": features}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"
