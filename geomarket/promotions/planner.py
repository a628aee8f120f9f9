"""Which offers to run, where and when, within a budget."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.assortment.milp import LinearProgram, ProgramBuilder
from geomarket.assortment.solving import SolverOptions, SolverResult
from geomarket.assortment.worker import solve
from geomarket.errors import SolverError, TableError
from geomarket.promotions.economics import MONEY_COLUMNS, net_of, offer_options
from geomarket.promotions.response import PromotionResponse
from geomarket.promotions.rules import PromotionRules
from geomarket.promotions.search import OfferSearch
from geomarket.results import Result

__all__ = ["PromotionPlan", "plan_promotions"]

_log = logging.getLogger(__name__)

PLAN_COLUMNS = [
    "store_cluster",
    "sku",
    "name",
    "category",
    "period",
    "depth",
    "mechanic",
    "channel",
    "stores",
    "uplift_units",
    "baseline_units",
    *MONEY_COLUMNS,
    "cost",
    "net",
    "net_low",
    "reason",
]


@dataclass(frozen=True)
class PromotionPlan(Result):
    """Offers to run.

    Attributes
    ----------
    table : DataFrame
        One row per offer: store_cluster, sku, name, category, period, depth, mechanic, channel, stores, uplift_units,
        baseline_units, the waterfall incremental_margin - subsidised - cannibalised + halo - dip + funding -
        contact_cost = net (``halo`` is 0: not estimated), net_low (net at the lower 90 % bound of the response),
        cost (use of the budget), reason.
    solver : DataFrame
        status, objective, bound, lp_bound, gap, seconds, columns, rows, constraints_checked, worst_violation.
    checks : DataFrame
        rule, checked, worst_violation: every rule recomputed outside the solver.
    refusals : DataFrame
        scope, reason: what was not considered.
    rules : PromotionRules
    """

    table: pd.DataFrame
    solver: pd.DataFrame
    checks: pd.DataFrame
    refusals: pd.DataFrame
    rules: PromotionRules

    def summary(self) -> list[str]:
        """Say what the offers bring, what they cost, and what was assumed."""
        if self.table.empty:
            return ["No offer pays: the plan is empty.", *self._notes()]
        total = self.table[["net", "net_low", "cost", "incremental_margin", "subsidised"]].sum()
        budget = "" if math.isinf(self.rules.budget) else f" of a budget of {self.rules.budget:,.2f}"
        return [
            f"{len(self.table):,} offers are expected to bring {total['net']:,.2f} net ({total['net_low']:,.2f} if "
            f"every response is at its lower 90 % bound) for {total['cost']:,.2f}{budget}.",
            f"Extra units earn {total['incremental_margin']:,.2f}; price cuts on units that would have sold anyway "
            f"cost {total['subsidised']:,.2f}.",
            *self._notes(),
        ]

    def _notes(self) -> list[str]:
        notes = [
            f"Assumed, not estimated: {self.rules.cannibalisation:.0%} of extra units are taken from other SKUs of the "
            "category; no effect on other categories."
        ]
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
        sign = {"incremental_margin": 1, "halo": 1, "funding": 1}
        steps = self.table[MONEY_COLUMNS].sum() * [sign.get(column, -1) for column in MONEY_COLUMNS]
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


def plan_promotions(
    response: PromotionResponse,
    demand: pd.DataFrame,
    products: pd.DataFrame,
    clusters: pd.DataFrame,
    rules: PromotionRules | None = None,
    *,
    periods: Sequence[Any],
    season: pd.DataFrame | None = None,
    listings: pd.DataFrame | None = None,
    solver: SolverOptions | None = None,
) -> PromotionPlan:
    """Choose offers (SKU, store cluster, period, depth, channel) that bring the most net margin.

    Net is the margin of extra units, less the price cut on units that would have sold anyway, the margin taken from
    other SKUs of the category, and the dip afterwards, plus the supplier's funding, less contact cost. An offer that
    brings nothing net is never planned, so the plan may be empty. Depths are only planned between the shallowest and
    the deepest price cut seen in the category.

    Parameters
    ----------
    response : PromotionResponse
        Effects by store cluster and category, from :func:`fit_response`.
    demand : DataFrame
        store_id, sku, category, units, margin (per period), and listed (bool) unless ``listings`` is given.
    products : DataFrame
        sku, name, price.
    clusters : DataFrame
        store_id, store_cluster.
    rules : PromotionRules, optional
        What may be promoted, how often, for how much.
    periods : sequence of dates
        Periods to plan, in order.
    season : DataFrame, optional
        category, period, index: multiplier of the mean units; 1 where not given.
    listings : DataFrame, optional
        store_id, sku: the ranges on the shelf in the horizon (the planned ones, for example).
    solver : SolverOptions, optional
        Gap, time limit, seed.

    Returns
    -------
    PromotionPlan

    Raises
    ------
    TableError
        If a table lacks a column.
    SolverError
        If no plan was found in time or the one found breaks a rule.

    Notes
    -----
    Promotion planning as an integer program: Cohen, Leung, Panchamgam, Perakis and Smith (2017), The impact of
    linear optimization on promotion planning.
    """
    rules = rules or PromotionRules()
    options = solver or SolverOptions()
    calendar = [pd.Timestamp(period) for period in periods]
    if not calendar or len(set(calendar)) < len(calendar):
        raise TableError("periods: give at least one period to plan, each once.")
    base, refusals = _baseline(response, demand, products, clusters, listings)
    offers = _options(base, response, rules, calendar, _season_table(season, base, calendar), refusals)
    program, columns = promotion_program(offers, rules, len(calendar))
    result = solve(program, options, OfferSearch.of(offers, rules))
    if result.x is None:  # the empty plan keeps every rule, so this is the solver's failure
        raise SolverError(f"promotions: no plan found in {options.time_limit:.0f} s. Raise the time limit.")
    chosen = offers[result.x[columns] > 0.5] if len(offers) else offers
    checks = check_promotions(chosen, rules, result.objective)
    broken = checks[checks["worst_violation"] > 1e-6]
    if len(broken):
        raise SolverError(
            f"promotions: the solver's plan breaks {', '.join(broken['rule'])}; it is not used."
        )
    table = chosen.sort_values(["store_cluster", "t", "category", "sku"], kind="stable", ignore_index=True)
    table = table.assign(reason=_reasons(table, response))
    return PromotionPlan(
        table=table[PLAN_COLUMNS],
        solver=_solver_frame(result, checks),
        checks=checks,
        refusals=pd.DataFrame(refusals, columns=["scope", "reason"]),
        rules=rules,
    )


def _baseline(
    response: PromotionResponse,
    demand: pd.DataFrame,
    products: pd.DataFrame,
    clusters: pd.DataFrame,
    listings: pd.DataFrame | None,
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Units a period, unit margin and stores of each SKU listed in each cluster."""
    listed = [] if listings is not None else ["listed"]
    for table, frame, needed in (
        ("demand", demand, ["store_id", "sku", "category", "units", "margin", *listed]),
        ("products", products, ["sku", "name", "price"]),
        ("clusters", clusters, ["store_id", "store_cluster"]),
    ):
        missing = [column for column in needed if column not in frame]
        if missing:
            raise TableError(
                f"{table}: no column {', '.join(missing)}. Its columns are {', '.join(map(str, frame.columns))}."
            )
    if listings is not None:
        on_shelf = demand.merge(listings[["store_id", "sku"]].drop_duplicates(), on=["store_id", "sku"])
    else:
        on_shelf = demand[demand["listed"].astype(bool)]
    on_shelf = on_shelf.merge(clusters[["store_id", "store_cluster"]], on="store_id").dropna(
        subset=["units", "margin"]
    )
    base = on_shelf.groupby(["store_cluster", "category", "sku"], as_index=False).agg(
        baseline=("units", "sum"), margin=("margin", "sum"), stores=("store_id", "nunique")
    )
    base = base.merge(products[["sku", "name", "price"]], on="sku", how="left")
    refusals: list[tuple[str, str]] = []
    unpriced = ~(base["price"] > 0)
    for sku in sorted(base.loc[unpriced, "sku"].unique()):
        refusals.append((str(sku), "no price above 0"))
    base = base[~unpriced & (base["baseline"] > 0)].copy()
    base["unit_margin"] = base["margin"] / base["baseline"]
    sums = base.groupby(["store_cluster", "category"])[["margin", "baseline"]].transform("sum")
    others = sums["baseline"] - base["baseline"]
    base["others_margin"] = np.where(
        others > 0, (sums["margin"] - base["margin"]) / others.where(others > 0), 0.0
    )
    known = set(zip(response.table["store_cluster"], response.table["category"]))
    mine = list(zip(base["store_cluster"], base["category"]))
    for cluster, category in sorted(set(mine) - known):
        refusals.append((f"{category} in {cluster}", "no response could be estimated"))
    return base[[pair in known for pair in mine]].reset_index(drop=True), refusals


