"""The targeting stage: which hexagons get the leaflets of the planned promotions, and which customers a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from geomarket import engine
from geomarket.amounts import as_money
from geomarket.catchments import Catchments
from geomarket.customers import channel_response, place_customers
from geomarket.errors import NotSupportedError, SettingsError
from geomarket.hexes import Hexes
from geomarket.market import Market, PlanSettings
from geomarket.market.offer_settings import TargetingSettings
from geomarket.neighbourhoods import Neighbourhoods
from geomarket.planning.trade import Trade
from geomarket.promotions import PromotionPlan, PromotionResponse
from geomarket.promotions.targeting import (
    CHOSEN,
    AddressedContacts,
    DoorDrops,
    leaflet_values,
    target_customers,
    target_hexagons,
)
from geomarket.results import Result
from geomarket.safeguards import contact_list, suppress
from geomarket.safeguards.protected import protected_inputs, refuse_protected
from geomarket.store_clusters import StoreClustering

__all__ = ["Targeting", "find_targeting", "left_out_by_rules", "try_targeting"]

DOOR_DROP = "door_drop"
FEW_ANSWERS = 50
"""Contacts on a channel below this say nothing about how strongly people answer to it."""


@dataclass(frozen=True)
class Targeting(Result):
    """Where the plan's offers are told: doors, and customers who agreed to be told.

    Nothing here is about a single person unless ``contact_rows`` was asked for by name.

    Attributes
    ----------
    doors : DoorDrops
        Hexagons, periods, money and the certificate.
    values : DataFrame
        store_cluster, period, offers, value, value_low, in_plan: what leaflets bring if they reach everybody.
    contacts : DataFrame or None
        reason, channel, store_cluster, customers, contacts, benefit, cost, net: all customers, each once, by what
        becomes of them (channel and cluster of their first contact); small counts hidden. None without customers.
    contact_certificate : DataFrame or None
        customers, contacts, cost, net, bound, gap of all letters and messages; None where too few to show.
    contact_rows : DataFrame
        customer_id, period, channel, store_cluster: only of the channels named in the settings; not published in
        report, workbook or tables.
    responses : DataFrame
        group, index: how strongly the people of a neighbourhood type answer to door drops, 1 for average; empty where
        that is unknown.
    notes : tuple of str
    """

    doors: DoorDrops
    values: pd.DataFrame
    contacts: pd.DataFrame | None
    contact_certificate: pd.DataFrame | None
    contact_rows: pd.DataFrame
    responses: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """The planned door drops."""
        return self.doors.table

    def summary(self) -> list[str]:
        """Return what is told to whom, what that brings, and what it rests on."""
        lines = self.doors.summary()
        if self.contacts is not None and self.contact_certificate is not None:
            line = self.contact_certificate.iloc[0]
            lines.append(
                f"{line['contacts']:,.0f} letters and messages to {line['customers']:,.0f} customers who agreed to "
                f"them cost {as_money(line['cost'], self.doors.currency)} and bring "
                f"{as_money(line['net'], self.doors.currency)} net, within {line['gap']:.2%} of "
                "the best possible."
                if line["customers"] > 0
                else "No letter or message pays."
            )
        elif self.contacts is not None:
            lines.append("Letters and messages go to too few customers to show.")
        return [*lines, *self.notes]

    def plot(self, ax: Any = None) -> Any:
        """Draw net gain of the door drops against money spent."""
        return self.doors.plot(ax)


def try_targeting(
    market: Market,
    trade: Trade,
    hexes: Hexes,
    neighbourhoods: Neighbourhoods,
    catchments: Catchments,
    clusters: StoreClustering,
    response: PromotionResponse | None,
    promotions: PromotionPlan | None,
    settings: PlanSettings,
    skipped: dict[str, str],
) -> Targeting | None:
    """Choose whom to reach, or return None and say in ``skipped`` why not."""
    if not settings.targeting.enabled:
        skipped["targeting"] = "switched off in the settings"
        return None
    if response is None or promotions is None:
        skipped["targeting"] = "no promotions are planned that could be told of"
        return None
    try:
        return find_targeting(
            market, trade, hexes, neighbourhoods, catchments, clusters, response, promotions, settings
        )
    except NotSupportedError as reason:
        skipped["targeting"] = str(reason)
        return None


def find_targeting(
    market: Market,
    trade: Trade,
    hexes: Hexes,
    neighbourhoods: Neighbourhoods,
    catchments: Catchments,
    clusters: StoreClustering,
    response: PromotionResponse,
    promotions: PromotionPlan,
    settings: PlanSettings,
) -> Targeting:
    """Choose hexagons for door drops and customers for letters and messages about the planned promotions.

    Raises
    ------
    NotSupportedError
        If no promotion is planned, or nothing says what a leaflet brings.
    SettingsError
        If a setting names a variable no layer has, or a protected trait that was not switched on.
    """
    chosen = settings.targeting
    excluded = left_out_by_rules(hexes, chosen)
    if promotions.table.empty:
        raise NotSupportedError("no promotion is planned, so there is nothing to tell of.")
    lift = None if chosen.leaflet_lift == "auto" else float(chosen.leaflet_lift)
    values = leaflet_values(promotions.table, response.table, lift)
    notes = [] if lift is None else [f"Leaflets are assumed, not known, to sell {lift:.0%} more of an offer."]
    own = catchments.table[catchments.table["own"]]
    served = own.assign(store_cluster=own["store_id"].map(clusters.labels)).dropna(subset=["store_cluster"])
    demand = served.groupby(["cell", "store_cluster"], as_index=False).agg(demand=("demand", "sum"))
    nowhere = sorted(set(values["store_cluster"]) - set(demand.loc[demand["demand"] > 0, "store_cluster"]))
    if nowhere:
        values = values[~values["store_cluster"].isin(nowhere)].reset_index(drop=True)
        notes.append(f"No hexagon shops in store cluster {', '.join(nowhere)}: its offers are told nowhere.")
        if values.empty:
            raise NotSupportedError("no hexagon shops in a store cluster that has offers.")
    responses, answers = _answers(market, hexes, neighbourhoods, chosen, notes)
    doors = target_hexagons(
        values,
        demand,
        _doors(hexes, chosen, notes),
        chosen.cost_per_door,
        budget=np.inf if chosen.door_drop_budget is None else chosen.door_drop_budget,
        most=chosen.max_drops_per_hexagon,
        response=answers,
        excluded=excluded,
        currency=market.currency,
    )
    counted = float(values["in_plan"].sum())
    if counted > 0:
        kept = doors.table["benefit"].sum() / values["value"].sum()
        notes.append(
            f"The promotion plan counts {market.currency}{counted:,.0f} of this already, as if leaflets reached "
            f"everybody as before; these drops carry {kept:.0%} of what leaflets can bring."
        )
    contacts, published, certificate = None, None, None
    if market.customers is not None and market.baskets is not None and chosen.channels:
        contacts = _contacts(market, trade, hexes, clusters, values, doors, settings, notes)
    rows = pd.DataFrame(columns=["customer_id", "period", "channel", "store_cluster"])
    if contacts is not None:
        published, certificate = _published(contacts, settings.privacy.k)
        asked = contacts.table[contacts.table["channel"].isin(chosen.contact_lists)]
        rows = asked[list(rows.columns)].sort_values(["channel", "period", "customer_id"], ignore_index=True)
    return Targeting(
        doors=doors,
        values=values,
        contacts=published,
        contact_certificate=certificate,
        contact_rows=rows,
        responses=responses,
        notes=tuple(notes),
    )


def left_out_by_rules(hexes: Hexes, chosen: TargetingSettings) -> list[int]:
    """Cells that the planner's own rules leave out."""
    known = {variable.name for variable in hexes.variables}
    unknown = sorted(set(chosen.only_where) - known)
    if unknown:
        raise SettingsError(
            f"[targeting] only_where names {', '.join(unknown)}, which no layer of areas has; they have "
            f"{', '.join(sorted(known))}."
        )
    refuse_protected(hexes.variables, chosen.only_where, chosen.allow_protected, "[targeting] only_where")
    left_out = pd.Series(False, index=hexes.table.index)
    for name, least in chosen.only_where.items():
        left_out |= ~(hexes.table[name] >= least)
    return hexes.table.loc[left_out, "cell"].tolist()


