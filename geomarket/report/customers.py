"""The customers' section: what they are worth, where they live, whom to talk to, whom not to hurt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from geomarket.report.charts import IndexBar, as_figure, index_bars, share_bar
from geomarket.report.customer_charts import QuadrantPoint, column_chart, forecast_chart, quadrant_chart
from geomarket.report.numbers import count, money, percent
from geomarket.report.tables import Cell, Column, Table, frame_table

__all__ = ["CHANNEL_COLOURS", "pair_bars", "people_section", "quadrant_points"]

_ALL, _NO_TYPE = "all", "none"
_TOP_PAIRS = 12
CHANNEL_COLOURS = ("#0b7a75", "#d9a441", "#7a6ba8", "#8c8c8c")
_ITEMS = {"category": "categories", "subcategory": "subcategories", "sku": "products"}


def people_section(plan: Any) -> dict[str, Any] | None:
    """Return the figures of a plan's people; None where the stage was skipped."""
    people = getattr(plan, "people", None)
    if people is None:
        return None
    currency = plan.market.currency
    names = dict(zip(plan.neighbourhoods.types["code"], plan.neighbourhoods.types["name"].astype(str)))
    return {
        "words": list(people.words),
        "notes": list(people.notes),
        "skipped": sorted(people.skipped.items()),
        "value": _value(people, currency),
        "calibration": _calibration(people),
        "quadrants": _quadrants(people, names),
        "channels": _channels(people, names),
        "consent": _consent(people, names),
        "worth": _worth(people, currency),
        "answers": _answers(people),
        "relationship": _relationship(people, currency),
        "lift": _lift(people),
        "pairs": _pairs(people, plan),
    }


def _value(people: Any, currency: str) -> dict[str, Any] | None:
    segments = frame_table(
        people.segments,
        "Heavy, medium and light customers over the window",
        {
            "segment": ("Segment", "text", None),
            "customers": ("Customers", "number", count),
            "customer_share": ("Of customers", "number", percent),
            "revenue": ("Revenue", "number", lambda v: money(v, currency)),
            "revenue_share": ("Of revenue", "number", percent),
            "trips_per_customer": ("Trips each", "number", lambda v: count(v, 1)),
        },
    )
    if people.deciles.empty:
        return {"segments": segments, "chart": None, "deciles": None, "totals": None}
    title = f"Share of what customers are expected to bring over {people.horizon_months} months, in tenths, best first"
    measures = {
        "trips": "Trips",
        "revenue": "Revenue",
        "lifetime_value": f"Value ({people.measure}, discounted)",
    }
    return {
        "segments": segments,
        "chart": as_figure(
            column_chart(
                [f"{d:.0f}" for d in people.deciles["decile"]],
                people.deciles["share"].to_numpy(dtype=float).tolist(),
                title,
                "customers in tenths, best first",
            ),
            "customer_value",
        ),
        "title": title,
        "deciles": frame_table(
            people.deciles,
            title,
            {
                "decile": ("Tenth", "number", count),
                "customers": ("Customers", "number", count),
                "value": ("Expected", "number", lambda v: money(v, currency)),
                "share": ("Share", "number", lambda v: percent(v, 1)),
                "cumulative": ("Together", "number", lambda v: percent(v, 1)),
            },
        ),
        "totals": frame_table(
            people.lifetime.assign(measure=people.lifetime["measure"].map(measures)),
            f"Expected of all customers over {people.horizon_months} months",
            {
                "measure": ("What", "text", None),
                "expected": ("Expected", "number", count),
                "low": ("Low", "number", count),
                "high": ("High", "number", count),
            },
        ),
    }


def _calibration(people: Any) -> dict[str, Any] | None:
    table = people.calibration
    if table.empty or table["actual"].isna().all():
        return None
    title = "Trips made in the second half of the window against those foretold from the first, by tenths"
    foretold, made, low, high = (
        table[c].to_numpy(dtype=float).tolist() for c in ("predicted", "actual", "low", "high")
    )
    return {
        "title": title,
        "chart": as_figure(
            forecast_chart(foretold, made, low, high, title, ("trips foretold per customer", "trips made")),
            "customer_forecast",
        ),
        "table": frame_table(
            table,
            title,
            {
                "forecast_decile": ("Tenth", "number", count),
                "customers": ("Customers", "number", count),
                "predicted": ("Foretold", "number", lambda v: count(v, 2)),
                "actual": ("Made", "number", lambda v: count(v, 2)),
                "low": ("Low", "number", lambda v: count(v, 2)),
                "high": ("High", "number", lambda v: count(v, 2)),
            },
        ),
    }


