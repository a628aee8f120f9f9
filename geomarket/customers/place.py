"""Customers on the map: their cells, and how well each kind of neighbourhood is penetrated."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from geomarket.errors import SettingsError, TableError
from geomarket.hexes.cells import points_to_cells
from geomarket.results import Result
from geomarket.safeguards import suppress

if TYPE_CHECKING:
    import folium

__all__ = [
    "Penetration",
    "PlacedCustomers",
    "index_interval",
    "penetration",
    "place_customers",
    "wilson_interval",
]

_log = logging.getLogger(__name__)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PlacedCustomers(Result):
    """Customers with their cell, and those who could not be placed.

    Attributes
    ----------
    table : DataFrame
        customer_id, cell (int64).
    unplaced : DataFrame
        customer_id, reason.
    """

    table: pd.DataFrame
    unplaced: pd.DataFrame

    def summary(self) -> list[str]:
        """Return how many customers are on the map and why the others are not."""
        total = len(self.table) + len(self.unplaced)
        lines = [f"{len(self.table):,} of {total:,} customers are on the map."]
        for reason, n in self.unplaced["reason"].value_counts().items():
            lines.append(f"{n:,} customers are not: {reason}.")
        return lines


def place_customers(
    customers: pd.DataFrame, resolution: int, cells: ArrayLike | None = None
) -> PlacedCustomers:
    """Find the cell every customer lives in.

    Parameters
    ----------
    customers : DataFrame
        customer_id, lon, lat (degrees).
    resolution : int
        H3 resolution of the plan.
    cells : array_like of int64, optional
        Cells of the plan; customers outside them are returned as unplaced.

    Returns
    -------
    PlacedCustomers

    Raises
    ------
    TableError
        A column is missing or a customer repeats.

    Examples
    --------
    >>> customers = pd.DataFrame({"customer_id": ["a", "b"], "lon": [5.0, np.nan], "lat": [52.0, 52.0]})
    >>> placed = place_customers(customers, resolution=8)
    >>> placed.table["customer_id"].tolist(), placed.unplaced["reason"].tolist()
    (['a'], ['no coordinates'])
    """
    missing = [c for c in ("customer_id", "lon", "lat") if c not in customers.columns]
    if missing:
        raise TableError(
            f"customers: column(s) {', '.join(missing)} missing; customer_id, lon and lat are needed."
        )
    repeated = customers["customer_id"].duplicated()
    if repeated.any():
        first = ", ".join(customers.loc[repeated, "customer_id"].astype(str).head(3))
        raise TableError(
            f"customers: {int(repeated.sum()):,} rows repeat a customer_id ({first}); keep one of each."
        )
    reason = pd.Series("", index=customers.index, dtype=str)
    known = customers["lon"].between(-180, 180) & customers["lat"].between(-90, 90)
    reason[~known] = "no coordinates"
    located = customers.loc[known]
    cell = pd.Series(points_to_cells(located["lon"], located["lat"], resolution), index=located.index)
    if cells is not None:
        outside = ~cell.isin(np.asarray(cells))
        reason[cell.index[outside]] = "outside the plan's area"
        cell = cell[~outside]
    table = pd.DataFrame(
        {"customer_id": customers.loc[cell.index, "customer_id"].to_numpy(), "cell": cell.to_numpy(np.int64)}
    )
    lost = reason != ""
    unplaced = pd.DataFrame(
        {"customer_id": customers.loc[lost, "customer_id"].to_numpy(), "reason": reason[lost].to_numpy()}
    )
    return PlacedCustomers(table=table, unplaced=unplaced)


@dataclass(frozen=True)
class Penetration(Result):
    """How many of the people of each neighbourhood type and cell are customers.

    Attributes
    ----------
    table : DataFrame
        neighbourhood, name, customers, population, customer_share, population_share, penetration, low, high
        (Wilson), index (100 = all types together), index_low, index_high (log-ratio), heavy, heavy_share,
        revenue, margin. NaN where undefined.
    cells : DataFrame
        cell, customers, revenue, margin, penetration.
    unplaced : int or None
        Customers in a cell without a type: in no type's count. None where hidden.
    outside : int or None
        Customers without a cell: in no count at all. None where hidden.
    heavy_elsewhere : tuple of int or None
        Heavy customers among the unplaced and among those outside. None where hidden.
    confidence : float
    k : int or None
        Threshold below which counts are already hidden; None for the full figures.
    notes : tuple of str
    """

    table: pd.DataFrame
    cells: pd.DataFrame
    unplaced: int | None
    confidence: float
    k: int | None = None
    notes: tuple[str, ...] = field(default=())
    outside: int | None = 0
    heavy_elsewhere: tuple[int | None, int | None] = (0, 0)

    def summary(self) -> list[str]:
        """Return where customers are over- and under-represented."""
        shown = self.table.dropna(subset=["index_low", "index_high"])
        above = shown[shown["index_low"] > 100].sort_values("index", ascending=False)
        below = shown[shown["index_high"] < 100].sort_values("index")
        lines = [_named("More customers than average live in", above), _named("Fewer live in", below)]
        return [line for line in lines if line] + list(self.notes)

    def plot(self, ax: Any = None) -> Any:
        """Draw the index of each type with its interval; 100 is the average of all types."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(6, 0.35 * len(self.table) + 1))[1] if ax is None else ax
        rows = self.table.dropna(subset=["index"])[::-1]
        position = np.arange(len(rows))
        spread = np.vstack((rows["index"] - rows["index_low"], rows["index_high"] - rows["index"]))
        axes.errorbar(rows["index"], position, xerr=np.nan_to_num(spread), fmt="o")
        axes.axvline(100, color="0.6", linewidth=0.8)
        axes.set_yticks(position, rows["neighbourhood"])
        axes.set_xlabel("Penetration index (100 = average)")
        return axes

    def explore(self, column: str = "penetration", k: int | None = 10, **options: Any) -> folium.Map:
        """Show customers per hexagon on a map that can be panned and zoomed.

        Parameters
        ----------
        column : {"penetration", "customers", "revenue", "margin"}
            What the hexagons are coloured by.
        k : int or None
            Counts below this are hidden first, unless they already are; None shows the full figures.
        **options
            Passed to :func:`geomarket.explore_cells`: ``stores``, ``tooltip``, ``tiles``, ``palette``.

        Returns
        -------
        folium.Map
        """
        from geomarket.hexmap import explore_cells

        shown = self if k is None or self.k is not None else self.suppressed(k)
        kind, unit = ("rate", "share") if column == "penetration" else ("count", "")
        named = {"label": column.capitalize(), "kind": kind, "unit": unit}
        return explore_cells(shown.cells, column, **{**named, **options})

    def suppressed(self, k: int = 10) -> Penetration:
        """Return a copy fit to publish: no count of customers below ``k`` is in it or can be subtracted out of it.

        Cells are published beside the counts of their neighbourhood types, and both beside the total, so all three
        are hidden together; with them those who are in no type, or nowhere on the map.
        """
        if self.k is not None:
            raise SettingsError(
                f"penetration: counts below {self.k} are hidden already; suppress the full figures once."
            )
        valued = bool(self.cells["heavy"].notna().any())
        everyone = pd.concat([self.cells, self._nowhere()], ignore_index=True)
        hidden = suppress(
            everyone,
            "customers",
            k=k,
            margins=[("neighbourhood",), ()],
            dependent=("revenue", "margin", "penetration"),
            parts={"heavy": ()} if valued else None,
        )
        totals = hidden.totals[("neighbourhood",)].set_index("neighbourhood")
        by_type = totals.reindex(self.table["neighbourhood"])
        table = self.table.assign(suppressed=by_type["suppressed"].to_numpy())
        for column in TYPE_DEPENDENTS:
            table[column] = self.table[column].astype(float).mask(table["suppressed"])
        for column in ("heavy", "heavy_share") if valued else ():
            table[column] = table[column].mask(by_type["heavy"].isna().to_numpy())
        cells = hidden.table.iloc[: len(self.cells)].set_axis(self.cells.index)
        gone = set(totals.index[totals["customers"].isna()].fillna(""))
        typeless = None if "" in gone else self.unplaced
        nowhere = None if _NOWHERE in gone else self.outside
        if valued:
            gone = gone | set(totals.index[totals["heavy"].isna()].fillna(""))
        heavy = [None if key in gone else n for key, n in zip(("", _NOWHERE), self.heavy_elsewhere)]
        n = int(self.cells["customers"].sum()) + (self.outside or 0)
        notes = _notes(self.table, typeless, nowhere, n, self.cells)
        return replace(
            self,
            table=table,
            cells=cells,
            k=k,
            unplaced=typeless,
            outside=nowhere,
            notes=notes,
            heavy_elsewhere=(heavy[0], heavy[1]),
        )

    def _nowhere(self) -> pd.DataFrame:
        """Those without a cell as one more cell of a kind of its own: they are part of the total too."""
        row = {"cell": -1, "neighbourhood": _NOWHERE, "customers": self.outside or 0}
        row["heavy"] = float(self.heavy_elsewhere[1] or 0)
        frame = pd.DataFrame([{**row, "revenue": 0.0, "margin": 0.0}] if self.outside else [])
        return frame.reindex(columns=self.cells.columns).astype(self.cells.dtypes.to_dict())


