"""What is known of each store, and the same as points whose distances mean something."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from geomarket.errors import NotSupportedError, SettingsError, TableError
from geomarket.results import Result

__all__ = ["DEFAULT_WEIGHTS", "StoreFeatures", "category_mix", "composition_coordinates", "store_features"]

IMPUTED_COLUMNS = ["store_id", "feature", "value", "reason"]

_log = logging.getLogger(__name__)

DEFAULT_WEIGHTS: dict[str, float] = {
    "catchment": 1.0,
    "mix": 1.0,
    "size": 0.5,
    "format": 0.5,
    "competition": 0.5,
}
"""Share of the squared distance each block of features gets, relative to the others."""


@dataclass(frozen=True)
class StoreFeatures(Result):
    """What is known of each store, and the same as points whose distances mean something.

    Attributes
    ----------
    table : DataFrame
        store_id and one column per feature in its natural unit (shares 0..1, m², 0/1).
    coordinates : DataFrame
        Index store_id, one column per feature: transformed and centred; every block has total variance 1.
    features : DataFrame
        feature, block, label: what each column is.
    imputed : DataFrame
        store_id, feature, value, reason: what had to be filled in (``value`` in the unit of ``table``).
    dropped : DataFrame
        block, reason: blocks that can't tell stores apart.
    """

    table: pd.DataFrame
    coordinates: pd.DataFrame
    features: pd.DataFrame
    imputed: pd.DataFrame
    dropped: pd.DataFrame

    def summary(self) -> list[str]:
        """Say how the stores are described, what was filled in and what was not used."""
        blocks = self.features["block"].drop_duplicates().tolist()
        lines = [
            f"{len(self.table):,} stores described by {len(self.features)} features in {len(blocks)} blocks: "
            + ", ".join(blocks)
            + "."
        ]
        if len(self.imputed):
            lines.append(
                f"{self.imputed['store_id'].nunique():,} stores lack something and got a typical value instead "
                "(listed in .imputed)."
            )
        lines += [f"Not used: {row.block} ({row.reason})." for row in self.dropped.itertuples()]
        return lines

    def points(self, weights: Mapping[str, float] | None = None) -> pd.DataFrame:
        """Return the coordinates with each block weighted: a weight is a share of the squared distance.

        Parameters
        ----------
        weights : mapping of block to weight (>= 0), optional
            Blocks not named keep :data:`DEFAULT_WEIGHTS`.

        Raises
        ------
        SettingsError
            If a block is unknown or a weight negative, or if no weight is left. Name blocks of
            ``.features["block"]``.
        """
        known = [*DEFAULT_WEIGHTS, *self.features["block"].unique()]
        given = dict(weights or {})
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise SettingsError(
                f"store cluster weights: unknown block {unknown[0]!r}. Blocks are {', '.join(sorted(set(known)))}."
            )
        if any(not np.isfinite(weight) or weight < 0 for weight in given.values()):
            raise SettingsError("store cluster weights must be numbers of 0 or more.")
        use = {**DEFAULT_WEIGHTS, **given}
        factor = np.sqrt([use.get(block, 1.0) for block in self.features["block"]])
        if not (factor > 0).any():
            raise SettingsError("store cluster weights are all 0: give at least one block a positive weight.")
        return self.coordinates * factor


def composition_coordinates(
    shares: np.ndarray, method: Literal["hellinger", "clr"] = "hellinger", floor: float = 0.5
) -> np.ndarray:
    """Map compositions to points.

    ``hellinger``: square roots of the shares, so that straight-line distance is √2 times the Hellinger distance;
    zeros are fine. ``clr``: centred log-ratios after zeros are replaced by ``floor`` times the smallest positive
    share of their column and the row is closed again; small shares then weigh as much as large ones.

    Parameters
    ----------
    shares : ndarray of shape (n, p)
        Amounts or shares >= 0; each row is scaled to sum to 1, so the size of a store plays no part.
    method : {"hellinger", "clr"}
        Which points.
    floor : float
        Fraction of a column's smallest positive share that stands in for a zero (CLR only).

    Returns
    -------
    ndarray of shape (n, p)

    Raises
    ------
    TableError
        If an amount is negative or missing, or a row sums to 0. Leave such rows out first.

    Notes
    -----
    Hellinger (1909); Legendre & Gallagher (2001) for its use as a transformation; Aitchison (1986) for CLR;
    Martín-Fernández, Barceló-Vidal & Pawlowsky-Glahn (2003) for multiplicative replacement.

    Examples
    --------
    >>> composition_coordinates(np.array([[1.0, 3.0], [20.0, 60.0]])).round(3)
    array([[0.5  , 0.866],
           [0.5  , 0.866]])
    """
    amounts = np.asarray(shares, dtype=float)
    total = amounts.sum(axis=1, keepdims=True)
    if not np.isfinite(amounts).all() or (amounts < 0).any() or (total <= 0).any():
        raise TableError(
            "compositions must be amounts of 0 or more, none missing, with a positive sum in every row."
        )
    closed = amounts / total
    if method == "hellinger":
        return np.sqrt(closed)
    if method != "clr":
        raise SettingsError(f"composition method {method!r} is not known. Use 'hellinger' or 'clr'.")
    positive = np.where(closed > 0, closed, np.inf).min(axis=0)
    smallest = np.where(np.isfinite(positive), positive, 1.0)
    tiny = np.where(closed > 0, 0.0, floor * smallest)
    # Multiplicative replacement: what the zeros receive is taken from the others in proportion, ratios kept.
    replaced = np.where(closed > 0, closed * (1 - tiny.sum(axis=1, keepdims=True)), tiny)
    logs = np.log(replaced)
    return logs - logs.mean(axis=1, keepdims=True)


def category_mix(sales: pd.DataFrame, products: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each category in each store's revenue.

    Parameters
    ----------
    sales : DataFrame
        store_id, sku, revenue (any grain; summed).
    products : DataFrame
        sku, category.

    Returns
    -------
    DataFrame
        store_id, category, revenue, share; a store without positive revenue is absent.

    Examples
    --------
    >>> sales = pd.DataFrame({"store_id": ["1", "1"], "sku": ["a", "b"], "revenue": [30.0, 10.0]})
    >>> products = pd.DataFrame({"sku": ["a", "b"], "category": ["tea", "milk"]})
    >>> category_mix(sales, products)[["category", "share"]].values.tolist()
    [['milk', 0.25], ['tea', 0.75]]
    """
    category = products.set_index("sku")["category"]
    unknown = sorted(set(sales["sku"]) - set(category.index))
    if unknown:
        raise TableError(
            f"sales: {len(unknown)} SKUs are not in products ({', '.join(unknown[:3])}). Add them to products."
        )
    revenue = sales["revenue"].astype(float).to_numpy()
    frame = pd.DataFrame(
        {
            "store_id": sales["store_id"].to_numpy(),
            "category": sales["sku"].map(category).to_numpy(),
            "revenue": revenue,
        }
    )
    mix = frame.groupby(["store_id", "category"], as_index=False, sort=True)["revenue"].sum()
    mix["revenue"] = mix["revenue"].clip(lower=0.0)
    total = mix.groupby("store_id")["revenue"].transform("sum")
    mix["share"] = mix["revenue"] / total
    return mix[total > 0].reset_index(drop=True)


