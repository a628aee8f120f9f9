"""The new-listing discount: how far forecasts for unlisted pairs run high, learnt from pairs listed later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import norm

from geomarket.demand.exposure import listing_exposure
from geomarket.demand.shrinkage import fit_scatter, spread_of_ratios
from geomarket.errors import NotSupportedError, TableError
from geomarket.results import Result

if TYPE_CHECKING:
    from geomarket.demand.model import Demand

__all__ = ["NewListingDiscount", "learn_discount"]

_Z90 = float(norm.ppf(0.95))

_SLOPE_SD = 0.5
"""Prior standard deviation of the slopes: with little evidence forecasts keep their spread."""


@dataclass(frozen=True)
class NewListingDiscount(Result):
    """What pairs sold once listed, over what had been forecast for them.

    Attributes
    ----------
    table : DataFrame
        category ("all" first), pairs, stores, predicted, observed (units), ratio (observed over predicted, after the
        chain's growth), discount (factor on a typical forecast of the category, categories drawn to the whole as far
        as chance explains the difference), se, low, high (90%), typical (units per period the category's forecasts
        are measured against).
    slopes : DataFrame
        term ("rank": log of the forecast over the category's typical one; "breadth": log of the share of stores that
        list the SKU), slope (of the log factor), se, lowest, highest (range of the term seen; beyond it the factor
        stays level, except for forecasts above it).
    growth : float
        Units sold over units expected among pairs listed in both windows: taken out of the ratio.
    raw : float
        The overall ratio before growth is taken out.
    pairs : DataFrame
        store_id, sku, category, predicted, observed, factor: the pairs it rests on.
    """

    table: pd.DataFrame
    slopes: pd.DataFrame
    growth: float
    raw: float
    pairs: pd.DataFrame

    @property
    def overall(self) -> float:
        """Units sold over units forecast, over all new listings (1 would mean that no discount is needed)."""
        return float(self.table["ratio"].iloc[0])

    def summary(self) -> list[str]:
        """Say how large the discount is, how sure, and what it can't know."""
        row = self.table.iloc[0]
        slope = float(self.slopes["slope"].iloc[0])
        spread = np.exp(_Z90 * row["se"])
        return [
            f"New listings sold {row['ratio']:.2f} of what was forecast for them (90% interval "
            f"{row['ratio'] / spread:.2f} to {row['ratio'] * spread:.2f}, {int(row['pairs']):,} pairs listed later): "
            "forecasts for unlisted SKUs carry that discount.",
            f"A forecast twice as high sold {2 ** (1 + slope):.2f} times as much: the factor on a forecast depends on "
            "how high it is and on how many stores list the SKU.",
            "Listings that sold nothing at all leave no trace in sales, so the discount is rather too mild, and it "
            "never raises a forecast; and it is that of SKUs the stores chose to list, not of any SKU.",
        ]

    def factors(
        self, forecast: np.ndarray, categories: Sequence[str] | pd.Index, breadth: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the factor on each forecast, and its squared relative standard error.

        Parameters
        ----------
        forecast : ndarray of shape (n_stores, n_skus)
            Units per period before the discount.
        categories : sequence of str, length n_skus
            Category of each SKU; one without new listings of its own gets the overall discount.
        breadth : ndarray of shape (n_skus,)
            Share of stores that list the SKU, 0 to 1.

        Returns
        -------
        factor : ndarray of shape (n_stores, n_skus)
            At most 1.
        cv2 : ndarray of shape (n_skus,)
            At the SKU's mean forecast.
        """
        indexed = self.table.set_index("category")
        found = indexed.reindex(pd.Index(categories))
        filled = {
            name: found[name].fillna(indexed[name].iloc[0]).to_numpy()
            for name in ("discount", "se", "typical")
        }
        terms = self._terms(forecast, filled["typical"], breadth)
        log = sum(slope * term for slope, term in zip(self.slopes["slope"], terms))
        middle = [term.mean(axis=0) if term.ndim == 2 else term for term in terms]
        cv2 = filled["se"] ** 2 + sum((se * term) ** 2 for se, term in zip(self.slopes["se"], middle))
        return np.minimum(filled["discount"] * np.exp(log), 1.0), np.asarray(cv2)

    def _terms(self, forecast: np.ndarray, typical: np.ndarray, breadth: np.ndarray) -> list[np.ndarray]:
        rank = np.log(np.maximum(np.nan_to_num(forecast), 1e-12) / typical)
        both = [rank, np.broadcast_to(np.log(np.maximum(breadth, 1e-6)), forecast.shape)]
        limits = self.slopes[["lowest", "highest"]].to_numpy()
        # Above the highest forecast seen the line goes on: what an optimiser picks lies there, and caution is cheap.
        return [np.clip(rank, limits[0, 0], None), np.clip(both[1], limits[1, 0], limits[1, 1])]


def learn_discount(
    demand: Demand,
    later: pd.DataFrame,
    n_periods: int,
    *,
    calendar: Sequence[Any] | None = None,
    exposure: Literal["extended", "span", "window"] = "extended",
    min_pairs: int = 100,
) -> NewListingDiscount:
    """Compare forecasts for unlisted pairs with what those listed later sold.

    The factor depends on the category, on how high the forecast is (an optimiser picks the highest, and those are
    the most flattered by chance) and on how many stores list the SKU.

    Parameters
    ----------
    demand : Demand
        Fitted on an earlier window, without a discount.
    later : DataFrame
        Sales per pair in a later window, as :func:`~geomarket.demand.model.fit_demand` takes them.
    n_periods : int
        Periods in the later window.
    calendar : sequence of dates, optional
        The later window's periods.
    exposure : {"extended", "span", "window"}
        How the time on the shelf is judged.
    min_pairs : int
        Fewer new pairs than this don't support a discount.

    Returns
    -------
    NewListingDiscount

    Raises
    ------
    NotSupportedError
        If too few pairs were listed later. Leave the discount out: forecasts are then called unvalidated.
    TableError
        If ``demand`` already carries a discount.

    Notes
    -----
    Slopes by quasi-likelihood with variance dispersion × mean + heterogeneity × mean² (McCullagh & Nelder 1989,
    chapter 9), drawn to 0 by a normal prior; standard errors over stores. Categories are drawn to the overall ratio by
    empirical Bayes. A calibration slope below 1 is what regression to the mean gives (Copas 1983).
    """
    if demand.validated:
        raise TableError("learn_discount: the demand already carries a discount. Fit it without one first.")
    both = _matched(demand, later, n_periods, calendar, exposure)
    kept, new = both[both["listed"]], both[~both["listed"]].reset_index(drop=True)
    if len(new) < min_pairs:
        raise NotSupportedError(
            f"new-listing discount: only {len(new)} pairs were listed later, {min_pairs} are asked for. "
            "Give a longer later window, or go without: forecasts for unlisted SKUs stay unvalidated."
        )
    growth = float(kept["observed"].sum() / kept["predicted"].sum()) if len(kept) else 1.0
    raw = float(new["observed"].sum() / new["predicted"].sum())
    new["predicted"] = new["predicted"] * growth
    typical = new.groupby("category")["units"].median()
    new["rank"] = np.log(new["units"] / new["category"].map(typical))
    n_stores = demand.table["store_id"].nunique()
    listing = demand.table.groupby("sku")["listed"].sum()
    new["breadth"] = np.log(new["sku"].map(listing) / n_stores)
    slopes = _slopes(new)
    limits = slopes[["lowest", "highest"]].to_numpy()
    held = np.column_stack(
        [new["rank"].clip(lower=limits[0, 0]), new["breadth"].clip(limits[1, 0], limits[1, 1])]
    )
    fitted = np.exp(held @ slopes["slope"].to_numpy())
    new["sloped"] = new["predicted"] * fitted
    table = _discounts(new)
    table["typical"] = [float(new["units"].median()), *typical.sort_index()]
    new["factor"] = np.minimum(new["category"].map(table.set_index("category")["discount"]) * fitted, 1.0)
    return NewListingDiscount(
        table=table,
        slopes=slopes,
        growth=growth,
        raw=raw,
        pairs=new[["store_id", "sku", "category", "predicted", "observed", "factor"]],
    )


def _matched(
    demand: Demand,
    later: pd.DataFrame,
    n_periods: int,
    calendar: Sequence[Any] | None,
    exposure: Literal["extended", "span", "window"],
) -> pd.DataFrame:
    """Return what was forecast and what was seen for the later window's pairs known to the earlier one."""
    frame = later.sort_values(["store_id", "sku"], kind="stable", ignore_index=True)
    if "exposure" in frame.columns:
        listed_for = frame["exposure"].to_numpy(dtype=float)
    else:
        listed_for = listing_exposure(frame, n_periods, calendar=calendar, method=exposure)
    seen = pd.DataFrame(
        {
            "store_id": frame["store_id"],
            "sku": frame["sku"],
            "observed": np.maximum(frame["units"].to_numpy(dtype=float), 0.0),
            "periods": listed_for,
        }
    )
    columns = ["store_id", "sku", "category", "listed", "units"]
    both = seen.merge(demand.table[columns], on=["store_id", "sku"], how="inner", validate="one_to_one")
    both = both[(both["units"] > 0) & (both["periods"] > 0)]
    both["predicted"] = both["units"] * both["periods"]
    return both


def _slopes(new: pd.DataFrame, rounds: int = 30) -> pd.DataFrame:
    """Fit log(observed / predicted) = level + rank slope + breadth slope by penalised quasi-likelihood."""
    terms = new[["rank", "breadth"]].to_numpy()
    limits = np.quantile(terms, [0.01, 0.99], axis=0)
    x = np.column_stack([np.ones(len(new)), np.clip(terms, *limits)])
    penalty = np.diag([0.0, _SLOPE_SD**-2, _SLOPE_SD**-2])
    observed, predicted = new["observed"].to_numpy(), new["predicted"].to_numpy()
    beta = np.array([np.log(observed.sum() / predicted.sum()), 0.0, 0.0])
    for _ in range(rounds):
        mean = predicted * np.exp(x @ beta)
        weight = mean**2 / fit_scatter(observed, mean, lost=3.0).variance(mean)
        information = (x.T * weight) @ x + penalty
        step = np.linalg.solve(information, x.T @ (weight * (observed - mean) / mean) - penalty @ beta)
        beta = beta + step * min(1.0, 1.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-6:
            break
    mean = predicted * np.exp(x @ beta)
    score = x * (mean / fit_scatter(observed, mean, lost=3.0).variance(mean) * (observed - mean))[:, None]
    by_store = pd.DataFrame(score).groupby(new["store_id"].to_numpy()).sum().to_numpy()
    spread = np.linalg.inv(information)
    n = len(by_store)
    covariance = spread @ (by_store.T @ by_store) @ spread * (n / max(n - 1, 1))
    return pd.DataFrame(
        {
            "term": ["rank", "breadth"],
            "slope": beta[1:],
            "se": np.sqrt(np.diag(covariance))[1:],
            "lowest": limits[0],
            "highest": limits[1],
        }
    )


def _discounts(new: pd.DataFrame) -> pd.DataFrame:
    groups = [("all", new), *((str(name), part) for name, part in new.groupby("category", sort=True))]
    table = pd.DataFrame([{"category": name, **_ratio_over_stores(part)} for name, part in groups])
    level, relative_error = table["level"].to_numpy(), table["se"].to_numpy()
    relative, noise = level[1:] / level[0], relative_error[1:] ** 2
    sure = np.isfinite(noise) & (noise > 0)
    spread = spread_of_ratios(relative[sure], noise[sure])
    belief = np.where(sure, spread / (spread + np.where(sure, noise, 1.0)), 0.0)
    whole_error = relative_error[0] if np.isfinite(relative_error[0]) else 1.0
    table["discount"] = np.concatenate([[level[0]], level[0] * (1 + belief * (relative - 1))])
    left = np.where(sure, belief * np.where(sure, noise, 0.0), spread)
    table["se"] = np.concatenate([[whole_error], np.sqrt(left + whole_error**2)])
    table["low"] = table["discount"] * np.exp(-_Z90 * table["se"])
    table["high"] = table["discount"] * np.exp(_Z90 * table["se"])
    return table.drop(columns="level")


def _ratio_over_stores(part: pd.DataFrame) -> dict[str, float]:
    """Return observed over predicted, the same after the slopes, and its relative standard error over stores."""
    sums = part.groupby("store_id")[["observed", "predicted", "sloped"]].sum().to_numpy()
    observed, predicted, sloped = sums.sum(axis=0)
    n = len(sums)
    residual = sums[:, 0] - observed / sloped * sums[:, 2]
    error = np.sqrt(n / (n - 1) * (residual**2).sum()) / observed if n > 4 and observed > 0 else np.nan
    return {
        "pairs": len(part),
        "stores": n,
        "predicted": predicted,
        "observed": observed,
        "ratio": observed / predicted,
        "level": observed / sloped,
        "se": error,
    }