def _doors(hexes: Hexes, chosen: TargetingSettings, notes: list[str]) -> pd.Series:
    counts = {variable.name for variable in hexes.variables if variable.kind == "count"}
    if chosen.doors in counts:
        doors = hexes.table[chosen.doors]
    else:
        doors = hexes.table["population"] / chosen.people_per_door
        notes.append(
            f"Doors are not counted: {chosen.people_per_door:g} people are taken to live behind one."
        )
    return pd.Series(doors.fillna(0.0).to_numpy(dtype=float), index=hexes.table["cell"].to_numpy())


def _answers(
    market: Market,
    hexes: Hexes,
    neighbourhoods: Neighbourhoods,
    chosen: TargetingSettings,
    notes: list[str],
) -> tuple[pd.DataFrame, pd.Series | None]:
    """How strongly each neighbourhood type answers to door drops, and each cell with it."""
    nothing = pd.DataFrame(columns=["group", "index"])
    if market.contacts is None or market.customers is None:
        return nothing, None
    sent = market.contacts[market.contacts["channel"] == DOOR_DROP]
    used = {variable.name for variable in hexes.variables if variable.classify}
    refused = [n for n in protected_inputs(hexes.variables, used) if n not in chosen.allow_protected]
    if refused:
        notes.append(
            f"How types of neighbourhood answer to leaflets is not used: the types rest on {', '.join(refused)}, a "
            "protected trait that was not switched on for targeting."
        )
        return nothing, None
    types = neighbourhoods.table.dropna(subset=["supergroup"]).set_index("cell")["supergroup"].astype(str)
    placed = place_customers(market.customers, hexes.resolution, hexes.table["cell"]).table
    group = sent["customer_id"].map(placed.set_index("customer_id")["cell"]).map(types)
    known = sent.assign(group=group).dropna(subset=["group"])
    if len(known) < FEW_ANSWERS or known["group"].nunique() < 2 or not known["responded"].any():
        return nothing, None
    rates = channel_response(known[["channel", "responded", "group"]], by="group").set_index("group")
    index = rates["expected"] / (rates["responses"].sum() / rates["contacts"].sum())
    notes.append(
        "Types of neighbourhood are weighed by how their customers answered to door drops before (an answer is not an "
        "effect: some would have come anyway)."
    )
    cells = types.map(index)
    table = pd.DataFrame({"group": index.index.astype(str), "index": index.to_numpy()})
    return table, cells.dropna()