def store_features(
    profile: pd.DataFrame | None,
    mix: pd.DataFrame | None,
    stores: pd.DataFrame,
    *,
    competition: pd.Series | pd.DataFrame | None = None,
    extra: pd.DataFrame | None = None,
    labels: Mapping[str, str] | None = None,
    composition: Literal["hellinger", "clr"] = "hellinger",
    size_column: str = "size_m2",
) -> StoreFeatures:
    """Describe every store by catchment, category mix, size, format, competition and whatever else is known.

    Parameters
    ----------
    profile : DataFrame or None
        store_id, neighbourhood, share: neighbourhood mix of each store's catchment.
    mix : DataFrame or None
        store_id, category and share (or revenue): category mix of each store's trade.
    stores : DataFrame
        store_id; ``size_column`` (m²) and ``format`` where known. Every store of it is described.
    competition : Series (index store_id) or DataFrame (store_id and one or more figures), optional
        How much competition each store meets, in any unit.
    extra : DataFrame, optional
        store_id and further columns, each a block of its own name: figures (income of the catchment, parking spaces)
        are scaled to variance 1, words (region, owner) become a share of 0 or 1 each. A column that can tell what a
        store turns over is refused.
    labels : mapping of str to str, optional
        Readable name of a neighbourhood code, category or extra column.
    composition : {"hellinger", "clr"}
        See :func:`composition_coordinates`.
    size_column : str
        Column of ``stores`` that holds its size.

    Returns
    -------
    StoreFeatures
        Stores in the order of their id. A store without a catchment profile or without trade gets the chain's
        mean mix, an unknown size the median size of its format; both are listed in ``.imputed``. Revenue is not
        a feature.

    Raises
    ------
    TableError
        If store ids repeat, or if a table names stores that are not in ``stores``.
    SettingsError
        If an extra column is revenue by its name, or has the name of another block. Leave it out, or rename it.
    NotSupportedError
        If no block can tell the stores apart.
    """
    ids = _store_ids(stores)
    blocks: list[_Block] = []
    names = dict(labels or {})
    if profile is not None:
        wide = _wide(profile, "profile", "neighbourhood", "share", ids)
        blocks.append(_composition_block("catchment", wide, names, composition))
    if mix is not None:
        amount = "revenue" if "revenue" in mix.columns else "share"
        wide = _wide(mix, "mix", "category", amount, ids)
        blocks.append(_composition_block("mix", wide, names, composition))
    blocks.append(_size_block(stores, ids, size_column))
    blocks.append(_format_block(stores, ids))
    if competition is not None:
        blocks.append(_competition_block(competition, ids))
    if extra is not None:
        blocks += _extra_blocks(extra, ids, names)

    dropped: list[tuple[str, str]] = []
    kept: list[_Block] = []
    for block in blocks:
        if block.reason:
            dropped.append((block.name, block.reason))
        elif not np.isfinite(block.scale()) or block.scale() <= 1e-12:
            dropped.append((block.name, "the same for every store"))
        else:
            kept.append(block)
    if not kept:
        raise NotSupportedError(
            "no feature tells the stores apart: " + "; ".join(f"{name}: {why}" for name, why in dropped)
        )
    for name, why in dropped:
        _log.info("store feature block %s not used: %s", name, why)
    return StoreFeatures(
        table=pd.concat([block.raw for block in kept], axis=1).rename_axis("store_id").reset_index(),
        coordinates=pd.concat([block.scaled() for block in kept], axis=1).rename_axis("store_id"),
        features=pd.concat([block.features() for block in kept], ignore_index=True),
        imputed=pd.concat([block.imputed for block in kept], ignore_index=True),
        dropped=pd.DataFrame(dropped, columns=["block", "reason"]),
    )


