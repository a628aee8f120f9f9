"""The verdict: which number of store clusters is chosen, by which rule, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

__all__ = ["Verdict", "kind_of", "reach_verdict", "settle", "smallest_unbeaten", "standard_error"]

Kind = Literal["national", "cluster", "store"]


@dataclass(frozen=True)
class Verdict:
    """How local to go, and why.

    Attributes
    ----------
    kind : {"national", "cluster", "store"}
    n_clusters : int
    sentence : str
        One plain sentence for a director.
    gain, low, high, net : float
        Money a year on the reporting fold (0 for "national"), with its 90% interval.
    validated : bool
        False when forecasts of unlisted SKUs carry no new-listing discount.
    explanation : tuple of str
        Three sentences: what was chosen and why, what it is worth on the reporting fold, and how much of a range for
        every store a few clusters bring.
    """

    kind: Kind
    n_clusters: int
    sentence: str
    gain: float
    low: float
    high: float
    net: float
    validated: bool
    explanation: tuple[str, ...] = ()


def standard_error(by_store: np.ndarray) -> np.ndarray:
    """Return the standard error of a sum over stores (last axis), stores taken as a sample."""
    n = by_store.shape[-1]
    return np.sqrt(n * by_store.var(axis=-1, ddof=1))


def smallest_unbeaten(by_store: np.ndarray, cost: np.ndarray) -> int:
    """Return the place of the smallest number of clusters that no larger one beats by a standard error."""
    for small in range(len(cost)):
        lead = by_store[small + 1 :] - by_store[small]
        net = lead.sum(axis=1) - (cost[small + 1 :] - cost[small])
        if (net <= standard_error(lead)).all():
            return small
    return len(cost) - 1


def settle(net_low: np.ndarray, picked: int) -> int:
    """Return the largest place up to ``picked`` whose net gain is surely above zero, or 0: one national range.

    Falling back to the next smaller number that pays, rather than to one range at once, keeps the promise that a
    higher cost of complexity never leads to more clusters: costs only shrink what may be chosen from.

    Examples
    --------
    >>> settle(np.array([0.0, 2.0, -1.0, 5.0]), picked=2)
    1
    >>> settle(np.array([0.0, -2.0, -1.0, 5.0]), picked=2)
    0
    """
    sure = np.flatnonzero(net_low[1 : picked + 1] > 0) + 1
    return int(sure.max(initial=0))


def kind_of(table: pd.DataFrame, chosen: int) -> Kind:
    """Name the kind of plan in row ``chosen`` of a frontier's table."""
    if chosen == 0:
        return "national"
    return "store" if chosen == len(table) - 1 else "cluster"


def reach_verdict(table: pd.DataFrame, national: float, validated: bool, currency: str) -> Verdict:
    """Write the verdict of a frontier's table.

    Parameters
    ----------
    table : DataFrame
        Of :class:`geomarket.frontier.Frontier`, with ``picked`` and ``chosen``.
    national : float
        Margin a year of the national range on the reporting fold.
    validated : bool
        Whether forecasts carry a new-listing discount.
    currency : str
        Sign for the sentences.

    Returns
    -------
    Verdict
    """
    picked, chosen = (int(np.flatnonzero(table[name])[0]) for name in ("picked", "chosen"))
    words = _Words(table, national, currency, picked, chosen)
    caveat = "" if validated else " Gains that rest on SKUs a store doesn't list yet are unvalidated."
    row = table.iloc[chosen].to_dict()
    kind = kind_of(table, chosen)
    figures = (row["gain_holdout"], row["low"], row["high"], row["net"]) if chosen else (0.0,) * 4
    gain, low, high, net = map(float, figures)
    sentence = words.advice() + caveat
    explanation = (words.choice(), words.worth(), words.share())
    return Verdict(kind, int(row["n_clusters"]), sentence, gain, low, high, net, validated, explanation)


