"""The range stage of a plan: settings become rules, forecasts become ranges, and a rehearsal judges them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from geomarket.assortment import RangeLimit, RangePlan, RangeRules, SolverOptions, plan_ranges
from geomarket.assortment.pairs import Pairs
from geomarket.demand import Transference
from geomarket.errors import InfeasibleError, SettingsError, SolverError, TableError
from geomarket.market import Market, PlanSettings
from geomarket.planning.overrides import MatchedOverrides, read_overrides
from geomarket.planning.range_jobs import RangeJobs
from geomarket.planning.trade import Trade
from geomarket.planning.transfer import choices_and_substitutes

__all__ = ["RangeBrief", "credit_proven", "find_overrides", "find_ranges", "ready_forecasts"]


@dataclass(frozen=True)
class RangeBrief:
    """What a range plan rests on besides forecasts: the same for the plan and for its rehearsal.

    Attributes
    ----------
    market, trade, settings
        As of the run.
    clusters : Series
        store_cluster by store_id.
    transference : Transference or None
    overrides : MatchedOverrides or None
        A planner's decisions on these store clusters.
    stakes : DataFrame or None
        Of :func:`geomarket.planning.relationship.money_at_stake`.
    """

    market: Market
    trade: Trade
    settings: PlanSettings
    clusters: pd.Series
    transference: Transference | None = None
    overrides: MatchedOverrides | None = None
    stakes: pd.DataFrame | None = None


def find_overrides(settings: PlanSettings, clusters: pd.Series, trade: Trade) -> MatchedOverrides | None:
    """Read a planner's decisions about an earlier plan, and find their store clusters again.

    Raises
    ------
    SettingsError
        If a decision forbids a SKU that the settings demand, or demands one they forbid.
    """
    chosen = settings.assortment
    if chosen.overrides is None:
        return None
    path = Path(chosen.overrides)
    decided = read_overrides(path if path.is_absolute() else settings.folder / path)
    matched = decided.match(clusters, set(trade.products["sku"]))
    table = matched.table[matched.table["applied"]]
    for rule, other, names in (
        ("must_not", {*chosen.must_list, *chosen.core}, "must_list or core demands"),
        ("must_list", {*chosen.must_not_list}, "must_not_list forbids"),
    ):
        clash = sorted(set(table.loc[table["rule"] == rule, "sku"]) & other)
        if clash:
            raise SettingsError(
                f"[assortment] {names} SKU {', '.join(clash[:5])}, and {path.name} decides the opposite. "
                "Take it out of one of them."
            )
    return matched


def range_rules(brief: RangeBrief) -> RangeRules:
    """Write the settings as rules: money per period instead of a year."""
    chosen, year = brief.settings.assortment, brief.market.periods_per_year
    overrides = brief.overrides
    return RangeRules(
        unit=chosen.space,
        max_tiers=chosen.planogram_sizes,
        core=chosen.core,
        core_share=chosen.core_share,
        core_in=chosen.core_in,
        must_list=_by_cluster(chosen.must_list, brief, overrides.rule("must_list") if overrides else {}),
        must_not=_by_cluster(chosen.must_not_list, brief, overrides.rule("must_not") if overrides else {}),
        min_stores=chosen.min_stores,
        listing_cost=chosen.cost_per_sku / year,
        sku_cost=chosen.cost_per_chain_sku / year,
        max_distinct=chosen.max_distinct,
        dc_cost=chosen.cost_per_centre_sku / year,
        range_cost=chosen.cost_per_range / year,
        change_cost=chosen.cost_per_change / year,
        max_changes=chosen.max_changes,
        phase_share=chosen.phase_share,
        wait_for_proof=chosen.wait_for_proof,
        max_facings=chosen.max_facings,
        facing_returns=chosen.facing_returns,
        limits=tuple(_limit(limit) for limit in chosen.limits),
        order_periods=chosen.order_periods,
        case_periods=chosen.case_periods,
    )


def _limit(asked: object) -> RangeLimit:
    given = {name: getattr(asked, name) for name in ("column", "value", "least", "most", "store_cluster")}
    return RangeLimit(**{name: value for name, value in given.items() if value is not None})


def _by_cluster(
    everywhere: tuple[str, ...], brief: RangeBrief, decided: dict[str, tuple[str, ...]]
) -> tuple[str, ...] | dict[str, tuple[str, ...]]:
    if not decided:
        return everywhere
    codes = sorted(brief.clusters.unique())
    return {code: tuple(sorted({*everywhere, *decided.get(code, ())})) for code in codes}


def ready_forecasts(table: pd.DataFrame, brief: RangeBrief) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Turn forecasts into what a range plan is made from, or judged by: first choices, and credit where it is due.

    Parameters
    ----------
    table : DataFrame
        ``Demand.table``.
    brief : RangeBrief
        Categories, substitution, clusters, today's range.

    Returns
    -------
    demand : DataFrame
        First-choice demand of every pair.
    substitutes : DataFrame or None
        Where buyers of an absent SKU go.
    """
    chosen, trade = brief.settings.assortment, brief.trade
    if chosen.categories:
        unknown = sorted(set(chosen.categories) - set(trade.products["category"]))
        if unknown:
            raise SettingsError(
                f"[assortment] categories names {', '.join(unknown)}, which no product has; "
                f"products have {', '.join(sorted(trade.products['category'].unique()))}."
            )
        table = table[table["category"].isin(chosen.categories)]
    substitutes = None
    if brief.transference is not None:
        table, substitutes = choices_and_substitutes(table, trade.today, trade.products, brief.transference)
    return credit_proven(table, trade.today, brief.clusters, chosen.min_proven_share), substitutes