def _contacts(
    market: Market,
    trade: Trade,
    hexes: Hexes,
    clusters: StoreClustering,
    values: pd.DataFrame,
    doors: DoorDrops,
    settings: PlanSettings,
    notes: list[str],
) -> AddressedContacts:
    assert market.customers is not None
    chosen = settings.targeting
    ids = market.customers["customer_id"].tolist()
    consent: dict[str, list[str]] = {
        channel: contact_list(market.customers, channel, ids)["customer_id"].tolist()
        for channel in chosen.channels
    }
    placed = place_customers(market.customers, hexes.resolution, hexes.table["cell"]).table
    reached = placed.merge(doors.table[["cell", "period"]], on="cell")[["customer_id", "period"]]
    found = target_customers(
        values,
        _spend(market, trade, clusters, chosen),
        consent,
        {"mail": chosen.cost_per_mail, "mobile": chosen.cost_per_mobile, "email": chosen.cost_per_email},
        budget=np.inf if chosen.contact_budget is None else chosen.contact_budget,
        most=chosen.max_contacts_per_customer,
        response=_channel_answers(market, chosen, notes),
        reached=reached,
        currency=market.currency,
    )
    notes.append(
        f"Customers are expected to go on spending as in the last {chosen.spend_periods} {market.period}s; nobody is "
        f"addressed more than {chosen.max_contacts_per_customer} times, or by a channel they did not agree to."
    )
    return found