@dataclass(frozen=True)
class _Words:
    table: pd.DataFrame
    national: float
    currency: str
    picked: int
    chosen: int

    def _row(self, place: int) -> dict[str, Any]:
        return {str(name): value for name, value in self.table.iloc[place].items()}

    def _money(self, amount: float) -> str:
        sign = "−" if round(amount) < 0 else ""
        return f"{sign}{self.currency}{abs(amount):,.0f}"

    def _net(self, row: dict[str, Any]) -> str:
        return (
            f"{self._money(row['net'])} a year, 90% interval {self._money(row['net_low'])} to "
            f"{self._money(row['net_high'])}"
        )

    def advice(self) -> str:
        row = self._row(self.chosen)
        if self.chosen:
            what = (
                "Give every store its own range"
                if row["label"] == "store level"
                else f"Plan {int(row['n_clusters'])} store clusters"
            )
            gain, low, high = (self._money(row[name]) for name in ("gain_holdout", "low", "high"))
            sentence = (
                f"{what}: on periods used neither to plan nor to choose, this brings {gain} a year more margin than "
                f"one national range ({row['gain_holdout'] / self.national:+.1%}; 90% interval {low} to {high}), "
                f"{self._money(row['net'])} after the cost of complexity"
            )
            store = float(self.table.iloc[-1]["gain_holdout"])
            if row["label"] != "store level" and 0 < row["gain_holdout"] < store:
                share = row["gain_holdout"] / store
                sentence += f", and {share:.0%} of what a range for every store would bring"
            return f"{sentence}."
        if self.picked:
            row = self._row(self.picked)
            return (
                f"Stay with one national range: the number of clusters that looked best ({row['label']}) nets "
                f"{self._net(row)}, on periods used neither to plan nor to choose, which is not clearly more than "
                "nothing."
            )
        return (
            "Stay with one national range: on the periods the number of clusters was chosen by, none nets more than "
            "one range by more than a standard error."
        )

    def choice(self) -> str:
        """What was chosen, and why."""
        picked = self._row(self.picked)
        if self.picked == 0:
            return (
                "One range was chosen on the second part of the periods: no number of clusters tried nets more there "
                "by over one standard error of the difference between stores."
            )
        first = (
            f"{_capital(picked['label'])} was chosen"
            if picked["label"] == "store level"
            else f"{_capital(picked['label'])} were chosen"
        )
        first += (
            " on the second part of the periods: the smallest number that no larger one beats there by over one "
            "standard error"
        )
        if self.chosen == self.picked:
            return f"{first}.{self._edge()}"
        if self.chosen == 0:
            return f"{first}; but neither it nor a smaller number surely pays on the third part."
        smaller = self._row(self.chosen)["label"]
        return (
            f"{first}; as that does not surely pay on the third part, the next smaller number that does is taken: "
            f"{smaller}."
        )

    def _edge(self) -> str:
        """Say so where the number chosen is the largest tried: the best may lie beyond."""
        numbers = self.table["n_clusters"].tolist()
        if self.chosen != len(numbers) - 2 or numbers[-1] - numbers[-2] < 2:
            return ""
        return (
            f" No number between {numbers[-2]} and a range for every store was tried: more clusters may bring more "
            "(max_clusters)."
        )

    def worth(self) -> str:
        """What it is worth on the reporting fold."""
        if self.chosen:
            row = self._row(self.chosen)
            return (
                f"On the third part, used for neither, this brings {self._money(row['gain_holdout'])} a year over one "
                f"range and costs {self._money(row['cost'])}: {self._net(row)}, whose lower end is above zero."
            )
        looked = self.picked or int(self.table["net_choice"].iloc[1:].to_numpy().argmax()) + 1
        row = self._row(looked)
        words = f"On the third part {row['label']} would net {self._net(row)}"
        better = self.table.iloc[1:]
        better = better[better["net_low"] > 0]
        if len(better):
            names = ", ".join(better["label"])
            return (
                f"{words}; that {names} would look worthwhile there is known only afterwards, and picking a winner "
                "afterwards proves nothing."
            )
        return (
            f"{words}: one range is left only if the lower end is above zero, and no number tried has that."
        )

    def share(self) -> str:
        """How much of the gain of a range for every store a few clusters bring."""
        store = self._row(len(self.table) - 1)
        claims = (
            f"a range for every store promises {store['gain_in_sample_share']:+.1%} on the periods it is planned on "
            f"and keeps {store['gain_holdout_share']:+.1%} on others"
        )
        few = self.table.iloc[1:-1]
        few = few[few["n_clusters"] <= 10]
        if store["gain_holdout"] <= 0 or few.empty:
            return f"{_capital(claims)}."
        row = self._row(self.chosen)
        if not 0 < self.chosen < len(self.table) - 1:
            row = self._row(1 + int(few["gain_holdout"].to_numpy().argmax()))
        part = row["gain_holdout"] / store["gain_holdout"]
        if part >= 1:
            return f"{_capital(row['label'])} bring as much as a range for every store or more: {claims}."
        return f"{_capital(row['label'])} bring {max(part, 0.0):.0%} of what store level would: {claims}."


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