def find_ranges(
    table: pd.DataFrame, brief: RangeBrief, run: RangeJobs | None = None, *, rehearsed: bool = False
) -> RangePlan:
    """Choose the range of every store cluster, all clusters of a category together.

    Parameters
    ----------
    table : DataFrame
        ``Demand.table``.
    brief : RangeBrief
        Rules, clusters, today's range.
    run : RangeJobs, optional
        Does the categories.
    rehearsed : bool
        Demands on SKUs without a forecast in ``table`` are left out instead of refused: in a part of the periods not
        every SKU trades.
    """
    chosen, trade = brief.settings.assortment, brief.trade
    demand, substitutes = ready_forecasts(table, brief)
    rules = range_rules(brief)
    if rehearsed:
        rules = _of_known(rules, set(demand["sku"]))
    codes = brief.clusters.rename("store_cluster").rename_axis("store_id").reset_index()
    try:
        plan = plan_ranges(
            demand,
            _planning_columns(trade.products, rules),
            codes,
            rules,
            today=trade.today.merge(demand[["store_id", "sku"]], on=["store_id", "sku"]),
            spaces=_asked_spaces(trade, demand, brief.settings),
            substitutes=substitutes,
            centres=_centres(brief),
            stakes=brief.stakes,
            solver=SolverOptions(gap=chosen.gap, time_limit=chosen.time_limit),
            period=brief.market.period,
            currency=brief.market.currency,
            run=run,
        )
    except SolverError as error:
        if run is None or not run.failures:
            raise
        # No category at all could be planned: say why, not only that.
        few = " ".join(failure.message for failure in run.failures[:3])
        raise InfeasibleError(f"No category could be planned. {few}") from error
    return plan if brief.overrides is None else _with_decisions(plan, brief.overrides.table)


def _of_known(rules: RangeRules, forecast: set[str]) -> RangeRules:
    def known(skus: object) -> object:
        if isinstance(skus, dict):
            return {code: tuple(s for s in some if s in forecast) for code, some in skus.items()}
        return tuple(s for s in skus if s in forecast)  # type: ignore[attr-defined]

    lists = {name: known(getattr(rules, name)) for name in ("core", "must_list", "must_not")}
    return dataclasses.replace(rules, **lists)  # type: ignore[arg-type]


def _planning_columns(products: pd.DataFrame, rules: RangeRules) -> pd.DataFrame:
    """Return products with a minimum order quantity that is a number, where one is asked for."""
    if rules.order_periods is None or "moq" not in products:
        return products
    number = pd.to_numeric(products["moq"], errors="coerce")
    bad = products.loc[number.isna() & products["moq"].notna() & (products["moq"].astype(str) != ""), "sku"]
    if len(bad):
        raise TableError(
            f"products: {len(bad)} of {len(products):,} rows have a moq that is no number "
            f"(SKU {', '.join(bad.head(3))}). Give units, or leave it empty."
        )
    return products.assign(moq=number)


def _centres(brief: RangeBrief) -> pd.DataFrame | None:
    chosen, stores = brief.settings.assortment, brief.trade.stores
    if not chosen.cost_per_centre_sku:
        return None
    column = chosen.centre_column
    if column not in stores:
        raise SettingsError(
            f"[assortment] cost_per_centre_sku needs to know which centre serves which store: stores has no column "
            f"'{column}'. Add it, or name the column in centre_column."
        )
    frame = stores[["store_id", column]].rename(columns={column: "centre"})
    return frame.dropna().astype("str").reset_index(drop=True)


