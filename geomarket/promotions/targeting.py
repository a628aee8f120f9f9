"""Where to send it: hexagons for door drops and customers for letters and messages, within a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from geomarket.amounts import as_money
from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.promotions.contact_choice import NOBODY, Choice, choose_contacts
from geomarket.results import Result

if TYPE_CHECKING:
    import folium

__all__ = ["AddressedContacts", "DoorDrops", "leaflet_values", "target_customers", "target_hexagons"]

Floats = NDArray[np.float64]

LEAFLET = "mailer"
"""The promotion plan's name for offers that stand in the leaflet."""

CHOSEN = "reached"
NOT_WORTH = "a drop costs more than it brings"
BEYOND = "beyond the budget or the cap"
EXCLUDED = "left out by a rule, or nobody lives there"


@dataclass(frozen=True)
class DoorDrops(Result):
    """Which hexagons get a leaflet in which period.

    Attributes
    ----------
    table : DataFrame
        One row per drop: cell, period, store_cluster (whose leaflet), doors, benefit, benefit_low (the leaflet's effect
        at its lower bound), cost, net; most net gain per money first.
    cells : DataFrame
        cell, doors, drops, benefit, cost, net, reason (why it gets none, or "reached").
    by_cluster : DataFrame
        store_cluster, period, hexagons, doors, benefit, cost, net.
    money : DataFrame
        part, amount: what the leaflets could bring if they reached everybody, split into what these drops reach and why
        the rest is left. The parts sum to the whole.
    certificate : DataFrame
        net, bound, gap, largest, budget, cost: no choice can net more than the bound.
    break_even : float
        Cost per door below which the best drop pays.
    notes : tuple of str
    currency : str
        Sign written before amounts.
    """

    table: pd.DataFrame
    cells: pd.DataFrame
    by_cluster: pd.DataFrame
    money: pd.DataFrame
    certificate: pd.DataFrame
    break_even: float
    notes: tuple[str, ...] = ()
    currency: str = ""

    def summary(self) -> list[str]:
        """Return what the drops bring, what they cost, and how near the best possible they are."""
        if self.table.empty:
            return [
                f"No door drop pays: the best one brings {as_money(self.break_even, self.currency, 3)} a door, less "
                "than it costs.",
                *self.notes,
            ]
        line = self.certificate.iloc[0]
        reached = self.cells["drops"] > 0
        whole = float(self.money["amount"].iloc[-1])
        return [
            f"{len(self.table):,} door drops in {int(reached.sum()):,} hexagons bring "
            f"{_balance(self.table['benefit'].sum(), line, self.currency)}, "
            f"within {line['gap']:.2%} of the best possible.",
            f"They carry {self.table['benefit'].sum() / whole:.0%} of what the leaflets would bring at every door.",
            *self.notes,
        ]

    def explore(self, column: str = "reason", **options: Any) -> folium.Map:
        """Show which hexagons get leaflets, and why others get none, on a map that can be panned and zoomed.

        Parameters
        ----------
        column : {"reason", "drops", "doors", "benefit", "cost", "net"}
            What the hexagons are coloured by.
        **options
            Passed to :func:`geomarket.explore_cells`: ``stores``, ``tooltip``, ``tiles``, ``palette``.

        Returns
        -------
        folium.Map
        """
        from geomarket.hexmap import explore_cells

        if column not in self.cells or column == "cell":
            known = ", ".join(str(name) for name in self.cells if name != "cell")
            raise TableError(f"door drops: there is no column {column!r} to show; choose from {known}.")
        looks = {"label": f"Door drops: {column}", "kind": "count"}
        return explore_cells(self.cells, column, **{**looks, **options})

    def plot(self, ax: Any = None) -> Any:
        """Draw net gain against money spent, best drops first."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6, 3))[1] if ax is None else ax
        if self.table.empty:
            axes.text(0.5, 0.5, "no door drop pays", transform=axes.transAxes, ha="center", va="center")
            axes.set(xticks=[], yticks=[])
        else:
            axes.plot(self.table["cost"].cumsum(), self.table["net"].cumsum())
        axes.set_xlabel("cost of door drops")
        axes.set_ylabel("net gain")
        return axes


def _balance(benefit: float, line: pd.Series, currency: str) -> str:
    brings, costs, net = (as_money(amount, currency) for amount in (benefit, line["cost"], line["net"]))
    return f"{brings} for {costs}: {net} net"


@dataclass(frozen=True)
class AddressedContacts(Result):
    """Which customers get a letter or message in which period. Rows are single persons: not for publication.

    Attributes
    ----------
    table : DataFrame
        One row per contact: customer_id, period, channel, store_cluster, benefit, cost, net; most net gain per money
        first.
    customers : DataFrame
        customer_id, contacts, reason ("reached", or why not).
    certificate : DataFrame
        As of :class:`DoorDrops`.
    notes : tuple of str
    currency : str
        Sign written before amounts.
    """

    table: pd.DataFrame
    customers: pd.DataFrame
    certificate: pd.DataFrame
    notes: tuple[str, ...] = ()
    currency: str = ""

    def summary(self) -> list[str]:
        """Return what the contacts bring and cost."""
        line = self.certificate.iloc[0]
        if self.table.empty:
            return ["No letter or message pays.", *self.notes]
        return [
            f"{len(self.table):,} letters and messages to {self.table['customer_id'].nunique():,} customers bring "
            f"{_balance(self.table['benefit'].sum(), line, self.currency)}, within "
            f"{line['gap']:.2%} of the best possible.",
            *self.notes,
        ]


def leaflet_values(
    offers: pd.DataFrame,
    response: pd.DataFrame,
    lift: float | None = None,
) -> pd.DataFrame:
    """Work out what the leaflets of every store cluster and period bring if they reach everybody.

    Parameters
    ----------
    offers : DataFrame
        ``PromotionPlan.table``.
    response : DataFrame
        ``PromotionResponse.table``: store_cluster, category, term, estimate, low.
    lift : float, optional
        Extra units of an offer through its leaflet (0.2: a fifth more), in place of the estimated effect.

    Returns
    -------
    DataFrame
        store_cluster, period, offers, value, value_low (at the lower bound of the leaflet's effect), in_plan (the part
        of value the promotion plan has counted already: its offers in the leaflet).

    Raises
    ------
    NotSupportedError
        No offer's category shows an effect of leaflets, and no lift was assumed.

    Notes
    -----
    The promotion plan's units of an offer that is shown in the leaflet hold the leaflet's part already: of n units,
    n × (1 − exp(−m)), where m is the effect on log units. An offer that is not gains n × (exp(m) − 1) on top. Each of
    these units earns what the plan's extra units do, funding and what other SKUs lose included. What the leaflet brings
    of a dip afterwards is not taken off: history can't tell it from the price cut's.
    """
    effect = _leaflet_effects(offers, response, lift)
    known = offers.assign(m=effect["m"].to_numpy(), m_low=effect["m_low"].to_numpy())
    known = known[(known["m"] > 0) & (known["uplift_units"] > 0)]
    if known.empty:
        raise NotSupportedError(
            "no planned offer belongs to a category whose history shows that leaflets sell more, so nothing says what "
            "a door drop would bring. Set leaflet_lift in [targeting] to assume an effect."
        )
    units = known["baseline_units"] + known["uplift_units"]
    funding = known["funding"] * known["uplift_units"] / units
    each = (known["incremental_margin"] - known["cannibalised"] + known["halo"] + funding) / known[
        "uplift_units"
    ]
    counted = known["channel"] == LEAFLET
    parts = {}
    for name, m in (("value", known["m"]), ("value_low", known["m_low"].clip(lower=0))):
        extra = units * np.where(counted, -np.expm1(-m), np.expm1(m))
        parts[name] = extra * each
    frame = known.assign(**parts)
    # an offer whose extra units lose money is left out of the leaflet; one the plan shows there stays
    frame = frame[(frame["value"] > 0) | counted]
    frame["in_plan"] = frame["value"].where(counted.loc[frame.index], 0.0)
    table = frame.groupby(["store_cluster", "period"], as_index=False).agg(
        offers=("sku", "size"),
        value=("value", "sum"),
        value_low=("value_low", "sum"),
        in_plan=("in_plan", "sum"),
    )
    return table[table["value"] > 0].reset_index(drop=True)


def _leaflet_effects(offers: pd.DataFrame, response: pd.DataFrame, lift: float | None) -> pd.DataFrame:
    """Effect of the leaflet on log units of every offer, and its lower bound; NaN where unknown."""
    if lift is not None:
        return pd.DataFrame({"m": np.log1p(lift), "m_low": np.log1p(lift)}, index=offers.index)
    found = response[response["term"] == LEAFLET].drop_duplicates(["store_cluster", "category"])
    keyed = found.set_index(["store_cluster", "category"])[["estimate", "low"]]
    keys = pd.MultiIndex.from_frame(offers[["store_cluster", "category"]])
    out = keyed.reindex(keys).set_index(offers.index)
    return out.rename(columns={"estimate": "m", "low": "m_low"})


def target_hexagons(
    values: pd.DataFrame,
    trade: pd.DataFrame,
    doors: pd.Series,
    cost_per_door: float,
    *,
    budget: float = np.inf,
    most: int | None = None,
    response: pd.Series | None = None,
    excluded: Sequence[int] = (),
    currency: str = "",
) -> DoorDrops:
    """Choose the hexagons that get a leaflet, and in which periods.

    Parameters
    ----------
    values : DataFrame
        store_cluster, period, value[, value_low]: what a leaflet brings if it reaches everybody
        (:func:`leaflet_values`).
    trade : DataFrame
        cell, store_cluster, demand: what people in the cell are expected to spend in the cluster's stores. Customers
        and people who might become some, as the catchment model sees them.
    doors : Series
        Doors by cell (its index).
    cost_per_door : float
        Money for one leaflet at one door.
    budget : float
        Money for all drops.
    most : int, optional
        Most drops in one hexagon over all periods.
    response : Series, optional
        How strongly the people of a cell answer to leaflets, 1 for average, by cell; 1 where not given.
    excluded : sequence of int
        Cells that get no leaflet.
    currency : str
        Sign written before amounts in the summary.

    Returns
    -------
    DoorDrops

    Raises
    ------
    TableError
        A column is missing, a number negative, or no trade belongs to the values' clusters.

    Notes
    -----
    A leaflet's value is shared out to the hexagons its cluster's trade comes from, weighed by how strongly their people
    answer: the shares of a cluster sum to 1, so nothing is invented. One leaflet reaches a door in a period: that of
    the cluster to which it is worth most there. Chosen by :func:`~geomarket.promotions.contact_choice.choose_contacts`.

    Examples
    --------
    >>> values = pd.DataFrame({"store_cluster": ["C1"], "period": ["2024-01-01"], "value": [100.0]})
    >>> trade = pd.DataFrame({"cell": [1, 2, 3], "store_cluster": "C1", "demand": [60.0, 30.0, 10.0]})
    >>> found = target_hexagons(values, trade, pd.Series(200.0, index=[1, 2, 3]), cost_per_door=0.1)
    >>> found.table[["cell", "benefit", "cost", "net"]].values.tolist()
    [[1.0, 60.0, 20.0, 40.0], [2.0, 30.0, 20.0, 10.0]]
    >>> found.money.values.tolist()
    [['reached', 90.0], ['a drop costs more than it brings', 10.0], ['whole', 100.0]]
    """
    _check(values, trade, doors, cost_per_door)
    cells = np.unique(trade["cell"].to_numpy(dtype=np.int64))
    parts, low, clusters, periods = _parts(values, trade, cells, response)
    homes = doors.reindex(cells).fillna(0.0).to_numpy(dtype=float)
    open_to = (homes > 0) & ~np.isin(cells, np.asarray(list(excluded), dtype=np.int64))
    version = parts.argmax(axis=1)
    best = np.take_along_axis(parts, version[:, None, :], axis=1)[:, 0, :]
    benefit = np.where(open_to[:, None] & (best > 0), best, np.nan)
    cost = np.where(open_to, homes * cost_per_door, 0.0)[:, None]
    choice = choose_contacts(benefit[:, :, None], cost, budget, most)
    drops = choice.channel >= 0
    unit, t = np.nonzero(drops)
    table = pd.DataFrame(
        {
            "cell": cells[unit],
            "period": periods.to_numpy()[t],
            "store_cluster": clusters.to_numpy()[version[unit, t]],
            "doors": homes[unit],
            "benefit": best[unit, t],
            "benefit_low": low[unit, version[unit, t], t],
            "cost": cost[unit, 0],
        }
    )
    table["net"] = table["benefit"] - table["cost"]
    table = _best_first(table, ["cell", "period"])
    worth = (np.nan_to_num(benefit) > cost) & open_to[:, None]
    doors_open = homes[open_to]
    break_even = float((best[open_to] / doors_open[:, None]).max(initial=0.0)) if len(doors_open) else 0.0
    return DoorDrops(
        table=table,
        cells=_cell_table(cells, homes, table, worth, open_to),
        by_cluster=table.groupby(["store_cluster", "period"], as_index=False).agg(
            hexagons=("cell", "size"),
            doors=("doors", "sum"),
            benefit=("benefit", "sum"),
            cost=("cost", "sum"),
            net=("net", "sum"),
        ),
        money=_money(parts, best, drops, worth, open_to),
        certificate=_certificate(choice, budget),
        break_even=break_even,
        currency=currency,
    )


def _check(values: pd.DataFrame, trade: pd.DataFrame, doors: pd.Series, cost_per_door: float) -> None:
    for name, frame, needed in (
        ("values", values, ["store_cluster", "period", "value"]),
        ("trade", trade, ["cell", "store_cluster", "demand"]),
    ):
        missing = [column for column in needed if column not in frame]
        if missing:
            raise TableError(
                f"{name}: no column {', '.join(missing)}. Its columns are {', '.join(map(str, frame.columns))}."
            )
    for name, numbers in (("trade: demand", trade["demand"]), ("doors", doors)):
        if (numbers < 0).any():
            raise TableError(
                f"{name}: {int((numbers < 0).sum())} values are negative; 0 or more is expected."
            )
    if not (np.isfinite(cost_per_door) and cost_per_door >= 0):
        raise SettingsError(f"cost_per_door = {cost_per_door}: an amount of at least 0 is expected.")


def _parts(
    values: pd.DataFrame, trade: pd.DataFrame, cells: NDArray[np.int64], response: pd.Series | None
) -> tuple[Floats, Floats, pd.Index, pd.Index]:
    """What each cell would bring to each cluster's leaflet of each period, and its lower bound."""
    worth = values.pivot_table(index="store_cluster", columns="period", values="value", aggfunc="sum")
    worth = worth.fillna(0.0)
    low_column = "value_low" if "value_low" in values else "value"
    low = values.pivot_table(index="store_cluster", columns="period", values=low_column, aggfunc="sum")
    low = low.reindex(index=worth.index, columns=worth.columns).fillna(0.0)
    known = trade[trade["store_cluster"].isin(worth.index)]
    weight = np.zeros((len(cells), len(worth)))
    row = np.searchsorted(cells, known["cell"].to_numpy(dtype=np.int64))
    np.add.at(
        weight, (row, worth.index.get_indexer(pd.Index(known["store_cluster"]))), known["demand"].to_numpy()
    )
    if response is not None:
        answer = response.reindex(cells).fillna(1.0).to_numpy(dtype=float)
        if (answer < 0).any():
            raise TableError("response: how strongly people answer can't be negative.")
        weight = weight * answer[:, None]
    total = weight.sum(axis=0)
    if not (total > 0).all():
        lost = ", ".join(worth.index[~(total > 0)][:3])
        raise TableError(f"trade: no demand for store cluster {lost}, which has leaflets to deliver.")
    share = weight / total
    return (
        share[:, :, None] * worth.to_numpy()[None, :, :],
        share[:, :, None] * low.to_numpy()[None, :, :],
        worth.index,
        worth.columns,
    )