def _spend(
    market: Market, trade: Trade, clusters: StoreClustering, chosen: TargetingSettings
) -> pd.DataFrame:
    """Each customer's share of everything the stores of a cluster sell."""
    assert market.baskets is not None
    start = trade.periods[-min(chosen.spend_periods, len(trade.periods))]
    spent = engine.customer_store_trips(market.baskets, (start, None))
    spent["store_cluster"] = spent["store_id"].map(clusters.labels)
    by_cluster = spent.groupby(["customer_id", "store_cluster"], as_index=False)["revenue"].sum()
    sold = engine.sales_by_period(trade.sales, ("store_id",), (start, None))
    total = sold.groupby(sold["store_id"].map(clusters.labels))["revenue"].sum()
    share = by_cluster["revenue"].clip(lower=0) / by_cluster["store_cluster"].map(total)
    known = by_cluster.assign(share=share)[["customer_id", "store_cluster", "share"]].dropna()
    # customers who bought nothing lately are customers all the same: nobody is left out unsaid
    quiet = pd.Index(market.customers["customer_id"]).difference(known["customer_id"])  # type: ignore[index]
    first = clusters.table["store_cluster"].min()
    idle = pd.DataFrame({"customer_id": quiet, "store_cluster": first, "share": 0.0})
    return pd.concat([known, idle], ignore_index=True)


def _channel_answers(market: Market, chosen: TargetingSettings, notes: list[str]) -> dict[str, float]:
    """How strongly customers answer on each channel, 1: as to a leaflet at the door."""
    if market.contacts is None or market.contacts.empty:
        notes.append(
            "Letters and messages are taken to work as well as a leaflet at the door: no contacts are known."
        )
        return {}
    known = channel_response(market.contacts)
    known = known[(known["contacts"] >= FEW_ANSWERS) & (known["rate"] > 0)]
    rates = dict(zip(known["channel"], known["rate"]))
    if DOOR_DROP not in rates:
        notes.append(
            "Letters and messages are taken to work as well as a leaflet at the door: too few are known."
        )
        return {}
    found: dict[str, float] = {c: rates[c] / rates[DOOR_DROP] for c in chosen.channels if c in rates}
    words = ", ".join(f"{channel} {index:.1f} times" for channel, index in found.items())
    if words:
        notes.append(f"Customers answered before, against a leaflet at the door: {words}.")
    return found


def _published(contacts: AddressedContacts, k: int) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Count customers, each once, by what becomes of them; small counts hidden with all that gives them away.

    Their money together is given too, unless those reached are too few to show.
    """
    people = contacts.customers[["customer_id", "reason"]].copy()
    first = contacts.table.sort_values(["period", "channel"]).drop_duplicates("customer_id")
    first = first.set_index("customer_id")
    for column in ("channel", "store_cluster"):
        people[column] = people["customer_id"].map(first[column]).fillna("")
    sums = contacts.table.groupby("customer_id").agg(
        contacts=("period", "size"), benefit=("benefit", "sum"), cost=("cost", "sum"), net=("net", "sum")
    )
    people = people.join(sums, on="customer_id").fillna(
        {"contacts": 0, "benefit": 0.0, "cost": 0.0, "net": 0.0}
    )
    keys = ["reason", "channel", "store_cluster"]
    table = people.groupby(keys, as_index=False).agg(
        customers=("customer_id", "size"),
        contacts=("contacts", "sum"),
        benefit=("benefit", "sum"),
        cost=("cost", "sum"),
        net=("net", "sum"),
    )
    hidden = suppress(
        table,
        "customers",
        k,
        margins=[(), ("reason",)],
        dependent=["contacts", "benefit", "cost", "net"],
    )
    totals = hidden.totals[("reason",)].set_index("reason")["customers"]
    reached = float(totals.get(CHOSEN, 0.0))
    if np.isnan(reached):
        return hidden.table, None
    line = contacts.certificate[["cost", "net", "bound", "gap"]].assign(contacts=len(contacts.table))
    return hidden.table, line.assign(customers=reached)