def _with_decisions(plan: RangePlan, decided: pd.DataFrame) -> RangePlan:
    """Put the planner's reason before the model's, on the cluster's line and on each store's change."""
    mine = decided[decided["applied"]]
    words = {
        (code, sku): f"planner's decision: {reason}" if reason else "planner's decision, no reason given"
        for code, sku, reason in zip(mine["cluster_now"], mine["sku"], mine["reason"])
    }

    def annotated(frame: pd.DataFrame) -> pd.DataFrame:
        said = [
            f"{words[key]}; {reason}" if (key := (code, sku)) in words else reason
            for code, sku, reason in zip(frame["store_cluster"], frame["sku"], frame["reason"])
        ]
        return frame.assign(reason=said)

    return dataclasses.replace(plan, table=annotated(plan.table), changes=annotated(plan.changes))


def credit_proven(
    demand: pd.DataFrame, today: pd.DataFrame, clusters: pd.Series, min_share: float
) -> pd.DataFrame:
    """Give no credit for listing a SKU in a further store of a cluster where few stores list it today.

    Forecasts for a store that never had a SKU lean on the stores that have it. Where those are few, they were chosen
    for it (a distillery's home town, a barrel bought by one store) and say little about the rest. Units and margin of
    such pairs are set to 0: the optimiser may list them for its other stores' sake, not for a hope. SKUs that no store
    has sold, forecast from their attributes because the planner asked for them, keep their credit.

    Parameters
    ----------
    demand : DataFrame
        store_id, sku, units, margin, low.
    today : DataFrame
        store_id, sku on the shelf.
    clusters : Series
        store_cluster by store_id.
    min_share : float
        Share of a cluster's stores that must list the SKU today.

    Returns
    -------
    DataFrame
        ``demand`` on its own index.

    Examples
    --------
    >>> demand = pd.DataFrame({"store_id": ["1", "2", "3"], "sku": "a", "units": 5.0, "margin": 9.0, "low": 4.0})
    >>> today = pd.DataFrame({"store_id": ["1"], "sku": ["a"]})
    >>> clusters = pd.Series("C1", index=["1", "2", "3"])
    >>> credit_proven(demand, today, clusters, min_share=0.5)["margin"].tolist()
    [9.0, 0.0, 0.0]
    >>> credit_proven(demand, today, clusters, min_share=0.3)["margin"].tolist()
    [9.0, 9.0, 9.0]
    """
    pairs = Pairs(demand)
    sizes = clusters.value_counts().sort_index()
    cluster = sizes.index.get_indexer(pd.Index(pairs.stores.map(clusters)))[pairs.store]
    listing = np.zeros((len(sizes), len(pairs.skus)))
    code = sizes.index.get_indexer(pd.Index(today["store_id"].map(clusters)))
    sku = pairs.skus.get_indexer(pd.Index(today["sku"]))
    known = (code >= 0) & (sku >= 0)
    np.add.at(listing, (code[known], sku[known]), 1.0)
    size = np.where(cluster >= 0, sizes.to_numpy(dtype=float)[cluster], np.nan)
    share = np.where(cluster >= 0, listing[cluster, pairs.sku], 0.0) / size
    chain = np.bincount(sku[sku >= 0], minlength=len(pairs.skus))
    anywhere = chain[pairs.sku] / max(len(clusters), 1)
    share = np.where(size * min_share < 1, np.maximum(share, anywhere), share)
    on_shelf = pairs.among(today)
    hoped = (share < min_share) & ~on_shelf
    if "family" in demand:
        # Nobody lists a new SKU yet: the planner has asked for it all the same.
        hoped &= demand["family"] != "attributes"
    return demand.assign(**{name: demand[name].mask(hoped, 0.0) for name in ("units", "margin", "low")})


def _asked_spaces(trade: Trade, demand: pd.DataFrame, settings: PlanSettings) -> pd.DataFrame | None:
    """Return the space of every store and category where the settings fix it; None where it is as today."""
    chosen = settings.assortment
    if chosen.size == "today" and not chosen.size_by_category:
        return None
    today = trade.today.merge(trade.products[["sku", "category", "width_cm"]], on="sku")
    today["space"] = 1.0 if chosen.space == "count" else today["width_cm"].astype(float)
    spaces = today.groupby(["store_id", "category"], as_index=False).agg(capacity=("space", "sum"))
    if chosen.size != "today":
        spaces["capacity"] = float(chosen.size)
    asked = spaces["category"].map(chosen.size_by_category)
    spaces["capacity"] = asked.where(asked.notna(), spaces["capacity"])
    return spaces[spaces["category"].isin(demand["category"])]
