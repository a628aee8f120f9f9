"""The new-listing discount: how far forecasts for unlisted pairs run high, learnt from pairs listed later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import norm

from geomarket.demand.exposure import listing_exposure
from geomarket.demand.shrinkage import spread_of_ratios
from geomarket.errors import NotSupportedError, TableError
from geomarket.results import Result

if TYPE_CHECKING:
    from geomarket.demand.model import Demand

__all__ = ["NewListingDiscount", "learn_discount"]

_Z90 = float(norm.ppf(0.95))


@dataclass(frozen=True)
class NewListingDiscount(Result):
    """What pairs sold once listed, over what had been forecast for them.

    Attributes
    ----------
    table : DataFrame
        category ("all" first), pairs, stores, predicted, observed (units), ratio (observed over predicted, after
        the chain's growth), discount (the ratio drawn to the overall one as far as chance explains the
        difference), se, low, high (90 %).
    growth : float
        Units sold over units expected among pairs listed in both windows: taken out of the ratio.
    raw : float
        The overall ratio before growth is taken out.
    pairs : DataFrame
        store_id, sku, category, predicted, observed: the pairs it rests on.
    """

    table: pd.DataFrame
    growth: float
    raw: float
    pairs: pd.DataFrame

    @property
    def overall(self) -> float:
        """Discount over all categories (1 would mean that forecasts for unlisted pairs need none)."""
        return float(self.table["discount"].iloc[0])

    def summary(self) -> list[str]:
        """Say how large the discount is, how sure, and what it can't know."""
        row = self.table.iloc[0]
        return [
            f"New listings sold {row['discount']:.2f} of what was forecast for them (90 % interval {row['low']:.2f} to "
            f"{row['high']:.2f}, {int(row['pairs']):,} pairs listed later): forecasts for unlisted SKUs carry that "
            "discount.",
            "Listings that sold nothing at all leave no trace in sales, so the discount is rather too mild; and it is "
            "that of SKUs the stores chose to list, not of any SKU.",
        ]

    def factors(self, categories: Sequence[str] | pd.Index) -> tuple[np.ndarray, np.ndarray]:
        """Return discount and squared relative standard error for each of the given categories.

        Parameters
        ----------
        categories : sequence of str
            A category without pairs of its own gets the overall discount.

        Returns
        -------
        tuple of two ndarrays
        """
        indexed = self.table.set_index("category")
        whole = indexed.iloc[0]
        found = indexed.reindex(pd.Index(categories))
        factor = found["discount"].fillna(whole["discount"]).to_numpy()
        error = found["se"].fillna(whole["se"]).to_numpy()
        return factor, (error / factor) ** 2


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
    Ratio estimator with standard errors over stores (Cochran 1977, chapter 6); categories are drawn to the overall
    ratio by empirical Bayes.
    """
    if demand.validated:
        raise TableError("learn_discount: the demand already carries a discount. Fit it without one first.")
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
    kept, new = both[both["listed"]], both[~both["listed"]].reset_index(drop=True)
    if len(new) < min_pairs:
        raise NotSupportedError(
            f"new-listing discount: only {len(new)} pairs were listed later, {min_pairs} are asked for. "
            "Give a longer later window, or go without: forecasts for unlisted SKUs stay unvalidated."
        )
    growth = float(kept["observed"].sum() / kept["predicted"].sum()) if len(kept) else 1.0
    raw = float(new["observed"].sum() / new["predicted"].sum())
    new["predicted"] = new["predicted"] * growth
    return NewListingDiscount(
        table=_discounts(new),
        growth=growth,
        raw=raw,
        pairs=new[["store_id", "sku", "category", "predicted", "observed"]],
    )


def _discounts(new: pd.DataFrame) -> pd.DataFrame:
    groups = [("all", new), *((str(name), part) for name, part in new.groupby("category", sort=True))]
    rows = [{"category": name, **_ratio_over_stores(part)} for name, part in groups]
    table = pd.DataFrame(rows)
    whole = table.iloc[0]
    relative = table["ratio"].to_numpy()[1:] / whole["ratio"]
    noise = (table["se"].to_numpy()[1:] / whole["ratio"]) ** 2
    sure = np.isfinite(noise) & (noise > 0)
    spread = spread_of_ratios(relative[sure], noise[sure])
    belief = np.where(sure, spread / (spread + np.where(sure, noise, 1.0)), 0.0)
    table["discount"] = whole["ratio"]
    table.loc[1:, "discount"] = whole["ratio"] * (1 + belief * (relative - 1))
    error = whole["ratio"] * np.sqrt(
        np.where(sure, belief * noise, spread) + (whole["se"] / whole["ratio"]) ** 2
    )
    table.loc[1:, "se"] = error
    step = _Z90 * table["se"] / table["discount"]
    table["low"], table["high"] = table["discount"] * np.exp(-step), table["discount"] * np.exp(step)
    return table


def _ratio_over_stores(part: pd.DataFrame) -> dict[str, float]:
    sums = part.groupby("store_id")[["observed", "predicted"]].sum().to_numpy()
    observed, predicted = sums.sum(axis=0)
    ratio, n = observed / predicted, len(sums)
    residual = sums[:, 0] - ratio * sums[:, 1]
    error = np.sqrt(n / (n - 1) * (residual**2).sum()) / predicted if n > 4 else np.nan
    return {
        "pairs": len(part),
        "stores": n,
        "predicted": predicted,
        "observed": observed,
        "ratio": ratio,
        "se": error,
    }