@dataclass
class _Block:
    """One block of features on its way to StoreFeatures; frames share one index of store ids."""

    name: str
    raw: pd.DataFrame
    points: pd.DataFrame
    labels: dict[str, str]
    imputed: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=IMPUTED_COLUMNS))
    reason: str = ""

    def scale(self) -> float:
        return float(np.sqrt(self.points.var(ddof=0).sum()))

    def scaled(self) -> pd.DataFrame:
        return (self.points - self.points.mean()) / self.scale()

    def features(self) -> pd.DataFrame:
        columns = list(self.raw.columns)
        return pd.DataFrame(
            {"feature": columns, "block": self.name, "label": [self.labels.get(c, c) for c in columns]}
        )


def _store_ids(stores: pd.DataFrame) -> pd.Index:
    if "store_id" not in stores.columns:
        raise TableError("stores: column 'store_id' is missing.")
    repeated = stores.loc[stores["store_id"].duplicated(), "store_id"].unique()
    if len(repeated):
        raise TableError(
            f"stores: store_id repeats ({', '.join(map(str, repeated[:3]))}). Keep one row per store."
        )
    if stores.empty:
        raise TableError("stores: the table is empty. Give at least one store.")
    return pd.Index(sorted(stores["store_id"].astype(str)), name="store_id")


