"""The Plan: every stage's result of one run, in one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from geomarket.results import Result

if TYPE_CHECKING:
    import folium

    from geomarket.assortment import RangePlan
    from geomarket.catchments import Catchments
    from geomarket.customers import Penetration
    from geomarket.demand import Demand
    from geomarket.frontier import Frontier
    from geomarket.hexes import Hexes
    from geomarket.market import Market, PlanSettings
    from geomarket.neighbourhoods import Neighbourhoods, VintageComparison
    from geomarket.planning.catchment_details import CatchmentDetails
    from geomarket.planning.fairness import Fairness
    from geomarket.planning.jobs import Failure
    from geomarket.planning.measurement import PlannedTest
    from geomarket.planning.people import People
    from geomarket.planning.rehearsal import Rehearsal
    from geomarket.planning.targeting import Targeting
    from geomarket.planning.whatifs import WhatIfs
    from geomarket.promotions import PromotionPlan, PromotionResponse
    from geomarket.store_clusters import ClusterMoves, StoreClustering

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan(Result):
    """One finished plan: what report, workbook and tables are written from.

    A stage that was skipped is None; ``skipped`` says why, in words. ``customers`` is already suppressed:
    no count of customers below the privacy threshold is in it.

    Attributes
    ----------
    market, settings
        What went in.
    hexes, neighbourhoods, catchments, customers, store_clusters, demand, ranges, response, promotions, frontier
        The stages' results.
    stores : DataFrame
        One row per own store: its cell, cluster, neighbourhood, yearly revenue, catchment demand, changes.
    skipped : dict
        Stage -> reason.
    warnings : tuple of str
        What a reader of the plan must know, in order of the stages.
    manifest : dict
        Inputs' hashes, resolved settings, versions, seed, row counts.
    catchment_details
        Reach, overlap, twins, voids and whitespace of the catchments.
    whatifs
        Stores that might open, close or change, and candidate sites; None where none were asked for.
    targeting
        Hexagons for door drops and customers for letters and messages.
    fairness
        What deprived and well-off areas are offered.
    cluster_moves
        Stores that changed cluster against a frozen clustering; None where none was given.
    rehearsal
        What the ranges bring on periods they were not planned on, against today's; None where it could not be told.
    people
        What customers are worth, whom to talk to, where more of them live: groups only; None where it was skipped.
    experiment
        The test of the plan: which stores change first, which wait, what can be seen; None where it was skipped.
    overrides : DataFrame or None
        A planner's decisions about an earlier plan and what became of them.
    vintages
        What the neighbourhood types of an earlier plan became; None where none was named.
    failures : tuple of Failure
        Jobs (categories of the ranges) that failed, each with its name, kind and message.
    timings : DataFrame
        stage, seconds, peak_mb; never part of what must be identical from run to run.
    """

    market: Market
    settings: PlanSettings
    hexes: Hexes
    neighbourhoods: Neighbourhoods
    catchments: Catchments | None
    customers: Penetration | None
    store_clusters: StoreClustering
    demand: Demand
    ranges: RangePlan
    response: PromotionResponse | None
    promotions: PromotionPlan | None
    frontier: Frontier
    stores: pd.DataFrame
    skipped: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    manifest: dict[str, Any] = field(default_factory=dict)
    timings: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["stage", "seconds", "peak_mb"])
    )
    catchment_details: CatchmentDetails | None = None
    whatifs: WhatIfs | None = None
    targeting: Targeting | None = None
    fairness: Fairness | None = None
    cluster_moves: ClusterMoves | None = None
    failures: tuple[Failure, ...] = ()
    rehearsal: Rehearsal | None = None
    experiment: PlannedTest | None = None
    people: People | None = None
    overrides: pd.DataFrame | None = None
    vintages: VintageComparison | None = None

    def plot(self, ax: Any = None) -> Any:
        """Draw how local to go: the gain against the number of store clusters; return the axes.

        Every figure of the report is drawn by :func:`geomarket.report.write_figures`.
        """
        return self.frontier.plot(ax)

    def explore(self, column: str | None = None, **options: Any) -> folium.Map:
        """Show the market with its own stores on a map that can be panned and zoomed.

        Parameters
        ----------
        column : str or None
            None: neighbourhood types. ``own_share``, ``market`` or ``whitespace`` of the catchments, ``penetration`` of
            the customers, ``score`` of the prospects, ``drops`` and ``reason`` of the door drops, or a census variable.
        **options
            Passed to :func:`geomarket.explore_cells`: ``tooltip``, ``tiles``, ``palette``.

        Returns
        -------
        folium.Map
        """
        options = {"stores": self.market.stores.dropna(subset=["lon", "lat"]), **options}
        if column is None:
            return self.neighbourhoods.explore(**options)
        if self.catchments is not None and column in ("own_share", "market", "whitespace"):
            return self.catchments.explore(column, **options)
        if self.customers is not None and column == "penetration":
            # counts below the threshold are gone from a plan's customers already
            return self.customers.explore(column, k=None, **options)
        if self.people is not None and column == "score" and len(self.people.prospects):
            from geomarket.hexmap import explore_cells

            return explore_cells(self.people.prospects, column, **{"label": "Prospect score", **options})
        if self.targeting is not None and column in ("drops", "reason"):
            return self.targeting.doors.explore(column, **options)
        return self.hexes.explore(column, **options)

    @property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """The changes by store: what the plan asks to be done."""
        return self.ranges.changes

    def summary(self) -> list[str]:
        """Return the verdict, then each stage's first sentence."""
        stages = (
            self.frontier,
            self.neighbourhoods,
            self.customers,
            self.people,
            self.catchments,
            self.store_clusters,
            self.demand,
            self.rehearsal,
            self.ranges,
            self.promotions,
            self.experiment,
        )
        lines = [stage.summary()[0] for stage in stages if stage is not None]
        lines += [f"FAILED: {failure.name} ({failure.message})" for failure in self.failures]
        lines += [f"Skipped: {stage} ({reason})" for stage, reason in self.skipped.items()]
        return lines