def _best_first(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(table["cost"] > 0, table["net"] / table["cost"], np.inf)
    order = table.assign(_ratio=ratio).sort_values(["_ratio", *keys], ascending=[False, *[True] * len(keys)])
    return order.drop(columns="_ratio").reset_index(drop=True)


def _cell_table(
    cells: NDArray[np.int64],
    homes: Floats,
    table: pd.DataFrame,
    worth: NDArray[np.bool_],
    open_to: NDArray[np.bool_],
) -> pd.DataFrame:
    sums = table.groupby("cell").agg(
        drops=("period", "size"), benefit=("benefit", "sum"), cost=("cost", "sum"), net=("net", "sum")
    )
    out = pd.DataFrame({"cell": cells, "doors": homes}).join(sums, on="cell")
    out["drops"] = out["drops"].fillna(0).astype("int64")
    out[["benefit", "cost", "net"]] = out[["benefit", "cost", "net"]].fillna(0.0)
    out["reason"] = np.select(
        [out["drops"] > 0, ~open_to, ~worth.any(axis=1)], [CHOSEN, EXCLUDED, NOT_WORTH], BEYOND
    )
    return out


def _money(
    parts: Floats,
    best: Floats,
    drops: NDArray[np.bool_],
    worth: NDArray[np.bool_],
    open_to: NDArray[np.bool_],
) -> pd.DataFrame:
    """Split the leaflets' whole value by what becomes of it."""
    everything = parts.sum(axis=1)
    out = np.broadcast_to(~open_to[:, None], drops.shape)
    amounts = {
        CHOSEN: best[drops].sum(),
        "the door gets another store cluster's leaflet": (everything - best)[drops].sum(),
        EXCLUDED: everything[out].sum(),
        NOT_WORTH: everything[~out & ~worth].sum(),
        BEYOND: everything[~out & worth & ~drops].sum(),
    }
    rows = [(part, float(amount)) for part, amount in amounts.items() if amount > 0 or part == CHOSEN]
    return pd.DataFrame([*rows, ("whole", float(parts.sum()))], columns=["part", "amount"])


def _certificate(choice: Choice, budget: float) -> pd.DataFrame:
    line = {
        "net": choice.net,
        "bound": choice.bound,
        "gap": choice.gap,
        "largest": choice.largest,
        "budget": budget,
        "cost": choice.cost,
    }
    return pd.DataFrame([line])


def target_customers(
    values: pd.DataFrame,
    spend: pd.DataFrame,
    consent: Mapping[str, Sequence[str]],
    cost: Mapping[str, float],
    *,
    budget: float = np.inf,
    most: int = 2,
    response: Mapping[str, float] | None = None,
    reached: pd.DataFrame | None = None,
    currency: str = "",
) -> AddressedContacts:
    """Choose the customers who get a letter or message about the offers, when and by which channel.

    Parameters
    ----------
    values : DataFrame
        store_cluster, period, value: what telling everybody brings (:func:`leaflet_values`).
    spend : DataFrame
        customer_id, store_cluster, share: the customer's share of everything the cluster's stores sell.
    consent : mapping of channel to customer_id
        Who agreed to be reached by it, such as from :func:`geomarket.safeguards.contact_list`. Nobody else is.
    cost : mapping of channel to float
        Money for one contact.
    budget : float
        Money for all contacts.
    most : int
        Most contacts of one customer over all periods, all channels together.
    response : mapping of channel to float, optional
        How strongly people answer on a channel, 1: as to a leaflet at the door; 1 where not given.
    reached : DataFrame, optional
        customer_id, period: who has the offers already, such as from a door drop.
    currency : str
        Sign written before amounts in the summary.

    Returns
    -------
    AddressedContacts

    Raises
    ------
    TableError
        A column is missing, or a share is negative.
    SettingsError
        A channel has no cost.

    Notes
    -----
    A customer is expected to go on as before: the benefit is the offers' value times the customer's share of sales,
    from the store cluster that means most to the customer in that period.

    Examples
    --------
    >>> values = pd.DataFrame({"store_cluster": ["C1"], "period": ["2024-01-01"], "value": [1000.0]})
    >>> spend = pd.DataFrame({"customer_id": ["a", "b", "c"], "store_cluster": "C1", "share": [0.01, 0.0001, 0.02]})
    >>> found = target_customers(values, spend, {"mail": ["a", "b"]}, {"mail": 0.7})
    >>> found.customers[["customer_id", "contacts", "reason"]].values.tolist()
    [['a', 1, 'reached'], ['b', 0, 'not worth a contact'], ['c', 0, 'no consent to any channel']]
    """
    for name, frame, needed in (
        ("values", values, ["store_cluster", "period", "value"]),
        ("spend", spend, ["customer_id", "store_cluster", "share"]),
    ):
        missing = [column for column in needed if column not in frame]
        if missing:
            raise TableError(f"{name}: no column {', '.join(missing)}.")
    if (spend["share"] < 0).any():
        raise TableError(
            f"spend: {int((spend['share'] < 0).sum())} shares are negative; 0 or more is expected."
        )
    channels = sorted(consent)
    if without := [channel for channel in channels if channel not in cost]:
        raise SettingsError(f"cost: no cost of a contact by {', '.join(without)} was given.")
    if not channels:
        raise SettingsError("consent: no channel was given; name at least one, such as mail.")
    people = np.array(sorted(spend["customer_id"].unique()), dtype=object)
    benefit, version, clusters, periods = _person_benefits(values, spend, people)
    answer = np.array([(response or {}).get(channel, 1.0) for channel in channels])
    agreed = np.column_stack([pd.Index(people).isin(list(consent[channel])) for channel in channels])
    told = _told(reached, people, periods)
    money = np.array([float(cost[channel]) for channel in channels])
    allowed = agreed[:, None, :] & ~told[:, :, None] & (benefit > 0)[:, :, None]
    worth = benefit[:, :, None] * answer > money
    # a large chain has millions of customers, few of whom are worth a letter: only those go on
    some = np.flatnonzero((allowed & worth).any(axis=(1, 2)))
    gain = np.where(allowed[some], benefit[some, :, None] * answer, np.nan)
    choice = choose_contacts(gain, np.tile(money, (len(some), 1)), budget, most)
    unit, t = np.nonzero(choice.channel != NOBODY)
    channel, person = choice.channel[unit, t], some[unit]
    table = pd.DataFrame(
        {
            "customer_id": people[person].astype(str),
            "period": periods.to_numpy()[t],
            "channel": np.array(channels, dtype=object)[channel],
            "store_cluster": clusters.to_numpy()[version[person, t]],
            "benefit": benefit[person, t] * answer[channel],
            "cost": money[channel],
        }
    )
    table["net"] = table["benefit"] - table["cost"]
    contacts = np.bincount(person, minlength=len(people))
    reason = np.select(
        [
            contacts > 0,
            ~agreed.any(axis=1),
            ~(agreed[:, None, :] & worth).any(axis=(1, 2)),
            ~(allowed & worth).any(axis=(1, 2)),
        ],
        [CHOSEN, "no consent to any channel", "not worth a contact", "reached by a door drop already"],
        BEYOND,
    )
    return AddressedContacts(
        table=_best_first(table, ["customer_id", "period"]),
        customers=pd.DataFrame(
            {"customer_id": people.astype(str), "contacts": contacts.astype("int64"), "reason": reason}
        ),
        certificate=_certificate(choice, budget),
        currency=currency,
    )


def _person_benefits(
    values: pd.DataFrame, spend: pd.DataFrame, people: NDArray[np.object_]
) -> tuple[Floats, NDArray[np.intp], pd.Index, pd.Index]:
    """What telling each person in each period brings, and of which cluster's offers."""
    worth = values.pivot_table(index="store_cluster", columns="period", values="value", aggfunc="sum")
    worth = worth.fillna(0.0)
    known = spend[spend["store_cluster"].isin(worth.index)]
    share = np.zeros((len(people), len(worth)))
    row = np.searchsorted(people, known["customer_id"].to_numpy(dtype=object))
    np.add.at(
        share, (row, worth.index.get_indexer(pd.Index(known["store_cluster"]))), known["share"].to_numpy()
    )
    benefit = np.zeros((len(people), worth.shape[1]))
    version = np.zeros((len(people), worth.shape[1]), dtype=np.intp)
    for position, line in enumerate(worth.to_numpy()):
        brought = share[:, position, None] * line[None, :]
        better = brought > benefit
        benefit[better], version[better] = brought[better], position
    return benefit, version, worth.index, worth.columns


def _told(reached: pd.DataFrame | None, people: NDArray[np.object_], periods: pd.Index) -> NDArray[np.bool_]:
    told = np.zeros((len(people), len(periods)), dtype=bool)
    if reached is not None and len(reached):
        row = pd.Index(people).get_indexer(pd.Index(reached["customer_id"]))
        column = periods.get_indexer(pd.Index(reached["period"]))
        there = (row >= 0) & (column >= 0)
        told[row[there], column[there]] = True
    return told
