"""Who shops where: from cells, stores and what is known of their trade to a catchment for every store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from geomarket.catchments.comparison import comparison_sentences, score_rows, totals_by_group
from geomarket.catchments.distances import distance_pairs
from geomarket.catchments.fitting import (
    Problem,
    Years,
    automatic_attraction,
    first_measure,
    fit_to_flows,
    fit_to_totals,
    pairs_for_flows,
    split_years,
    take_given,
    take_textbook,
)
from geomarket.catchments.huff import Decay, Huff, totals_of
from geomarket.catchments.trade_areas import trade_areas
from geomarket.errors import SettingsError, TableError
from geomarket.results import Result

if TYPE_CHECKING:
    import folium

__all__ = ["Catchments", "map_catchments"]

_log = logging.getLogger(__name__)

_MOST_PAIRS, _NEAREST = 3_000_000, 30


@dataclass(frozen=True)
class Catchments(Result):
    """Shares and demand of every store in every cell it reaches, with the model they come from.

    Attributes
    ----------
    table : DataFrame
        cell, store_id, own (bool), km[, minutes], probability (share of the cell's custom), demand (in ``unit``).
    params : DataFrame
        term, estimate, se, robust_se, clustered_se, low, high.
    comparison : DataFrame
        model, label, sample ("in"/"out"), test and scores; empty where nothing was fitted.
    profile : DataFrame
        store_id, neighbourhood, demand, share (of the store's modelled demand from cells with a type). Own stores.
    areas : DataFrame
        store_id, cell, share, cumulative, band: core trade areas of modelled demand. Own stores. Those of known
        customers are :func:`trade_areas` of their flows; they count people, so suppress them before publishing.
    cells : DataFrame
        cell, market (in ``unit``), own_share, whitespace (market × (1 − own share)), nearest_own_km.
    by_format : DataFrame
        Scores of the fitted totals by store format; empty without totals or formats.
    model : Huff
    unit : str
        What demand and market count: "revenue", "trips", another flow column, or "people".
    source : {"flows", "totals", "given"}
        What the coefficients were fitted to.
    notes : tuple of str
        What a planner must know.
    """

    table: pd.DataFrame
    params: pd.DataFrame
    comparison: pd.DataFrame
    profile: pd.DataFrame
    areas: pd.DataFrame
    cells: pd.DataFrame
    by_format: pd.DataFrame
    model: Huff
    stores: pd.DataFrame
    unit: str
    source: str
    notes: tuple[str, ...] = field(default=())

    def summary(self) -> list[str]:
        """Return what the catchments show, how far the model can be trusted, and its caveats."""
        own = self.table.loc[self.table["own"]]
        market = float(self.cells["market"].sum())
        lines = [
            f"{own['store_id'].nunique():,} own stores draw {own['demand'].sum() / market:.1%} of a market of "
            f"{market:,.0f} ({self.unit}) in {len(self.cells):,} cells; "
            f"{self.table['store_id'].nunique() - own['store_id'].nunique():,} competitors share the rest."
        ]
        lines += self._decay_sentence() + comparison_sentences(self.comparison)
        return [*lines, *self.notes]

    def explore(self, column: str = "own_share", **options: Any) -> folium.Map:
        """Show who wins each hexagon on a map that can be panned and zoomed, with the own stores.

        Parameters
        ----------
        column : {"own_share", "market", "whitespace", "nearest_own_km"}
            What the hexagons are coloured by.
        **options
            Passed to :func:`geomarket.explore_cells`: ``stores``, ``tooltip``, ``tiles``, ``palette``.

        Returns
        -------
        folium.Map
        """
        from geomarket.hexmap import explore_cells

        labels = {
            "own_share": ("Own share", "rate", "share"),
            "market": (f"Market ({self.unit})", "count", ""),
            "whitespace": (f"Whitespace ({self.unit})", "count", ""),
            "nearest_own_km": ("Distance to the nearest own store", "mean", "km"),
        }
        label, kind, unit = labels.get(column, (column, "mean", ""))
        own = self.stores[self.stores["own"]] if "own" in self.stores else self.stores
        shown = {"label": label, "kind": kind, "unit": unit, "stores": own}
        return explore_cells(self.cells, column, **{**shown, **options})

    def plot(self, ax: Any = None) -> Any:
        """Draw the models' scores out of sample (in sample where there is no other) as bars."""
        import matplotlib.pyplot as plt

        if self.comparison.empty:
            raise SettingsError(
                "Nothing was fitted, so there is nothing to compare; draw from .table instead."
            )
        axes = plt.subplots(figsize=(6, 3))[1] if ax is None else ax
        score, label, rows = score_rows(self.comparison)
        axes.barh(rows["label"][::-1], rows[score][::-1])
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_xlabel(f"{label}, {rows['test'].iloc[0]}")
        return axes

    def _decay_sentence(self) -> list[str]:
        distance = self.params[self.params["term"] == f"log_{self.model.distance}"]
        if distance.empty or self.source == "given" or self.model.decay != "power":
            return []
        row = distance.iloc[0]
        return [
            f"Distance exponent {row['estimate']:.3f} ({self.model.confidence:.0%} interval {row['low']:.3f} to "
            f"{row['high']:.3f}): at twice the distance a store draws "
            f"{2.0 ** row['estimate']:.0%} of the custom, all else alike."
        ]


def map_catchments(
    cells: pd.DataFrame,
    stores: pd.DataFrame,
    competitors: pd.DataFrame | None = None,
    flows: pd.DataFrame | None = None,
    totals: pd.DataFrame | None = None,
    neighbourhoods: pd.DataFrame | None = None,
    travel: pd.DataFrame | None = None,
    *,
    attraction: Sequence[str] | None = None,
    decay: Decay = "power",
    k_nearest: int | None = None,
    distance: Literal["auto", "km", "minutes"] = "auto",
    floor_km: float = 0.5,
    max_km: float | None = None,
    parameters: Mapping[str, float] | None = None,
    flow_value: str = "trips",
    market: pd.Series | None = None,
    fit_year: int | None = None,
    judge_year: int | None = None,
    loss: Literal["log", "poisson"] = "log",
    holdout: float = 0.2,
    outside_share: float = 0.0,
    bands: Sequence[float] = (0.5, 0.7, 0.9),
    random_state: int = 0,
) -> Catchments:
    """Fit who shops where and map every store's catchment.

    With ``flows`` the coefficients come from known customers' choices; with ``totals`` alone, from what the
    stores around each other take; with neither, textbook exponents (size 1, distance −2) are used and said
    to be so. Given both, flows set the coefficients and totals the money, and, where competitors' totals are
    among them, also how own stores stand against competitors.

    Parameters
    ----------
    cells : DataFrame
        cell, lon, lat, population (the table of :class:`Hexes`).
    stores, competitors : DataFrame
        store_id, lon, lat and attributes. Attributes only one of the two has are NaN in the other.
    flows : DataFrame or None
        cell, store_id, ``flow_value``: trips of known customers. Own stores only, or competitors too (survey).
    totals : DataFrame or None
        store_id, revenue, and year where several years are given.
    neighbourhoods : DataFrame or None
        cell, neighbourhood: needed for the profile.
    travel : DataFrame or None
        store_id, cell, minutes.
    attraction : sequence of str or None
        Columns, see :class:`Huff`. None: log size where known for half the stores, format where it varies,
        and chain (own or not, without chain) where competitors' totals can tell chains apart.
    decay, floor_km, max_km
        See :class:`Huff` and :func:`distance_pairs`.
    k_nearest : int or None
        Stores a cell chooses among. None: all, where that makes at most 3 million pairs, and 30 beyond.
    distance : {"auto", "km", "minutes"}
        What the model runs on. auto: minutes where ``travel`` is given, unless distance foretells held-out flows
        better.
    parameters : mapping or None
        Coefficients to take instead of fitting, such as ``{"log_size": 1, "log_km": -2}``; flows and totals
        then only set the level. The attraction columns must be named too.
    flow_value : str
        Column of ``flows`` to fit to.
    market : Series or None
        Relative market size by cell; population by default.
    fit_year, judge_year : int or None
        Years of ``totals`` to fit on and to judge on. By default the last but one and the last; the level of
        demand is that of the fit year.
    loss : {"log", "poisson"}
        For totals, see :func:`fit_store_totals`.
    holdout : float
        Share of cells (flows) or stores (totals) held out to judge the model; the final fit uses all.
    outside_share : float
        Share of the market spent at none of the stores, see :class:`Huff`.
    bands : sequence of float
        Of the core trade areas.
    random_state : int
        Seed of the hold-out.

    Returns
    -------
    Catchments

    Raises
    ------
    TableError
        A table lacks a column or repeats a key, or a flow or total fits no store.
    NotSupportedError, SolverError
        The data cannot tell the coefficients.

    Notes
    -----
    Everyone in a cell is taken to spend alike (market ∝ population unless ``market`` is given) and all
    spending to go to the listed stores. Huff (1964); see :class:`Huff`.
    """
    everyone = _all_stores(stores, competitors)
    _check_cells(cells)
    k_nearest = _stores_per_cell(len(cells), len(everyone)) if k_nearest is None else k_nearest
    size = _market_series(cells, market)
    years = split_years(totals, everyone, fit_year, judge_year)

    def pair_up(some: pd.DataFrame) -> pd.DataFrame:
        return distance_pairs(cells, some, k_nearest, travel, floor_km, max_km=max_km)

    pairs = pair_up(everyone)
    if attraction is None:
        attraction = automatic_attraction(everyone, flows is not None, years.fit)
    huff = Huff(attraction, decay, first_measure(distance, travel is not None), outside_share=outside_share)
    problem = Problem(pairs, everyone, size, holdout, random_state)
    if parameters is not None:
        fitted = take_given(huff, problem, parameters)
    elif flows is not None:
        choice = pairs_for_flows(everyone, flows, pairs, pair_up)
        fitted = fit_to_flows(huff, problem, choice, flows, flow_value, years, either=distance == "auto")
    elif years.fit is not None:
        fitted = fit_to_totals(huff, problem, years, loss)
    else:
        fitted = take_textbook(huff, problem)
    huff = fitted.model
    table = huff.predict(pairs, everyone)
    table["own"] = table["store_id"].isin(stores["store_id"])
    unit, scale = _level(table, size, flows, flow_value, years.fit)
    table["demand"] = table["probability"] * table["cell"].map(size) * scale
    return Catchments(
        table=table[[*pairs.columns[:2], "own", *pairs.columns[2:], "probability", "demand"]],
        params=huff.params_,
        comparison=fitted.comparison,
        profile=_profile(table, neighbourhoods, stores),
        areas=trade_areas(table[table["own"]], "demand", bands),
        cells=_cells(table, cells, size, scale),
        by_format=_by_format(table, everyone, years) if fitted.model.source_ == "totals" else pd.DataFrame(),
        model=huff,
        stores=everyone,
        unit=unit,
        source=huff.source_,
        notes=tuple(fitted.notes),
    )


def _all_stores(stores: pd.DataFrame, competitors: pd.DataFrame | None) -> pd.DataFrame:
    frames = [stores.assign(own=True)]
    if competitors is not None and len(competitors):
        both = set(stores["store_id"]) & set(competitors["store_id"])
        if both:
            raise TableError(
                f"competitors: {len(both)} store_id also stand in stores ({', '.join(sorted(both)[:3])}); "
                "a store is either own or a competitor. Rename or remove one."
            )
        frames.append(competitors.assign(own=False))
    return pd.concat(frames, ignore_index=True)


def _stores_per_cell(n_cells: int, n_stores: int) -> int:
    return n_stores if n_cells * n_stores <= _MOST_PAIRS else min(n_stores, _NEAREST)


def _check_cells(cells: pd.DataFrame) -> None:
    missing = [c for c in ("cell", "lon", "lat", "population") if c not in cells.columns]
    if missing:
        raise TableError(f"cells: column(s) {', '.join(missing)} missing; the table of build_hexes has them.")


def _market_series(cells: pd.DataFrame, market: pd.Series | None) -> pd.Series:
    if market is None:
        return cells.set_index("cell")["population"].astype(float)
    return market.reindex(cells["cell"]).astype(float)


def _by_format(table: pd.DataFrame, everyone: pd.DataFrame, years: Years) -> pd.DataFrame:
    if "format" not in everyone.columns or years.fit is None:
        return pd.DataFrame()
    expected = table.groupby("store_id")["demand"].sum().reindex(everyone["store_id"]).fillna(0.0).to_numpy()
    target = years.judge if years.judge is not None else years.fit
    return totals_by_group(totals_of(everyone, target, "revenue"), expected, everyone["format"])


def _level(
    table: pd.DataFrame,
    size: pd.Series,
    flows: pd.DataFrame | None,
    flow_value: str,
    totals: pd.DataFrame | None,
) -> tuple[str, float]:
    """Unit of demand, and how much of it one unit of market is."""
    drawn = (table["probability"] * table["cell"].map(size)).groupby(table["store_id"]).sum()
    if totals is not None:
        trading = totals[totals["revenue"] > 0].set_index("store_id")["revenue"].astype(float)
        reached = drawn.reindex(trading.index).fillna(0.0)
        return "revenue", float(trading[reached > 0].sum() / reached.sum())
    if flows is not None:
        observed = flows.groupby("store_id")[flow_value].sum()
        reached = drawn.reindex(observed.index).fillna(0.0)
        return flow_value, float(observed.sum() / reached.sum())
    return "people", 1.0


def _profile(table: pd.DataFrame, neighbourhoods: pd.DataFrame | None, stores: pd.DataFrame) -> pd.DataFrame:
    columns = ["store_id", "neighbourhood", "demand", "share"]
    if neighbourhoods is None:
        return pd.DataFrame(columns=columns)
    types = neighbourhoods.dropna(subset=["neighbourhood"]).set_index("cell")["neighbourhood"].astype(str)
    index = pd.MultiIndex.from_product(
        [sorted(stores["store_id"]), sorted(types.unique())], names=["store_id", "neighbourhood"]
    )
    own = table[table["own"]]
    demand = own.groupby(["store_id", own["cell"].map(types).rename("neighbourhood")])["demand"].sum()
    demand = demand.reindex(index, fill_value=0.0)
    total = demand.groupby(level="store_id").transform("sum")
    return pd.DataFrame({"demand": demand, "share": demand / total.where(total > 0)}).reset_index()[columns]


def _cells(table: pd.DataFrame, cells: pd.DataFrame, size: pd.Series, scale: float) -> pd.DataFrame:
    own = table[table["own"]].groupby("cell")
    out = pd.DataFrame({"cell": cells["cell"].to_numpy(np.int64)})
    out["market"] = size.reindex(out["cell"]).to_numpy() * scale
    out["own_share"] = own["probability"].sum().reindex(out["cell"]).fillna(0.0).to_numpy()
    out["whitespace"] = out["market"] * (1 - out["own_share"])
    out["nearest_own_km"] = own["km"].min().reindex(out["cell"]).to_numpy()
    return out
