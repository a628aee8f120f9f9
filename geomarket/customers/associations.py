"""What goes together: which items the same customers buy, and how much more often than by chance."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from geomarket.customers.coded import numbered
from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.results import Result

__all__ = ["Associations", "basket_associations"]

Floats = NDArray[np.float64]
_BANDS = 10


@dataclass(frozen=True)
class Associations(Result):
    """Pairs of items and how many customers buy both; fit to publish.

    Attributes
    ----------
    table : DataFrame
        item_a, item_b (each pair once, in order of name), customers (who buy both), customers_a, customers_b, support
        (share of all customers who buy both), confidence_ab (share of a's customers who buy b), confidence_ba, lift
        (support over what chance would give), low, high (its interval), lift_alike (the same among customers who come
        equally often; NaN where trips are not given). Highest of the last known lift first.
    n_customers : int
        Customers in all.
    n_hidden : int
        Pairs not told, because they or a group beside them are fewer than ``k`` customers.
    k : int
    confidence : float
    """

    table: pd.DataFrame
    n_customers: int
    n_hidden: int
    k: int
    confidence: float

    def summary(self) -> list[str]:
        """Return what goes together most, and what that does not mean."""
        lines = []
        measure = "lift_alike" if self.table["lift_alike"].notna().any() else "lift"
        sure = self.table[self.table["low"] > 1]
        if sure.empty:
            lines.append(
                "No two items are bought by the same customers more often than chance would have it."
            )
        else:
            top = sure.iloc[0]
            among = " among customers who come equally often" if measure == "lift_alike" else ""
            lines.append(
                f"{top['item_a']} and {top['item_b']} go together most: {top['confidence_ab']:.0%} of the customers of "
                f"the first buy the second, {top[measure]:.2f} times what chance would give{among}."
            )
        lines.append("Bought by the same people is not bought because of each other: only a test tells that.")
        if self.n_hidden:
            lines.append(f"{self.n_hidden:,} pairs are not shown: too few customers.")
        return lines

    def plot(self, ax: Any = None) -> Any:
        """Draw the pairs of highest lift with their interval."""
        import matplotlib.pyplot as plt

        rows = self.table.head(15)[::-1]
        axes = plt.subplots(figsize=(6, 0.35 * len(rows) + 1))[1] if ax is None else ax
        spread = np.vstack((rows["lift"] - rows["low"], rows["high"] - rows["lift"]))
        position = np.arange(len(rows))
        axes.errorbar(rows["lift"], position, xerr=spread, fmt="o")
        axes.axvline(1, color="0.6", linewidth=0.8)
        axes.set_yticks(position, rows["item_a"] + " + " + rows["item_b"])
        axes.set_xlabel("Lift (1 = chance)")
        return axes


def basket_associations(
    bought: pd.DataFrame,
    n_customers: int | None = None,
    trips: pd.Series | None = None,
    k: int = 10,
    confidence: float = 0.9,
) -> Associations:
    """Count which items the same customers buy.

    Parameters
    ----------
    bought : DataFrame
        customer_id, item: one row per customer and item (:func:`geomarket.engine.customer_items`).
    n_customers : int or None
        Customers in all, also those who bought none of these items; by default those in ``bought``.
    trips : Series or None
        Trips by customer_id. Who comes often buys more of everything, so almost any two items have a lift above 1;
        with trips, ``lift_alike`` compares only customers who come about equally often (tenths by trips).
    k : int
        A pair is told only if at least this many customers, or none, buy both, the first only, the second only,
        neither.
    confidence : float
        Level of the lift's interval.

    Returns
    -------
    Associations

    Raises
    ------
    TableError
        A column is missing or a pair repeats.
    NotSupportedError
        Fewer than two items with ``k`` customers.

    Notes
    -----
    Agrawal, Imieliński & Swami (1993); supports by Apriori (Agrawal & Srikant 1994) of mlxtend. The interval is of the
    log ratio of two shares of the same customers (delta method). ``lift_alike`` is observed over expected, expected
    added up over the tenths (Mantel & Haenszel 1959).

    Examples
    --------
    >>> bought = pd.DataFrame({"customer_id": [*"abcd", *"abef"], "item": ["tea"] * 4 + ["jam"] * 4})
    >>> table = basket_associations(bought, n_customers=8, k=1).table
    >>> table[["item_a", "item_b", "support", "confidence_ab", "lift"]].values.tolist()
    [['jam', 'tea', 0.25, 0.5, 1.0]]
    """
    if k < 1:
        raise SettingsError(f"k = {k}: at least 1 is expected.")
    held, ids = _one_hot(bought, n_customers)
    n = len(held)
    reach = held.sum()
    enough = reach.index[(reach >= k) & ((n - reach >= k) | (n == reach))]
    if len(enough) < 2:
        raise NotSupportedError(
            f"bought: {len(enough)} items have at least {k} customers who buy them and {k} who don't; two are needed."
        )
    held = held[sorted(enough)]
    pairs = _pairs(held, n)
    a, b, both = (pairs[c].to_numpy(dtype=float) for c in ("customers_a", "customers_b", "customers"))
    few = np.zeros(len(pairs), dtype=bool)
    for part in (both, a - both, b - both, n - a - b + both):
        few |= (part > 0) & (part < k)
    pairs["low"], pairs["high"] = _interval(both, a, b, n, confidence)
    pairs["lift_alike"] = _alike(held, ids, trips, pairs)
    measure = "lift" if trips is None else "lift_alike"
    shown = pairs[~few & (both > 0)].sort_values(
        [measure, "item_a", "item_b"], ascending=[False, True, True], ignore_index=True
    )
    return Associations(shown, n, int(len(enough) * (len(enough) - 1) / 2) - len(shown), k, confidence)


def _one_hot(bought: pd.DataFrame, n_customers: int | None) -> tuple[pd.DataFrame, pd.Index]:
    missing = [c for c in ("customer_id", "item") if c not in bought.columns]
    if missing:
        raise TableError(
            f"bought: column(s) {', '.join(missing)} missing; customer_items makes such a table."
        )
    customers, ids = numbered(bought["customer_id"])
    coded = isinstance(bought["item"].dtype, pd.CategoricalDtype)
    items, names = numbered(bought["item"] if coded else bought["item"].astype(str))
    n = len(ids) if n_customers is None else n_customers
    if n < len(ids):
        raise SettingsError(f"n_customers = {n:,}, but {len(ids):,} customers are in the table.")
    held = np.zeros((n, len(names)), dtype=bool)
    held[customers, items] = True
    if repeated := len(bought) - int(held.sum()):
        raise TableError(f"bought: {repeated:,} rows repeat a customer and item; one row each is expected.")
    return pd.DataFrame(held, columns=names), ids


def _pairs(held: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return every pair some customer buys, by name."""
    with warnings.catch_warnings():
        # importing it changes the filters of warnings for the whole process: put them back
        from mlxtend.frequent_patterns import apriori, association_rules

    sets = apriori(held, min_support=0.5 / n, use_colnames=True, max_len=2, low_memory=True)
    columns = ["item_a", "item_b", "customers", "customers_a", "customers_b"]
    measures = ["support", "confidence_ab", "confidence_ba", "lift"]
    if not (sets["itemsets"].map(len) == 2).any():
        return pd.DataFrame(columns=[*columns, *measures]).astype(dict.fromkeys(measures, float))
    rules = association_rules(sets, num_itemsets=n, metric="support", min_threshold=0.0)
    rules["item_a"] = [next(iter(s)) for s in rules["antecedents"]]
    rules["item_b"] = [next(iter(s)) for s in rules["consequents"]]
    once = rules[rules["item_a"] < rules["item_b"]]
    out = pd.DataFrame(
        {
            "item_a": once["item_a"].astype(str),
            "item_b": once["item_b"].astype(str),
            "customers": (once["support"] * n).round().astype("int64"),
            "customers_a": (once["antecedent support"] * n).round().astype("int64"),
            "customers_b": (once["consequent support"] * n).round().astype("int64"),
            "support": once["support"].astype(float),
            "confidence_ab": once["confidence"].astype(float),
        }
    )
    out["confidence_ba"] = out["customers"] / out["customers_b"]
    out["lift"] = once["lift"].astype(float)
    return out.sort_values(["item_a", "item_b"], ignore_index=True)


def _interval(both: Floats, a: Floats, b: Floats, n: int, confidence: float) -> tuple[Floats, Floats]:
    """Interval of n·both / (a·b) from the multinomial of the four groups."""
    p, pa, pb = both / n, a / n, b / n
    # log lift = log p − log pa − log pb; the gradient by the four groups, averaged out
    only_a, only_b = pa - p, pb - p
    with np.errstate(divide="ignore", invalid="ignore"):
        first = 1 / p - 1 / pa - 1 / pb
        variance = p * first**2 + only_a / pa**2 + only_b / pb**2
        mean = p * first - only_a / pa - only_b / pb
        half = norm.ppf(0.5 + confidence / 2) * np.sqrt(np.maximum(variance - mean**2, 0.0) / n)
        lift = p / (pa * pb)
        return lift * np.exp(-half), lift * np.exp(half)


def _alike(held: pd.DataFrame, ids: pd.Index, trips: pd.Series | None, pairs: pd.DataFrame) -> Floats:
    """Observed over expected, expected within bands of customers with about as many trips."""
    if trips is None:
        return np.full(len(pairs), np.nan)
    lacking = ids.difference(trips.index)
    if len(lacking):
        raise TableError(f"trips: {len(lacking):,} customers have none ({', '.join(map(str, lacking[:3]))}).")
    known = trips.reindex(ids).to_numpy(dtype=float)
    # customers without any of the items come after those with; how often they come is not told: a band of their own
    band = np.full(len(held), _BANDS)
    rank = pd.Series(known).rank(pct=True, method="average").to_numpy()
    band[: len(ids)] = np.minimum((rank * _BANDS).astype(int), _BANDS - 1)
    values = held.to_numpy(dtype=float)
    counts = np.array([values[band == g].sum(axis=0) for g in range(_BANDS + 1)])
    size = np.bincount(band, minlength=_BANDS + 1)
    place = {name: i for i, name in enumerate(held.columns)}
    a, b = (pairs[c].map(place).to_numpy(dtype=int) for c in ("item_a", "item_b"))
    expected = (counts[:, a] * counts[:, b] / np.maximum(size, 1)[:, None]).sum(axis=0)
    return np.asarray(pairs["customers"].to_numpy(dtype=float) / expected, dtype=float)
