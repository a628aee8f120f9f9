"""The section on where the offers are told: door drops by hexagon, letters and messages to customers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from geomarket.report.charts import as_figure, waterfall_chart
from geomarket.report.numbers import count, money, money_short, percent, plural
from geomarket.report.tables import frame_table

__all__ = ["door_steps", "targeting_section"]

_REACHED = "reached"
_CHANNELS = {"mail": "letter", "mobile": "message on the phone", "email": "e-mail", "": ""}


def targeting_section(plan: Any) -> dict[str, Any] | None:
    """Return the parts of the section; None where nothing was targeted."""
    targeting = getattr(plan, "targeting", None)
    if targeting is None:
        return None
    currency, doors = plan.market.currency, targeting.doors
    steps = door_steps(doors)
    whole = float(doors.money["amount"].iloc[-1])

    def write(value: Any) -> str:
        return money_short(value, currency)

    return {
        "headline": _headline(plan, whole),
        "certificate": _certificate(doors, write),
        "chart": as_figure(
            waterfall_chart(
                steps,
                "What leaflets at every door would bring",
                "What leaflets at every door would bring, by what becomes of it",
                write,
            ),
            "targeting",
        ),
        "split": frame_table(
            doors.money.assign(part=[*(label for label, _ in steps), "Whole"]),
            "The same in figures",
            {
                "part": ("Part", "text", None),
                "amount": ("Margin", "number", lambda value: money(value, currency)),
            },
        ),
        "drops": _drops(plan),
        "contacts": _contacts(targeting, currency),
        "contact_words": _contact_words(targeting, currency),
        "notes": list(targeting.notes),
        "has_drops": bool(len(doors.table)),
    }


def door_steps(doors: Any) -> list[tuple[str, float]]:
    """Return what becomes of what leaflets at every door would bring."""
    split = doors.money[doors.money["part"] != "whole"]
    return [
        (str(part)[:1].upper() + str(part)[1:], float(amount))
        for part, amount in split.itertuples(index=False)
    ]


def _headline(plan: Any, whole: float) -> str:
    doors, currency = plan.targeting.doors, plan.market.currency
    rate = f"{currency}{plan.settings.targeting.cost_per_door:g}"
    if doors.table.empty:
        return (
            f"At {rate} a door no door drop pays: the best one brings {money(doors.break_even, currency, 3)} a door. "
            "Below that price the first hexagons would."
        )
    cells = doors.cells[doors.cells["drops"] > 0]
    gain, cost = float(doors.table["benefit"].sum()), float(doors.table["cost"].sum())
    low = float(doors.table["benefit_low"].sum()) - cost
    where = f"{plural(len(doors.table), 'door drop')} in {plural(len(cells), 'hexagon')}"
    brings = f"bring {money_short(gain, currency)} for {money_short(cost, currency)}"
    risk = ""
    if plan.settings.targeting.leaflet_lift == "auto":
        risk = f", {money_short(low, currency)} if leaflets work only as well as the lower end of what history shows"
    return (
        f"{where} ({count(doors.table['doors'].sum())} leaflets) {brings}: "
        f"{money_short(gain - cost, currency)} net{risk}. They carry {percent(gain / whole)} of what leaflets at "
        "every door would bring."
    )


def _gap(share: float) -> str:
    return percent(share, 2) if share >= 0.00005 else "less than 0.01%"


def _certificate(doors: Any, write: Any) -> str:
    line = doors.certificate.iloc[0]
    if doors.table.empty:
        return ""
    return (
        f"No choice of hexagons within the budget can net more than {write(line['bound'])}: this one is within "
        f"{_gap(line['gap'])} of that."
    )


def _drops(plan: Any) -> Any:
    currency = plan.market.currency
    frame = plan.targeting.doors.by_cluster.sort_values(["period", "store_cluster"], ignore_index=True)
    if frame.empty:
        return None
    clusters = plan.store_clusters.table.drop_duplicates("store_cluster").set_index("store_cluster")["name"]
    frame = frame.assign(
        leaflet=[f"{code} · {clusters.get(code, '')}" for code in frame["store_cluster"]],
        first=[f"{day.day} {day:%b %Y}" for day in pd.to_datetime(frame["period"])],
    )
    return frame_table(
        frame,
        "Door drops by week and leaflet"
        if plan.market.period == "week"
        else "Door drops by month and leaflet",
        {
            "first": ("From", "text", None),
            "leaflet": ("Leaflet of", "text", None),
            "hexagons": ("Hexagons", "number", count),
            "doors": ("Leaflets", "number", count),
            "cost": ("Cost", "number", lambda value: money(value, currency)),
            "benefit": ("Brings", "number", lambda value: money(value, currency)),
            "net": ("Net", "number", lambda value: money(value, currency)),
        },
    )


def _contact_words(targeting: Any, currency: str) -> str:
    if targeting.contacts is None:
        return ""
    if targeting.contact_certificate is None:
        return "Letters and messages go to too few customers to show."
    line = targeting.contact_certificate.iloc[0]
    if not line["customers"] > 0:
        return "No letter or message pays for itself."
    return (
        f"{plural(int(line['contacts']), 'letter or message', 'letters and messages')} to "
        f"{plural(int(line['customers']), 'customer')} who agreed to them cost "
        f"{money_short(line['cost'], currency)} and net {money_short(line['net'], currency)}, "
        f"within {_gap(line['gap'])} of the best possible."
    )


def _contacts(targeting: Any, currency: str) -> Any:
    if targeting.contacts is None:
        return None
    frame = targeting.contacts.assign(
        what=[
            f"Reached by {_CHANNELS.get(channel, channel)}, offers of {cluster}"
            if reason == _REACHED
            else str(reason)[:1].upper() + str(reason)[1:]
            for reason, channel, cluster in zip(
                *(targeting.contacts[column] for column in ("reason", "channel", "store_cluster"))
            )
        ]
    )
    return frame_table(
        frame,
        "All customers, each once, by what becomes of them (– where too few to show)",
        {
            "what": ("Customers", "text", None),
            "customers": ("Number", "number", count),
            "contacts": ("Letters and messages", "number", count),
            "cost": ("Cost", "number", lambda value: money(value, currency)),
            "net": ("Net", "number", lambda value: money(value, currency)),
        },
    )
