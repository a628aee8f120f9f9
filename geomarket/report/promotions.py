"""The section on promotions: what they bring, how sure that is, when they run where, and what it rests on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from geomarket.amounts import as_chance
from geomarket.report.charts import as_figure, calendar_chart
from geomarket.report.numbers import MISSING, count, money, money_short, percent, plural, signed
from geomarket.report.sections import promotion_section
from geomarket.report.sheet_types import Field, Sheet
from geomarket.report.tables import Cell, Column, Table, frame_table

__all__ = [
    "CHANNELS",
    "by_channel",
    "calendar_rows",
    "promotion_calendar",
    "promotion_details",
    "promotion_sheets",
]

_LINES = 12
CHANNELS = {"shelf": "At the shelf", "display": "On a display", "mailer": "In the leaflet"}
_MODELS = {
    "no promotion": "No effect of any offer",
    "pooled": "One response for all categories and clusters",
    "own": "Each store cluster's own",
    "response": "Each store cluster's own, shrunk to the category's mean (used)",
}
_WORKBOOK = "in the workbook"


def promotion_details(plan: Any) -> dict[str, Any] | None:
    """Return the parts of the section; None where promotions were not planned at all."""
    if plan.promotions is None:
        return None
    return {
        "main": promotion_section(plan),
        "words": _words(plan),
        "calendars": _calendars(plan.promotions.table),
        "lines": _lines(plan),
        "response": _response(plan),
        "effects": _effects(plan),
        "holdout": _holdout(plan),
        "types": _types(plan),
        "answers": _answers(plan),
        "notes": [*getattr(plan.promotions, "notes", list)(), *getattr(plan.response, "cautions", ())],
    }


def _words(plan: Any) -> list[str]:
    """What the figure in the headline means: how sure it is, and what a loss at its low end would say."""
    promotions, currency = plan.promotions, plan.market.currency
    confidence = getattr(getattr(promotions, "rules", None), "confidence", None)
    if promotions.table.empty:
        words = ["No promotion pays, so none is planned."]
        if confidence is not None:
            words.append(
                f"A promotion is planned only if it nets more than nothing with a chance of at least "
                f"{percent(confidence)}. With the response estimated from the history, none does."
            )
        return words
    risk = getattr(promotions, "risk", {})
    if not risk:
        return []
    words = [
        f"As far as the response is known, the plan nets between {money_short(risk['low'], currency)} and "
        f"{money_short(risk['high'], currency)} (90% interval); the chance that it pays is "
        f"{as_chance(risk['chance'])}. The interval is about the response only: not about prices, competitors or the "
        "weather."
    ]
    if risk["low"] < 0:
        words.append(
            "The low end is a loss: if shoppers respond as weakly as the history still allows, these promotions cost "
            "more than they bring. Try them in a few stores first, or have suppliers pay a larger share."
        )
    if confidence is not None:
        words.append(f"Each promotion in the plan pays with a chance of at least {percent(confidence)}.")
    promised = int(promotions.table.get("promised", pd.Series(dtype=bool)).sum())
    if promised:
        words.append(f"{plural(promised, 'promotion')} only because a supplier was promised it.")
    return words


def promotion_calendar(promotions: pd.DataFrame, title: str, periods: list[Any] | None = None) -> Markup:
    """Draw how many promotions start when, a strip per category.

    Parameters
    ----------
    promotions : DataFrame
        category, period, depth.
    title : str
        What it shows, for those who don't see it.
    periods : list, optional
        Periods drawn; those with a promotion by default.
    """
    rows, periods = calendar_rows(promotions, periods)
    return calendar_chart(rows, [f"{pd.Timestamp(period):%d %b}" for period in periods], title)


def by_channel(promotions: pd.DataFrame) -> pd.DataFrame:
    """Return promotions with the channel named beside the category, for a calendar with a strip for each."""
    shown = promotions["channel"].map({"shelf": "shelf", "display": "display", "mailer": "leaflet"})
    return promotions.assign(category=promotions["category"].astype(str) + ", " + shown.fillna(""))


def calendar_rows(
    promotions: pd.DataFrame, periods: list[Any] | None = None
) -> tuple[list[tuple[str, list[tuple[int, float]]]], list[Any]]:
    """Return category -> (number of promotions, deepest price cut) of each period, and the periods."""
    periods = sorted(promotions["period"].unique()) if periods is None else periods
    counts = promotions.groupby(["category", "period"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=periods, fill_value=0)
    depth = promotions.groupby(["category", "period"])["depth"].max().unstack().reindex(columns=periods)
    rows = [
        (str(category), [(int(n), float(d)) for n, d in zip(counts.loc[category], depth.loc[category])])
        for category in counts.index
    ]
    return rows, periods


def _calendars(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One calendar of the whole chain for each channel, with its figures."""
    periods = sorted(table["period"].unique())
    found = []
    for channel in [name for name in CHANNELS if (table["channel"] == name).any()]:
        mine = table[table["channel"] == channel]
        label = CHANNELS[channel]
        found.append(
            {
                "title": f"{label}: {plural(len(mine), 'promotion')} over all store clusters",
                "chart": as_figure(
                    promotion_calendar(
                        mine, f"{label}: promotions by category and first day, all store clusters", periods
                    ),
                    f"promotion_calendar_{channel}",
                ),
                "table": _calendar_table(mine, label, periods),
            }
        )
    return found


