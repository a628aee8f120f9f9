"""How well the response forecasts offers it was not fitted on."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.errors import NotSupportedError
from geomarket.promotions.response import PromotionResponse, fit_response
from geomarket.promotions.terms import BEFORE, design, term_names

__all__ = ["response_holdout"]

Floats = npt.NDArray[np.float64]

COLUMNS = ["category", "model", "rows", "units", "wmape", "poisson_deviance", "bias"]


def response_holdout(
    panel: pd.DataFrame,
    *,
    dip_form: Literal["after", "depth"] = "after",
    folds: int = 4,
    block: int = 4,
    only: int | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Fit the response without some periods and forecast the offers in them.

    Periods are left out in blocks. Each model learns each SKU's level from the other periods, and takes what SKUs
    without an offer did in the same store cluster, category and period for the season; it then says what the offer made
    of it: nothing ("no promotion"), one response for everything ("pooled"), the store cluster's
    own unshrunken estimate where there is one ("own"), and the shrunken one in use ("response").

    Parameters
    ----------
    panel : DataFrame
        From :func:`geomarket.promotions.promotion_panel`.
    dip_form
        As for :func:`geomarket.promotions.fit_response`.
    folds, block : int
        Every ``folds``-th block of ``block`` periods is left out in turn.
    only : int, optional
        Run this fold only (the last is ``folds - 1``), to save time.
    **settings
        Further settings of :func:`geomarket.promotions.fit_response`.

    Returns
    -------
    DataFrame
        category ("all" first), model, rows (offers), units, wmape, poisson_deviance (a row), bias (forecast over
        actual, less 1).

    Raises
    ------
    NotSupportedError
        If there are fewer periods than two blocks for each fold, or no offer that both could be forecast and was left
        out.
    """
    calendar = np.sort(panel["period"].unique())
    if len(calendar) < 2 * folds:
        raise NotSupportedError(
            f"hold-out: {len(calendar)} periods; {folds} folds need at least {2 * folds}."
        )
    block = max(1, min(block, len(calendar) // (2 * folds)))
    fold = pd.Series(np.arange(len(calendar)) // block % folds, index=calendar)
    fold_of = panel["period"].map(fold).to_numpy()
    parts = []
    for k in range(folds) if only is None else [only]:
        train, test = panel[fold_of != k], panel[fold_of == k]
        try:
            response = fit_response(train, dip_form=dip_form, **settings)
            pooled = fit_response(
                train.assign(category="all", store_cluster="all"), dip_form=dip_form, **settings
            )
        except NotSupportedError:
            continue
        if len(response.table):
            parts.append(_forecasts(train, test, response, pooled))
    forecasts = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if forecasts.empty:
        raise NotSupportedError("hold-out: no offer was left out that could have been forecast.")
    lines = _errors("all", forecasts)
    for category, mine in forecasts.groupby("category", observed=True, sort=True):
        lines += _errors(str(category), mine)
    return pd.DataFrame(lines, columns=COLUMNS)


def _forecasts(
    train: pd.DataFrame, test: pd.DataFrame, response: PromotionResponse, pooled: PromotionResponse
) -> pd.DataFrame:
    """Forecasts of each model for the offers of the periods left out, each with levels of its own."""
    names = tuple(name for name in term_names(pd.concat([train, test])) if name != BEFORE)
    known = response.coefficients()
    wide = {
        "no promotion": known * 0.0,
        "pooled": _same_for_all(known, pooled),
        "own": response.table.pivot(index=["store_cluster", "category"], columns="term", values="raw"),
        "response": known,
    }
    wide["own"] = wide["own"].reindex(index=known.index, columns=known.columns).fillna(known)
    on = ((test["depth"] > 0) | test["display"] | test["mailer"]).to_numpy()
    sku, cell = ["store_cluster", "sku"], ["store_cluster", "category", "period"]
    columns: dict[str, Any] = {}
    good = known.reindex(pd.MultiIndex.from_frame(test[["store_cluster", "category"]].astype(str)))
    usable = on & good["price"].notna().to_numpy()
    for model, table in wide.items():
        before, after = (_expected(rows, table, names, response.dip_form) for rows in (train, test))
        level = _ratio(train, before, sku)
        at_sku = pd.MultiIndex.from_frame(test[sku].astype(str))
        after = after * level.reindex(at_sku).to_numpy()
        rise = _ratio(test[~on], after[~on], cell)
        at_cell = pd.MultiIndex.from_frame(test[cell].astype(str))
        columns[model] = after * rise.reindex(at_cell).to_numpy()
    frame = pd.DataFrame(
        {
            "category": test["category"].astype(str).to_numpy(),
            "actual": test["units"].to_numpy(dtype=float),
            **columns,
        }
    )
    return frame[usable & frame[list(columns)].gt(0).all(axis=1).to_numpy()]


def _same_for_all(known: pd.DataFrame, pooled: PromotionResponse) -> pd.DataFrame:
    """The pooled response, in the shape of the clusters' and categories'."""
    one = pooled.means.set_index("term")["estimate"].reindex(known.columns)
    return pd.DataFrame(np.tile(one.to_numpy(dtype=float), (len(known), 1)), known.index, known.columns)


def _expected(rows: pd.DataFrame, table: pd.DataFrame, names: tuple[str, ...], dip_form: Any) -> Floats:
    """Exposure times what offers make of it."""
    index = pd.MultiIndex.from_frame(rows[["store_cluster", "category"]].astype(str))
    effect = _effects(table, index, names)
    log_lift = (design(rows, names, dip_form) * effect).sum(axis=1)
    return np.asarray(rows["exposure"].to_numpy(dtype=float) * np.exp(log_lift))


def _ratio(rows: pd.DataFrame, expected: Floats, keys: list[str]) -> pd.Series:
    """Units over expected units by some keys; missing where nothing was sold or expected."""
    frame = rows[keys].astype(str).assign(units=rows["units"].to_numpy(dtype=float), expected=expected)
    sums = frame.groupby(keys)[["units", "expected"]].sum()
    return (sums["units"] / sums["expected"]).where((sums["units"] > 0) & (sums["expected"] > 0))


def _effects(wide: pd.DataFrame, index: pd.MultiIndex, names: tuple[str, ...], fill: float = 0.0) -> Floats:
    return np.asarray(wide.reindex(index=index, columns=list(names)).fillna(fill).to_numpy(dtype=float))


def _errors(category: str, forecasts: pd.DataFrame) -> list[tuple]:
    actual = forecasts["actual"].to_numpy()
    total = max(float(actual.sum()), 1e-12)
    lines = []
    for model in ("no promotion", "pooled", "own", "response"):
        mean = np.maximum(forecasts[model].to_numpy(), 1e-9)
        logs = np.where(actual > 0, actual * np.log(np.maximum(actual, 1e-9) / mean), 0.0)
        deviance = float(2 * (logs - (actual - mean)).mean())
        error = float(np.abs(actual - mean).sum() / total)
        lines.append((category, model, len(actual), total, error, deviance, float(mean.sum() / total - 1)))
    return lines
