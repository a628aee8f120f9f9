"""The demo: a plan for the simulated market, or for Hy-Vee's spirits in Iowa."""

from __future__ import annotations

from collections.abc import Callable

from geomarket.errors import SettingsError
from geomarket.market import PlanSettings, parse_settings
from geomarket.planning.jobs import JobOptions
from geomarket.planning.keeping import Keeper
from geomarket.planning.plan import Plan
from geomarket.planning.run import run_plan

__all__ = ["DEMO_SETTINGS", "demo_plan"]

SIMULATED = """
[plan]
name = "Simulated grocer"
currency = "€"

[assortment]
space = "width_cm"
core_share = 0.3
cost_per_range = 1000.0
cost_per_change = 60.0
min_stores = 3

[frontier]
cost_per_cluster = 8000.0

[promotions]
contact_cost = 4.0
display_cost = 3.0
funding_share = 0.4

[targeting]
# the leaflet is printed anyway: what one more door costs
cost_per_door = 0.02
"""

IOWA = """
[plan]
name = "Hy-Vee in Iowa: spirits"
currency = "$"
period = "month"

[assortment]
core_share = 0.3
cost_per_range = 1000.0
# orders of retailers do not show what a shopper takes instead
substitution = "none"
cost_per_change = 100.0
min_stores = 3

[frontier]
cost_per_cluster = 15000.0

[promotions]
horizon = 6
depths = [0.05, 0.1, 0.15]
max_per_sku = 2
spacing = 3
funding_share = 1.0
"""

DEMO_SETTINGS = {"simulated": SIMULATED, "iowa": IOWA}
"""Settings of the demos as they would stand in a plan.toml: costs are assumptions, set here and shown in the report."""


def demo_plan(
    market: str = "simulated",
    size: str = "full",
    seed: int = 0,
    on_stage: Callable[[str], None] | None = None,
    *,
    keeper: Keeper | None = None,
    jobs: JobOptions | None = None,
) -> Plan:
    """Plan a known market.

    Parameters
    ----------
    market : {"simulated", "iowa"}
        The invented city that ships with geomarket, or Iowa's spirits trade from ``GEOMARKET_DATA``.
    size : {"full", "small"}
        The simulated market: 60 stores and 600 SKUs over two years, or 16 and 120 over one.
    seed : int
        Seed of the simulated market.
    on_stage : callable, optional
        Called with each stage's name as it begins.
    keeper, jobs
        As :func:`geomarket.run_plan` takes them.

    Returns
    -------
    Plan

    Raises
    ------
    SettingsError
        If there is no such market.
    MissingDataError
        If Iowa is asked for and ``GEOMARKET_DATA`` doesn't hold it.
    """
    tell = on_stage or (lambda stage: None)
    settings: PlanSettings = parse_settings(DEMO_SETTINGS.get(market, ""))
    if market == "iowa":
        from geomarket.datasets import load_iowa

        tell("Reading Iowa's spirits trade")
        return run_plan(load_iowa(), settings, tell, keeper=keeper, jobs=jobs)
    if market != "simulated":
        raise SettingsError(f"demo: there is no market {market!r}; choose simulated or iowa.")
    from geomarket.simulate import simulate_market

    tell("Simulating a market")
    if size == "small":
        world = simulate_market(n_customers=5_000, n_stores=16, n_skus=120, weeks=52, seed=seed)
    else:
        world = simulate_market(seed=seed)
    return run_plan(world, settings, tell, keeper=keeper, jobs=jobs)
