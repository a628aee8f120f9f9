"""Neighbourhood types on the page: portraits, strongest traits, customers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from geomarket.report.charts import IndexBar, as_figure, index_bars
from geomarket.report.map import NeighbourhoodKey
from geomarket.report.numbers import count, percent
from geomarket.report.tables import frame_table

__all__ = [
    "customer_bars",
    "customer_section",
    "neighbourhood_cards",
    "strongest_bars",
    "swatch",
    "type_traits",
]

_TOP_ABOVE, _TOP_BELOW = 4, 2


def neighbourhood_cards(plan: Any, key: NeighbourhoodKey) -> list[dict[str, Any]]:
    """Return one card per supergroup: portrait, size, strongest indices, penetration, groups."""
    types = plan.neighbourhoods.types.set_index("code")
    cards = []
    for position, code in enumerate(key.codes):
        mine = type_traits(plan, code)
        described = types.loc[code] if code in types.index else pd.Series(dtype=object)
        card = {
            "code": code,
            "position": position,
            "name": key.names[position],
            "swatch": swatch(key.colours[position]),
            "portrait": str(described.get("portrait", "") or ""),
            "share": percent(described.get("population_share")),
            "people": count(described.get("population")),
            "cells": count(described.get("cells")),
            "chart": as_figure(
                index_bars(
                    strongest_bars(mine),
                    f"{key.label(code)}: index of its strongest traits, 100 is the average resident",
                    top=260.0,
                ),
                "neighbourhoods",
            ),
            "figures": frame_table(
                mine.sort_values("index", ascending=False),
                f"{key.label(code)}, all traits",
                {
                    "label": ("Trait", "text", None),
                    "mean": ("Here", "number", _figure),
                    "overall": ("Average", "number", _figure),
                    "index": ("Index", "number", count),
                },
            ),
            "groups": _groups(plan, key, code),
        }
        cards.append(card)
    return cards


def type_traits(plan: Any, code: str) -> pd.DataFrame:
    """Return the traits a neighbourhood type may be known by: reliable ones, and no protected ones."""
    index = plan.neighbourhoods.index
    protected = {variable.name for variable in plan.hexes.variables if variable.protected}
    mine = index[(index["code"] == code) & ~index["variable"].isin(protected)]
    return mine[mine["reliable"].astype(bool)] if "reliable" in mine else mine


def _figure(value: float) -> str:
    """Write a mean of which only the size tells whether it is a share."""
    return percent(value, 1) if abs(value) <= 1 else count(value, 0 if abs(value) >= 100 else 1)


def strongest_bars(index: pd.DataFrame) -> list[IndexBar]:
    """Return the traits farthest above and below average, highest index first.

    By ``strength`` (difference in spreads between areas) where given, else by the ratio to the average.
    """
    known = index[np.isfinite(index["index"].astype(float))]
    far = known["strength"] if "strength" in known else np.log(known["index"].clip(lower=1) / 100)
    ranked = known.assign(far=far.astype(float)).sort_values(["far", "variable"], ascending=[False, True])
    above = ranked[ranked["far"] > 0].head(_TOP_ABOVE)
    below = ranked[ranked["far"] < 0].tail(_TOP_ABOVE + _TOP_BELOW - len(above))
    top = pd.concat([above, below]).sort_values(["index", "variable"], ascending=[False, True])
    return [
        IndexBar(
            str(row["label"]),
            float(row["index"]),
            float(row.get("index_low", np.nan)),
            float(row.get("index_high", np.nan)),
        )
        for row in top.to_dict("records")
    ]


def _groups(plan: Any, key: NeighbourhoodKey, code: str) -> list[dict[str, str]]:
    types = plan.neighbourhoods.types
    children = types[types["parent"] == code].sort_values("code")
    return [
        {
            "code": str(row["code"]),
            "name": str(row["name"]),
            "share": percent(row["population_share"], 1),
            "swatch": swatch(key.colour(str(row["code"]))),
            "portrait": str(row["portrait"]),
        }
        for row in children.to_dict("records")
    ]


def customer_section(plan: Any) -> dict[str, Any] | None:
    """Return where customers live: penetration index by neighbourhood with its interval, chart and table."""
    if plan.customers is None or plan.customers.table.empty:
        return None
    table, bars = customer_bars(plan)
    halves = (bars[: -(-len(bars) // 2)], bars[-(-len(bars) // 2) :])
    title = "Customers per resident by neighbourhood: index, 100 is the market"
    return {
        "charts": [
            as_figure(index_bars(half, title, top=300.0, missing="too few to show", among=bars), "customers")
            for half in halves
            if half
        ],
        "table": frame_table(
            table,
            "Customers by neighbourhood",
            {
                "neighbourhood": ("Code", "text", None),
                "name": ("Neighbourhood", "text", None),
                "customers": ("Customers", "number", count),
                "penetration": ("Of residents", "number", lambda v: percent(v, 1)),
                "low": ("Low", "number", lambda v: percent(v, 1)),
                "high": ("High", "number", lambda v: percent(v, 1)),
                "index": ("Index", "number", count),
                "heavy_share": ("Heavy customers", "number", percent),
            },
        ),
    }


def customer_bars(plan: Any) -> tuple[pd.DataFrame, list[IndexBar]]:
    """Return the penetration by neighbourhood, highest index first, as table and as bars."""
    table = plan.customers.table.sort_values("index", ascending=False, na_position="last", ignore_index=True)
    return table, [
        IndexBar(
            f"{row['neighbourhood']} · {row['name']}",
            float(row["index"]),
            float(row["index_low"]),
            float(row["index_high"]),
        )
        for row in table.to_dict("records")
    ]


def swatch(colour: str) -> Markup:
    """Return a small square of a colour (a style attribute would need a laxer security policy)."""
    square = Markup('<rect width="12" height="12" rx="2" fill="{}"/>').format(colour)
    return Markup('<svg class="swatch" viewBox="0 0 12 12" aria-hidden="true">{}</svg>').format(square)
