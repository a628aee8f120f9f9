"""How much better than a guess: the fitted model beside uniform shares, size only and the nearest store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from geomarket.catchments.choice import ChoiceSets
from geomarket.catchments.huff import Huff, market_of, match_flows, totals_of
from geomarket.errors import GeomarketError

__all__ = [
    "MODEL_LABELS",
    "compare_on_flows",
    "compare_on_totals",
    "comparison_sentences",
    "comparison_warnings",
    "score_rows",
    "totals_by_group",
]

_log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

MODEL_LABELS = {
    "huff": "Fitted: attraction and distance",
    "size_only": "Attraction only, fitted",
    "default": "Textbook exponents: size 1, distance −2",
    "nearest": "Everyone to the nearest store",
    "uniform": "All stores in reach alike",
}


def compare_on_flows(
    huff: Huff,
    pairs: pd.DataFrame,
    stores: pd.DataFrame,
    flows: pd.DataFrame,
    value: str = "trips",
    holdout: float = 0.2,
    random_state: int = 0,
) -> pd.DataFrame:
    """Judge the model on cells it has not seen, beside models anyone could guess.

    Parameters
    ----------
    huff : Huff
        Its settings are used; it is not itself fitted.
    pairs, stores, flows, value
        As in :meth:`Huff.fit`.
    holdout : float
        Share of the cells with flows that are held out, drawn at random; 0 leaves out the "out" rows.
    random_state : int
        Seed of that draw.

    Returns
    -------
    DataFrame
        model, label, sample ("in": cells fitted to, "out": cells held out), test, cells, trips,
        pseudo_r2 (McFadden's, against uniform shares: 0 is uniform, below 0 is worse; NaN for the nearest
        store, which calls other choices impossible), wmape (sum of absolute errors over sum of trips).
    """
    trips, _ = match_flows(pairs, flows, value)
    visited = np.sort(pairs["cell"].to_numpy(np.int64)[trips > 0])
    visited = np.unique(visited)
    rng = np.random.default_rng(random_state)
    n_out = round(holdout * len(visited))
    out_cells = np.sort(rng.permutation(visited)[:n_out])
    held_out = np.isin(pairs["cell"].to_numpy(np.int64), out_cells)
    train_flows = flows[~flows["cell"].isin(out_cells)]
    train = pairs[~held_out & pairs["cell"].isin(visited).to_numpy()]

    def fit(model: Huff) -> Huff:
        return model.fit(train, stores, train_flows, value)

    rows: list[dict[str, Any]] = []
    for name, share in _shares(huff, pairs, stores, fit):
        for sample, mask in (("in", ~held_out), ("out", held_out)):
            scores = _flow_scores(pairs["cell"].to_numpy(np.int64)[mask], trips[mask], share[mask])
            if scores:
                rows.append({"model": name, "sample": sample, "test": "random cells", **scores})
    return _labelled(rows)


def compare_on_totals(
    huff: Huff,
    pairs: pd.DataFrame,
    stores: pd.DataFrame,
    totals: pd.DataFrame,
    market: pd.Series,
    other_year: pd.DataFrame | None = None,
    value: str = "revenue",
    loss: Literal["log", "poisson"] = "log",
    holdout: float = 0.2,
    random_state: int = 0,
) -> pd.DataFrame:
    """Judge a model fitted to store totals on another year and on stores it has not seen.

    Another year is the easier test: the stores are the same, and a handful of coefficients cannot remember
    them. Stores held out compete in the fit, but their totals are hidden from it.

    Parameters
    ----------
    huff : Huff
        The model; where it is fitted to these totals already, that fit is used.
    pairs, stores, totals, market, value, loss
        As in :meth:`Huff.fit_totals`.
    other_year : DataFrame or None
        store_id and ``value`` of the year to judge on.
    holdout : float
        Share of the stores with a total that are held out; 0 leaves that test out.
    random_state : int
        Seed of that draw.

    Returns
    -------
    DataFrame
        model, label, sample ("in"/"out"), test ("fit year", "other year", "stores held out"), stores, r2_log
        (1 − squared log errors over squared log deviations; below 0 is worse than the mean), r2_pattern (the same
        with the level free: errors about their own mean), mape, median_ape, wmape, spearman. Levels are set by the
        totals fitted to (for another year, by that year's sum).
    """
    ids = stores["store_id"]
    in_year = totals_of(stores, totals, value)
    known = np.isfinite(in_year) & (in_year > 0)
    later = None if other_year is None else totals_of(stores, other_year, value)
    rows: list[dict[str, Any]] = []
    found: dict[str, Floats] = {}

    def fit(model: Huff) -> Huff:
        fitted = model.fit_totals(pairs, stores, totals, market, value, loss)
        found[model.decay] = fitted.beta_
        return fitted

    if hasattr(huff, "beta_"):
        found[huff.decay] = huff.beta_
    for name, expected in _store_totals(
        huff, pairs, stores, market, fit, huff if hasattr(huff, "beta_") else None
    ):
        rows.append({"model": name, "sample": "in", "test": "fit year", **_total_scores(in_year, expected)})
        if later is not None:
            rows.append(
                {"model": name, "sample": "out", "test": "other year", **_total_scores(later, expected)}
            )
    n_out = round(holdout * int(known.sum()))
    if n_out >= 5:
        rng = np.random.default_rng(random_state)
        hidden_ids = rng.permutation(np.sort(ids[known].to_numpy(dtype=object)))[:n_out]
        hidden = ids.isin(hidden_ids).to_numpy()
        seen = totals[~totals["store_id"].isin(hidden_ids)]

        def fit_seen(model: Huff) -> Huff:
            return model.fit_totals(pairs, stores, seen, market, value, loss, found.get(model.decay))

        for name, expected in _store_totals(huff, pairs, stores, market, fit_seen):
            level = _level(np.where(hidden, np.nan, in_year), expected)
            scores = _total_scores(np.where(hidden, in_year, np.nan), expected, level)
            rows.append({"model": name, "sample": "out", "test": "stores held out", **scores})
    return _labelled(rows)


def comparison_sentences(comparison: pd.DataFrame) -> list[str]:
    """Say in words how the fitted model did beside the guesses, worst news first."""
    if comparison.empty or "huff" not in set(comparison["model"]):
        return []
    score, label, rows = score_rows(comparison)
    by_model = rows.set_index("model")[score]
    others = ", ".join(
        f"{MODEL_LABELS[str(name)].lower()} {value:.3f}"
        for name, value in by_model.drop("huff").dropna().items()
    )
    scores = f"{label} on the test '{rows['test'].iloc[0]}': fitted model {by_model['huff']:.3f}; {others}."
    warnings = comparison_warnings(comparison)
    worst_first = 1 if _beaten_by(by_model) else 0
    return [*warnings[:worst_first], scores, *warnings[worst_first:]]


def comparison_warnings(comparison: pd.DataFrame) -> list[str]:
    """Say where the fitted model, or textbook exponents, did no better than a guess; empty where both did."""
    if comparison.empty or "huff" not in set(comparison["model"]):
        return []
    score, _, rows = score_rows(comparison)
    by_model = rows.set_index("model")[score]
    lines = []
    if worse := _beaten_by(by_model):
        lines.append(
            "The fitted model does no better than a guess out of sample "
            f"({', '.join(MODEL_LABELS[name].lower() for name in worse)}): do not rest a decision on it."
        )
    if by_model.get("default", np.nan) < by_model.get("uniform", np.nan):
        lines.append("Textbook exponents would have been worse here than treating all stores in reach alike.")
    return lines


def _beaten_by(by_model: pd.Series) -> list[str]:
    others = by_model.drop("huff").dropna()
    return [str(name) for name in others.index[others > by_model["huff"]]]


def score_rows(comparison: pd.DataFrame) -> tuple[str, str, pd.DataFrame]:
    """Return the name and label of the score to show, and the rows of the hardest test there is."""
    tests = ["stores held out", "random cells", "other year", "fit year"]
    out = comparison[comparison["sample"] == "out"]
    rows = out if len(out) else comparison
    test = next((t for t in tests if t in set(rows["test"])), rows["test"].iloc[0])
    rows = rows[rows["test"] == test]
    if "pseudo_r2" in rows.columns:
        return "pseudo_r2", "Pseudo-R² against uniform shares", rows
    return "r2_log", "R² of log store totals", rows


def totals_by_group(observed: Floats, expected: Floats, group: pd.Series) -> pd.DataFrame:
    """Score expected against observed store totals for every level of a store attribute."""
    level = _level(observed, expected)
    rows = []
    for name in sorted(group.dropna().unique()):
        mask = (group == name).to_numpy()
        scores = _total_scores(np.where(mask, observed, np.nan), expected, level)
        seen = mask & np.isfinite(observed) & (observed > 0)
        if scores["stores"]:
            scores["bias"] = float(expected[seen].sum() * level / observed[seen].sum() - 1)
            rows.append({str(group.name): name, **scores})
    return pd.DataFrame(rows)


def _shares(
    huff: Huff,
    pairs: pd.DataFrame,
    stores: pd.DataFrame,
    fit: Callable[[Huff], Huff],
    fitted_already: Huff | None = None,
) -> list[tuple[str, Floats]]:
    """Shares of every pair under each model, in the order of ``pairs``."""
    shares: list[tuple[str, Floats]] = []
    for name, model in _models(huff, stores):
        try:
            if name == "huff" and fitted_already is not None:
                fitted = fitted_already
            else:
                fitted = model if hasattr(model, "beta_") else fit(model)
        except GeomarketError as error:
            _log.info("comparison: model %s left out: %s", name, error)
            continue
        shares.append((name, fitted.predict(pairs, stores)["probability"].to_numpy()))
    cell = pairs["cell"]
    nearest = pairs[huff.distance] == pairs.groupby(cell, sort=False)[huff.distance].transform("min")
    shares.append(
        ("nearest", (nearest / nearest.groupby(cell, sort=False).transform("sum")).to_numpy(dtype=float))
    )
    shares.append(("uniform", (1.0 / cell.groupby(cell, sort=False).transform("size")).to_numpy(dtype=float)))
    return shares


def _models(huff: Huff, stores: pd.DataFrame) -> list[tuple[str, Huff]]:
    settings = huff.get_params()
    models = [("huff", Huff(**settings)), ("size_only", Huff(**{**settings, "decay": "none"}))]
    size = next((name for name in ("log_size", "log_size_m2") if name in huff.attraction), None)
    if size is not None:
        textbook = Huff(**{**settings, "attraction": (size,), "decay": "power"})
        models.append(("default", textbook.fix(stores, {size: 1.0, f"log_{huff.distance}": -2.0})))
    return models


def _store_totals(
    huff: Huff,
    pairs: pd.DataFrame,
    stores: pd.DataFrame,
    market: pd.Series,
    fit: Callable[[Huff], Huff],
    fitted_already: Huff | None = None,
) -> list[tuple[str, Floats]]:
    """Expected totals of every store under each model, in market units."""
    sets = ChoiceSets.from_frame(
        pairs, pd.Index(stores["store_id"]), np.zeros((len(stores), 0)), np.zeros((len(pairs), 0))
    )
    size = sets.per_pair(market_of(sets.cells, market))
    return [
        (name, sets.by_store_sum(size * share[sets.order]))
        for name, share in _shares(huff, pairs, stores, fit, fitted_already)
    ]


def _flow_scores(cell: NDArray[np.int64], trips: Floats, share: Floats) -> dict[str, float]:
    if not trips.sum() > 0:
        return {}
    _, code, size = np.unique(cell, return_inverse=True, return_counts=True)
    by_cell = np.bincount(code, weights=trips)
    chosen = trips > 0
    with np.errstate(divide="ignore"):
        fitted = float(trips[chosen] @ np.log(share[chosen]))
    uniform = -float(trips[chosen] @ np.log(size[code][chosen]))
    return {
        "cells": int((by_cell > 0).sum()),
        "trips": float(trips.sum()),
        "pseudo_r2": 1 - fitted / uniform if uniform < 0 and np.isfinite(fitted) else np.nan,
        "wmape": float(np.abs(trips - by_cell[code] * share).sum() / trips.sum()),
    }


def _level(observed: Floats, expected: Floats) -> float:
    known = np.isfinite(observed) & (observed > 0)
    total = expected[known].sum()
    return float(observed[known].sum() / total) if total > 0 else np.nan


def _total_scores(observed: Floats, expected: Floats, level: float | None = None) -> dict[str, float]:
    level = _level(observed, expected) if level is None else level
    # a model that gives a trading store nothing at all (the nearest store does) has no log error there
    seen = np.isfinite(observed) & (observed > 0)
    y, mu = observed[seen], expected[seen] * level
    positive = mu > 0
    log_y = np.log(y)
    spread = ((log_y - log_y.mean()) ** 2).sum() if len(y) else 0.0
    usable = spread > 0 and bool(positive.all())
    error = log_y - np.log(mu) if usable else np.full(len(y), np.nan)
    return {
        "stores": int(seen.sum()),
        "without_demand": int((~positive).sum()),
        "r2_log": float(1 - (error**2).sum() / spread) if usable else np.nan,
        "r2_pattern": float(1 - ((error - error.mean()) ** 2).sum() / spread) if usable else np.nan,
        "mape": float(np.mean(np.abs(y - mu) / y)) if len(y) else np.nan,
        "median_ape": float(np.median(np.abs(y - mu) / y)) if len(y) else np.nan,
        "wmape": float(np.abs(y - mu).sum() / y.sum()) if len(y) else np.nan,
        "spearman": float(spearmanr(y, mu)[0]) if len(y) > 2 and np.ptp(mu) > 0 and np.ptp(y) > 0 else np.nan,
    }


def _labelled(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    table.insert(1, "label", table["model"].map(MODEL_LABELS))
    order = {name: rank for rank, name in enumerate(MODEL_LABELS)}
    by = table.assign(_rank=table["model"].map(order))
    return by.sort_values(["_rank", "sample"], kind="stable").drop(columns="_rank").reset_index(drop=True)