def _wide(long: pd.DataFrame, table: str, key: str, amount: str, ids: pd.Index) -> pd.DataFrame:
    missing = [column for column in ("store_id", key, amount) if column not in long.columns]
    if missing:
        raise TableError(f"{table}: column '{missing[0]}' is missing. Expected store_id, {key}, {amount}.")
    usable = long.loc[long[key].notna() & long[amount].notna()]
    unknown = sorted(set(usable["store_id"].astype(str)) - set(ids))
    if unknown:
        raise TableError(
            f"{table}: {len(unknown)} stores are not in stores ({', '.join(unknown[:3])}). Leave them out or add them."
        )
    if (usable[amount].astype(float) < 0).any():
        raise TableError(f"{table}: {amount} has negative values. Net or drop them first.")
    wide = usable.pivot_table(index="store_id", columns=key, values=amount, aggfunc="sum", fill_value=0.0)
    return wide.astype(float).sort_index(axis=1).reindex(ids)


def _composition_block(
    name: str, wide: pd.DataFrame, labels: Mapping[str, str], method: Literal["hellinger", "clr"]
) -> _Block:
    total = wide.sum(axis=1, min_count=1)
    known = (total > 0).to_numpy()
    columns = [f"{name}:{column}" for column in wide.columns]
    named = {f"{name}:{column}": labels.get(str(column), str(column)) for column in wide.columns}
    raw = pd.DataFrame(np.nan, index=wide.index, columns=columns)
    if not known.any() or len(columns) < 2:
        return _Block(name, raw, raw.copy(), named, reason="fewer than two kinds, or known for no store")
    values = wide.to_numpy()
    shares = values[known] / values[known].sum(axis=1, keepdims=True)
    typical = shares.mean(axis=0)
    raw.loc[known] = shares
    raw.loc[~known] = typical
    points = pd.DataFrame(composition_coordinates(raw.to_numpy(), method), index=raw.index, columns=columns)
    imputed = pd.DataFrame(
        {
            "store_id": wide.index[~known],
            "feature": name,
            "value": np.nan,
            "reason": f"no {name} known: the chain's mean {name} taken",
        }
    )
    return _Block(name, raw, points, named, imputed)


def _size_block(stores: pd.DataFrame, ids: pd.Index, column: str) -> _Block:
    indexed = stores.assign(store_id=stores["store_id"].astype(str)).set_index("store_id").reindex(ids)
    feature = f"size:{column}"
    size = indexed[column].astype(float) if column in indexed.columns else pd.Series(np.nan, index=ids)
    if size.isna().all():
        frame = pd.DataFrame({feature: size})
        return _Block("size", frame, frame, {feature: "store size"}, reason="size is known for no store")
    if (size <= 0).any():
        raise TableError(f"stores: {column} must be positive, or missing where unknown.")
    unknown = size.isna()
    filled = size
    if unknown.any():
        if "format" in indexed.columns:
            filled = filled.fillna(size.groupby(indexed["format"].fillna("unknown")).transform("median"))
        filled = filled.fillna(size.median())
    imputed = pd.DataFrame(
        {
            "store_id": ids[unknown.to_numpy()],
            "feature": feature,
            "value": filled[unknown].to_numpy(),
            "reason": "size unknown: median of the stores of its format taken",
        }
    )
    raw = pd.DataFrame({feature: filled})
    points = pd.DataFrame({feature: np.log(filled)})
    return _Block("size", raw, points, {feature: "store size"}, imputed)