_NOWHERE = "nowhere"
TYPE_DEPENDENTS = (
    "customers",
    "customer_share",
    "penetration",
    "low",
    "high",
    "index",
    "index_low",
    "index_high",
    "heavy",
    "heavy_share",
    "revenue",
    "margin",
)


def penetration(
    customers_cells: pd.DataFrame,
    cells: pd.DataFrame,
    neighbourhoods: pd.DataFrame,
    value: pd.DataFrame | None = None,
    confidence: float = 0.9,
    base: str = "population",
    outside: int = 0,
) -> Penetration:
    """Count customers against people, by neighbourhood type and by cell.

    Parameters
    ----------
    customers_cells : DataFrame
        customer_id, cell: one row per placed customer (:func:`place_customers`).
    cells : DataFrame
        cell and ``base`` (people or households; NaN where not covered).
    neighbourhoods : DataFrame
        cell, neighbourhood, and optionally name.
    value : DataFrame or None
        customer_id, monetary, margin, segment (the table of :func:`value_customers`).
    confidence : float
        Level of the intervals.
    base : str
        Column of ``cells`` that penetration is a share of.
    outside : int
        Customers known who could not be placed: counted in no figure, and told.

    Returns
    -------
    Penetration

    Raises
    ------
    TableError
        A column is missing, or a customer repeats.

    Notes
    -----
    Wilson (1927) score interval for the penetration. The index is a ratio of two penetrations; its interval is
    symmetric in logs, and takes into account that a type is part of the average it is compared with. Neither is
    given for a type without customers (index) or with more customers than people (both).

    Examples
    --------
    >>> cells = pd.DataFrame({"cell": [1, 2], "population": [100.0, 100.0]})
    >>> types = pd.DataFrame({"cell": [1, 2], "neighbourhood": ["A1", "B1"]})
    >>> people = pd.DataFrame({"customer_id": list("abc"), "cell": [1, 1, 2]})
    >>> penetration(people, cells, types).table[["neighbourhood", "penetration", "index"]].round(2).values.tolist()
    [['A1', 0.02, 133.33], ['B1', 0.01, 66.67]]
    """
    _check_penetration(customers_cells, cells, neighbourhoods, base)
    typed = neighbourhoods.dropna(subset=["neighbourhood"]).set_index("cell")
    people = customers_cells[["customer_id", "cell"]].merge(_values(value), on="customer_id", how="left")
    by_cell = _sums(people, "cell").reindex(cells["cell"]).reset_index()
    counted = _zero_where_none(by_cell)
    counted["neighbourhood"] = counted["cell"].map(typed["neighbourhood"])
    counted["population"] = cells[base].to_numpy(dtype=float)
    counted["penetration"] = _ratio(counted["customers"], counted["population"])
    table = _type_table(counted, typed, confidence)
    placed = int(counted.loc[counted["neighbourhood"].notna(), "customers"].sum())
    unplaced = len(customers_cells) - placed
    columns = [
        "cell",
        "neighbourhood",
        "customers",
        "heavy",
        "revenue",
        "margin",
        "population",
        "penetration",
    ]
    notes = _notes(table, unplaced, outside, len(customers_cells) + outside, counted)
    typeless = int(counted.loc[counted["neighbourhood"].isna(), "heavy"].fillna(0).sum())
    abroad = _heavy_abroad(customers_cells, value, outside)
    return Penetration(
        table, counted[columns], unplaced, confidence, None, notes, outside, (typeless, abroad)
    )


