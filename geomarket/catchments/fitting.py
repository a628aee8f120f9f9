"""How the model of :func:`map_catchments` comes by its coefficients: flows, totals, or figures given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from geomarket.catchments.calibration import own_constant
from geomarket.catchments.comparison import compare_on_flows, compare_on_totals, score_rows
from geomarket.catchments.huff import Huff
from geomarket.errors import SettingsError, TableError

COMPARISON_COLUMNS = ["model", "label", "sample", "test"]


@dataclass(frozen=True)
class Problem:
    """What every way of fitting needs: pairs of all stores, the stores, market size by cell, and how to hold out."""

    pairs: pd.DataFrame
    stores: pd.DataFrame
    market: pd.Series
    holdout: float
    random_state: int


@dataclass(frozen=True)
class Years:
    """Store totals to fit to and to judge on (None where not given), and what to say about them."""

    fit: pd.DataFrame | None
    judge: pd.DataFrame | None
    notes: list[str]


@dataclass(frozen=True)
class Fitted:
    """A model with its scores and what a planner must know about it."""

    model: Huff
    notes: list[str]
    comparison: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COMPARISON_COLUMNS))


def fit_to_flows(
    huff: Huff,
    problem: Problem,
    choice: pd.DataFrame,
    flows: pd.DataFrame,
    value: str,
    years: Years,
    either: bool,
) -> Fitted:
    """Fit to known customers' choices among the stores of ``choice``; by km if that foretells better than by time."""
    held_out = (value, problem.holdout, problem.random_state)
    comparison = compare_on_flows(huff, choice, problem.stores, flows, *held_out)
    notes = []
    if either and huff.distance == "minutes":
        by_km = Huff(**{**huff.get_params(), "distance": "km"})
        rival = compare_on_flows(by_km, choice, problem.stores, flows, *held_out)
        huff, comparison, why = _better_measure(huff, comparison, by_km, rival)
        notes.append(why)
    huff.fit(choice, problem.stores, flows, value)
    standing = own_constant(huff, problem.pairs, problem.stores, years.fit, problem.market)
    huff.set_outside(problem.pairs, problem.stores, problem.market)
    return Fitted(huff, [*notes, *huff.notes_, *standing, *years.notes], comparison)


def fit_to_totals(huff: Huff, problem: Problem, years: Years, loss: Literal["log", "poisson"]) -> Fitted:
    """Fit to the totals of stores."""
    assert years.fit is not None
    huff.fit_totals(problem.pairs, problem.stores, years.fit, problem.market, loss=loss)
    comparison = compare_on_totals(
        huff,
        problem.pairs,
        problem.stores,
        years.fit,
        problem.market,
        years.judge,
        loss=loss,
        holdout=problem.holdout,
        random_state=problem.random_state,
    )
    return Fitted(huff, [*huff.notes_, *years.notes, *_judged(years)], comparison)


def _judged(years: Years) -> list[str]:
    if years.fit is None or "year" not in years.fit.columns:
        return []
    fitted = f"Fitted to {int(years.fit['year'].iloc[0])}"
    return [
        f"{fitted}." if years.judge is None else f"{fitted}, judged on {int(years.judge['year'].iloc[0])}."
    ]


def take_given(huff: Huff, problem: Problem, parameters: Mapping[str, float]) -> Fitted:
    """Take the user's coefficients."""
    huff.fix(problem.stores, parameters).set_outside(problem.pairs, problem.stores, problem.market)
    return Fitted(huff, huff.notes_)


def take_textbook(huff: Huff, problem: Problem) -> Fitted:
    """Take exponents 1 of size and −2 of distance, for want of anything to fit to."""
    sized = tuple(c for c in huff.attraction if c in ("log_size", "log_size_m2"))
    model = Huff(sized, distance=huff.distance, outside_share=huff.outside_share)
    model.fix(problem.stores, {"distance": -2.0, **dict.fromkeys(sized, 1.0)})
    model.set_outside(problem.pairs, problem.stores, problem.market)
    note = (
        "No flows and no store totals were given: shares follow textbook exponents (size 1, distance −2), "
        "which can be worse than treating all stores alike."
    )
    return Fitted(model, [note])


