"""Plan the ranges of all store clusters, category by category."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.assortment.milp import SolverOptions
from geomarket.assortment.problem import RangeProblem, solve_ranges
from geomarket.assortment.rules import RangeRules, all_skus, skus_of
from geomarket.assortment.spaces import TIER_NAMES, planogram_sizes
from geomarket.assortment.wording import change_reasons, line_reasons
from geomarket.errors import TableError
from geomarket.results import Result

__all__ = ["RangePlan", "plan_ranges"]

_log = logging.getLogger(__name__)

LINE_COLUMNS = [
    "store_cluster",
    "category",
    "tier",
    "sku",
    "name",
    "scope",
    "status",
    "stores",
    "stores_planned",
    "stores_today",
    "units",
    "margin",
    "low",
    "high",
    "width_cm",
    "lift",
    "rank",
    "reason",
]
CHANGE_COLUMNS = [
    "store_id",
    "store_cluster",
    "category",
    "tier",
    "sku",
    "action",
    "units",
    "margin",
    "reason",
]
SPACE_COLUMNS = [
    "store_cluster",
    "category",
    "tier",
    "stores",
    "capacity",
    "used",
    "unit",
    "today_low",
    "today_high",
    "margin_today",
    "margin",
]
SKIPPED_COLUMNS = ["store_id", "category", "sku", "reason"]


@dataclass(frozen=True)
class RangePlan(Result):
    """Ranges by store cluster and what they change in each store.

    Attributes
    ----------
    table : DataFrame
        One row per store cluster and SKU that is planned or listed today: store_cluster, category, tier, sku, name,
        scope, status, stores, stores_planned, stores_today, units, margin, low, high, width_cm, lift, rank, reason.

        ``tier``: the smallest planogram that lists it ("all" where every size does, "none" where none does).
        ``scope``: "national" where every cluster with space lists it, else "local".
        ``status``: "keep" if planned and listed today by at least half of the stores planned, "list" if planned
        and listed by fewer, "delist" if not planned.
        ``units``, ``margin`` a period, summed over the stores that are to list it (for a delisting: that list it
        today). ``low``, ``high``: bounds of units, the stores' 90 % bounds added up, hence wider than 90 % unless
        the stores err together.
        ``lift``: the SKU's share of the cluster's expected units in the category, over its share in the chain.
        ``rank``: place in the cluster by expected margin per space, 1 the best.
    changes : DataFrame
        store_id, store_cluster, category, tier (the store's planogram size), sku, action ("list", "delist",
        "keep"), units, margin (that store's, per period), reason.
    solver : DataFrame
        category, status, objective, bound, lp_bound, gap, seconds, columns, rows, constraints_checked,
        worst_violation. ``seconds`` differ from run to run.
    spaces : DataFrame
        store_cluster, category, tier, stores, capacity, used, unit, today_low, today_high (least and most space of
        its stores today), margin_today, margin (per period, by the same forecasts).
    planograms : DataFrame
        store_id, store_cluster, category, tier: which size each store uses.
    checks : DataFrame
        category, rule, checked, worst_violation: every rule recomputed outside the solver.
    skipped : DataFrame
        store_id, category, sku, reason: what could not be planned.
    rules : RangeRules
    period : str
        What units and margin are counted in ("week", "month").
    """

    table: pd.DataFrame
    changes: pd.DataFrame
    solver: pd.DataFrame
    spaces: pd.DataFrame
    planograms: pd.DataFrame
    checks: pd.DataFrame
    skipped: pd.DataFrame
    rules: RangeRules
    period: str = "period"

    def summary(self) -> list[str]:
        """Say what the ranges earn, what changes, and how surely they are the best."""
        planned, today = self.spaces["margin"].sum(), self.spaces["margin_today"].sum()
        share = f" ({planned / today - 1:+.1%})" if today > 0 else ""
        actions = self.changes["action"].value_counts()
        n_stores = max(1, self.planograms["store_id"].nunique())
        lines = [
            f"Planned ranges are expected to earn {planned:,.2f} a {self.period}, against {today:,.2f} for today's "
            f"by the same forecasts{share}; listings chosen for a high forecast tend to fall short of it.",
            f"{int(actions.get('list', 0)):,} listings and {int(actions.get('delist', 0)):,} delistings over "
            f"{n_stores:,} stores: {int(actions.get('list', 0)) / n_stores:.1f} and "
            f"{int(actions.get('delist', 0)) / n_stores:.1f} a store; {int(actions.get('keep', 0)):,} stay.",
        ]
        planned_lines = self.table[self.table["status"] != "delist"]
        national = planned_lines.loc[planned_lines["scope"] == "national", "sku"].nunique()
        lines.append(
            f"{national:,} of {planned_lines['sku'].nunique():,} planned SKUs are listed in every store cluster."
        )
        if len(self.solver):
            lines.append(
                f"Within {self.solver['gap'].max():.2%} of the best possible in every category; "
                f"{int(self.solver['constraints_checked'].sum()):,} constraints re-checked outside the solver, "
                f"worst violation {self.solver['worst_violation'].max():.1e}."
            )
        late = self.solver.loc[self.solver["status"] != "optimal", "category"]
        if len(late):
            lines.append(f"Not proven to the gap asked for: {', '.join(late)}.")
        if len(self.skipped):
            lines.append(f"{len(self.skipped):,} entries could not be planned; see skipped.")
        return lines

    def plot(self, ax: Any = None) -> Any:
        """Draw expected margin of the planned ranges against today's, by store cluster."""
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
        money = self.spaces.groupby("store_cluster")[["margin_today", "margin"]].sum()
        place = np.arange(len(money))
        ax.barh(place + 0.2, money["margin_today"], height=0.38, color="#b8b8b8", label="today's range")
        ax.barh(place - 0.2, money["margin"], height=0.38, color="#2a6f97", label="planned range")
        ax.set_yticks(place, money.index)
        ax.invert_yaxis()
        ax.set_xlabel(f"expected margin a {self.period}")
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
        return ax


def plan_ranges(
    demand: pd.DataFrame,
    products: pd.DataFrame,
    clusters: pd.DataFrame,
    rules: RangeRules | None = None,
    today: pd.DataFrame | None = None,
    *,
    spaces: pd.DataFrame | None = None,
    solver: SolverOptions | None = None,
    period: str = "period",
) -> RangePlan:
    """Plan which SKUs each store cluster lists, all clusters of a category in one program.

    Maximises the expected margin over all stores, less the costs in ``rules``, subject to the space of each
    planogram and the rules. A cluster's stores share up to three planogram sizes, each part of the next, sized by
    the stores' space today.

    The margins are taken as given: a SKU earns the same whatever else is listed (no demand moves between SKUs),
    and choosing the highest forecasts flatters their sum. Judge the gain on held-out periods.

    Parameters
    ----------
    demand : DataFrame
        store_id, sku, category, units, margin (both per period if listed), and low, high where known (bounds of
        units). One row per store and SKU that may be listed; a pair without a row or margin can't be listed.
    products : DataFrame
        sku, name, category, width_cm.
    clusters : DataFrame
        store_id, store_cluster.
    rules : RangeRules, optional
        What the ranges have to keep; without it, space alone.
    today : DataFrame
        store_id, sku: what each store lists now.
    spaces : DataFrame, optional
        store_id, category, capacity in the unit of the rules. Without it a store has the space its range takes
        today.
    solver : SolverOptions, optional
        Gap, time limit per category, seed.
    period : str
        Word for the unit of time of ``demand``.

    Returns
    -------
    RangePlan

    Raises
    ------
    TableError
        If a table lacks a column, has duplicate keys, or names something the others don't know.
    InfeasibleError
        If the rules contradict each other; names those that clash.

    Notes
    -----
    Multi-store assortment as a mixed-integer program: Kök, Fisher and Vaidyanathan (2015), Assortment
    planning: review of literature and industry practice.

    Examples
    --------
    >>> demand = pd.DataFrame({
    ...     "store_id": ["1", "1", "2", "2"], "sku": ["a", "b", "a", "b"], "category": "tea",
    ...     "units": [9.0, 2.0, 1.0, 8.0], "margin": [9.0, 2.0, 1.0, 8.0]})
    >>> products = pd.DataFrame({"sku": ["a", "b"], "name": ["Assam", "Ceylon"], "category": "tea",
    ...                          "width_cm": [8.0, 8.0]})
    >>> clusters = pd.DataFrame({"store_id": ["1", "2"], "store_cluster": ["C1", "C2"]})
    >>> today = pd.DataFrame({"store_id": ["1", "2"], "sku": ["a", "a"]})
    >>> plan = plan_ranges(demand, products, clusters, RangeRules(), today)
    >>> plan.table[["store_cluster", "sku", "status"]].to_numpy().tolist()
    [['C1', 'a', 'keep'], ['C2', 'b', 'list'], ['C2', 'a', 'delist']]
    """
    rules = rules or RangeRules()
    options = solver or SolverOptions()
    if today is None:
        raise TableError("today: no table given. Pass store_id and sku of what each store lists now.")
    inputs = _Inputs.of(demand, products, clusters, rules, today, spaces)
    parts = [_plan_category(inputs, category, rules, options, period) for category in inputs.categories]
    return RangePlan(
        table=_joined((p.table for p in parts), LINE_COLUMNS),
        changes=_joined((p.changes for p in parts), CHANGE_COLUMNS),
        solver=pd.DataFrame([p.solver for p in parts if p.solver]),
        spaces=_joined((p.spaces for p in parts), SPACE_COLUMNS),
        planograms=_joined((p.planograms for p in parts), ["store_id", "store_cluster", "category", "tier"]),
        checks=_joined((p.checks for p in parts), ["category", "rule", "checked", "worst_violation"]),
        skipped=_joined([inputs.skipped, *(p.skipped for p in parts)], SKIPPED_COLUMNS),
        rules=rules,
        period=period,
    )


def _joined(frames: Iterable[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return pd.DataFrame(columns=columns)
    return pd.concat(filled, ignore_index=True)[columns]


@dataclass(frozen=True)
class _Inputs:
    """The tables, checked and with every store in its cluster."""

    demand: pd.DataFrame
    products: pd.DataFrame
    stores: pd.DataFrame
    today: pd.DataFrame
    spaces: pd.DataFrame | None
    skipped: pd.DataFrame

    @property
    def categories(self) -> list[str]:
        return sorted(self.demand["category"].unique())

    @classmethod
    def of(
        cls,
        demand: pd.DataFrame,
        products: pd.DataFrame,
        clusters: pd.DataFrame,
        rules: RangeRules,
        today: pd.DataFrame,
        spaces: pd.DataFrame | None,
    ) -> _Inputs:
        _require("demand", demand, ["store_id", "sku", "category", "units", "margin"], ["store_id", "sku"])
        widths = ["width_cm"] if rules.unit == "width_cm" else []
        _require("products", products, ["sku", "name", *widths], ["sku"])
        _require("clusters", clusters, ["store_id", "store_cluster"], ["store_id"])
        _require("today", today, ["store_id", "sku"], [])
        if spaces is not None:
            _require("spaces", spaces, ["store_id", "category", "capacity"], ["store_id", "category"])
        known = set(products["sku"])
        _unknown("demand", "sku", demand.loc[~demand["sku"].isin(known), "sku"], "products")
        for rule in ("core", "must_list", "must_not"):
            named = pd.Series(sorted(all_skus(getattr(rules, rule)) - set(demand["sku"])), dtype=object)
            _unknown(f"rules.{rule}", "sku", named, "demand (no forecast, so it can't be planned)")
        if rules.unit == "width_cm":
            width = products.loc[products["sku"].isin(set(demand["sku"])), ["sku", "width_cm"]]
            bad = width.loc[~(width["width_cm"] > 0), "sku"]
            if len(bad):
                raise TableError(
                    f"products: {len(bad)} of {len(width):,} planned SKUs have no width_cm above 0 "
                    f"({_few(bad)}). Fill the column, or set unit = 'count'."
                )
        stores = clusters[["store_id", "store_cluster"]].dropna()
        kept = demand[demand["store_id"].isin(set(stores["store_id"]))]
        lost = sorted(set(demand["store_id"]) - set(stores["store_id"]))
        skipped = pd.DataFrame(
            {"store_id": lost, "category": None, "sku": None, "reason": "the store is in no store cluster"},
            columns=SKIPPED_COLUMNS,
        )
        listed = today[["store_id", "sku"]].drop_duplicates()
        listed = listed[listed["store_id"].isin(set(stores["store_id"]))]
        return cls(kept, products.set_index("sku"), stores, listed, spaces, skipped)


@dataclass(frozen=True)
class _Part:
    """One category's share of the plan."""

    table: pd.DataFrame
    changes: pd.DataFrame
    solver: dict[str, Any]
    spaces: pd.DataFrame
    planograms: pd.DataFrame
    checks: pd.DataFrame
    skipped: pd.DataFrame


@dataclass(frozen=True)
class CategoryData:
    """Forecasts of one category as arrays over the stores that have space for it.

    Stores are sorted by cluster, planogram size and id; SKUs by id.
    """

    category: str
    store_ids: npt.NDArray[np.str_]
    store_cluster: npt.NDArray[np.str_]
    planogram: npt.NDArray[np.int64]
    skus: npt.NDArray[np.str_]
    names: npt.NDArray[np.str_]
    width: npt.NDArray[np.float64]
    units: npt.NDArray[np.float64]
    margin: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    today: npt.NDArray[np.bool_]
    space_today: npt.NDArray[np.float64]


def _plan_category(
    inputs: _Inputs, category: str, rules: RangeRules, options: SolverOptions, period: str
) -> _Part:
    data, problem, skipped = _category_problem(inputs, category, rules)
    empty = pd.DataFrame()
    if data is None or problem is None:
        return _Part(empty, empty, {}, empty, empty, empty, skipped)
    listed, result, checks = solve_ranges(problem, rules, options)
    _log.info("%s: %s, gap %.2e, %.2f s", category, result.status, result.gap, result.seconds)
    lines = _lines(data, problem, listed, rules, period)
    solver = {
        "category": category,
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
    planograms = pd.DataFrame(
        {
            "store_id": data.store_ids,
            "store_cluster": data.store_cluster,
            "category": category,
            "tier": np.array(problem.tiers, dtype=object)[data.planogram],
        }
    )
    return _Part(
        lines,
        _changes(data, problem, listed, lines),
        solver,
        _spaces(data, problem, listed, rules),
        planograms,
        checks.assign(category=category),
        skipped,
    )


def _category_problem(
    inputs: _Inputs, category: str, rules: RangeRules
) -> tuple[CategoryData | None, RangeProblem | None, pd.DataFrame]:
    demand = inputs.demand[inputs.demand["category"] == category]
    skus = np.sort(demand["sku"].unique().astype(str))
    stores = inputs.stores.sort_values("store_id", ignore_index=True)
    width = (
        inputs.products["width_cm"].reindex(skus).to_numpy(dtype=float)
        if "width_cm" in inputs.products
        else np.full(skus.size, np.nan)
    )
    space = width if rules.unit == "width_cm" else np.ones(skus.size)
    sku_index, store_index = pd.Index(skus), pd.Index(stores["store_id"])
    today = np.zeros((len(stores), skus.size), dtype=bool)
    listed = inputs.today[inputs.today["sku"].isin(set(skus))]
    today[store_index.get_indexer(listed["store_id"]), sku_index.get_indexer(listed["sku"])] = True
    space_today = today @ space
    capacity = _capacities(inputs.spaces, category, stores["store_id"], space_today)
    has_space = capacity > 0
    skipped = pd.DataFrame(
        {
            "store_id": stores.loc[~has_space, "store_id"],
            "category": category,
            "sku": None,
            "reason": "the store has no space for the category",
        },
        columns=SKIPPED_COLUMNS,
    )
    in_category = inputs.today["sku"].isin(
        set(inputs.products.index[inputs.products["category"] == category]) - set(skus)
        if "category" in inputs.products
        else set()
    )
    unforecast = inputs.today[in_category].assign(
        category=category, reason="listed today but without a forecast: left as it is, its space not planned"
    )
    skipped = _joined([skipped, unforecast], SKIPPED_COLUMNS)
    if not has_space.any():
        return None, None, skipped

    stores, today, space_today, capacity = (
        stores[has_space].reset_index(drop=True),
        today[has_space],
        space_today[has_space],
        capacity[has_space],
    )
    planogram, frame = _planograms(stores, capacity, rules)
    order = np.lexsort((stores["store_id"].to_numpy(dtype=str), planogram))
    rows = pd.Index(stores["store_id"].to_numpy()[order]).get_indexer(demand["store_id"])
    columns = sku_index.get_indexer(demand["sku"])
    usable = rows >= 0

    def matrix(column: str) -> npt.NDArray[np.float64]:
        values = np.full((len(stores), skus.size), np.nan)
        if column in demand:
            values[rows[usable], columns[usable]] = demand[column].to_numpy(dtype=float)[usable]
        return values

    data = CategoryData(
        category=category,
        store_ids=stores["store_id"].to_numpy(dtype=object)[order],
        store_cluster=stores["store_cluster"].to_numpy(dtype=object)[order],
        planogram=planogram[order],
        skus=skus,
        names=inputs.products["name"].reindex(skus).to_numpy(dtype=object),
        width=width,
        units=matrix("units"),
        margin=matrix("margin"),
        low=matrix("low"),
        high=matrix("high"),
        today=today[order],
        space_today=space_today[order],
    )
    return data, _problem(data, frame, space, rules), skipped


def _capacities(
    spaces: pd.DataFrame | None, category: str, store_ids: pd.Series, space_today: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    if spaces is None:
        return space_today
    given = spaces[spaces["category"] == category].set_index("store_id")["capacity"]
    # A store without a line has no such shelf.
    return given.reindex(store_ids).fillna(0.0).to_numpy(dtype=float)


def _planograms(
    stores: pd.DataFrame, capacity: npt.NDArray[np.float64], rules: RangeRules
) -> tuple[npt.NDArray[np.int64], pd.DataFrame]:
    """Number of each store's planogram, and the planograms: store_cluster, tier, stores, capacity."""
    planogram = np.empty(len(stores), dtype=np.int64)
    lines: list[dict[str, Any]] = []
    names = stores["store_cluster"].to_numpy(dtype=object)
    for cluster in sorted(set(names)):
        members = np.flatnonzero(names == cluster)
        sizes = planogram_sizes(capacity[members], rules.max_tiers, rules.tier_spread)
        for size in range(int(sizes.max()) + 1):
            mine = members[sizes == size]
            planogram[mine] = len(lines)
            room = float(capacity[mine].mean())
            lines.append(
                {
                    "store_cluster": cluster,
                    "tier": TIER_NAMES[int(sizes.max()) + 1][size],
                    "stores": mine.size,
                    "capacity": max(1.0, np.floor(room + 0.5)) if rules.unit == "count" else room,
                }
            )
    return planogram, pd.DataFrame(lines)


def _problem(
    data: CategoryData, frame: pd.DataFrame, space: npt.NDArray[np.float64], rules: RangeRules
) -> RangeProblem:
    margin = np.zeros((len(frame), data.skus.size))
    # A pair without a forecast can't sell; if a whole planogram has none, the SKU is closed to it.
    np.add.at(margin, data.planogram, np.nan_to_num(data.margin))
    forecast = np.zeros(margin.shape, dtype=bool)
    np.logical_or.at(forecast, data.planogram, np.isfinite(data.margin))
    clusters = tuple(dict.fromkeys(frame["store_cluster"]))
    names = frame["store_cluster"].to_numpy(dtype=object)

    def marked(rule: str) -> npt.NDArray[np.bool_]:
        return np.array(
            [[sku in skus for sku in data.skus] for skus in (named[rule, name] for name in names)]
        )

    named = {
        (rule, name): skus_of(getattr(rules, rule), name)
        for rule in ("must_list", "must_not")
        for name in clusters
    }
    return RangeProblem(
        category=data.category,
        skus=data.skus,
        clusters=clusters,
        cluster=pd.Index(clusters).get_indexer(names).astype(np.int64),
        tiers=tuple(frame["tier"]),
        stores=frame["stores"].to_numpy(dtype=np.int64),
        capacity=frame["capacity"].to_numpy(dtype=float),
        space=space,
        margin=margin,
        core=np.isin(data.skus, sorted(all_skus(rules.core))),
        must=marked("must_list"),
        banned=marked("must_not") | (~forecast & ~marked("must_list")),
    )


def _lines(
    data: CategoryData,
    problem: RangeProblem,
    listed: npt.NDArray[np.bool_],
    rules: RangeRules,
    period: str,
) -> pd.DataFrame:
    """One row per cluster and SKU planned or listed today."""
    planned = listed[data.planogram]
    national = listed[problem.largest].all(axis=0)
    chain_units = np.nansum(data.units, axis=0)
    chain_share = chain_units / max(chain_units.sum(), 1e-12)
    parts = []
    for number, cluster in enumerate(problem.clusters):
        here = data.store_cluster == cluster
        mine = np.flatnonzero(problem.cluster == number)
        sizes = listed[mine].sum(axis=0)
        counted = np.where(sizes[None, :] > 0, planned[here], data.today[here])
        worth = problem.margin[mine].sum(axis=0) / problem.space
        rank = np.empty(worth.size, dtype=np.int64)
        rank[np.argsort(-worth, kind="stable")] = np.arange(1, worth.size + 1)
        units_here = np.nansum(data.units[here], axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            lift = units_here / max(units_here.sum(), 1e-12) / chain_share
        tiers = np.array([problem.tiers[i] for i in mine], dtype=object)
        stores_planned, stores_today = planned[here].sum(axis=0), data.today[here].sum(axis=0)
        status = np.where(sizes == 0, "delist", np.where(2 * stores_today >= stores_planned, "keep", "list"))
        frame = pd.DataFrame(
            {
                "store_cluster": cluster,
                "category": data.category,
                "tier": np.where(
                    sizes == 0,
                    "none",
                    np.where(sizes == mine.size, "all", tiers[np.maximum(mine.size - sizes, 0) % mine.size]),
                ),
                "sku": data.skus.astype(object),
                "name": data.names,
                "scope": np.where(national, "national", "local"),
                "status": status,
                "stores": int(here.sum()),
                "stores_planned": stores_planned,
                "stores_today": stores_today,
                "width_cm": data.width,
                "lift": lift,
                "rank": rank,
            }
        )
        for column in ("units", "margin", "low", "high"):
            frame[column] = _sum_over(getattr(data, column)[here], counted)
        frame["reason"] = line_reasons(frame, problem, number, listed, rules, period)
        parts.append(frame[(sizes > 0) | (stores_today > 0)])
    table = pd.concat(parts, ignore_index=True)
    table["_order"] = table["status"].eq("delist")
    table = table.sort_values(["store_cluster", "_order", "rank", "sku"], kind="stable", ignore_index=True)
    return table[LINE_COLUMNS]


def _sum_over(values: npt.NDArray[np.float64], counted: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Sum over stores where counted; NaN where no counted store has a value."""
    known = counted & np.isfinite(values)
    return np.where(known.any(axis=0), np.where(known, values, 0.0).sum(axis=0), np.nan)


def _changes(
    data: CategoryData, problem: RangeProblem, listed: npt.NDArray[np.bool_], lines: pd.DataFrame
) -> pd.DataFrame:
    planned = listed[data.planogram]
    store, sku = np.nonzero(planned | data.today)
    action = np.where(planned & data.today, "keep", np.where(planned, "list", "delist"))[store, sku]
    frame = pd.DataFrame(
        {
            "store_id": data.store_ids[store],
            "store_cluster": data.store_cluster[store],
            "category": data.category,
            "tier": np.array(problem.tiers, dtype=object)[data.planogram[store]],
            "sku": data.skus.astype(object)[sku],
            "action": action,
            "units": data.units[store, sku],
            "margin": data.margin[store, sku],
        }
    )
    frame["reason"] = change_reasons(frame, lines)
    return frame[CHANGE_COLUMNS].sort_values(["store_id", "sku"], kind="stable", ignore_index=True)


def _spaces(
    data: CategoryData, problem: RangeProblem, listed: npt.NDArray[np.bool_], rules: RangeRules
) -> pd.DataFrame:
    margin_today = np.where(data.today, np.nan_to_num(data.margin), 0.0).sum(axis=1)
    by_planogram = pd.DataFrame(
        {"planogram": data.planogram, "space": data.space_today, "margin": margin_today}
    ).groupby("planogram")
    return pd.DataFrame(
        {
            "store_cluster": [problem.clusters[i] for i in problem.cluster],
            "category": data.category,
            "tier": problem.tiers,
            "stores": problem.stores,
            "capacity": problem.capacity,
            "used": listed @ problem.space,
            "unit": rules.unit,
            "today_low": by_planogram["space"].min().to_numpy(),
            "today_high": by_planogram["space"].max().to_numpy(),
            "margin_today": by_planogram["margin"].sum().to_numpy(),
            "margin": (problem.margin * listed).sum(axis=1),
        }
    )


def _require(table: str, frame: pd.DataFrame, columns: list[str], key: list[str]) -> None:
    missing = [column for column in columns if column not in frame]
    if missing:
        raise TableError(
            f"{table}: no column {', '.join(missing)}. Its columns are {', '.join(map(str, frame.columns))}."
        )
    if key and frame.duplicated(key).any():
        twice = frame.loc[frame.duplicated(key), key].head(3).to_numpy().tolist()
        raise TableError(
            f"{table}: {int(frame.duplicated(key).sum())} of {len(frame):,} rows repeat a {' and '.join(key)} "
            f"({twice}). Give one row each."
        )
    for column in columns:
        if (
            pd.api.types.is_numeric_dtype(frame[column])
            and np.isinf(frame[column].to_numpy(dtype=float)).any()
        ):
            raise TableError(
                f"{table}: column {column} holds infinite values. Replace them by NaN or a number."
            )


def _unknown(table: str, column: str, values: pd.Series, where: str) -> None:
    if len(values):
        raise TableError(
            f"{table}: {values.nunique()} values of {column} are not in {where} ({_few(values)}). "
            "Add them there, or take them out here."
        )


def _few(values: pd.Series) -> str:
    shown = ", ".join(map(str, sorted(values.astype(str).unique())[:3]))
    return shown + (", …" if values.nunique() > 3 else "")