def _format_block(stores: pd.DataFrame, ids: pd.Index) -> _Block:
    indexed = stores.assign(store_id=stores["store_id"].astype(str)).set_index("store_id").reindex(ids)
    if "format" not in indexed.columns or indexed["format"].isna().all():
        empty = pd.DataFrame({"format:unknown": np.nan}, index=ids)
        return _Block("format", empty, empty, {}, reason="format is known for no store")
    formats = indexed["format"].fillna("unknown").astype(str)
    raw = pd.get_dummies(formats, dtype=float).sort_index(axis=1)
    labels = {f"format:{column}": f"{column} format" for column in raw.columns}
    raw.columns = [f"format:{column}" for column in raw.columns]
    return _Block("format", raw, raw, labels)


def _competition_block(competition: pd.Series | pd.DataFrame, ids: pd.Index) -> _Block:
    if isinstance(competition, pd.Series):
        frame = competition.to_frame(str(competition.name or "competition"))
    else:
        frame = competition.set_index("store_id")
    frame = frame.astype(float)
    frame.index = frame.index.astype(str)
    unknown = sorted(set(frame.index) - set(ids))
    if unknown:
        raise TableError(f"competition: {len(unknown)} stores are not in stores ({', '.join(unknown[:3])}).")
    labels = {f"competition:{column}": str(column).replace("_", " ") for column in frame.columns}
    frame.columns = [f"competition:{column}" for column in frame.columns]
    raw = frame.reindex(ids)
    gaps = raw.isna()
    filled = raw.fillna(raw.median())
    store, column = np.nonzero(gaps.to_numpy())
    imputed = pd.DataFrame(
        {
            "store_id": ids[store],
            "feature": raw.columns[column],
            "value": filled.to_numpy()[store, column],
            "reason": "unknown: the chain's median taken",
        }
    )
    spread = filled.std(ddof=0)
    return _Block("competition", filled, filled / spread.where(spread > 0, 1.0), labels, imputed)


def _extra_blocks(extra: pd.DataFrame, ids: pd.Index, labels: Mapping[str, str]) -> list[_Block]:
    frame = extra.assign(store_id=extra["store_id"].astype(str)).set_index("store_id")
    unknown = sorted(set(frame.index) - set(ids))
    if unknown:
        raise TableError(f"extra: {len(unknown)} stores are not in stores ({', '.join(unknown[:3])}).")
    for column in frame.columns:
        if column in DEFAULT_WEIGHTS:
            raise SettingsError(
                f"store feature {column!r} has the name of a block of its own: rename the column."
            )
        if _tells_revenue(str(column)):
            raise SettingsError(
                f"store feature {column!r}: revenue and volume are kept out of store clusters. A cluster of stores "
                "that sell a lot is a grade, not a description of what its customers want."
            )
    frame = frame.reindex(ids)
    return [_extra_block(str(column), frame[column], labels.get(str(column))) for column in frame.columns]


def _tells_revenue(name: str) -> bool:
    words = set(name.lower().replace("-", "_").split("_"))
    return bool(words & {"revenue", "sales", "turnover", "takings", "units", "margin", "profit", "umsatz"})


def _extra_block(name: str, values: pd.Series, label: str | None) -> _Block:
    readable = label or name.replace("_", " ")
    if pd.api.types.is_numeric_dtype(values):
        figures = values.astype(float)
        raw = figures.fillna(figures.median()).to_frame(name)
        imputed = pd.DataFrame(
            {
                "store_id": values.index[values.isna()],
                "feature": name,
                "value": raw.loc[values.isna(), name].to_numpy(),
                "reason": "unknown: the chain's median taken",
            }
        )
        known = figures.notna().any()
        return _Block(name, raw, raw, {name: readable}, imputed, "" if known else "known for no store")
    words = values.fillna("unknown").astype(str)
    raw = pd.get_dummies(words, dtype=float).sort_index(axis=1)
    labels = {f"{name}:{column}": f"{readable} {column}" for column in raw.columns}
    raw.columns = [f"{name}:{column}" for column in raw.columns]
    return _Block(name, raw, raw, labels, reason="" if values.notna().any() else "known for no store")
