"""A simulated market as a folder of files, of any size: sales and baskets are made and written store by store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from geomarket.market.model import AreaLayer
from geomarket.market.new_folder import new_folder
from geomarket.market.plan_template import plan_toml
from geomarket.simulate.census import area_layers
from geomarket.simulate.demand import build_demand
from geomarket.simulate.geography import CITY, build_city
from geomarket.simulate.market import boundary_lines, own_stores, weighted_points
from geomarket.simulate.network import Network, build_network
from geomarket.simulate.people import build_contacts, build_customers, build_trips
from geomarket.simulate.products import Range, build_range
from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.shopping import store_baskets, trips_by_store
from geomarket.simulate.tables import basket_lines, sales_lines, yearly_totals
from geomarket.simulate.trade import promotion_table, trade_by_store
from geomarket.simulate.world import FIRST_DAY, people_of, relative_taste, weeks_of

__all__ = ["write_simulated_market"]

_AS_THE_DEMO: dict[str, dict[str, object]] = {
    "assortment": {
        "space": "width_cm",
        "core_share": 0.3,
        "cost_per_range": 1000.0,
        "cost_per_change": 60.0,
        "min_stores": 3,
    },
    "frontier": {"cost_per_cluster": 8000.0},
    "promotions": {"contact_cost": 4.0, "display_cost": 3.0, "funding_share": 0.4},
    "targeting": {"cost_per_door": 0.02},
}


def write_simulated_market(
    folder: str | Path,
    n_customers: int = 50_000,
    n_stores: int = 60,
    n_skus: int = 600,
    weeks: int = 104,
    seed: int = 0,
    localisation: Literal["strong", "none", "latent"] = "strong",
    on_store: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a simulated market's tables and a plan.toml that plans them.

    The tables hold what :func:`simulate_market` makes from the same arguments. Memory holds one store's sales at a
    time, so that chains far larger than memory can be made; a million customers' trips take about 1 GB.

    Parameters
    ----------
    folder : path
        A folder that is empty or not there yet.
    n_customers, n_stores, n_skus, weeks, seed, localisation
        As for :func:`simulate_market`.
    on_store : callable, optional
        Called with the number of stores written and of all stores, as each is done.

    Returns
    -------
    Path
        The plan.toml.

    Raises
    ------
    SettingsError
        If the folder has something in it or can't be written to, or an argument is outside its limits.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     plan = write_simulated_market(
    ...         Path(parent) / "city", n_customers=500, n_stores=6, n_skus=40, weeks=12
    ...     )
    ...     len(pq.read_table(plan.parent / "products.parquet")), (plan.parent / "sales.parquet").exists()
    (40, True)
    """
    settings = SimulationSettings(n_customers, n_stores, n_skus, weeks, seed, localisation)
    with new_folder(folder) as made:
        return _Writing(made, settings, on_store or (lambda done, of: None)).everything()