def quadrant_points(people: Any, names: Mapping[str, str]) -> tuple[pd.DataFrame, list[QuadrantPoint]]:
    """Return the types with their quadrant over all categories, as table and as points; both empty if not known."""
    table = people.quadrants
    everybody = (
        table[(table["neighbourhood"] != _NO_TYPE) & (table["category"] == _ALL)] if len(table) else table
    )
    if everybody.empty or everybody["quadrant"].isna().all():
        return everybody.iloc[:0], []
    return everybody, [
        QuadrantPoint(
            str(row["neighbourhood"]),
            float(row["customer_share"]),
            float(row["index"]),
            bool(row["certain"]),
            f"{row['neighbourhood']} · {names.get(str(row['neighbourhood']), '')}",
        )
        for row in everybody.to_dict("records")
    ]


def _quadrants(people: Any, names: Mapping[str, str]) -> dict[str, Any] | None:
    everybody, points = quadrant_points(people, names)
    if not points:
        return None
    typed = people.quadrants[people.quadrants["neighbourhood"] != _NO_TYPE]

    def draw(width: int) -> Any:
        return as_figure(quadrant_chart(points, 1.0 / len(everybody), title, width=width), "quadrants")

    title = "Neighbourhood types by share of customers and penetration index"
    wide = typed.pivot(index="neighbourhood", columns="category", values="quadrant")
    categories = [_ALL, *sorted(c for c in wide.columns if c != _ALL)]
    heads = [Column("Type"), *(Column("Any category" if c == _ALL else str(c)) for c in categories)]
    rows = [
        [Cell(f"{code} · {names.get(str(code), '')}"), *(Cell(_text(wide.loc[code, c])) for c in categories)]
        for code in wide.index
    ]
    return {
        "title": title,
        "wide": draw(560),
        "narrow": draw(350),
        "table": Table("Quadrant by category", heads, rows),
    }


def _text(value: Any) -> str:
    return "too few to show" if value is None or pd.isna(value) else str(value)


