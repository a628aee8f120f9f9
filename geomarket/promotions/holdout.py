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

    Periods are left out in blocks. What an offered SKU would have sold without its offer is its usual sales (plain
    periods) times what SKUs without an offer did in the same store cluster, category and period; each model then says
    what the offer made of it: nothing ("no promotion"), one response for everything ("pooled"), the store cluster's
    own unshrunken estimate where there is one ("own"), and the shrunken one in use ("response").

    Parameters
    ----------
    panel : DataFrame
        From :func:`geomarket.promotions.promotion_panel`. The level a SKU sells at is taken from all its plain
        periods, also those left out: the test is of the response, not of the level.
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
            parts.append(_forecasts(test, response, pooled))
    forecasts = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if forecasts.empty:
        raise NotSupportedError("hold-out: no offer was left out that could have been forecast.")
    lines = _errors("all", forecasts)
    for category, mine in forecasts.groupby("category", observed=True, sort=True):
        lines += _errors(str(category), mine)
    return pd.DataFrame(lines, columns=COLUMNS)


def _forecasts(test: pd.DataFrame, response: PromotionResponse, pooled: PromotionResponse) -> pd.DataFrame:
    """Forecasts of each model for the offers of the periods left out."""
    off = (test["depth"] == 0) & ~test["display"] & ~test["mailer"] & (test["lag_depth"] == 0)
    keys = ["store_cluster", "category", "period"]
    sums = test[off].groupby(keys, observed=True)[["units", "exposure"]].sum()
    rise = sums["units"].div(sums["exposure"].where(sums["exposure"] > 0)).rename("rise")
    on = test[(test["depth"] > 0) | test["display"] | test["mailer"]]
    on = on.merge(rise.reset_index(), on=keys, how="inner").dropna(subset=["rise"])
    on = on[on["rise"] > 0].reset_index(drop=True)
    names = tuple(name for name in term_names(test) if name != BEFORE)
    terms = design(on, names, response.dip_form)
    index = pd.MultiIndex.from_frame(on[["store_cluster", "category"]].astype(str))
    shrunk = _effects(response.coefficients(), index, names)
    raw = response.table.pivot(index=["store_cluster", "category"], columns="term", values="raw")
    one = pooled.means.set_index("term")["estimate"].reindex(list(names)).fillna(0.0).to_numpy()
    covered = response.coefficients().reindex(index)["price"].notna().to_numpy()
    base = on["exposure"].to_numpy(dtype=float) * on["rise"].to_numpy(dtype=float)
    own = np.where(
        np.isfinite(_effects(raw, index, names, np.nan)), _effects(raw, index, names, np.nan), shrunk
    )
    return pd.DataFrame(
        {
            "category": on["category"].astype(str),
            "actual": on["units"].to_numpy(dtype=float),
            "no promotion": base,
            "pooled": base * np.exp(terms @ one),
            "own": base * np.exp((terms * own).sum(axis=1)),
            "response": base * np.exp((terms * shrunk).sum(axis=1)),
        }
    )[covered]


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