def _calendar_table(mine: pd.DataFrame, label: str, periods: list[Any]) -> Table:
    wide = mine.groupby(["category", "period"]).size().unstack(fill_value=0)
    wide = wide.reindex(columns=periods, fill_value=0)
    frame = wide.set_axis([f"{pd.Timestamp(p):%d %b}" for p in periods], axis=1).reset_index()
    columns: dict[str, Any] = {"category": ("Category", "text", None)}
    columns |= {name: (name, "number", count) for name in frame.columns[1:]}
    return frame_table(frame, f"{label}: number of promotions by category and first day", columns)


def _lines(plan: Any) -> Table | None:
    """The waterfall of each of the largest promotions."""
    table, currency = plan.promotions.table, plan.market.currency
    if table.empty:
        return None
    best = table.sort_values(["net", "store_cluster", "period", "sku"], ascending=[False, True, True, True])

    parts = {
        "incremental_margin": ("Extra units", 1),
        "subsidised": ("Given away", -1),
        "cannibalised": ("Others lose", -1),
        "halo": ("Others gain", 1),
        "dip": ("Dip after", -1),
        "funding": ("Suppliers", 1),
        "contact_cost": ("Telling", -1),
        "net": ("Net", 1),
    }
    heads = [
        Column("Product", "main"),
        *(Column(label, "number", name) for name, (label, _) in parts.items()),
    ]
    heads.append(Column("Chance to pay", "number", "chance"))
    rows = []
    for line in best.head(_LINES).to_dict("records"):
        place = (
            f"{line['store_cluster']}, {pd.Timestamp(line['period']):%d %b %Y}, {percent(line['depth'])} off, "
            f"{CHANNELS.get(line['channel'], line['channel']).lower()}"
        )
        amounts = [(sign * line[name]) for name, (_, sign) in parts.items()]
        chance = float(line.get("chance", float("nan")))
        rows.append(
            [
                Cell(str(line["name"]), note=place),
                *(Cell(money(amount, currency), float(amount)) for amount in amounts),
                Cell(as_chance(chance) or MISSING, chance),
            ]
        )
    left_out = len(best) - len(rows)
    return Table(
        "The promotions that net most, part by part (each line adds up to its net)",
        heads,
        rows,
        f"{left_out:,} more {_WORKBOOK}" if left_out else "",
    )


