"""One whole run: every stage in order, and the manifest that says how the plan was made."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from geomarket.catchments import Catchments
from geomarket.demand import with_transfer
from geomarket.errors import InfeasibleError, NotSupportedError, SolverError
from geomarket.hexes import Hexes, points_to_cells
from geomarket.market import Market, PlanSettings, read_cluster_files, read_neighbourhood_files
from geomarket.neighbourhoods import Neighbourhoods
from geomarket.planning import clusters as store_groups
from geomarket.planning import steps
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
from geomarket.planning.rehearsal import rehearse
from geomarket.planning.targeting import try_targeting
from geomarket.planning.trade import Trade, current_trade
from geomarket.planning.transfer import find_transference
from geomarket.planning.vintages import compare_with_earlier
from geomarket.planning.whatifs import find_what_ifs
from geomarket.safeguards.published import publishable_findings
from geomarket.store_clusters import clustering_version

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

PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "geopandas",
    "shapely",
    "h3",
    "h3ronpy",
    "scikit-learn",
    "statsmodels",
    "duckdb",
    "ibis-framework",
    "highspy",
    "numba",
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
    settings = settings if settings is not None else PlanSettings()
    watch = steps.Stopwatch(on_stage or (lambda stage: None))
    keeper = keeper or Keeper()
    range_jobs = RangeJobs(keeper, jobs)
    skipped: dict[str, str] = {}
    notes: list[str] = list(market.notes)
    files, cluster_files = read_neighbourhood_files(settings), read_cluster_files(settings)
    if hashes := {**files.hashes, **cluster_files.hashes}:
        market = dataclasses.replace(market, inputs=dict(sorted({**market.inputs, **hashes}.items())))

    with watch.stage("Hexagons"):
        hexes = keeper.do(
            "Hexagons",
            lambda: steps.find_hexes(market, settings),
            on=(market.areas, market.points, settings.hexes),
        )
        check_variables(hexes, settings)
    with watch.stage("Neighbourhoods"):
        neighbourhoods = keeper.do(
            "Neighbourhoods",
            lambda: find_neighbourhoods(hexes, settings, files),
            on=(hexes, files, settings.neighbourhoods, settings.plan),
        )
    vintages = None
    if files.earlier is not None:
        vintages = compare_with_earlier(files.earlier, hexes, neighbourhoods)
    customers, flows = None, None
    with watch.stage("Customers"):
        if market.customers is None:
            skipped["customers"] = "no table of customers was given"
        else:
            customers, flows = keeper.do(
                "Customers",
                lambda: steps.find_customers(market, hexes, neighbourhoods, settings),
                on=(
                    market.customers,
                    market.baskets,
                    market.products,
                    hexes,
                    neighbourhoods,
                    settings.customers,
                ),
            )
            customers = customers.suppressed(settings.privacy.k)
    with watch.stage("Catchments"):
        catchments = keeper.do(
            "Catchments",
            lambda: steps.find_catchments(market, hexes, neighbourhoods, flows, settings),
            on=(
                *(market.stores, market.competitors, market.store_totals, market.travel, market.sales),
                *(hexes, neighbourhoods, flows, settings.catchments, settings.plan),
            ),
        )
        details = describe_catchments(catchments, market, hexes, neighbourhoods, flows, settings)
        whatifs = find_what_ifs(catchments, market, settings)
    with watch.stage("Store clusters"):
        trade = current_trade(market)
        features = store_groups.describe_stores(trade, hexes, catchments, neighbourhoods, settings)
        tried = store_groups.try_clusterings(features, settings)
        offered = store_groups.offered_clusterings(tried, features, cluster_files, settings)
        families = steps.demand_families(market, trade, features, settings)
    with watch.stage("How local to go"):
        discount, why_not = keeper.do(
            "New-listing discount",
            lambda: steps.learn_new_listing_discount(trade, families, settings),
            on=(trade, families, settings.demand, settings.plan),
        )
        folded = keeper.do(
            "Demand by fold",
            lambda: steps.find_folds(market, trade, families, discount, settings),
            on=(trade, families, discount, market.period, settings.plan),
        )
        frontier = keeper.do(
            "How local to go",
            lambda: steps.find_frontier(market, trade, offered, folded, discount, settings),
            on=(
                *(trade, offered, families, discount, market.period, market.currency),
                *(settings.plan, settings.frontier, settings.store_clusters, settings.assortment),
            ),
        )
        closed = set(market.stores["store_id"]) - set(trade.stores["store_id"])
        settled = store_groups.settle_clusters(frontier, tried, features, cluster_files, settings, closed)
        clusters = settled.clustering
        notes += settled.notes
    with watch.stage("Demand"):
        demand = keeper.do(
            "Demand",
            lambda: steps.find_demand(trade, families, discount, settings),
            on=(trade, families, discount, settings.demand, settings.plan),
        )
        demand, trade, of_new = add_new_skus(market, trade, demand, families, discount, settings)
        notes += [*of_new, *([line] if (line := demand.against_baselines()) else [])]
    with watch.stage("Ranges"):
        transference = find_transference(market, trade, demand, settings)
        if transference is not None:
            demand = dataclasses.replace(demand, table=with_transfer(demand, trade.products, transference))
        overrides = find_overrides(settings, clusters.labels, trade)
        brief = RangeBrief(market, trade, settings, clusters.labels, transference, overrides)
        ranges = mark_new_skus(find_ranges(demand.table, brief, range_jobs), demand)
        notes += transference.summary() if transference is not None else [NO_SUBSTITUTION]
        if overrides is not None:
            market = dataclasses.replace(market, inputs={**market.inputs, **overrides.sources})
            notes += overrides.summary()
    rehearsal = None
    with watch.stage("Rehearsal"):
        try:
            rehearsal = rehearse(folded[1], brief, discount, RangeJobs(options=jobs))
        except (InfeasibleError, NotSupportedError, SolverError) as reason:
            skipped["rehearsal"] = str(reason)
    response, promotions = None, None
    with watch.stage("Promotions"):
        if not settings.promotions.enabled:
            skipped["promotions"] = "switched off in the settings"
        elif market.promotions is None or market.promotions.empty:
            skipped["promotions"] = "no history of promotions was given"
        else:
            try:
                response, promotions = keeper.do(
                    "Promotions",
                    lambda: find_promotions(
                        *(market, trade, demand, ranges, clusters, settings),
                        None if catchments is None else catchments.profile,
                        neighbourhoods,
                    ),
                    on=(
                        *(market.promotions, market.period, trade, demand, ranges.table, ranges.changes),
                        *(clusters, settings.promotions, settings.plan, settings.privacy),
                        *(None if catchments is None else catchments.profile, neighbourhoods.table),
                        market.contacts,
                    ),
                )
            except NotSupportedError as reason:
                skipped["promotions"] = str(reason)
    with watch.stage("Targeting"):
        targeting = try_targeting(
            *(market, trade, hexes, neighbourhoods, catchments, clusters, response, promotions, settings),
            skipped,
        )
    with watch.stage("Fairness"):
        fairness = try_fairness(
            *(market, hexes, catchments, clusters, demand, ranges, promotions, targeting, settings),
            skipped,
        )
        notes += fairness.warnings if fairness is not None else ()
    with watch.stage("Measurement"):
        experiment = try_test(
            *(market, trade, ranges, rehearsal, promotions, catchments, features, hexes.resolution, settings),
            skipped,
        )
    with watch.stage("Customer value"):
        people = try_people(market, hexes, neighbourhoods, customers, catchments, ranges, settings, skipped)
        notes += [
            *(customers.notes if customers is not None else ()),
            *(people.notes if people is not None else ()),
        ]

    # from here on all is for others to read
    quality, quarantine = publishable_findings(market.quality, market.quarantine, settings.privacy.k)
    market = dataclasses.replace(market, quality=quality, quarantine=quarantine)
    notes += [f"NOT PLANNED: {failure.name}. {failure.message}" for failure in range_jobs.failures]
    notes += [*hexes.notes, *neighbourhoods.notes, *trade.notes, *([why_not] if why_not else [])]
    plan = Plan(
        market=market,
        settings=settings,
        hexes=hexes,
        neighbourhoods=neighbourhoods,
        catchments=catchments,
        customers=customers,
        store_clusters=clusters,
        demand=demand,
        ranges=ranges,
        response=response,
        promotions=promotions,
        frontier=frontier,
        cluster_moves=settled.moves,
        stores=_store_table(trade, hexes, neighbourhoods, catchments, clusters.table, ranges.changes, market),
        skipped=skipped,
        warnings=tuple(dict.fromkeys(notes)),
        timings=watch.table(),
        failures=tuple(range_jobs.failures),
        rehearsal=rehearsal,
        overrides=None if overrides is None else with_outcome(overrides, ranges).table,
        catchment_details=details,
        whatifs=whatifs,
        targeting=targeting,
        fairness=fairness,
        experiment=experiment,
        people=people,
        vintages=vintages,
    )
    return dataclasses.replace(plan, manifest=_manifest(plan, trade))


def _store_table(
    trade: Trade,
    hexes: Hexes,
    neighbourhoods: Neighbourhoods,
    catchments: Catchments,
    clusters: pd.DataFrame,
    changes: pd.DataFrame,
    market: Market,
) -> pd.DataFrame:
    """Return one row per planned store: place, cluster, yearly revenue, catchment, numbers of changes."""
    kept = ["store_id", "name", "lon", "lat", "chain", "format", "size_m2"]
    stores = trade.stores[kept].copy()
    stores["cell"] = points_to_cells(stores["lon"], stores["lat"], hexes.resolution)
    types = neighbourhoods.table.set_index("cell")["neighbourhood"]
    stores["neighbourhood"] = stores["cell"].map(types)
    named = clusters.rename(columns={"name": "cluster_name"})
    stores = stores.merge(named[["store_id", "store_cluster", "cluster_name", "medoid"]], on="store_id")
    years = len(trade.periods) / market.periods_per_year
    revenue = trade.pairs.groupby("store_id")["revenue"].sum() / years
    stores["revenue_year"] = stores["store_id"].map(revenue)
    own = catchments.table[catchments.table["own"]]
    stores["catchment_demand"] = stores["store_id"].map(own.groupby("store_id")["demand"].sum())
    counts = changes.pivot_table(index="store_id", columns="action", values="sku", aggfunc="count")
    for action in ("list", "delist", "keep"):
        column = counts[action] if action in counts else pd.Series(dtype=float)
        stores[f"n_{action}"] = stores["store_id"].map(column).fillna(0).astype(int)
    return stores.sort_values("store_id", ignore_index=True)


def _manifest(plan: Plan, trade: Trade) -> dict[str, Any]:
    market = plan.market
    rows = {
        name: len(frame)
        for name in (
            "stores",
            "competitors",
            "sites",
            "products",
            "store_totals",
            "customers",
            "promotions",
            "points",
            "travel",
        )
        if (frame := getattr(market, name)) is not None
    }
    rows["sales"] = int(market.sales.count().execute())
    if market.baskets is not None:
        rows["baskets"] = int(market.baskets.count().execute())
    return {
        "geomarket": version("geomarket"),
        "python": platform.python_version(),
        "versions": _versions(PACKAGES),
        "market": market.name,
        "simulated": market.simulated,
        "seed": plan.settings.plan.seed,
        "settings": plan.settings.resolved(),
        "inputs": market.inputs,
        "input_rows": rows,
        "people": _people_counted(plan),
        "areas": {layer.name: len(layer.frame) for layer in market.areas},
        "window": [str(trade.periods[0]), str(trade.periods[-1])],
        "resolution": plan.hexes.resolution,
        "store_clusters_version": clustering_version(plan.store_clusters.labels),
        "quarantined_rows": len(market.quarantine),
        "skipped": plan.skipped,
        "failures": [dataclasses.asdict(failure) for failure in plan.failures],
        "warnings": list(plan.warnings),
        "verdict": plan.frontier.verdict.sentence,
        "experiment": None if plan.experiment is None else plan.experiment.manifest(),
        "solver": plan.ranges.solver.drop(columns="seconds").to_dict("records"),
    }


def _people_counted(plan: Plan) -> dict[str, int | None]:
    """Return how many customers the published counts add up to; None where a number is hidden."""
    if plan.customers is None or plan.market.customers is None:
        return {}
    return {
        "customers": len(plan.market.customers),
        "unplaced": plan.customers.unplaced,
        "outside": plan.customers.outside,
        "unplaced_heavy": plan.customers.heavy_elsewhere[0],
        "outside_heavy": plan.customers.heavy_elsewhere[1],
        **({"with_baskets": plan.people.with_baskets} if plan.people is not None else {}),
    }


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