def split_years(
    totals: pd.DataFrame | None, everyone: pd.DataFrame, fit_year: int | None, judge_year: int | None
) -> Years:
    """Pick the totals to fit to and those to judge on: by default the last year but one, and the last."""
    if totals is None:
        return Years(None, None, [])
    unknown = ~totals["store_id"].isin(everyone["store_id"])
    known = totals[~unknown]
    if known.empty:
        raise TableError(
            f"totals: none of its {len(totals):,} rows has a store_id of stores or competitors; ids must match as text."
        )
    notes = []
    if unknown.any():
        lost = totals.loc[unknown, "revenue"].sum() / totals["revenue"].sum()
        notes.append(
            f"{lost:.1%} of the totals' revenue belongs to stores that are not on the map and was left out."
        )
    if "year" not in known.columns:
        return Years(known, None, notes)
    years = sorted(int(y) for y in known["year"].dropna().unique())
    fit_year = (years[-2] if len(years) > 1 else years[-1]) if fit_year is None else fit_year
    judge_year = years[-1] if judge_year is None else judge_year
    for name, year in (("fit_year", fit_year), ("judge_year", judge_year)):
        if year not in years:
            raise SettingsError(f"{name} = {year}: totals hold the years {', '.join(map(str, years))}.")
    judged = known[known["year"] == judge_year] if judge_year != fit_year else None
    return Years(known[known["year"] == fit_year], judged, notes)


def automatic_attraction(
    everyone: pd.DataFrame, from_flows: bool, totals: pd.DataFrame | None
) -> tuple[str, ...]:
    """Choose attraction columns: what is known of the stores and what these data can tell apart."""
    columns = []
    if "size_m2" in everyone.columns:
        size = everyone["size_m2"]
        if size.notna().mean() >= 0.5 and size.nunique() > 1:
            columns.append("log_size_m2")
    if "format" in everyone.columns and everyone["format"].nunique() > 1:
        columns.append("format")
    if everyone["own"].all():
        return tuple(columns)
    if not from_flows and totals is not None:
        rivals = everyone.loc[~everyone["own"], "store_id"].isin(totals["store_id"]).any()
        chains = everyone["chain"].nunique() if "chain" in everyone.columns else 0
        return (*columns, "chain" if chains > 1 else "own") if rivals else tuple(columns)
    return (*columns, "own")


def pairs_for_flows(
    everyone: pd.DataFrame,
    flows: pd.DataFrame,
    pairs: pd.DataFrame,
    pair_up: Callable[[pd.DataFrame], pd.DataFrame],
) -> pd.DataFrame:
    """Return the pairs to fit on: of all stores if the flows cover competitors, of the own ones otherwise."""
    unknown = ~flows["store_id"].isin(everyone["store_id"])
    if unknown.any():
        first = ", ".join(flows.loc[unknown, "store_id"].drop_duplicates().head(3))
        raise TableError(
            f"flows: {int(unknown.sum()):,} of {len(flows):,} rows have a store_id not in stores or competitors "
            f"({first}). Add the stores, or leave these rows out."
        )
    rivals = everyone.loc[~everyone["own"], "store_id"]
    if rivals.empty or flows["store_id"].isin(rivals).any():
        return pairs
    return pair_up(everyone[everyone["own"]])


def first_measure(distance: str, has_travel: bool) -> str:
    """Return the distance column to begin with: minutes where there are any, unless km are asked for."""
    if distance not in ("auto", "km", "minutes"):
        raise SettingsError(f"distance '{distance}' is not supported. Use 'auto', 'km' or 'minutes'.")
    if distance == "minutes" and not has_travel:
        raise SettingsError("distance = 'minutes' needs a travel table (store_id, cell, minutes).")
    return "km" if distance == "km" or not has_travel else "minutes"


def _better_measure(
    by_time: Huff, time_scores: pd.DataFrame, by_km: Huff, km_scores: pd.DataFrame
) -> tuple[Huff, pd.DataFrame, str]:
    """Keep travel times unless straight distance foretells the flows held out better."""
    minutes, km = (
        float(score_rows(scores)[2].query("model == 'huff'")["pseudo_r2"].iloc[0])
        for scores in (time_scores, km_scores)
    )
    if km > minutes:
        why = (
            f"Straight distance foretells where people shop better than the travel times given (pseudo-R² {km:.3f} "
            f"against {minutes:.3f}), so it is used."
        )
        return by_km, km_scores, why
    why = (
        f"Travel times foretell where people shop at least as well as straight distance (pseudo-R² {minutes:.3f} "
        f"against {km:.3f}), so they are used."
    )
    return by_time, time_scores, why