def _response(plan: Any) -> Table | None:
    """What a fifth off, a display and the leaflet do, by category."""
    response = plan.response
    if response is None or response.means.empty:
        return None
    means = response.means
    wide = means.pivot(index="category", columns="term", values="estimate")
    errors = means.pivot(index="category", columns="term", values="se")
    log_cut = np.log(0.8)
    frame = pd.DataFrame({"category": wide.index})
    if "price" in wide:
        lift, error = wide["price"].to_numpy() * log_cut, errors["price"].to_numpy() * -log_cut
        frame["lift"] = np.expm1(lift)
        ends = [(np.expm1(a), np.expm1(b)) for a, b in zip(lift - 1.645 * error, lift + 1.645 * error)]
        frame["interval"] = [f"{_change(a)} to {_change(b)}" if np.isfinite(a) else "" for a, b in ends]
    for term in ("display", "mailer"):
        if term in wide:
            frame[term] = np.expm1(wide[term].to_numpy())
    if "dip" in wide:
        dip = wide["dip"].to_numpy()
        frame["dip"] = np.expm1(dip if response.dip_form == "after" else -dip * log_cut)
    forms = getattr(response, "forms", pd.DataFrame(columns=["category", "form"]))
    words = {"log": "log units", "poisson": "counts"}
    frame["form"] = frame["category"].map(dict(zip(forms["category"], forms["form"].map(words)))).fillna("")
    related = getattr(response, "relationship", None)
    if related is not None and len(related.cannibalisation):
        share = related.cannibalisation.set_index("category")["share"]
        frame["cannibalised"] = frame["category"].map(share)
    columns: dict[str, Any] = {
        "category": ("Category", "text", None),
        "lift": ("Units at 20% off", "number", _change),
        "interval": ("90% interval", "text", None),
        "display": ("A display adds", "number", _change),
        "mailer": ("The leaflet adds", "number", _change),
        "dip": ("The period after", "number", _change),
        "cannibalised": ("Of it, others lose", "number", percent),
        "form": ("Fitted to", "text", None),
    }
    return frame_table(frame, "How sales responded to past promotions, by category", columns)


def _change(value: Any) -> str:
    text = percent(value)
    return text if pd.isna(value) else signed(text)


def _effects(plan: Any) -> Table | None:
    """Known effects of a category's promotions on others."""
    related = getattr(plan.response, "relationship", None)
    if related is None or not len(related.table) or not related.table["known"].any():
        return None
    known = related.table[related.table["known"]].copy()
    known["how"] = known["kind"].map(
        {"mailer": "all of its trade in the leaflet", "units": "twice its usual units"}
    )
    scale = np.where(known["kind"] == "units", np.log(2), 1.0)
    for column in ("estimate", "low", "high"):
        known[column] = np.expm1(known[column] * scale)
    columns: dict[str, Any] = {
        "category": ("On offer", "text", None),
        "gains": ("What moves", "text", None),
        "how": ("With", "text", None),
        "estimate": ("Change of units", "number", _change),
        "low": ("Low", "number", _change),
        "high": ("High", "number", _change),
    }
    return frame_table(known, "Effects on other categories that are known", columns)


def _holdout(plan: Any) -> Table | None:
    holdout = getattr(plan.response, "holdout", None)
    if holdout is None or holdout.empty:
        return None
    mine = holdout[holdout["category"] == "all"].copy()
    mine["model"] = mine["model"].map(_MODELS).fillna(mine["model"])
    columns: dict[str, Any] = {
        "model": ("Forecast by", "text", None),
        "wmape": ("Units missed", "number", lambda value: percent(value, 1)),
        "bias": ("Bias", "number", lambda value: signed(percent(value, 1))),
    }
    rows = int(mine["rows"].iloc[0])
    return frame_table(mine, f"Forecasts of {count(rows)} promotions held out of the fit", columns)


def _types(plan: Any) -> Table | None:
    types = getattr(plan.response, "by_type", None)
    if types is None or types.empty:
        return None
    wide = types.pivot(index="neighbourhood", columns="term", values="estimate")
    frame = pd.DataFrame(
        {"neighbourhood": wide.index, "stores": types.groupby("neighbourhood")["stores"].first()}
    )
    if "price" in wide:
        frame["lift"] = np.expm1(wide["price"] * np.log(0.8))
    for term in ("display", "mailer"):
        if term in wide:
            frame[term] = np.expm1(wide[term])
    columns: dict[str, Any] = {
        "neighbourhood": ("Neighbourhood type", "text", None),
        "lift": ("Units at 20% off", "number", _change),
        "display": ("A display adds", "number", _change),
        "mailer": ("The leaflet adds", "number", _change),
        "stores": ("Stores' worth of trade", "number", lambda value: count(value, 1)),
    }
    caption = "Response by neighbourhood type, read from how it goes along with whom stores serve"
    return frame_table(frame, caption, columns)


