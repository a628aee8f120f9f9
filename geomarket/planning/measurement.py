"""The test that comes with a plan: which stores change first, which wait, and whether its gain can be seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from geomarket import engine
from geomarket.assortment import RangePlan
from geomarket.catchments import Catchments
from geomarket.errors import NotSupportedError
from geomarket.experiments import KeptShare, PairedDesign, design_test, kept_share
from geomarket.hexes import points_to_cells
from geomarket.market import Market, PlanSettings
from geomarket.planning.rehearsal import Rehearsal
from geomarket.planning.trade import Trade
from geomarket.promotions import PromotionPlan
from geomarket.results import Result
from geomarket.store_clusters import StoreFeatures

__all__ = ["PlannedTest", "expected_gain", "plan_test", "share_taken_from_controls", "try_test"]

Kpi = Literal["margin", "revenue", "units"]

LENGTH = {"week": 13, "month": 3}
LENGTHS = {"week": (2, 4, 8, 13, 26), "month": (1, 2, 3, 6, 12)}
COSTED_SHARE = 0.99
"""Margin is measured where at least this share of revenue has a known cost, and of rows earns one."""
LARGE_SHARE = 0.05
"""A larger share of the gain taken from control stores is worth a warning."""


@dataclass(frozen=True)
class PlannedTest(Result):
    """The test of a plan.

    Attributes
    ----------
    design : PairedDesign
        Pairs, arms, power.
    sales : DataFrame
        store_id, period, units, revenue, margin (NaN where no cost is known): the products measured, all stores placed.
    products : DataFrame
        sku, category, cost: the products measured.
    promised : float
        Relative gain the plan promises; NaN where it can't be said in the kpi measured.
    kept : KeptShare
        How much of earlier promises tests found.
    taken : float
        Share of what test stores gain that the catchment model expects control stores to lose; NaN where unknown.
    """

    design: PairedDesign
    sales: pd.DataFrame
    products: pd.DataFrame
    promised: float
    kept: KeptShare
    taken: float
    currency: str = ""

    @property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """The design, one row per store."""
        return self.design.table

    @property
    def verdict(self) -> str:
        """Whether the expected gain can be seen, in one plain sentence."""
        return self.design.summary()[1]

    def summary(self) -> list[str]:
        """Say what can be seen, what is expected and what would disturb the comparison."""
        lines = self.design.summary()
        first = [lines[1], lines[0], *lines[2:]]
        if self.kept.tests:
            first.append(self.kept.sentence())
        if self.taken >= LARGE_SHARE:
            first.append(
                f"Of what test stores gain, the catchment model expects about {self.taken:.0%} to come from control "
                "stores in spite of the buffer: the difference measured is too large by about that share."
            )
        return first

    def plot(self, ax: Any = None) -> Any:
        """Draw the smallest effect seen against the number of pairs."""
        return self.design.plot(ax)

    def manifest(self) -> dict[str, Any]:
        """Return what ``geomarket measure`` needs besides the tables."""
        design = self.design
        return {
            "unit": design.unit,
            "kpi": design.value,
            "start": str(design.start.date()) if design.start is not None else None,
            "periods": design.periods,
            "baseline": design.baseline,
            "period": design.period,
            "pairs": design.n_pairs,
            "wanted_effect": design.wanted,
            "promised": None if np.isnan(self.promised) else self.promised,
            "expected": None if np.isnan(design.expected) else design.expected,
            "minimum_detectable_effect": design.mde,
            "confidence": design.confidence,
            "power": design.wanted_power,
            "buffer_rings": design.buffer_rings,
            "seed": design.random_state,
            "currency": self.currency,
            "verdict": self.verdict,
        }


def plan_test(
    market: Market,
    trade: Trade,
    ranges: RangePlan,
    rehearsal: Rehearsal | None,
    promotions: PromotionPlan | None,
    catchments: Catchments,
    features: StoreFeatures,
    resolution: int,
    settings: PlanSettings,
) -> PlannedTest:
    """Design the test of a plan's changes.

    Stores that the plan changes are paired and drawn; what is measured is the sales of all products in the categories
    planned, so that what a new product takes from others counts too.

    Raises
    ------
    NotSupportedError
        If there are too few stores or too short a history; the message says which.
    """
    chosen = settings.measurement
    changes = ranges.changes[ranges.changes["action"] != "keep"]
    if "when" in changes:
        changes = changes[changes["when"].astype("str").str.startswith("phase")]
    moved = set(changes["store_id"])
    if promotions is not None and len(promotions.table):
        moved = set(trade.stores["store_id"])
    if not moved:
        raise NotSupportedError("the plan changes nothing, so there is nothing to test")
    products = _products(market, ranges, promotions)
    sales = engine.trade_by_period(trade_sales(market, trade), products)
    kpi = _kpi(sales, chosen.kpi)
    periods = chosen.periods or LENGTH[market.period]
    kept = kept_share(market.measured)
    promised = float("nan")
    if kpi == "margin":
        promised = expected_gain(ranges, rehearsal, promotions, settings.promotions.horizon)
    places = trade.stores[["store_id"]].assign(
        cell=points_to_cells(trade.stores["lon"], trade.stores["lat"], resolution)
    )
    footprints = None
    if chosen.keep_apart == "catchments":
        core = catchments.areas[catchments.areas["band"] == catchments.areas["band"].min()]
        footprints = pd.concat([core[["store_id", "cell"]], places]).drop_duplicates()
    design = design_test(
        sales.dropna(subset=[kpi]),
        places,
        _alike_in(features),
        value=kpi,
        eligible=sorted(moved),
        footprints=footprints,
        period=market.period,
        periods=periods,
        lengths=LENGTHS[market.period],
        baseline=chosen.baseline or 2 * periods,
        wanted=chosen.wanted_effect,
        expected=promised * kept.estimate,
        confidence=chosen.confidence,
        power=chosen.power,
        buffer_rings=chosen.buffer_rings,
        max_pairs=chosen.max_pairs,
        random_state=settings.plan.seed if chosen.seed is None else chosen.seed,
    )
    return PlannedTest(
        design=design,
        sales=sales.drop(columns="costed_revenue"),
        products=products,
        promised=promised,
        kept=kept,
        taken=share_taken_from_controls(catchments.table, design.table),
        currency=market.currency,
    )


def try_test(
    market: Market,
    trade: Trade,
    ranges: RangePlan,
    rehearsal: Rehearsal | None,
    promotions: PromotionPlan | None,
    catchments: Catchments,
    features: StoreFeatures,
    resolution: int,
    settings: PlanSettings,
    skipped: dict[str, str],
) -> PlannedTest | None:
    """Design the test, or note in ``skipped`` why there is none."""
    if not settings.measurement.enabled:
        skipped["measurement"] = "switched off in the settings"
        return None
    try:
        return plan_test(
            market, trade, ranges, rehearsal, promotions, catchments, features, resolution, settings
        )
    except NotSupportedError as reason:
        skipped["measurement"] = str(reason)
        return None


def trade_sales(market: Market, trade: Trade) -> Any:
    """Return all sales of the live stores, discontinued and in-and-out products included."""
    return market.sales.filter(market.sales["store_id"].isin(trade.stores["store_id"].tolist()))


def _products(market: Market, ranges: RangePlan, promotions: PromotionPlan | None) -> pd.DataFrame:
    categories = set(ranges.table["category"])
    if promotions is not None and len(promotions.table):
        categories |= set(promotions.table["category"])
    mine = market.products[market.products["category"].isin(categories)]
    return mine[["sku", "category", "cost"]].sort_values("sku", ignore_index=True)


def _kpi(sales: pd.DataFrame, asked: Literal["auto", "margin", "revenue", "units"]) -> Kpi:
    if asked != "auto":
        return asked
    costed = sales["costed_revenue"].sum() / max(float(sales["revenue"].sum()), 1e-9)
    # sales at wholesale prices are worth less than the cost in the shops: no margin can be told from them
    earned = float((sales["margin"] > 0).mean())
    return "margin" if costed >= COSTED_SHARE and earned >= COSTED_SHARE else "revenue"


def _alike_in(features: StoreFeatures) -> pd.DataFrame:
    """Return who lives around the stores, and their size: what partners should be alike in besides sales."""
    blocks = features.features.set_index("feature")["block"]
    wanted = [name for name in features.coordinates.columns if blocks.get(name) in ("catchment", "size")]
    return features.coordinates[wanted]


def expected_gain(
    ranges: RangePlan, rehearsal: Rehearsal | None, promotions: PromotionPlan | None, horizon: int
) -> float:
    """Return the margin the plan promises over what today's ranges earn, as a share.

    From the rehearsal where there is one: what the first phase of changes brings on periods not planned on. Else what
    the forecasts the ranges were chosen by say of all changes, which flatters. NaN where the ranges don't say what
    today's earn.
    """
    spaces = ranges.spaces
    if not {"margin", "margin_today"} <= set(spaces.columns):
        return float("nan")
    today = float(spaces["margin_today"].sum())
    gain = float(spaces["margin"].sum()) - today
    if rehearsal is not None:
        rehearsed = rehearsal.table.set_index("ranges")["gain_share"]
        gain = today * float(rehearsed["first phase"])
    if promotions is not None and len(promotions.table):
        gain += float(promotions.table["net"].sum()) / max(horizon, 1)
    return gain / today if today > 0 else float("nan")


def share_taken_from_controls(catchment: pd.DataFrame, design: pd.DataFrame) -> float:
    """Return how much of a test store's gain control stores lose, by the catchment model.

    Under Huff's model a shopper won comes from other stores in proportion to their share of the hexagon. Averaged over
    test stores and their hexagons, by demand.

    Parameters
    ----------
    catchment : DataFrame
        cell, store_id, probability, demand, for all stores in reach, competitors included.
    design : DataFrame
        store_id, arm.

    Examples
    --------
    >>> catchment = pd.DataFrame({"cell": [1, 1, 1], "store_id": ["a", "b", "x"], "probability": [0.5, 0.3, 0.2],
    ...                           "demand": [50.0, 30.0, 20.0]})
    >>> share_taken_from_controls(catchment, pd.DataFrame({"store_id": ["a", "b"], "arm": ["test", "control"]}))
    0.6
    """
    if not {"probability", "demand"} <= set(catchment.columns):
        return float("nan")
    arm = catchment["store_id"].map(design.set_index("store_id")["arm"])
    controls = catchment["probability"].where(arm == "control", 0.0).groupby(catchment["cell"]).sum()
    mine = catchment[(arm == "test") & (catchment["probability"] < 1) & catchment["demand"].gt(0)]
    if mine.empty:
        return float("nan")
    lost = mine["cell"].map(controls) / (1 - mine["probability"])
    return float(np.average(lost, weights=mine["demand"]))