def _season_table(season: pd.DataFrame | None, base: pd.DataFrame, calendar: list[Any]) -> pd.DataFrame:
    """Multipliers by category; the period after the horizon is taken as the last one."""
    categories = sorted(base["category"].unique())
    table = pd.DataFrame(1.0, index=categories, columns=range(len(calendar) + 1))
    if season is not None:
        dated = season.assign(period=pd.to_datetime(season["period"]))
        wide = dated.pivot(index="category", columns="period", values="index")
        wide = wide.reindex(index=categories, columns=calendar)
        table.iloc[:, :-1] = wide.fillna(1.0).to_numpy()
        table.iloc[:, -1] = table.iloc[:, -2]
    return table


def _options(
    base: pd.DataFrame,
    response: PromotionResponse,
    rules: PromotionRules,
    calendar: list[Any],
    season: pd.DataFrame,
    refusals: list[tuple[str, str]],
) -> pd.DataFrame:
    """Options within the depths seen that pay, none of which is beaten outright by another on its channel."""
    offers = offer_options(base, response, rules, calendar, season)
    seen = response.depths.set_index("category")
    deepest, shallowest = offers["category"].map(seen["deepest"]), offers["category"].map(seen["shallowest"])
    # A tenth of a point: depths in the history are averages and rounded.
    outside = ~((offers["depth"] <= deepest + 1e-3) & (offers["depth"] >= shallowest - 1e-3))
    for category, depth in (
        offers.loc[outside, ["category", "depth"]].drop_duplicates().itertuples(index=False)
    ):
        seen_words = f"{seen['shallowest'][category]:.0%} to {seen['deepest'][category]:.0%}"
        refusals.append((f"{category} at {depth:.0%} off", f"outside the price cuts seen ({seen_words})"))
    offers = offers[~outside & (offers["net"] > 0) & (offers["uplift_units"] > 0)]
    order = offers.sort_values(["cost", "net"], ascending=[True, False], kind="stable")
    best_cheaper = order.groupby(["store_cluster", "sku", "t", "channel"])["net"].cummax()
    before = best_cheaper.groupby([order[c] for c in ("store_cluster", "sku", "t", "channel")]).shift()
    undominated = order[~(before >= order["net"])]
    return undominated.sort_values(["store_cluster", "sku", "t", "channel", "depth"], ignore_index=True)