def _answers(plan: Any) -> Table | None:
    answers = getattr(plan.response, "answers", None)
    if answers is None or answers.empty:
        return None
    names = {"mail": "Letter", "door_drop": "Door drop", "mobile": "Message on the phone", "email": "E-mail"}
    shown = answers.assign(channel=answers["channel"].map(names).fillna(answers["channel"]))
    columns: dict[str, Any] = {
        "channel": ("Channel", "text", None),
        "neighbourhood": ("Neighbourhood type", "text", None),
        "customers": ("Customers written to", "number", count),
        "rate": ("Answered", "number", lambda value: percent(value, 1)),
        "low": ("Low", "number", lambda value: percent(value, 1)),
        "high": ("High", "number", lambda value: percent(value, 1)),
    }
    caption = "Past contacts answered, by channel and neighbourhood type (an answer is not an effect)"
    return frame_table(shown, caption, columns)


def promotion_sheets(plan: Any) -> list[Sheet]:
    """Return the sheets next to the list of promotions: calendar, response, effects on other categories."""
    if plan.promotions is None or plan.response is None:
        return []
    sheets = []
    if len(plan.promotions.table):
        sheets.append(_calendar_sheet(plan.promotions.table))
    if len(plan.response.table):
        sheets.append(_response_sheet(plan.response))
    related = getattr(plan.response, "relationship", None)
    if related is not None and len(related.table):
        sheets.append(_effects_sheet(related))
    return sheets


def _calendar_sheet(table: pd.DataFrame) -> Sheet:
    periods = sorted(table["period"].unique())
    keys = ["store_cluster", "channel", "category"]
    wide = (
        table.groupby([*keys, "period"]).size().unstack(fill_value=0).reindex(columns=periods, fill_value=0)
    )
    days = [f"{pd.Timestamp(period):%Y-%m-%d}" for period in periods]
    frame = wide.set_axis(days, axis=1).reset_index()
    fields = [
        Field("store_cluster", "Cluster", "id", "Store cluster."),
        Field("channel", "Channel", "text", "How shoppers hear of it."),
        Field("category", "Category", "text", "Category."),
        *(Field(day, day, "count", f"Promotions that start on {day}.") for day in days),
    ]
    return Sheet(
        "Promotion calendar", "How many promotions run when, by store cluster and channel.", frame, fields
    )


def _response_sheet(response: Any) -> Sheet:
    fields = [
        Field("store_cluster", "Cluster", "id", "Store cluster."),
        Field("category", "Category", "text", "Category."),
        Field(
            "term",
            "What",
            "text",
            "price: log units per log price; display, mailer, mechanic: log units; dip: log units in the period after.",
        ),
        Field("estimate", "Estimate", "number", "Shrunk towards the category's mean."),
        Field("low", "Low", "number", "Low end of the 90% interval."),
        Field("high", "High", "number", "High end of the 90% interval."),
        Field("n", "Offers", "count", "Offers behind the cluster's own estimate."),
        Field("raw", "Own estimate", "number", "Before it is shrunk; empty where there is too little."),
    ]
    intro = "How sales responded to past promotions, by store cluster and category."
    return Sheet("Promotion response", intro, response.table, fields)


def _effects_sheet(related: Any) -> Sheet:
    fields = [
        Field("category", "On offer", "text", "Category whose promotions act."),
        Field("gains", "What moves", "text", "Category whose sales change."),
        Field(
            "kind",
            "By",
            "text",
            "units: log units per log change of the category on offer; mailer: log units when all its usual trade is "
            "in the leaflet.",
        ),
        Field("estimate", "Estimate", "number", "Shrunk towards the mean of all pairs."),
        Field("low", "Low", "number", "Low end of the 90% interval."),
        Field("high", "High", "number", "High end of the 90% interval."),
        Field(
            "known", "Known", "flag", "Told apart from nothing, with at most 10% false finds over all pairs."
        ),
    ]
    intro = "What a category's promotions do to other categories, from stores with and without them at the same time."
    return Sheet("Promotion effects", intro, related.table, fields)
