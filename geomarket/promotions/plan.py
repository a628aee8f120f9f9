"""The plan of offers: what it holds and what it says of itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from geomarket.amounts import as_chance, as_money
from geomarket.promotions.economics import MONEY_COLUMNS
from geomarket.promotions.rules import PromotionRules
from geomarket.results import Result

__all__ = ["PromotionPlan"]

#: Signs of the parts in the waterfall.
SIGNS = [1, -1, -1, 1, -1, 1, -1]


@dataclass(frozen=True)
class PromotionPlan(Result):
    """Offers to run.

    Attributes
    ----------
    table : DataFrame
        One row per offer: store_cluster, sku, name, category, period, depth, mechanic, channel, stores, uplift_units,
        baseline_units, the waterfall incremental_margin - subsidised - cannibalised + halo - dip + funding -
        contact_cost = net, net_low (net at the worse end of the response's 90% interval), chance (that net is above
        0), promised (planned only because its vendor was promised it), offer_price (NaN where the mechanic has no one
        price), cost (use of the budget), reason.
    solver : DataFrame
        status, objective, bound, lp_bound, gap, seconds, columns, rows, constraints_checked, worst_violation.
    checks : DataFrame
        rule, checked, worst_violation: every rule recomputed outside the solver.
    refusals : DataFrame
        scope, reason: what was not considered.
    rules : PromotionRules
    risk : dict
        low, median, high (90% interval of the plan's net) and chance (that it is above 0), over draws of the
        response in which a category's errors are the same in all store clusters. Empty for an empty plan.
    sources : dict
        cannibalisation: categories for which it was estimated; halo: number of effects on other categories in use.
    currency : str
        Sign written before amounts.
    """

    table: pd.DataFrame
    solver: pd.DataFrame
    checks: pd.DataFrame
    refusals: pd.DataFrame
    rules: PromotionRules
    risk: dict[str, float] = field(default_factory=dict)
    sources: dict[str, Any] = field(default_factory=dict)
    currency: str = ""

    def waterfall(self) -> pd.DataFrame:
        """Return the plan's money part by part: part, amount (gains positive, losses negative), and net last."""
        steps = self.table[MONEY_COLUMNS].sum() * SIGNS
        lines = pd.DataFrame({"part": MONEY_COLUMNS, "amount": steps.to_numpy(dtype=float)})
        return pd.concat(
            [lines, pd.DataFrame({"part": ["net"], "amount": [float(steps.sum())]})], ignore_index=True
        )

    def calendar(self) -> pd.DataFrame:
        """Return store_cluster, channel, category, period, offers, deepest, net: what runs when."""
        keys = ["store_cluster", "channel", "category", "period"]
        grouped = self.table.groupby(keys, sort=True)
        return grouped.agg(offers=("sku", "size"), deepest=("depth", "max"), net=("net", "sum")).reset_index()

    def summary(self) -> list[str]:
        """Say what the offers bring, what they cost, how sure that is, and what was assumed."""
        if self.table.empty:
            return [
                "No offer pays: the plan is empty. None nets more than nothing with a chance of at least "
                f"{self.rules.confidence:.0%}, on the response estimated.",
                *self.notes(),
            ]
        total = self.table[["net", "cost", "incremental_margin", "subsidised"]].sum()
        said = {name: as_money(amount, self.currency) for name, amount in total.items()}
        of = (
            ""
            if math.isinf(self.rules.budget)
            else f" of a budget of {as_money(self.rules.budget, self.currency)}"
        )
        lines = [
            f"{len(self.table):,} offers are expected to bring {said['net']} net for {said['cost']}{of}.",
            f"Extra units earn {said['incremental_margin']}; price cuts on units that would have sold anyway "
            f"cost {said['subsidised']}.",
        ]
        if self.risk:
            low, high = (as_money(self.risk[end], self.currency) for end in ("low", "high"))
            lines.append(
                f"As far as the response is known, net lies between {low} and {high} (90%); the chance that the plan "
                f"pays is {as_chance(self.risk['chance'])}. Every offer in it pays with a chance of at least "
                f"{self.rules.confidence:.0%}."
            )
        promised = int(self.table["promised"].sum())
        if promised:
            loss = float(self.table.loc[self.table["promised"], "net"].sum())
            lines.append(
                f"{promised:,} offers are in the plan only because their vendor was promised them; they net "
                f"{as_money(loss, self.currency)}."
            )
        return [*lines, *self.notes()]

    def notes(self) -> list[str]:
        """Say what was estimated, what assumed, and how close to the best plan this is."""
        notes = []
        known = self.sources.get("cannibalisation", ())
        if len(known):
            of = int(self.sources.get("categories", len(known)))
            rest = "" if len(known) >= of else f", assumed ({self.rules.cannibalisation:.0%}) for the others"
            notes.append(
                f"What offers take from other SKUs is estimated for {len(known)} of {of} categories{rest}."
            )
        else:
            notes.append(
                f"Assumed, not estimated: {self.rules.cannibalisation:.0%} of extra units are taken from other SKUs of "
                "the category."
            )
        effects = int(self.sources.get("halo", 0))
        notes.append(
            f"{effects} known effects on other categories count."
            if effects
            else "No effect on other categories counts: none is known."
        )
        if len(self.solver):
            line = self.solver.iloc[0]
            notes.append(
                f"Within {line['gap']:.2%} of the best possible plan; {int(line['constraints_checked']):,} constraints "
                f"re-checked outside the solver, worst violation {line['worst_violation']:.1e}."
            )
            if line["status"] != "optimal":
                notes.append("The time limit struck before the gap asked for was proven.")
        return notes

    def plot(self, ax: Any = None) -> Any:
        """Draw the waterfall from incremental margin to net."""
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
        steps = self.table[MONEY_COLUMNS].sum() * SIGNS
        ends = steps.cumsum()
        colours = ["#2a6f97" if step >= 0 else "#c1666b" for step in steps]
        ax.bar(range(len(steps)), steps, bottom=ends - steps, color=colours)
        ax.bar(len(steps), ends.iloc[-1], color="#3a3a3a")
        labels = [*(column.replace("_", " ") for column in MONEY_COLUMNS), "net"]
        ax.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
        ax.set_ylabel("money over the horizon")
        ax.axhline(0, color="#999999", lw=0.8)
        ax.spines[["top", "right"]].set_visible(False)
        return ax
