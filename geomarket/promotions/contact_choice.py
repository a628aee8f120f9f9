"""Whom to reach, when and how, within a budget: greedy by net gain per money, certified by a bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geomarket.errors import SettingsError, TableError

__all__ = ["Choice", "choose_contacts"]

Floats = NDArray[np.float64]
_HALVINGS = 100
_CLOSE = 1e-9
"""Of the bound: a choice this near to it needs no better price."""
NOBODY = -1


@dataclass(frozen=True)
class Choice:
    """Chosen contacts and how near the best possible they are.

    Attributes
    ----------
    channel : ndarray of int, shape (n_units, n_periods)
        Position of the channel each unit is reached by in each period; -1: not reached.
    net, cost : float
        Benefit less cost, and cost, of all that was chosen.
    bound : float
        No choice within the budget and the caps can net more.
    largest : float
        The most a single unit can net: the loss against ``bound`` is never larger.
    """

    channel: NDArray[np.int64]
    net: float
    cost: float
    bound: float
    largest: float

    @property
    def gap(self) -> float:
        """The most that could be gained by choosing better, as a share of the bound."""
        return (self.bound - self.net) / self.bound if self.bound > 0 else 0.0


def choose_contacts(
    benefit: Floats, cost: Floats, budget: float = np.inf, most: int | NDArray[np.int64] | None = None
) -> Choice:
    """Choose who is reached in which period by which channel, for the most benefit less cost.

    Parameters
    ----------
    benefit : ndarray of shape (n_units, n_periods, n_channels)
        Money one contact brings; NaN where it is not allowed (no consent, no offer to tell of).
    cost : ndarray of shape (n_units, n_channels)
        Money one contact costs.
    budget : float
        Money all contacts together may cost.
    most : int or ndarray of shape (n_units,), optional
        Most contacts of a unit over all periods; as many as there are periods by default.

    Returns
    -------
    Choice
        Contacts that cost more than they bring are never chosen.

    Raises
    ------
    TableError
        A cost is missing or negative, or the shapes do not fit.
    SettingsError
        The budget is missing or negative.

    Notes
    -----
    At a price on money every unit's best contacts are independent of all others; the price at which the budget is just
    spent gives the bound (the Lagrangian dual, here equal to the bound of the linear program, because a unit's own
    problem has whole-numbered corners). Units that stand on the edge at that price are taken in the order of net gain
    per money while the budget lasts (Dantzig 1957, Sinha and Zoltners 1979); what is left fills up with single
    contacts. At most one unit's worth is lost.

    Examples
    --------
    >>> benefit = np.array([[[6.0]], [[10.0]], [[12.0]]])
    >>> found = choose_contacts(benefit, np.array([[1.0], [2.0], [3.0]]), budget=5.0)
    >>> found.channel.ravel().tolist(), found.net, found.cost
    ([0, 0, -1], 13.0, 3.0)
    >>> round(found.bound, 9)
    19.0
    """
    benefit, cost, limits = _checked(benefit, cost, budget, most)
    net = benefit - cost[:, None, :]
    net[~(net > 0)] = -np.inf
    free, bound = _best_at(0.0, net, cost, limits)
    largest = float(_per_unit(net, free).max(initial=0.0))
    spent = _per_unit_cost(cost, free)
    if spent.sum() <= budget:
        value = float(_per_unit(net, free).sum())
        return Choice(free, value, float(spent.sum()), value, largest)
    chosen, bound = _priced(net, cost, limits, budget, free, bound)
    _fill(chosen, net, cost, limits, budget)
    # cents beyond the budget would be a rounding of ours, not a choice
    total = float(_per_unit_cost(cost, chosen).sum())
    return Choice(chosen, float(_per_unit(net, chosen).sum()), total, bound, largest)


def _checked(
    benefit: Floats, cost: Floats, budget: float, most: int | NDArray[np.int64] | None
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    benefit, cost = np.asarray(benefit, dtype=float), np.asarray(cost, dtype=float)
    if benefit.ndim != 3 or cost.shape != (benefit.shape[0], benefit.shape[2]):
        raise TableError(
            f"benefit has the shape {benefit.shape} and cost {cost.shape}; (units, periods, channels) and "
            "(units, channels) are expected."
        )
    if not (np.isfinite(cost).all() and (cost >= 0).all()) or np.isposinf(benefit).any():
        raise TableError("cost: every contact needs a finite cost of at least 0, and a finite benefit.")
    if not budget >= 0:
        raise SettingsError(f"budget = {budget}: an amount of at least 0 is expected.")
    limits = np.full(len(benefit), benefit.shape[1] if most is None else most, dtype=np.int64)
    if (limits < 0).any():
        raise SettingsError("most: a unit can't be reached fewer than 0 times.")
    return benefit, cost, limits


def _best_at(
    price: float, net: Floats, cost: Floats, limits: NDArray[np.int64]
) -> tuple[NDArray[np.int64], float]:
    """Every unit's best contacts where money costs ``price``, and what they are worth after that price."""
    worth = net - price * cost[:, None, :]
    channel = worth.argmax(axis=2)
    best = np.take_along_axis(worth, channel[:, :, None], axis=2)[:, :, 0]
    wanted = best > 0
    many = np.flatnonzero(wanted.sum(axis=1) > limits)
    if len(many):
        order = np.argsort(-best[many], axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.broadcast_to(np.arange(best.shape[1]), order.shape), axis=1)
        wanted[many] &= rank < limits[many, None]
    return np.where(wanted, channel, NOBODY), float(best[wanted].sum())


