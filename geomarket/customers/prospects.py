"""Where to look for more customers: quadrants of the neighbourhood types, and a score for every cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import PoissonRegressor

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.results import Result

if TYPE_CHECKING:
    import folium

__all__ = ["Prospects", "quadrants", "score_prospects"]

Floats = NDArray[np.float64]
QUADRANTS = {
    (True, True): "core",
    (True, False): "developmental",
    (False, True): "niche",
    (False, False): "monitor",
}


def quadrants(table: pd.DataFrame, min_share: float | None = None, min_index: float = 100.0) -> pd.DataFrame:
    """Sort neighbourhood types by how many customers they hold and how well they are penetrated.

    Parameters
    ----------
    table : DataFrame
        neighbourhood, customer_share, index, and optionally index_low, index_high (``Penetration.table``).
    min_share : float or None
        Share of all customers from which a type is large; by default the average of the types.
    min_index : float
        Index from which a type is well penetrated.

    Returns
    -------
    DataFrame
        neighbourhood, customer_share, index, quadrant ("core": many customers and a high index; "developmental": many
        and low; "niche": few and high; "monitor": few and low; missing where the index is), certain (the index interval
        does not hold ``min_index``; False where unknown).

    Notes
    -----
    The four groups of Esri's target group reports.

    Examples
    --------
    >>> table = pd.DataFrame({"neighbourhood": ["A", "B", "C"], "customer_share": [0.6, 0.3, 0.1],
    ...     "index": [130.0, 70.0, 80.0]})
    >>> quadrants(table)["quadrant"].tolist()
    ['core', 'monitor', 'monitor']
    """
    missing = [c for c in ("neighbourhood", "customer_share", "index") if c not in table.columns]
    if missing:
        raise TableError(
            f"table: column(s) {', '.join(missing)} missing; the table of penetration() has them."
        )
    out = table[["neighbourhood", "customer_share", "index"]].copy()
    line = 1.0 / max(len(table), 1) if min_share is None else min_share
    known = out["index"].notna() & out["customer_share"].notna()
    large, strong = out["customer_share"] >= line, out["index"] >= min_index
    names = [QUADRANTS[bool(a), bool(b)] if k else None for a, b, k in zip(large, strong, known)]
    out["quadrant"] = pd.Series(names, index=out.index, dtype=object)
    if {"index_low", "index_high"} <= set(table.columns):
        out["certain"] = (table["index_low"] > min_index) | (table["index_high"] < min_index)
    else:
        out["certain"] = False
    return out


@dataclass(frozen=True)
class Prospects(Result):
    """How likely people of each cell are to be customers, judged by where they live and not by whether they are.

    Attributes
    ----------
    table : DataFrame
        cell, customers, population, rate (expected customers per head, from a model that has not seen the cell), score
        (100 = average), prospects (people not yet customers × rate). NaN where population or features are.
    lift : DataFrame
        population_share (of the best-scored cells), customer_share (of customers of those cells, all held out from
        their score), lift, low, high.
    coefficients : DataFrame
        term, coefficient (log rate; penalised, for the direction only).
    folds : int
    """

    table: pd.DataFrame
    lift: pd.DataFrame
    coefficients: pd.DataFrame
    folds: int
    confidence: float

    def summary(self) -> list[str]:
        """Return whether the score finds customers it has not seen."""
        row = self.lift.iloc[0]
        text = (
            f"The best-scored cells with {row['population_share']:.0%} of the people hold {row['customer_share']:.0%} "
            f"of the customers (lift {row['lift']:.2f}, {self.confidence:.0%} interval {row['low']:.2f} to "
            f"{row['high']:.2f}), judged on cells the score was not fitted to."
        )
        if not row["low"] > 1:
            text += " That is no better than chance: do not choose areas by it."
        return [text]

    def explore(self, column: str = "score", **options: Any) -> folium.Map:
        """Show where people like the customers live on a map that can be panned and zoomed.

        Parameters
        ----------
        column : {"score", "rate", "prospects"}
            Index (100 is average), expected customers per head, or people not yet customers times that rate.
        **options
            Passed to :func:`geomarket.explore_cells`: ``stores``, ``tooltip``, ``tiles``, ``palette``.

        Returns
        -------
        folium.Map
        """
        from geomarket.hexmap import explore_cells

        labels = {
            "score": "Prospect score (100 is average)",
            "rate": "Expected customers per head",
            "prospects": "Prospects",
        }
        if column not in labels:
            raise TableError(
                f"prospects: there is no column {column!r} to show; choose from {', '.join(labels)}."
            )
        kind = {"rate": "rate", "prospects": "count"}.get(column, "mean")
        options = {"label": labels[column], "kind": kind, "weight": "population", **options}
        return explore_cells(self.table, column, **options)

    def plot(self, ax: Any = None) -> Any:
        """Draw customers found against people approached, best-scored cells first."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(4.5, 4))[1] if ax is None else ax
        axes.plot([0, *self.lift["population_share"], 1], [0, *self.lift["customer_share"], 1], marker="o")
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
        axes.set_xlabel("Share of people, best-scored cells first")
        axes.set_ylabel("Share of customers")
        return axes