def _heavy_abroad(placed: pd.DataFrame, value: pd.DataFrame | None, outside: int) -> int:
    """Count the heavy customers who could not be placed."""
    if value is None:
        return 0
    elsewhere = value.loc[~value["customer_id"].isin(placed["customer_id"]), "segment"]
    return min(int((elsewhere == "heavy").sum()), outside)


def wilson_interval(
    successes: ArrayLike, trials: ArrayLike, confidence: float = 0.9
) -> tuple[Floats, Floats]:
    """Return the Wilson score interval of a share; NaN without trials or with more successes than trials.

    Parameters
    ----------
    successes, trials : array_like
        Counts; trials need not be whole (interpolated population).
    confidence : float
        Level of the interval.

    Notes
    -----
    Wilson (1927). Unlike the usual ± interval it keeps its coverage at small counts.

    Examples
    --------
    >>> low, high = wilson_interval([5], [50], confidence=0.95)
    >>> low.round(4).tolist(), high.round(4).tolist()
    ([0.0435], [0.2136])
    """
    x, n = np.asarray(successes, dtype=float), np.asarray(trials, dtype=float)
    valid = (n > 0) & (x >= 0) & (x <= n)
    x, n = np.where(valid, x, np.nan), np.where(valid, n, np.nan)
    z = norm.ppf(0.5 + confidence / 2)
    centre = (x + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * np.sqrt(x * (n - x) / n + z**2 / 4)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def index_interval(
    customers: ArrayLike, population: ArrayLike, confidence: float = 0.9
) -> tuple[Floats, Floats, Floats]:
    """Return each group's penetration index against all groups together, and its interval.

    The variance of the log ratio by the delta method, with the group's own share in the average accounted for.
    """
    c, n = np.asarray(customers, dtype=float), np.asarray(population, dtype=float)
    usable = (n > 0) & (c <= n)
    total_c, total_n = c[usable].sum(), n[usable].sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(usable, c / n, np.nan)
        index = 100 * share / (total_c / total_n)
        variance = n * share * (1 - share)
        rest = np.nansum(np.where(usable, variance, 0.0)) - variance
        of_log = (1 / c - 1 / total_c) ** 2 * variance + rest / total_c**2
        half = norm.ppf(0.5 + confidence / 2) * np.sqrt(of_log)
        defined = usable & (c > 0)
        low = np.where(defined, index * np.exp(-half), np.nan)
        high = np.where(defined, index * np.exp(half), np.nan)
    return index, low, high


def _type_table(counted: pd.DataFrame, typed: pd.DataFrame, confidence: float) -> pd.DataFrame:
    by = counted.dropna(subset=["neighbourhood"]).groupby("neighbourhood")
    table = by[["customers", "heavy", "population"]].sum(min_count=1)
    table = table.join(by[["revenue", "margin"]].sum(min_count=1)).sort_index().reset_index()
    names = typed.drop_duplicates("neighbourhood").set_index("neighbourhood")
    table.insert(1, "name", table["neighbourhood"].map(names["name"]) if "name" in names.columns else "")
    customers, population = (
        table["customers"].to_numpy(dtype=float),
        table["population"].to_numpy(dtype=float),
    )
    table["customer_share"] = _ratio(table["customers"], table["customers"].sum())
    table["population_share"] = _ratio(table["population"], table["population"].sum())
    table["penetration"] = _ratio(table["customers"], table["population"])
    table["low"], table["high"] = wilson_interval(customers, population, confidence)
    table["index"], table["index_low"], table["index_high"] = index_interval(
        customers, population, confidence
    )
    table["heavy_share"] = _ratio(table["heavy"], table["customers"])
    first = [
        "neighbourhood",
        "name",
        "customers",
        "population",
        "customer_share",
        "population_share",
        "penetration",
    ]
    rest = ["low", "high", "index", "index_low", "index_high", "heavy", "heavy_share", "revenue", "margin"]
    return table[[*first, *rest]]


def _values(value: pd.DataFrame | None) -> pd.DataFrame:
    columns = ["customer_id", "monetary", "margin", "segment"]
    return pd.DataFrame(columns=columns) if value is None else value[columns]


def _sums(people: pd.DataFrame, key: str) -> pd.DataFrame:
    known = people["segment"].notna()
    return pd.DataFrame(
        {
            "customers": people.groupby(key).size(),
            "heavy": (people["segment"] == "heavy").where(known).groupby(people[key]).sum(min_count=1),
            "revenue": people["monetary"].astype(float).groupby(people[key]).sum(min_count=1),
            "margin": people["margin"].astype(float).groupby(people[key]).sum(min_count=1),
        }
    )


def _zero_where_none(by_cell: pd.DataFrame) -> pd.DataFrame:
    """A cell without customers has 0 of them and 0 revenue, unless value is unknown altogether."""
    out = by_cell.assign(customers=by_cell["customers"].fillna(0).astype("int64"))
    empty = out["customers"] == 0
    for column in ("heavy", "revenue", "margin"):
        values = out[column].astype(float)
        out[column] = values.mask(empty, 0.0) if values.notna().any() else values
    if out["heavy"].notna().any():
        # who has no basket is not heavy; left unknown, it would keep all counts of heavy ones from being hidden
        out["heavy"] = out["heavy"].fillna(0.0)
    return out


def _ratio(part: pd.Series, whole: Any) -> pd.Series:
    whole = pd.Series(whole, index=part.index, dtype=float)
    return part.astype(float) / whole.where(whole > 0)


def _check_penetration(
    customers_cells: pd.DataFrame, cells: pd.DataFrame, neighbourhoods: pd.DataFrame, base: str
) -> None:
    needed: Sequence[tuple[str, pd.DataFrame, list[str], str]] = (
        ("customers_cells", customers_cells, ["customer_id", "cell"], "customer_id"),
        ("cells", cells, ["cell", base], "cell"),
        ("neighbourhoods", neighbourhoods, ["cell", "neighbourhood"], "cell"),
    )
    for table, frame, columns, key in needed:
        missing = [c for c in columns if c not in frame.columns]
        if missing:
            raise TableError(
                f"{table}: column(s) {', '.join(missing)} missing; {', '.join(columns)} are needed."
            )
        repeated = frame[key].duplicated()
        if repeated.any():
            first = ", ".join(frame.loc[repeated, key].astype(str).head(3))
            raise TableError(
                f"{table}: {int(repeated.sum()):,} rows repeat a {key} ({first}); one row each is expected."
            )


def _notes(
    table: pd.DataFrame,
    unplaced: int | None,
    outside: int | None,
    n_customers: int,
    counted: pd.DataFrame,
) -> tuple[str, ...]:
    notes = []
    for number, place in (
        (outside, "have no coordinates or live outside the map, and are in no count"),
        (unplaced, "live where there is no neighbourhood type, and are in no type's count"),
    ):
        if number is None:
            notes.append(f"Some customers {place} (a number too small to tell, or that would tell one).")
        elif number:
            notes.append(f"{number:,} of {n_customers:,} customers {place}.")
    crowded = table[table["customers"] > table["population"]]
    if len(crowded):
        notes.append(
            f"More customers than people in {', '.join(crowded['neighbourhood'])}: no interval or index is given. "
            "Check the coordinates of customers and the vintage of the population."
        )
    elif (counted["customers"] > counted["population"]).any():
        n = int((counted["customers"] > counted["population"]).sum())
        notes.append(
            f"In {n:,} cells there are more customers than people; types as a whole are not affected."
        )
    return tuple(notes)


def _named(lead: str, rows: pd.DataFrame) -> str:
    if rows.empty:
        return ""
    names = rows["name"].fillna("").astype(str)
    text = [
        f"{code}{f' {name}' if name else ''} (index {index:.0f})"
        for code, name, index in zip(rows["neighbourhood"], names, rows["index"])
    ]
    return f"{lead} {', '.join(text[:3])}."