def promotion_program(
    offers: pd.DataFrame, rules: PromotionRules, n_periods: int
) -> tuple[LinearProgram, npt.NDArray[np.int64]]:
    """Write the choice of offers as a mixed-integer program, one binary per option."""
    builder = ProgramBuilder()
    x = builder.columns(offers["net"].to_numpy(dtype=float))
    sku = np.asarray(offers.groupby(["store_cluster", "sku"], sort=False).ngroup(), dtype=np.int64)
    t = offers["t"].to_numpy(dtype=np.int64)
    builder.group_rows(x, sku * n_periods + t, 1, rule="one offer")
    for start in range(n_periods if rules.spacing > 1 else 0):
        window = (t >= start) & (t < start + rules.spacing)
        builder.group_rows(x[window], sku[window], 1, rule="spacing")
    builder.group_rows(x, sku, rules.max_per_sku, rule="max_per_sku")
    slot = np.asarray(offers.groupby(["store_cluster", "category", "t"], sort=False).ngroup(), dtype=np.int64)
    builder.group_rows(x, slot, rules.max_per_category_period, rule="max_per_category_period")
    channel = offers["channel"].to_numpy()
    for name, most in rules.channel_slots.items():
        on = channel == name
        builder.group_rows(x[on], slot[on], most, rule=f"slots on {name}")
    if math.isfinite(rules.budget) and len(offers):
        builder.rows(x, offers["cost"].to_numpy(dtype=float), rule="budget", upper=rules.budget)
    return builder.compile(), x