def score_prospects(
    customers: pd.DataFrame,
    cells: pd.DataFrame,
    features: Sequence[str] = ("neighbourhood",),
    base: str = "population",
    folds: int = 5,
    shares: Sequence[float] = (0.1, 0.2, 0.3, 0.5),
    penalty: float = 1e-3,
    confidence: float = 0.9,
    random_state: int = 0,
) -> Prospects:
    """Score every cell by how many customers cells like it have.

    Parameters
    ----------
    customers : DataFrame
        customer_id, cell: all customers, or the best ones only (heavy, high lifetime value).
    cells : DataFrame
        cell, ``base`` and the features: the neighbourhood type, distance to the nearest own store (``nearest_own_km``
        of ``Catchments.cells``, used as its logarithm), own_share …
    features : sequence of str
        Text columns count by level, columns ending in ``_km`` by logarithm, other numbers as they are.
    base : str
        People or households per cell.
    folds : int
        Each cell is scored by a model fitted to the cells of the other folds, drawn at random.
    shares : sequence of float
        Shares of the population at which the lift is measured.
    penalty : float
        Ridge penalty, on standardised columns.
    confidence : float
        Level of the lift's interval (bootstrap over cells).
    random_state : int
        Seed of folds and bootstrap.

    Returns
    -------
    Prospects

    Raises
    ------
    TableError
        A column is missing or a cell repeats.
    NotSupportedError
        Too few customers or cells to hold some out.

    Notes
    -----
    Poisson regression of customers per head. Cells next to one another are alike, so a random fold is an easier
    test than another town.
    """
    _check(customers, cells, features, base, folds)
    frame = cells[["cell", base, *features]].sort_values("cell", ignore_index=True)
    count = customers["cell"].value_counts()
    frame["customers"] = frame["cell"].map(count).fillna(0.0)
    people = frame[base].to_numpy(dtype=float)
    columns, terms = _design(frame, features)
    usable = (people > 0) & np.isfinite(columns).all(axis=1)
    if usable.sum() < 5 * folds or frame.loc[usable, "customers"].sum() < 5 * folds:
        n = int(frame.loc[usable, "customers"].sum())
        raise NotSupportedError(
            f"customers: {n} customers in {int(usable.sum())} usable cells are too few "
            f"for {folds} folds. Use coarser cells, fewer folds, or leave the score out."
        )
    x, y, w = columns[usable], frame.loc[usable, "customers"].to_numpy() / people[usable], people[usable]
    rng = np.random.default_rng(random_state)
    fold = rng.permutation(len(y)) % folds
    rate = np.empty(len(y))
    for f in range(folds):
        rate[fold == f] = _fit(x[fold != f], y[fold != f], w[fold != f], penalty).predict(x[fold == f])
    frame["rate"] = np.nan
    frame.loc[usable, "rate"] = rate * (y @ w) / (rate @ w)
    overall = float(y @ w / w.sum())
    frame["score"] = 100 * frame["rate"] / overall
    frame["prospects"] = (frame[base] - frame["customers"]).clip(lower=0) * frame["rate"]
    table = frame[["cell", "customers", base, "rate", "score", "prospects"]].rename(
        columns={base: "population"}
    )
    whole = _fit(x, y, w, penalty)
    lift = _lift(rate, y * w, w, shares, confidence, rng)
    coefficients = pd.DataFrame({"term": terms, "coefficient": whole.coef_})
    back = cells[["cell"]].merge(table, on="cell", how="left", validate="one_to_one")
    return Prospects(back, lift, coefficients, folds, confidence)