def _per_unit(net: Floats, chosen: NDArray[np.int64]) -> Floats:
    picked = np.take_along_axis(net, np.maximum(chosen, 0)[:, :, None], axis=2)[:, :, 0]
    return np.asarray(np.where(chosen >= 0, picked, 0.0).sum(axis=1))


def _per_unit_cost(cost: Floats, chosen: NDArray[np.int64]) -> Floats:
    picked = np.take_along_axis(cost, np.maximum(chosen, 0), axis=1)
    return np.asarray(np.where(chosen >= 0, picked, 0.0).sum(axis=1))


def _priced(
    net: Floats,
    cost: Floats,
    limits: NDArray[np.int64],
    budget: float,
    free: NDArray[np.int64],
    bound: float,
) -> tuple[NDArray[np.int64], float]:
    """Find the price at which the budget is just spent; take units on its edge while the money lasts."""
    # whoever is worth nothing at one price is worth nothing at a higher one: only those who are go on
    live = np.flatnonzero((free >= 0).any(axis=1))
    over, low = free[live], 0.0
    dear = cost[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((net > 0) & (dear > 0), net / dear, 0.0)
    high = float(ratio.max(initial=0.0)) * (1 + 1e-12) + 1e-12
    under, worth = _best_at(high, net[live], cost[live], limits[live])
    bound = min(bound, worth + high * budget)
    for _ in range(_HALVINGS):
        price = (low + high) / 2
        if not low < price < high or bound - _per_unit(net[live], under).sum() <= _CLOSE * bound:
            break
        chosen, worth = _best_at(price, net[live], cost[live], limits[live])
        bound = min(bound, worth + price * budget)
        if _per_unit_cost(cost[live], chosen).sum() <= budget:
            under, high = chosen, price
        else:
            still = (chosen >= 0).any(axis=1)
            over, under, low, live = chosen[still], under[still], price, live[still]
    return _mixed(net, cost, budget, live, under, over), bound


def _mixed(
    net: Floats,
    cost: Floats,
    budget: float,
    live: NDArray[np.intp],
    under: NDArray[np.int64],
    over: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Go from the dearer price's choice to the cheaper one's unit by unit, while the money lasts."""
    chosen = np.full(net.shape[:2], NOBODY, dtype=np.int64)
    chosen[live] = under
    richer = chosen.copy()
    richer[live] = over
    more_cost = _per_unit_cost(cost, richer) - _per_unit_cost(cost, chosen)
    more_net = _per_unit(net, richer) - _per_unit(net, chosen)
    edge = np.flatnonzero((more_cost > 0) & (more_net > 0))
    left = budget - float(_per_unit_cost(cost, chosen).sum())
    for unit in edge[np.argsort(-more_net[edge] / more_cost[edge], kind="stable")]:
        if more_cost[unit] <= left:
            chosen[unit] = richer[unit]
            left -= float(more_cost[unit])
    return chosen


def _fill(
    chosen: NDArray[np.int64], net: Floats, cost: Floats, limits: NDArray[np.int64], budget: float
) -> None:
    """Spend what is left on single contacts, best net gain per money first; changes ``chosen``."""
    left = budget - float(_per_unit_cost(cost, chosen).sum())
    slack = limits - (chosen >= 0).sum(axis=1)
    affordable = (
        (cost[:, None, :] <= left) & (net > 0) & (chosen < 0)[:, :, None] & (slack > 0)[:, None, None]
    )
    unit, period, channel = np.nonzero(affordable)
    gain, price = net[unit, period, channel], cost[unit, channel]
    with np.errstate(divide="ignore"):
        order = np.argsort(-gain / price, kind="stable")
    cheapest = np.minimum.accumulate(price[order][::-1])[::-1] if len(order) else price
    for place, item in enumerate(order):
        if cheapest[place] > left:
            break
        u, t = unit[item], period[item]
        if price[item] <= left and slack[u] > 0 and chosen[u, t] < 0:
            chosen[u, t] = channel[item]
            slack[u] -= 1
            left -= float(price[item])
