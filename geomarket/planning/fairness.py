"""The fairness stage: what the plan offers to deprived and to well-off areas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from geomarket.assortment import RangePlan
from geomarket.catchments import Catchments
from geomarket.demand import Demand
from geomarket.errors import NotSupportedError, SettingsError
from geomarket.hexes import Hexes
from geomarket.market import Market, PlanSettings
from geomarket.market.model import Variable
from geomarket.planning.targeting import Targeting, left_out_by_rules
from geomarket.promotions import PromotionPlan
from geomarket.results import Result
from geomarket.safeguards import Exposure, exposure_ratio
from geomarket.store_clusters import StoreClustering

__all__ = ["Fairness", "check_variables", "find_fairness", "try_fairness"]

USUAL = (
    *("imd", "imd_score", "deprivation", "deprivation_score", "poverty", "poverty_rate", "income_low"),
    *("low_income", "median_household_income", "median_income", "per_capita_income", "income"),
    *("unemployment", "unemployed"),
)
"""Measures of deprivation by their usual names, the best first."""

LABELS = {
    "breadth": "Products on the shelf, as planned",
    "breadth_today": "Products on the shelf today",
    "depth": "Price cuts, as a share of what shoppers pay at full price",
    "door_drops": "Leaflets at the door",
}


@dataclass(frozen=True)
class Fairness(Result):
    """What the most deprived fifth of the people is offered, against the least deprived fifth.

    Attributes
    ----------
    table : DataFrame
        exposure, label, ratio (most over least deprived), low, high, verdict ("unequal", "unclear", "equal").
    quintiles : DataFrame
        exposure, label, quintile (1: least deprived), hexagons, people, mean.
    attribute, attribute_label : str
        What areas are ranked by.
    protected : bool
        Whether that is a protected trait: it is watched here and steers nothing.
    results : dict of str to Exposure
    band : tuple of float
    notes : tuple of str
        What could not be compared, and why.
    """

    table: pd.DataFrame
    quintiles: pd.DataFrame
    attribute: str
    attribute_label: str
    protected: bool
    results: dict[str, Exposure]
    band: tuple[float, float]
    confidence: float
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each ratio outside the band."""
        lines = []
        for row in self.table[self.table["verdict"] != "equal"].to_dict("records"):
            doubt = (
                "the whole interval lies outside"
                if row["verdict"] == "unequal"
                else "that may be chance, the interval reaches into it"
            )
            lines.append(
                f'{row["label"]}: the most deprived fifth of the people (by "{self.attribute_label}") gets '
                f"{row['ratio']:.2f} times what the least deprived fifth gets, outside {self.band[0]:g} to "
                f"{self.band[1]:g} ({self.confidence:.0%} interval {row['low']:.2f} to {row['high']:.2f}; {doubt})."
            )
        return tuple(lines)

    def summary(self) -> list[str]:
        """Return whether the offer differs by deprivation."""
        lines = list(self.warnings) or [
            f'The most and the least deprived fifth of the people (by "{self.attribute_label}") are offered much '
            f"the same: every ratio lies within {self.band[0]:g} to {self.band[1]:g}."
        ]
        return [*lines, *self.notes]

    def plot(self, ax: Any = None) -> Any:
        """Draw the ratios with their intervals and the band."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6, 0.5 * len(self.table) + 1))[1] if ax is None else ax
        rows = self.table[::-1]
        axes.axvspan(*self.band, color="0.92")
        axes.hlines(rows["label"], rows["low"], rows["high"])
        axes.plot(rows["ratio"], rows["label"], "o")
        axes.axvline(1, color="0.5", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        ends = [*rows["low"], *rows["high"], *rows["ratio"], 0.5, 2.0]
        axes.set_xlim(0.95 * np.nanmin([end for end in ends if end > 0]), 1.05 * np.nanmax(ends))
        axes.set_xlabel("most over least deprived fifth")
        return axes


def try_fairness(
    market: Market,
    hexes: Hexes,
    catchments: Catchments,
    clusters: StoreClustering,
    demand: Demand,
    ranges: RangePlan,
    promotions: PromotionPlan | None,
    targeting: Targeting | None,
    settings: PlanSettings,
    skipped: dict[str, str],
) -> Fairness | None:
    """Compare what deprived and well-off areas are offered, or return None and say in ``skipped`` why not."""
    if not settings.fairness.enabled:
        skipped["fairness"] = "switched off in the settings"
        return None
    try:
        return find_fairness(
            market, hexes, catchments, clusters, demand, ranges, promotions, targeting, settings
        )
    except NotSupportedError as reason:
        skipped["fairness"] = str(reason)
        return None


def check_variables(hexes: Hexes, settings: PlanSettings) -> None:
    """Stop early where targeting or fairness name a census variable that does not exist or may not be used.

    Raises
    ------
    SettingsError
        The message says which, and what there is.
    """
    left_out_by_rules(hexes, settings.targeting)
    if settings.fairness.attribute != "auto":
        deprivation_variable(hexes, settings.fairness.attribute)


def find_fairness(
    market: Market,
    hexes: Hexes,
    catchments: Catchments,
    clusters: StoreClustering,
    demand: Demand,
    ranges: RangePlan,
    promotions: PromotionPlan | None,
    targeting: Targeting | None,
    settings: PlanSettings,
) -> Fairness:
    """Compare range breadth, price cuts and door drops between deprived and well-off areas.

    People are taken to meet the offer of the own stores they shop at, in proportion to how likely each is, as the
    catchment model sees it.

    Raises
    ------
    SettingsError
        If the attribute named is not a rate, mean or count of the area layers.
    NotSupportedError
        If no layer has a measure of deprivation, or nothing could be compared.
    """
    chosen = settings.fairness
    variable = deprivation_variable(hexes, chosen.attribute)
    inverted = low_is_deprived(variable.name) if chosen.low_is_deprived is None else chosen.low_is_deprived
    offered = _by_store(market, clusters, demand, ranges, promotions, settings)
    areas = _by_cell(catchments, offered).merge(
        hexes.table[["cell", "population", variable.name]].rename(columns={variable.name: "_rank"}), on="cell"
    )
    if inverted:
        areas["_rank"] = -areas["_rank"]
    if targeting is not None:
        drops = targeting.doors.cells.set_index("cell")["drops"]
        areas["door_drops"] = areas["cell"].map(drops).fillna(0.0)
    results: dict[str, Exposure] = {}
    notes = []
    for name, label in LABELS.items():
        if name not in areas or not (areas[name] > 0).any():
            continue
        try:
            results[name] = exposure_ratio(
                areas.sort_values("cell"),
                name,
                "_rank",
                "population",
                chosen.band,
                confidence=chosen.confidence,
                random_state=settings.plan.seed,
            )
        except NotSupportedError as reason:
            notes.append(f"{label} could not be compared: {str(reason).replace('_rank', variable.name)}")
    if not results:
        raise NotSupportedError(" ".join(notes) or "the plan offers nothing that could be compared.")
    if variable.protected:
        notes.append(
            f"{_sentence(variable.label)} is a protected trait: it is watched here and steers nothing."
        )
    found = [
        {
            "exposure": name,
            "label": LABELS[name],
            "ratio": result.ratio,
            "low": result.low,
            "high": result.high,
            "verdict": result.verdict,
        }
        for name, result in results.items()
    ]
    fifths = [
        result.table.rename(columns={"areas": "hexagons", "weight": "people"}).assign(
            exposure=name, label=LABELS[name]
        )
        for name, result in results.items()
    ]
    return Fairness(
        table=pd.DataFrame(found),
        quintiles=pd.concat(fifths, ignore_index=True)[
            ["exposure", "label", "quintile", "hexagons", "people", "mean"]
        ],
        attribute=variable.name,
        attribute_label=variable.label,
        protected=variable.protected,
        results=results,
        band=chosen.band,
        confidence=chosen.confidence,
        notes=tuple(notes),
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def deprivation_variable(hexes: Hexes, attribute: str) -> Variable:
    """Return the census variable areas are ranked by.

    Raises
    ------
    SettingsError
        The named one does not exist.
    NotSupportedError
        "auto", and no layer has one of the usual measures.
    """
    by_name = {variable.name: variable for variable in hexes.variables}
    if attribute != "auto":
        if attribute not in by_name:
            raise SettingsError(
                f"[fairness] attribute = {attribute!r}: no layer of areas has it; they have "
                f"{', '.join(sorted(by_name))}."
            )
        return by_name[attribute]
    for name in USUAL:
        if name in by_name and not by_name[name].protected and by_name[name].kind != "count":
            return by_name[name]
    raise NotSupportedError(
        "no layer of areas has a usual measure of deprivation. Name the variable areas are to be ranked by: "
        "attribute in [fairness]."
    )


def low_is_deprived(name: str) -> bool:
    """Whether low values of a variable of this name mean deprived: an income, unless it counts low ones.

    Examples
    --------
    >>> [low_is_deprived(name) for name in ("median_income", "income_low", "poverty_rate")]
    [True, False, False]
    """
    return "income" in name and "low" not in name


def _by_store(
    market: Market,
    clusters: StoreClustering,
    demand: Demand,
    ranges: RangePlan,
    promotions: PromotionPlan | None,
    settings: PlanSettings,
) -> pd.DataFrame:
    """What each store offers: products today and as planned, and price cuts as a share of full-price sales."""
    changes = ranges.changes
    counts = pd.DataFrame(
        {
            "breadth": changes[changes["action"] != "delist"].groupby("store_id").size(),
            "breadth_today": changes[changes["action"] != "list"].groupby("store_id").size(),
        }
    ).fillna(0.0)
    if promotions is None or promotions.table.empty:
        return counts
    price = market.products.drop_duplicates("sku").set_index("sku")["price"].astype(float)
    kept = changes.loc[changes["action"] != "delist", ["store_id", "sku"]]
    sold = demand.table.merge(kept, on=["store_id", "sku"])
    full = (sold["units"] * sold["sku"].map(price)).groupby(sold["store_id"].map(clusters.labels)).sum()
    offers = promotions.table
    cut = (
        (offers["baseline_units"] + offers["uplift_units"]) * offers["depth"] * offers["sku"].map(price)
    ).groupby(offers["store_cluster"])
    share = (cut.sum() / (full * settings.promotions.horizon)).reindex(full.index).fillna(0.0)
    counts["depth"] = clusters.labels.reindex(counts.index).map(share)
    return counts


def _by_cell(catchments: Catchments, offered: pd.DataFrame) -> pd.DataFrame:
    """The offer people of each cell meet: the mean over own stores, weighed by how likely they shop there."""
    own = catchments.table[catchments.table["own"] & catchments.table["store_id"].isin(offered.index)]
    met = own[["cell", "store_id", "probability"]].join(offered, on="store_id")
    weight = met["probability"]
    columns = list(offered.columns)
    summed = met[columns].mul(weight, axis=0).groupby(met["cell"]).sum()
    total = weight.groupby(met["cell"]).sum()
    return summed[total > 0].div(total[total > 0], axis=0).reset_index()