def _channels(people: Any, names: Mapping[str, str]) -> Table | None:
    if people.channels.empty:
        return None
    channels = sorted(people.channels["channel"].unique())
    wide = people.channels.pivot(index="neighbourhood", columns="channel", values="preference")
    colours = dict(zip(channels, CHANNEL_COLOURS * (len(channels) // len(CHANNEL_COLOURS) + 1)))
    rows = []
    for code in wide.index:
        shares = [(c, float(wide.loc[code, c]), colours[c]) for c in channels]
        bar = as_figure(share_bar(shares, f"Trips of {code}"), "channels")
        cells = [Cell(percent(share, 1), share) for _, share, _ in shares]
        rows.append([Cell(f"{code} · {names.get(str(code), '')}"), *cells, Cell("", markup=bar)])
    heads = [Column("Type"), *(Column(c.capitalize(), "number") for c in channels), Column("", "chart")]
    return Table("Where they shop: share of trips, drawn to everybody's where little is known", heads, rows)


def _consent(people: Any, names: Mapping[str, str]) -> Table | None:
    if people.consent.empty:
        return None
    table = people.consent
    channels = list(dict.fromkeys(table["consent_channel"]))
    wide = table.pivot(index="neighbourhood", columns="consent_channel", values="reachable_share")
    heads = [Column("Type"), *(Column(c.capitalize(), "number") for c in channels)]
    rows = [
        [
            Cell(f"{code} · {names.get(str(code), '')}"),
            *(Cell(_share(wide.loc[code, c]), float(wide.loc[code, c])) for c in channels),
        ]
        for code in wide.index
    ]
    return Table("Who may be reached: share of customers who agreed to the channel", heads, rows)


def _share(value: Any) -> str:
    return "too few" if pd.isna(value) else percent(value)


def _worth(people: Any, currency: str) -> Table | None:
    if people.worth.empty:
        return None
    return frame_table(
        people.worth,
        "Customers who agreed to a channel, and whether a contact repays",
        {
            "channel": ("Channel", "text", None),
            "contact": ("A contact is", "text", None),
            "customers": ("Customers", "number", count),
            "cost": ("Costs each", "number", lambda v: money(v, currency, 2)),
            "gain": ("Brings together", "number", lambda v: money(v, currency)),
            "saved": ("Saved by leaving out", "number", lambda v: "" if pd.isna(v) else money(v, currency)),
        },
    )


def _answers(people: Any) -> Table | None:
    if people.response.empty:
        return None
    return frame_table(
        people.response.assign(contact_channel=people.response["contact_channel"].str.replace("_", " ")),
        "How past contacts were answered (an answer is not an effect)",
        {
            "contact_channel": ("Channel", "text", None),
            "customers": ("Customers", "number", count),
            "contacts": ("Contacts", "number", count),
            "rate": ("Answered", "number", lambda v: percent(v, 1)),
            "low": ("Low", "number", lambda v: percent(v, 1)),
            "high": ("High", "number", lambda v: percent(v, 1)),
        },
    )


def _relationship(people: Any, currency: str) -> Table | None:
    if people.relationship.empty:
        return None

    def amount(value: Any) -> str:
        return money(value, currency)

    return frame_table(
        people.relationship.sort_values("value_overall", ascending=False, ignore_index=True),
        f"Small here, big overall: {people.measure} over the window",
        {
            "category": ("Category", "text", None),
            "customers": ("Customers", "number", count),
            "flagged": ("Small here, big overall", "number", count),
            "value_here": ("They bring here", "number", amount),
            "value_overall": ("They bring in all", "number", amount),
            "share_overall": ("Of everybody's", "number", lambda v: percent(v, 1)),
            "hit": ("Hit by the range plan", "number", count),
            "value_hit": ("Those bring in all", "number", amount),
        },
    )


def _lift(people: Any) -> Table | None:
    if people.lift.empty:
        return None
    return frame_table(
        people.lift,
        "Prospect score, judged on hexagons it had not seen",
        {
            "population_share": ("Best-scored hexagons with this share of people", "number", percent),
            "customer_share": ("hold of the heavy customers", "number", percent),
            "lift": ("Lift", "number", lambda v: count(v, 2)),
            "low": ("Low", "number", lambda v: count(v, 2)),
            "high": ("High", "number", lambda v: count(v, 2)),
        },
    )


def pair_bars(people: Any, plan: Any) -> tuple[pd.DataFrame, list[IndexBar], str]:
    """Return what is bought by the same customers as table and as bars, and what kind of thing it is."""
    level = next(
        name for name in ("subcategory", "category", "sku") if (people.associations["items"] == name).any()
    )
    top = people.associations[people.associations["items"] == level].head(_TOP_PAIRS)
    names: Mapping[str, str] = {}
    if level == "sku":
        names = dict(zip(plan.market.products["sku"], plan.market.products["name"].astype(str)))
    pair = [f"{names.get(a, a)} + {names.get(b, b)}" for a, b in zip(top["item_a"], top["item_b"])]
    bars = [IndexBar(name, 100 * float(value)) for name, value in zip(pair, _best_lift(top))]
    return top.assign(pair=pair), bars, _ITEMS[level]


def _pairs(people: Any, plan: Any) -> dict[str, Any] | None:
    if people.associations.empty:
        return None
    top, bars, items = pair_bars(people, plan)
    title = f"{items.capitalize()} bought by the same customers: 100 is what chance would give"
    halves = _halves(bars)
    return {
        "title": title,
        "charts": [as_figure(index_bars(half, title), "pairs") for half in halves],
        "table": frame_table(
            top,
            f"{items.capitalize()} that go together",
            {
                "pair": ("Pair", "text", None),
                "customers": ("Customers of both", "number", count),
                "support": ("Of all customers", "number", lambda v: percent(v, 1)),
                "confidence_ab": ("First's who buy the second", "number", percent),
                "confidence_ba": ("Second's who buy the first", "number", percent),
                "lift": ("Lift", "number", lambda v: count(v, 2)),
                "low": ("Low", "number", lambda v: count(v, 2)),
                "high": ("High", "number", lambda v: count(v, 2)),
                "lift_alike": ("Lift, equally frequent customers", "number", lambda v: count(v, 2)),
            },
            more="in the table associations",
        ),
    }


def _best_lift(top: pd.DataFrame) -> list[float]:
    alike = top["lift_alike"].astype(float)
    return (alike if alike.notna().all() else top["lift"].astype(float)).tolist()


def _halves(bars: Sequence[IndexBar]) -> list[Sequence[IndexBar]]:
    middle = -(-len(bars) // 2)
    return [half for half in (bars[:middle], bars[middle:]) if half]
