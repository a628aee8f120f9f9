"""One whole run: every stage in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import pandas as pd
from threadpoolctl import threadpool_limits

from geomarket.customers import Penetration
from geomarket.demand import with_transfer
from geomarket.errors import InfeasibleError, NotSupportedError, SolverError
from geomarket.frontier import fold_sales
from geomarket.frontier.folds import FOLDS
from geomarket.market import Market, PlanSettings, read_cluster_files, read_neighbourhood_files
from geomarket.planning import clusters as store_groups
from geomarket.planning import steps
from geomarket.planning.aside import SetAside
from geomarket.planning.backends import close_workers
from geomarket.planning.catchment_details import describe_catchments
from geomarket.planning.classification import find_neighbourhoods
from geomarket.planning.fairness import check_variables, try_fairness
from geomarket.planning.jobs import JobOptions
from geomarket.planning.keeping import Keeper
from geomarket.planning.measurement import try_test
from geomarket.planning.new_lines import add_new_skus, mark_new_skus
from geomarket.planning.offers import find_promotions
from geomarket.planning.overrides import with_outcome
from geomarket.planning.people import try_people
from geomarket.planning.plan import Plan
from geomarket.planning.range_jobs import RangeJobs
from geomarket.planning.ranging import RangeBrief, find_overrides, find_ranges
from geomarket.planning.record import manifest_of, store_table
from geomarket.planning.rehearsal import Rehearsal, rehearse
from geomarket.planning.relationship import money_at_stake
from geomarket.planning.targeting import try_targeting
from geomarket.planning.trade import current_trade, trade_in
from geomarket.planning.transfer import find_transference
from geomarket.planning.vintages import compare_with_earlier
from geomarket.planning.whatifs import find_what_ifs
from geomarket.promotions import PromotionPlan, PromotionResponse
from geomarket.safeguards.published import publishable_findings

__all__ = ["STAGES", "run_plan"]

STAGES = (
    "Hexagons",
    "Neighbourhoods",
    "Customers",
    "Catchments",
    "Store clusters",
    "How local to go",
    "Demand",
    "Ranges",
    "Rehearsal",
    "Promotions",
    "Targeting",
    "Fairness",
    "Measurement",
    "Customer value",
)

NO_SUBSTITUTION = (
    "Ranges are planned as if no buyer of an absent SKU took another: listings gain rather less."
)


def run_plan(
    market: Market,
    settings: PlanSettings | None = None,
    on_stage: Callable[[str], None] | None = None,
    *,
    keeper: Keeper | None = None,
    jobs: JobOptions | None = None,
) -> Plan:
    """Run every stage of a plan.

    Parameters
    ----------
    market : Market
        From :func:`geomarket.load_market`, :func:`geomarket.load_iowa` or :func:`geomarket.simulate_market`.
    settings : PlanSettings, optional
        From :func:`geomarket.read_settings`; the defaults where not given.
    on_stage : callable, optional
        Called with each stage's name as it begins.
    keeper : Keeper, optional
        Keeps finished steps and finds those of an earlier run; every step is done where not given.
    jobs : JobOptions, optional
        Workers for the categories of the ranges; one after the other where not given.

    Returns
    -------
    Plan
        Optional stages that the market has no data for are None and named in ``skipped``.

    Raises
    ------
    GeomarketError
        If a stage that everything rests on can't be done; the message says why and what to do.

    Examples
    --------
    >>> import geomarket
    >>> market = geomarket.simulate_market(n_customers=2_000, n_stores=12, n_skus=80, weeks=40)
    >>> plan = geomarket.run_plan(market)  # doctest: +SKIP
    >>> print(plan)  # doctest: +SKIP
    """
    run = _Run(
        market,
        settings if settings is not None else PlanSettings(),
        steps.Stopwatch(on_stage or (lambda stage: None)),
        keeper or Keeper(),
        jobs,
    )
    # Sums depend on how many threads share them, and plans on sums: the same bytes whatever the machine is set to.
    with threadpool_limits(limits=1):
        run.find_places()
        run.find_people()
        run.find_catchments()
        run.group_stores()
        run.forecast()
        run.choose_ranges()
        run.plan_offers()
        run.prove()
        return run.finished()


class _Run:
    """A run on its way: what each stage found, for the stages after it."""

    def __init__(
        self,
        market: Market,
        settings: PlanSettings,
        watch: steps.Stopwatch,
        keeper: Keeper,
        jobs: JobOptions | None,
    ) -> None:
        self.files, self.cluster_files = read_neighbourhood_files(settings), read_cluster_files(settings)
        if hashes := {**self.files.hashes, **self.cluster_files.hashes}:
            market = dataclasses.replace(market, inputs=dict(sorted({**market.inputs, **hashes}.items())))
        self.market, self.settings, self.watch, self.keeper = market, settings, watch, keeper
        self.jobs, self.range_jobs = jobs, RangeJobs(keeper, jobs)
        self.skipped: dict[str, str] = {}
        self.notes: list[str] = list(market.notes)

    def find_places(self) -> None:
        """Bring the areas onto hexagons, and the hexagons into types."""
        market, settings = self.market, self.settings
        with self.watch.stage("Hexagons"):
            self.hexes = self.keeper.do(
                "Hexagons",
                lambda: steps.find_hexes(market, settings),
                on=(market.areas, market.points, settings.hexes),
            )
            check_variables(self.hexes, settings)
        with self.watch.stage("Neighbourhoods"):
            self.neighbourhoods = self.keeper.do(
                "Neighbourhoods",
                lambda: find_neighbourhoods(self.hexes, settings, self.files),
                on=(self.hexes, self.files, settings.neighbourhoods, settings.plan),
            )
            earlier = self.files.earlier
            self.vintages = (
                None if earlier is None else compare_with_earlier(earlier, self.hexes, self.neighbourhoods)
            )

    def find_people(self) -> None:
        """Place and count the customers, and find where they shop."""
        market, settings = self.market, self.settings
        self.customers: Penetration | None = None
        self.flows: pd.DataFrame | None = None
        with self.watch.stage("Customers"):
            if market.customers is None:
                self.skipped["customers"] = "no table of customers was given"
                return
            counted, self.flows = self.keeper.do(
                "Customers",
                lambda: steps.find_customers(market, self.hexes, self.neighbourhoods, settings),
                on=(
                    *(market.customers, market.baskets, market.products),
                    *(self.hexes, self.neighbourhoods, settings.customers),
                ),
            )
            self.customers = counted.suppressed(settings.privacy.k)

    def find_catchments(self) -> None:
        """Work out who shops where, and what a planner asks of it."""
        market, settings = self.market, self.settings
        with self.watch.stage("Catchments"):
            self.catchments = self.keeper.do(
                "Catchments",
                lambda: steps.find_catchments(market, self.hexes, self.neighbourhoods, self.flows, settings),
                on=(
                    *(market.stores, market.competitors, market.store_totals, market.travel, market.sales),
                    *(self.hexes, self.neighbourhoods, self.flows, settings.catchments, settings.plan),
                ),
            )
            self.details = describe_catchments(
                self.catchments, market, self.hexes, self.neighbourhoods, self.flows, settings
            )
            self.whatifs = find_what_ifs(self.catchments, market, settings)

    def group_stores(self) -> None:
        """Group the stores that are alike, as far as groups are worth having."""
        market, settings = self.market, self.settings
        with self.watch.stage("Store clusters"):
            space = settings.assortment.space
            trade = current_trade(market, ("price", "cost", *([] if space == "count" else [space])))
            if settings.store_clusters.scope == "categories":
                trade = trade_in(trade, settings.assortment.categories)
            self.trade = trade
            self.features = store_groups.describe_stores(
                trade, self.hexes, self.catchments, self.neighbourhoods, settings
            )
            tried = store_groups.try_clusterings(self.features, settings)
            offered = store_groups.offered_clusterings(tried, self.features, self.cluster_files, settings)
            self.families = families = steps.demand_families(market, trade, self.features, settings)
        with self.watch.stage("How local to go"):
            self.discount, self.why_no_discount = self.keeper.do(
                "New-listing discount",
                lambda: steps.learn_new_listing_discount(trade, families, settings),
                on=(trade, families, settings.demand, settings.plan),
            )
            discount = self.discount
            folds = self.keeper.do(
                "Sales by fold", lambda: fold_sales(trade.sales, market.period), on=(trade, market.period)
            )
            # One by one to disk: the rehearsal needs them again much later, and a large chain's take gigabytes.
            fits = SetAside(
                (
                    self.keeper.do(
                        f"Demand in fold {number + 1}",
                        partial(steps.find_fold_demand, folds, number, trade, families, discount, settings),
                        on=(trade, families, discount, market.period, settings.plan, number),
                    )
                    for number in range(len(FOLDS))
                ),
                settings.spill_folder,
            )
            self.frontier = self.keeper.do(
                "How local to go",
                lambda: steps.find_frontier(market, trade, offered, folds, fits, discount, settings),
                on=(
                    *(trade, offered, families, discount, market.period, market.currency),
                    *(settings.plan, settings.frontier, settings.store_clusters, settings.assortment),
                ),
            )
            self.folds = fits
            closed = set(market.stores["store_id"]) - set(trade.stores["store_id"])
            settled = store_groups.settle_clusters(
                self.frontier, tried, self.features, self.cluster_files, settings, closed
            )
            self.clusters, self.cluster_moves = settled.clustering, settled.moves
            self.notes += settled.notes

    def forecast(self) -> None:
        """Forecast what each store would sell of each SKU, new ones among them."""
        settings = self.settings
        with self.watch.stage("Demand"):
            known = self.keeper.do(
                "Demand",
                lambda: steps.find_demand(self.trade, self.families, self.discount, settings),
                on=(self.trade, self.families, self.discount, settings.demand, settings.plan),
            )
            self.demand, self.trade, of_new = add_new_skus(
                self.market, self.trade, known, self.families, self.discount, settings
            )
            self.notes += [*of_new, *([line] if (line := self.demand.against_baselines()) else [])]

    def choose_ranges(self) -> None:
        """Choose the ranges, and rehearse them on periods they were not planned on."""
        with self.watch.stage("Ranges"):
            transference = find_transference(self.market, self.trade, self.demand, self.settings)
            if transference is not None:
                transferred = with_transfer(self.demand, self.trade.products, transference)
                self.demand = dataclasses.replace(self.demand, table=transferred)
            overrides = find_overrides(self.settings, self.clusters.labels, self.trade)
            stakes, said = money_at_stake(self.market, self.settings)
            brief = RangeBrief(
                *(self.market, self.trade, self.settings, self.clusters.labels),
                *(transference, overrides, stakes),
            )
            self.notes += said
            found = find_ranges(self.demand.table, brief, self.range_jobs)
            self.ranges = mark_new_skus(found, self.demand)
            self.notes += transference.summary() if transference is not None else [NO_SUBSTITUTION]
            self.overrides: pd.DataFrame | None = None
            if overrides is not None:
                inputs = {**self.market.inputs, **overrides.sources}
                self.market = dataclasses.replace(self.market, inputs=inputs)
                self.notes += overrides.summary()
                self.overrides = with_outcome(overrides, self.ranges).table
        with self.watch.stage("Rehearsal"):
            self.rehearsal: Rehearsal | None = None
            try:
                self.rehearsal = rehearse(self.folds, brief, self.discount, RangeJobs(options=self.jobs))
            except (InfeasibleError, NotSupportedError, SolverError) as reason:
                self.skipped["rehearsal"] = str(reason)
            del self.folds
        close_workers()

    def plan_offers(self) -> None:
        """Plan the promotions that pay, where to send them, and look at who is left out."""
        market, settings = self.market, self.settings
        self.response: PromotionResponse | None = None
        self.promotions: PromotionPlan | None = None
        with self.watch.stage("Promotions"):
            self._plan_promotions()
        with self.watch.stage("Targeting"):
            self.targeting = try_targeting(
                *(market, self.trade, self.hexes, self.neighbourhoods, self.catchments, self.clusters),
                *(self.response, self.promotions, settings, self.skipped),
            )
        with self.watch.stage("Fairness"):
            self.fairness = try_fairness(
                *(market, self.hexes, self.catchments, self.clusters, self.demand, self.ranges),
                *(self.promotions, self.targeting, settings, self.skipped),
            )
            self.notes += self.fairness.warnings if self.fairness is not None else ()

    def _plan_promotions(self) -> None:
        market, settings = self.market, self.settings
        if not settings.promotions.enabled:
            self.skipped["promotions"] = "switched off in the settings"
            return
        if market.promotions is None or market.promotions.empty:
            self.skipped["promotions"] = "no history of promotions was given"
            return
        profile = None if self.catchments is None else self.catchments.profile
        try:
            self.response, self.promotions = self.keeper.do(
                "Promotions",
                lambda: find_promotions(
                    *(market, self.trade, self.demand, self.ranges, self.clusters, settings),
                    *(profile, self.neighbourhoods),
                ),
                on=(
                    *(market.promotions, market.period, self.trade, self.demand),
                    *(self.ranges.table, self.ranges.changes, self.clusters),
                    *(settings.promotions, settings.plan, settings.privacy),
                    *(profile, self.neighbourhoods.table, market.contacts),
                ),
            )
        except (InfeasibleError, NotSupportedError) as reason:
            self.skipped["promotions"] = str(reason)

    def prove(self) -> None:
        """Design the test of the plan, and say what the customers are worth."""
        with self.watch.stage("Measurement"):
            self.experiment = try_test(
                *(self.market, self.trade, self.ranges, self.rehearsal, self.promotions, self.catchments),
                *(self.features, self.hexes.resolution, self.settings, self.skipped),
            )
        with self.watch.stage("Customer value"):
            self.people = try_people(
                *(self.market, self.hexes, self.neighbourhoods, self.customers, self.catchments),
                *(self.ranges, self.settings, self.skipped),
            )
            for found in (self.customers, self.people):
                self.notes += found.notes if found is not None else ()

    def finished(self) -> Plan:
        """Put everything together, with nothing in it that others may not read."""
        settings = self.settings
        quality, quarantine = publishable_findings(
            self.market.quality, self.market.quarantine, settings.privacy.k
        )
        market = dataclasses.replace(self.market, quality=quality, quarantine=quarantine)
        failures = tuple(self.range_jobs.failures)
        self.notes += [f"NOT PLANNED: {failure.name}. {failure.message}" for failure in failures]
        self.notes += [*self.hexes.notes, *self.neighbourhoods.notes, *self.trade.notes]
        self.notes += [self.why_no_discount] if self.why_no_discount else []
        plan = Plan(
            market=market,
            settings=settings,
            hexes=self.hexes,
            neighbourhoods=self.neighbourhoods,
            catchments=self.catchments,
            customers=self.customers,
            store_clusters=self.clusters,
            demand=self.demand,
            ranges=self.ranges,
            response=self.response,
            promotions=self.promotions,
            frontier=self.frontier,
            cluster_moves=self.cluster_moves,
            stores=store_table(
                *(self.trade, self.hexes, self.neighbourhoods, self.catchments),
                *(self.clusters.table, self.ranges.changes, market),
            ),
            skipped=self.skipped,
            warnings=tuple(dict.fromkeys(self.notes)),
            timings=self.watch.table(),
            failures=failures,
            rehearsal=self.rehearsal,
            overrides=self.overrides,
            catchment_details=self.details,
            whatifs=self.whatifs,
            targeting=self.targeting,
            fairness=self.fairness,
            experiment=self.experiment,
            people=self.people,
            vintages=self.vintages,
        )
        return dataclasses.replace(plan, manifest=manifest_of(plan, self.trade))
