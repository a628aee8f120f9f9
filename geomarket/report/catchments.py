"""The section on catchments: how far shoppers come, how well that is known, what is left to win, what-ifs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from geomarket.catchments.comparison import comparison_warnings, score_rows
from geomarket.report.charts import as_figure, bar_chart, waterfall_chart
from geomarket.report.numbers import count, money_short, percent, plural, signed
from geomarket.report.sections import decay_section
from geomarket.report.tables import Table, frame_table

__all__ = ["catchment_section", "score_bars", "trade_writer", "unit_words", "what_if_steps"]

_TOP_PAIRS = 10
_TOP_HEXAGONS = 15
_TOP_MOVED = 12
_TOP_VOIDS = 30
_TOP_STORES = 250
_SOURCES = {
    "flows": "known customers' trips",
    "totals": "what stores took in all",
    "given": "nothing: its exponents were given",
}


_TESTS = {
    "random cells": "hexagons held out",
    "stores held out": "stores held out",
    "other year": "another year",
    "fit year": "the year fitted to",
}
_TERMS = {
    "log_km": "Distance, km",
    "log_minutes": "Travel time, minutes",
    "km": "Each km",
    "minutes": "Each minute",
    "log_size": "Sales area",
    "log_size_m2": "Sales area",
    "own": "Own store, against a competitor's",
}


def catchment_section(plan: Any) -> dict[str, Any] | None:
    """Return the parts of the section; None where there are no catchments."""
    if plan.catchments is None:
        return None
    write = trade_writer(plan)
    details = getattr(plan, "catchment_details", None)
    decay = decay_section(plan)
    comparison = getattr(plan.catchments, "comparison", pd.DataFrame())
    judged = not comparison.empty and "huff" in set(comparison["model"])
    return {
        "lead": _lead(plan, write),
        "decay": decay,
        "observed": details is not None and bool(details.decay["observed"].notna().any()),
        "distances": _distances(details),
        "flags": comparison_warnings(comparison) if judged else _unfitted(plan),
        "scores": _score_chart(comparison) if judged else None,
        "models": _model_table(comparison) if judged else None,
        "terms": _terms(plan),
        "formats": _formats(plan),
        "stores": _store_table(details, write),
        "pairs": _pair_table(details),
        "voids": _void_table(details),
        "whitespace": _whitespace(details, write),
        "whatifs": _what_ifs(plan, write),
        "sites": _sites(plan, write),
    }


def trade_writer(plan: Any) -> Callable[[Any], str]:
    """Return what writes an amount of trade: money, or a number of trips or people."""
    if str(getattr(plan.catchments, "unit", "")) == "revenue":
        return lambda value: money_short(value, plan.market.currency)
    return lambda value: count(value)


def unit_words(plan: Any) -> str:
    """Return what an amount of trade is counted by."""
    unit = str(getattr(plan.catchments, "unit", "revenue"))
    return "a year" if unit == "revenue" else unit


def _lead(plan: Any, write: Callable[[Any], str]) -> str:
    catchments = plan.catchments
    own = catchments.table[catchments.table["own"].astype(bool)]
    market, drawn = float(catchments.cells["market"].sum()), float(own["demand"].sum())
    n_own = own["store_id"].nunique()
    share = drawn / market if market > 0 else float("nan")
    rivals = catchments.table["store_id"].nunique() - n_own
    source = _SOURCES.get(str(getattr(catchments, "source", "")))
    words = (
        f"{plural(n_own, 'own store')} {'is' if n_own == 1 else 'are'} expected to draw {percent(share)} of a market "
        f"of {write(market)} {unit_words(plan)}"
    )
    words += f"; {plural(rivals, 'competitor')} share the rest." if rivals else "."
    return f"{words} The model was fitted to {source}." if source else words


def _unfitted(plan: Any) -> list[str]:
    """What must be said where the model was not fitted to anything."""
    if str(getattr(plan.catchments, "source", "")) != "given":
        return []
    return [
        "Nothing here was fitted: the exponents were given or are the textbook's, and can be worse than treating all "
        "stores alike. Treat every figure of this section as a sketch."
    ]


def score_bars(comparison: pd.DataFrame) -> tuple[list[tuple[str, float, str]], str, str]:
    """Return the score of every model on the hardest test, the fitted one first; which score, and which test."""
    score, label, rows = score_rows(comparison)
    chosen = rows[rows["model"] == "huff"]
    others = rows[rows["model"] != "huff"].sort_values(score, ascending=False, kind="stable")
    bars = [
        (str(row["label"]), float(row[score]), count(row[score], 2))
        for row in pd.concat([chosen, others]).to_dict("records")
    ]
    test = str(rows["test"].iloc[0])
    return bars, str(label), _TESTS.get(test, test)


def _score_chart(comparison: pd.DataFrame) -> dict[str, Any]:
    bars, label, test = score_bars(comparison)
    title = f"{label}, on trade the models had not seen; longer is better"
    return {"chart": as_figure(bar_chart(bars, title), "catchment_models"), "words": f"{title} ({test})"}


def _model_table(comparison: pd.DataFrame) -> Table:
    out = comparison[comparison["sample"] == "out"] if "sample" in comparison else comparison
    return frame_table(
        out if len(out) else comparison,
        "Catchment models on trade they had not seen, against simple rules",
        {
            "label": ("Model", "text", None),
            "test": ("Tested on", "text", None),
            "wmape": ("Error (WMAPE)", "number", lambda v: percent(v, 0)),
            "spearman": ("Rank correlation", "number", lambda v: count(v, 2)),
            "pseudo_r2": ("Pseudo R²", "number", lambda v: count(v, 2)),
            "r2_log": ("R² of logs", "number", lambda v: count(v, 2)),
            "mape": ("MAPE", "number", lambda v: percent(v, 0)),
        },
    )


def _formats(plan: Any) -> Table | None:
    table = getattr(plan.catchments, "by_format", None)
    if table is None or table.empty:
        return None
    frame = table.reset_index() if "format" not in table else table
    return frame_table(
        frame,
        "How well store totals are met, by format",
        {
            "format": ("Format", "text", None),
            "stores": ("Stores", "number", count),
            "wmape": ("Error (WMAPE)", "number", lambda v: percent(v, 0)),
            "spearman": ("Rank correlation", "number", lambda v: count(v, 2)),
            "r2_log": ("R² of logs", "number", lambda v: count(v, 2)),
            "bias": ("Bias", "number", lambda v: percent(v, 0)),
        },
    )


def _terms(plan: Any) -> Table | None:
    table = getattr(plan.catchments, "params", None)
    if table is None or table.empty:
        return None
    return frame_table(
        table,
        "What draws shoppers: exponents of the catchment model, with 90% intervals",
        {
            "term": ("Term", "text", _term),
            "estimate": ("Estimate", "number", lambda v: count(v, 2)),
            "low": ("Low", "number", lambda v: count(v, 2)),
            "high": ("High", "number", lambda v: count(v, 2)),
        },
    )


def _term(name: Any) -> str:
    return _TERMS.get(str(name), str(name).replace("_", " ").replace("=", ": "))


def _distances(details: Any) -> Table | None:
    if details is None:
        return None
    frame = details.decay.assign(
        band=[
            f"{low:g} to {high:g} km" if np.isfinite(high) else f"{low:g} km and more"
            for low, high in zip(details.decay["from"], details.decay["to"])
        ]
    )
    columns: dict[str, Any] = {
        "band": ("From the store", "text", None),
        "modelled": ("Trade, model", "number", lambda v: percent(v, 1)),
    }
    if frame["observed"].notna().any():
        columns["observed"] = ("Known trips", "number", lambda v: percent(v, 1))
    columns["people_won"] = ("Won of the market", "number", lambda v: percent(v, 1))
    return frame_table(frame, "Trade by distance from the store", columns)


def _part(band: str) -> str:
    return "Half" if band == "50" else f"{band}%"


def _store_table(details: Any, write: Callable[[Any], str]) -> Table | None:
    if details is None or details.table.empty:
        return None

    def km(value: Any) -> str:
        return count(value, 1)

    frame = details.table.sort_values("demand", ascending=False, kind="stable")
    frame = frame.assign(
        overlap_with=[
            f"{other} ({percent(overlap)})" if isinstance(other, str) else ""
            for other, overlap in zip(frame["overlap_with"], frame["overlap"])
        ]
    )
    columns: dict[str, Any] = {
        "name": ("Store", "main", None),
        "demand": ("Expected trade", "number", write),
    }
    bands = details.bands
    for band in dict.fromkeys((*bands[:1], *bands[-1:])):
        columns[f"km_{band}"] = (f"{_part(band)} within, km", "number", km)
    for band in bands[:1]:
        if frame.get(f"observed_km_{band}", pd.Series(dtype=float)).notna().any():
            columns[f"observed_km_{band}"] = (f"{_part(band)} of known trips, km", "number", km)
    columns |= {
        "overlap_with": ("Overlaps most with", "text", None),
        "twin": ("Most alike", "text", None),
        "voids": ("Lacks", "text", None),
    }
    return frame_table(
        frame, "Trade areas, store by store", columns, limit=_TOP_STORES, more="in the workbook"
    )


def _pair_table(details: Any) -> Table | None:
    if details is None or details.overlap.empty:
        return None
    columns: dict[str, Any] = {
        "name": ("Store", "text", None),
        "other_name": ("and", "text", None),
        "overlap": ("Overlap, model", "number", percent),
    }
    if details.overlap["observed"].notna().any():
        columns["observed"] = ("Overlap, known customers", "number", percent)
    caption = "Own stores that live on the same places (0%: no hexagon in common, 100%: the same trade area)"
    return frame_table(details.overlap, caption, columns, limit=_TOP_PAIRS, more="pairs in the workbook")


def _void_table(details: Any) -> Table | None:
    if details is None or details.voids.empty:
        return None
    names = details.table.set_index("store_id")["name"]
    frame = details.voids.assign(store=details.voids["store_id"].map(names)).sort_values(
        ["chance", "store_id"], kind="stable"
    )
    return frame_table(
        frame,
        "What a trade area lacks though most areas like it have it (store formats, all chains)",
        {
            "store": ("Trade area of", "text", None),
            "item": ("Lacks", "text", None),
            "expected": ("Expected there", "number", lambda v: count(v, 1)),
            "present_in": ("Of its five twins have it", "number", percent),
            "chance": ("Chance of none", "number", percent),
        },
        limit=_TOP_VOIDS,
        more="in the workbook",
    )


def _whitespace(details: Any, write: Callable[[Any], str]) -> Table | None:
    if details is None or details.whitespace.empty:
        return None
    frame = details.whitespace.assign(
        where=[
            place or f"near {store}" if isinstance(store, str) else place or "–"
            for place, store in zip(details.whitespace["place"], details.whitespace["nearest_store"])
        ],
        type=[
            f"{code} · {name}" if isinstance(code, str) else ""
            for code, name in zip(details.whitespace["neighbourhood"], details.whitespace["name"])
        ],
    )
    return frame_table(
        frame,
        "Whitespace: hexagons with most trade that goes to others",
        {
            "where": ("Hexagon in", "text", None),
            "type": ("Neighbourhood", "text", None),
            "population": ("Residents", "number", count),
            "market": ("Market", "number", write),
            "own_share": ("Own share", "number", percent),
            "whitespace": ("Goes elsewhere", "number", write),
            "nearest_store": ("Nearest own store", "text", None),
            "nearest_own_km": ("km", "number", lambda v: count(v, 1)),
        },
        limit=_TOP_HEXAGONS,
        more="in the workbook; all are on the map",
    )


def _what_ifs(plan: Any, write: Callable[[Any], str]) -> list[dict[str, Any]]:
    found = getattr(plan, "whatifs", None)
    if found is None:
        return []
    parts = []
    for row in found.table.to_dict("records"):
        title = f"{row['what_if']}: from the stores it touches to the chain as a whole"
        moved = found.stores[found.stores["what_if"] == row["what_if"]]
        moved = moved.reindex(moved["change"].abs().sort_values(ascending=False, kind="stable").index)
        parts.append(
            {
                "name": str(row["what_if"]),
                "what": _what(row),
                "words": f"The chain as a whole {signed(write(row['net_own']))} {unit_words(plan)}, "
                + _sides(row, write),
                "cannibalised": _cannibalised(row),
                "chart": as_figure(
                    waterfall_chart(what_if_steps(row), "The chain as a whole", title, write), "what_ifs"
                ),
                "table": frame_table(
                    moved.assign(
                        name=moved["name"].fillna(moved["store_id"]),
                        whose=np.where(moved["own"].astype(bool), "own", "competitor"),
                    ),
                    "Stores that gain or lose most",
                    {
                        "name": ("Store", "text", None),
                        "whose": ("Whose", "text", None),
                        "before": ("Before", "number", write),
                        "after": ("After", "number", write),
                        "change": ("Change", "number", lambda v: signed(write(v))),
                    },
                    limit=_TOP_MOVED,
                    more="in the workbook",
                ),
            }
        )
    return parts


def what_if_steps(row: dict[str, Any]) -> list[tuple[str, float]]:
    """Return what a what-if changes for the chain's stores, without parts that don't change."""
    steps = [
        ("Own stores opened or changed", row["volume"]),
        ("Own stores closed", row["closed"]),
        ("Other own stores", row["other_own"]),
    ]
    return [(label, float(amount)) for label, amount in steps if abs(amount) > 0]


def _sides(row: dict[str, Any], write: Callable[[Any], str]) -> str:
    """Who pays for it, or gains by it, outside the chain."""
    rivals, nowhere = float(row["competitors"]), float(row["no_store"])
    words = f"competitors {signed(write(rivals))}"
    return (
        f"{words}, spent at none of the stores {signed(write(nowhere))}."
        if abs(nowhere) >= 0.5
        else f"{words}."
    )


def _what(row: dict[str, Any]) -> str:
    words = [
        f"{verb}: {row[column]}"
        for verb, column in (("Opens", "opened"), ("Closes", "closed_stores"), ("Changes", "resized"))
        if row[column]
    ]
    return ". ".join(words) + "."


def _cannibalised(row: dict[str, Any]) -> str:
    gain = float(row["volume"])
    if gain <= 0 or row["other_own"] >= 0:
        return ""
    return f"{percent(-row['other_own'] / gain)} of what these stores gain comes from other own stores."


def _sites(plan: Any, write: Callable[[Any], str]) -> Table | None:
    found = getattr(plan, "whatifs", None)
    if found is None or found.sites.empty:
        return None
    return frame_table(
        found.sites,
        "Sites considered, each as if it opened alone",
        {
            "name": ("Site", "text", None),
            "volume": ("Trade there", "number", write),
            "from_own": ("From own stores", "number", write),
            "from_competitors": ("From competitors", "number", write),
            "net_own": ("The chain gains", "number", lambda v: signed(write(v))),
        },
        limit=int(plan.settings.report.max_changes),
        more="in the workbook",
    )