class _Writing:
    """One simulation on its way into files."""

    def __init__(
        self, folder: Path, settings: SimulationSettings, on_store: Callable[[int, int], None]
    ) -> None:
        self.folder, self.settings, self.on_store = folder, settings, on_store
        self.tables: dict[str, dict[str, Any]] = {}

    def everything(self) -> Path:
        settings = self.settings
        city = build_city(settings.seed)
        network, skus = build_network(settings, city), build_range(settings)
        layers = area_layers(settings, city, people_of(settings))
        for layer, name in zip(layers, ("areas.parquet", "wards.parquet")):
            layer.frame.to_parquet(self.folder / name)
        boundary_lines(city).to_file(self.folder / "boundaries.geojson", driver="GeoJSON", engine="pyogrio")
        self.tables["boundaries"] = {"path": "boundaries.geojson"}
        self._frame("points", weighted_points(settings, city))
        self._frame("competitors", network.competitors)
        self._frame("products", skus.products)
        self._frame("travel", network.travel)
        self._trade(network, skus, build_customers(settings, city, network, FIRST_DAY))
        plan = self.folder / "plan.toml"
        plan.write_text(self._plan(layers), encoding="utf-8")
        return plan

    def _trade(self, network: Network, skus: Range, customers: Any) -> None:
        """Write what depends on who shops where: sales and baskets by store, and all that adds them up."""
        settings = self.settings
        self._frame("customers", customers.table)
        self._frame("contacts", build_contacts(settings, customers, FIRST_DAY))
        trips = build_trips(settings, network, customers)
        demand = build_demand(settings, network, skus, card_money=float(trips.cents.sum()) / 100)
        self._frame("stores", own_stores(network, demand))
        periods, taste = weeks_of(settings), relative_taste(settings, network, skus)
        money = np.zeros((settings.n_stores, settings.weeks))
        with (
            _Parquet(self.folder / "sales.parquet") as sales,
            _Parquet(self.folder / "baskets.parquet") as baskets,
            _Parquet(self.folder / "promotions.parquet") as promotions,
        ):
            shops = trips_by_store(settings, customers, trips)
            for store, (trade, visits) in enumerate(
                zip(trade_by_store(settings, network, skus, demand), shops)
            ):
                lines = trade.lines
                money[store] = np.bincount(lines.week, lines.takings / 100.0, settings.weeks)
                sales.write(sales_lines(network, skus, periods, np.full(len(lines.sku), store), lines))
                carried = store_baskets(settings, store, lines, visits, taste)
                baskets.write(basket_lines(network, skus, customers, trips, carried))
                promotions.write(promotion_table([trade.promotions], network, skus, periods))
                self.on_store(store + 1, settings.n_stores)
        for name in ("sales", "baskets", "promotions"):
            self.tables[name] = {"path": f"{name}.parquet"}
        self._frame("store_totals", yearly_totals(settings, network, periods, money))

    def _frame(self, name: str, frame: pd.DataFrame) -> None:
        with _Parquet(self.folder / f"{name}.parquet") as file:
            file.write(frame)
        self.tables[name] = {"path": f"{name}.parquet"}

    def _plan(self, layers: tuple[AreaLayer, ...]) -> str:
        values: dict[str, Mapping[str, Any]] = {
            "plan": {
                "name": f"{CITY} (simulated)",
                "seed": self.settings.seed,
                "currency": "€",
                "period": "week",
            },
            **_AS_THE_DEMO,
        }
        areas = [
            _area_settings(layer, path) for layer, path in zip(layers, ("areas.parquet", "wards.parquet"))
        ]
        return plan_toml(values, self.tables, areas)


class _Parquet:
    """A Parquet file that grows by one row group a table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, *error: object) -> None:
        if self.writer is not None:
            self.writer.close()

    def write(self, rows: pa.Table | pd.DataFrame) -> None:
        if isinstance(rows, pd.DataFrame):
            rows = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
        rows = _plain(rows)
        if self.writer is None:
            self.writer = pq.ParquetWriter(self.path, rows.schema, compression="zstd")
        self.writer.write_table(rows)


def _plain(rows: pa.Table) -> pa.Table:
    """Spell dictionaries out: other readers know texts, and Parquet makes its own dictionaries."""
    for at, column in enumerate(rows.schema):
        if pa.types.is_dictionary(column.type):
            rows = rows.set_column(at, column.name, rows.column(at).cast(column.type.value_type))
        elif pa.types.is_large_string(column.type):
            rows = rows.set_column(at, column.name, rows.column(at).cast(pa.string()))
    return rows


def _area_settings(layer: AreaLayer, path: str) -> dict[str, Any]:
    """Write an area layer as its section of plan.toml."""
    found: dict[str, Any] = {
        "name": layer.name,
        "path": path,
        "id": "area_id",
        "population": layer.population,
        "vintage": layer.vintage,
        "source": layer.source,
        "counts": [],
        "rates": [],
        "means": [],
    }
    for variable in layer.variables:
        entry: dict[str, Any] = {"name": variable.name, "label": variable.label, "unit": variable.unit}
        if variable.kind == "count":
            entry["column"] = variable.column
        else:
            entry["classify"], entry["protected"] = variable.classify, variable.protected
            entry["numerator" if variable.kind == "rate" else "column"] = variable.column
            entry["denominator" if variable.kind == "rate" else "weight"] = variable.denominator
            if variable.kind == "rate":
                del entry["unit"]
        found[f"{variable.kind}s"].append(entry)
    return {key: value for key, value in found.items() if value not in ([], None)}