def _fit(x: Floats, y: Floats, w: Floats, penalty: float) -> PoissonRegressor:
    # rates are scaled to a mean of 1, so that the penalty means the same for rare and for frequent customers
    scale = float(y @ w / w.sum()) or 1.0
    model = PoissonRegressor(alpha=penalty, max_iter=1000, tol=1e-8)
    return model.fit(x, y / scale, sample_weight=w)


def _design(frame: pd.DataFrame, features: Sequence[str]) -> tuple[Floats, list[str]]:
    columns, terms = [], []
    for name in features:
        values = frame[name]
        if pd.api.types.is_numeric_dtype(values):
            number = values.to_numpy(dtype=float, na_value=np.nan)
            number = np.log(np.maximum(number, 0.1)) if name.endswith("_km") else number
            spread = np.nanstd(number)
            columns.append((number - np.nanmean(number)) / (spread if spread > 0 else 1.0))
            terms.append(f"log {name}" if name.endswith("_km") else name)
            continue
        for level in sorted(values.dropna().unique()):
            columns.append(np.where(values.isna(), np.nan, (values == level).astype(float)))
            terms.append(f"{name}={level}")
    return np.column_stack(columns), terms


def _lift(
    rate: Floats,
    customers: Floats,
    people: Floats,
    shares: Sequence[float],
    confidence: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    order = np.argsort(-rate, kind="stable")
    # equal scores take part in proportion: their order must not matter
    found = np.array([_captured(rate[order], customers[order], people[order], s) for s in shares])
    draws = np.empty((200, len(shares)))
    for i in range(len(draws)):
        pick = rng.integers(0, len(rate), len(rate))
        pick = pick[np.argsort(-rate[pick], kind="stable")]
        draws[i] = [_captured(rate[pick], customers[pick], people[pick], s) for s in shares]
    shares_ = np.asarray(shares, dtype=float)
    low, high = np.nanquantile(draws / shares_, [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
    return pd.DataFrame(
        {
            "population_share": shares_,
            "customer_share": found,
            "lift": found / shares_,
            "low": low,
            "high": high,
        }
    )


def _captured(rate: Floats, customers: Floats, people: Floats, share: float) -> float:
    """Share of customers in the best-scored cells that hold ``share`` of the people, ties taken in proportion."""
    starts = np.flatnonzero(np.append(True, np.diff(rate) != 0))
    c, p = np.add.reduceat(customers, starts), np.add.reduceat(people, starts)
    total = c.sum()
    if not total > 0:
        return np.nan
    return float(
        np.interp(share * p.sum(), np.append(0.0, np.cumsum(p)), np.append(0.0, np.cumsum(c))) / total
    )


def _check(
    customers: pd.DataFrame, cells: pd.DataFrame, features: Sequence[str], base: str, folds: int
) -> None:
    if not features or folds < 2:
        raise SettingsError(
            f"features = {list(features)}, folds = {folds}: a feature and at least 2 folds are expected."
        )
    for name, frame, needed in (
        ("customers", customers, ["cell"]),
        ("cells", cells, ["cell", base, *features]),
    ):
        missing = [c for c in needed if c not in frame.columns]
        if missing:
            raise TableError(
                f"{name}: column(s) {', '.join(missing)} missing; {', '.join(needed)} are needed."
            )
    repeated = cells["cell"].duplicated()
    if repeated.any():
        raise TableError(f"cells: {int(repeated.sum()):,} rows repeat a cell; one row each is expected.")