def check_promotions(chosen: pd.DataFrame, rules: PromotionRules, objective: float) -> pd.DataFrame:
    """Recompute every rule from the chosen offers alone."""
    lines: list[tuple[str, int, float]] = []

    def check(rule: str, excess: Any) -> None:
        values = np.atleast_1d(np.asarray(excess, dtype=float))
        lines.append((rule, values.size, float(max(0.0, values.max(initial=0.0)))))

    ordered = chosen.sort_values(["store_cluster", "sku", "t"])
    gaps = ordered.groupby(["store_cluster", "sku"])["t"].diff().dropna()
    check("spacing", rules.spacing - gaps)
    check("max_per_sku", chosen.groupby(["store_cluster", "sku"]).size() - rules.max_per_sku)
    slots = ["store_cluster", "category", "t"]
    check("max_per_category_period", chosen.groupby(slots).size() - rules.max_per_category_period)
    for name, most in rules.channel_slots.items():
        check(f"slots on {name}", chosen[chosen["channel"] == name].groupby(slots).size() - most)
    if math.isfinite(rules.budget):
        check("budget", (chosen["cost"].sum() - rules.budget) / max(1.0, rules.budget))
    worth = float(net_of(chosen).sum())
    check("pays", -chosen["net"])
    check("money", abs(objective - worth) / max(1.0, abs(worth)))
    return pd.DataFrame(lines, columns=["rule", "checked", "worst_violation"])


def _solver_frame(result: SolverResult, checks: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "status": result.status,
                "objective": result.objective,
                "bound": result.bound,
                "lp_bound": result.lp_bound,
                "gap": result.gap,
                "seconds": result.seconds,
                "columns": result.n_columns,
                "rows": result.n_rows,
                "constraints_checked": int(checks["checked"].sum()),
                "worst_violation": float(checks["worst_violation"].max()),
            }
        ]
    )


def _reasons(table: pd.DataFrame, response: PromotionResponse) -> list[str]:
    price = response.table[response.table["term"] == "price"]
    here = price.set_index(["store_cluster", "category"])["estimate"].to_dict()
    usual = price.groupby("category")["estimate"].median().to_dict()
    shown = {"shelf": "", "display": " with a display", "mailer": " with the leaflet"}
    columns = ["store_cluster", "category", "depth", "channel", "uplift_units", "baseline_units"]
    columns += ["incremental_margin", "subsidised", "net", "net_low"]
    reasons = []
    for cluster, category, depth, channel, uplift, baseline, earned, subsidised, net, net_low in zip(
        *(table[column].tolist() for column in columns)
    ):
        own, median = here[cluster, category], usual[category]
        if median < 0 and abs(own / median - 1) > 0.1:
            degree = "more" if own < median else "less"
            tone = f"{degree} price-sensitive than the median cluster ({own:.1f} against {median:.1f})"
        else:
            tone = f"price elasticity {own:.1f}, about the median cluster's"
        risk = "; may lose money if the response is at its lower bound" if net_low <= 0 else ""
        reasons.append(
            f"{depth:.0%} off{shown[channel]} lifts units by {uplift / baseline:.0%}; {tone}; extra units earn "
            f"{earned:,.2f}, price cuts on sales it would have made anyway cost {subsidised:,.2f}; net {net:,.2f}{risk}"
        )
    return reasons
