"""A small invented market to start from: ``geomarket new`` writes it, ``geomarket plan`` runs it as it is.

Eight by five areas in three kinds of quarter, twelve stores, four competitors, forty SKUs. Who lives around a store
moves what it sells, so a plan of it has something to find; but it is an example of the tables, not of a trade.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geomarket.market.new_folder import new_folder
from geomarket.market.plan_template import plan_toml

__all__ = ["write_template"]

_SEED = 20240101
_COLUMNS, _ROWS = 8, 5
_WEST, _SOUTH = 10.0, 50.0
_AREA_LON, _AREA_LAT = 0.042, 0.027
_N_STORES, _N_COMPETITORS, _N_CUSTOMERS, _N_WEEKS = 12, 4, 300, 36
_FIRST_WEEK = dt.date(2024, 1, 1)
_QUARTERS = ("centre", "suburb", "village")
_DEPTHS = (0.1, 0.2, 0.3)
_OFFER_RATE = 0.06  # of SKUs in a week
_UPLIFT = 5.0  # units grow by exp(_UPLIFT × depth)
_DISPLAY_UPLIFT = 1.4
_LISTED_SHARE = 0.55
_TASTE_SD = 0.35  # of log appeal, by SKU and quarter
_LIKES_DEAR = (2.5, 0.0, -2.5)  # exponent of a brand's price level in its appeal, by quarter

# Share of people (or households) with each trait, by quarter.
_TRAITS = {
    "age_0_14": (0.10, 0.21, 0.15),
    "age_15_29": (0.34, 0.15, 0.12),
    "age_65_plus": (0.13, 0.16, 0.29),
    "degree": (0.48, 0.36, 0.19),
    "one_person_households": (0.56, 0.24, 0.30),
    "owner_households": (0.18, 0.66, 0.74),
    "two_car_households": (0.07, 0.41, 0.46),
}
_OF_HOUSEHOLDS = ("one_person_households", "owner_households", "two_car_households")
_LABELS = {
    "age_0_14": "aged 0 to 14",
    "age_15_29": "aged 15 to 29",
    "age_65_plus": "aged 65 and over",
    "degree": "with a degree",
    "one_person_households": "living alone",
    "owner_households": "owning their home",
    "two_car_households": "with two cars or more",
}

# Category -> kinds of product with the appeal to each quarter, price, width.
_KINDS = {
    "Coffee": {
        "espresso beans": ((2.6, 1.0, 0.5), 7.9, 9.0),
        "filter coffee": ((0.6, 1.1, 1.8), 5.5, 10.0),
        "instant coffee": ((0.8, 1.0, 1.5), 4.2, 7.0),
        "coffee pods": ((1.2, 1.6, 0.6), 3.6, 11.0),
    },
    "Biscuits": {
        "shortbread": ((0.7, 0.9, 1.9), 2.4, 14.0),
        "children's biscuits": ((0.4, 2.2, 0.9), 1.9, 12.0),
        "oat biscuits": ((1.6, 1.1, 0.7), 2.7, 13.0),
    },
    "Ready meals": {
        "noodle pot": ((2.4, 0.8, 0.4), 2.2, 9.0),
        "family lasagne": ((0.4, 2.0, 1.1), 6.5, 21.0),
        "soup for one": ((1.3, 0.6, 1.5), 2.9, 8.0),
    },
}
_BRANDS = ("Aldermoor", "Brightwell", "Corner Pantry", "Dale & Sons")


def write_template(folder: str | Path) -> Path:
    """Write a commented plan.toml and small tables it runs on.

    The files are the same every time.

    Parameters
    ----------
    folder : path
        A folder that is empty or not there yet.

    Returns
    -------
    Path
        The plan.toml.

    Raises
    ------
    SettingsError
        If the folder has something in it, or can't be written to. Give another name.
    """
    with new_folder(folder) as made:
        town = _Town.build()
        for name, frame in town.tables().items():
            frame.to_csv(made / f"{name}.csv", index=False, lineterminator="\n")
        (made / "areas.geojson").write_text(town.areas.to_json(drop_id=True), encoding="utf-8")
        plan = made / "plan.toml"
        plan.write_text(_plan(town), encoding="utf-8")
    return plan


@dataclass(frozen=True)
class _Town:
    areas: gpd.GeoDataFrame
    quarters: np.ndarray
    stores: pd.DataFrame
    competitors: pd.DataFrame
    products: pd.DataFrame
    promotions: pd.DataFrame
    sales: pd.DataFrame
    customers: pd.DataFrame
    baskets: pd.DataFrame

    @classmethod
    def build(cls) -> _Town:
        rng = np.random.default_rng(_SEED)
        areas, quarters = _areas(rng)
        stores = _sites(rng, areas, quarters, _N_STORES, "S", "Example Stores")
        competitors = _sites(rng, areas, quarters, _N_COMPETITORS, "K", "The Others")
        products, appeal = _products(rng)
        shares = _catchment_shares(areas, quarters, stores, competitors)
        rates = _rates(rng, shares, appeal, products)
        listed = _listed(rng, rates, products)
        promotions = _promotions(rng, products)
        sales = _sales(rng, rates * listed, stores, products, promotions)
        customers, homes = _customers(rng, areas)
        baskets = _baskets(rng, customers, quarters[homes], stores, products, appeal, listed)
        return cls(areas, quarters, stores, competitors, products, promotions, sales, customers, baskets)

    def tables(self) -> dict[str, pd.DataFrame]:
        names = ("stores", "competitors", "products", "promotions", "sales", "customers", "baskets")
        return {name: getattr(self, name) for name in names}


def _areas(rng: np.random.Generator) -> tuple[gpd.GeoDataFrame, np.ndarray]:
    """Lay out irregular quadrilaterals that share their corners, in a centre, suburbs around it, villages outside."""
    jitter = rng.uniform(-0.2, 0.2, size=(_ROWS + 1, _COLUMNS + 1, 2))
    corner = np.stack(np.meshgrid(np.arange(_COLUMNS + 1.0), np.arange(_ROWS + 1.0)), axis=-1) + jitter
    corner = np.round(corner * [_AREA_LON, _AREA_LAT] + [_WEST, _SOUTH], 6)
    row, column = (grid.ravel() for grid in np.indices((_ROWS, _COLUMNS)))
    rings = np.stack(
        [corner[row, column], corner[row, column + 1], corner[row + 1, column + 1], corner[row + 1, column]],
        axis=1,
    )
    off_centre = np.hypot((column - 3.5) / 1.3, row - 2.0)
    quarters = np.select([off_centre < 1.2, off_centre < 2.2], [0, 1], default=2)
    people = np.round(rng.normal(1, 0.12, len(row)).clip(0.7) * np.array([2600, 1700, 700])[quarters]).astype(
        int
    )
    households = np.round(people / np.array([1.6, 2.5, 2.3])[quarters]).astype(int)
    table = {"area_id": [f"{i + 1:03d}" for i in range(len(row))], "people": people, "households": households}
    for trait, by_quarter in _TRAITS.items():
        share = (np.array(by_quarter)[quarters] * rng.normal(1, 0.1, len(row))).clip(0.01, 0.95)
        table[trait] = rng.binomial(households if trait in _OF_HOUSEHOLDS else people, share)
    table["income"] = np.round(np.array([31, 42, 29])[quarters] * rng.normal(1, 0.06, len(row)), 1) * 1000
    return gpd.GeoDataFrame(table, geometry=shapely.polygons(rings), crs="EPSG:4326"), quarters


def _sites(
    rng: np.random.Generator, areas: gpd.GeoDataFrame, quarters: np.ndarray, n: int, letter: str, chain: str
) -> pd.DataFrame:
    """Place stores in different areas, the populous ones more often."""
    where = np.sort(rng.choice(len(areas), size=n, replace=False, p=areas["people"] / areas["people"].sum()))
    places = _points_in(rng, areas, where)
    sizes = np.round(rng.lognormal(0, 0.25, n) * np.array([450, 1400, 800])[quarters[where]], -1)
    return pd.DataFrame(
        {
            "store_id": [f"{letter}{i + 1:02d}" for i in range(n)],
            "name": [f"{chain}, {_QUARTERS[quarters[area]]} {i + 1}" for i, area in enumerate(where)],
            "lon": places[:, 0],
            "lat": places[:, 1],
            "chain": chain,
            "format": np.where(sizes < 600, "express", np.where(sizes < 1200, "supermarket", "superstore")),
            "size_m2": sizes.astype(int),
        }
    )


def _points_in(rng: np.random.Generator, areas: gpd.GeoDataFrame, where: np.ndarray) -> np.ndarray:
    """Draw one point in each of the areas named: a random mean of its corners."""
    corners = np.stack([shapely.get_coordinates(shape)[:4] for shape in areas.geometry.to_numpy()[where]])
    weights = rng.dirichlet(np.full(4, 1.5), size=len(where))
    return np.round(np.einsum("nk,nkd->nd", weights, corners), 6)


def _products(rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """Make every kind of product in several brands; return them and the appeal to each quarter."""
    rows: list[dict[str, object]] = []
    appeal = []
    for category, kinds in _KINDS.items():
        for kind, (quarters, price, width) in kinds.items():
            for i, brand in enumerate(_BRANDS):
                level = (1.0, 1.15, 0.8, 1.3)[i]
                shelf = round(price * level * rng.uniform(0.95, 1.05), 1) - 0.01
                rows.append(
                    {
                        "sku": f"{1000 + len(rows)}",
                        "name": f"{brand} {kind}",
                        "category": category,
                        "subcategory": kind,
                        "brand": brand,
                        "price": round(shelf, 2),
                        "cost": round(shelf * rng.uniform(0.58, 0.72), 2),
                        "width_cm": width,
                        "case_pack": int(rng.choice([6, 8, 12])),
                    }
                )
                taste = np.array(quarters) * level ** np.array(_LIKES_DEAR) * rng.lognormal(0, _TASTE_SD, 3)
                appeal.append(taste * (1.2, 0.9, 1.1, 0.6)[i])
    return pd.DataFrame(rows), np.array(appeal)


def _catchment_shares(
    areas: gpd.GeoDataFrame, quarters: np.ndarray, stores: pd.DataFrame, competitors: pd.DataFrame
) -> np.ndarray:
    """People each store draws from each quarter, shape (stores, quarters), by size over squared distance."""
    sites = pd.concat([stores, competitors])
    centres = shapely.get_coordinates(shapely.centroid(areas.geometry.to_numpy()))
    km = np.hypot(
        (centres[:, None, 0] - sites["lon"].to_numpy()) * 71.6,
        (centres[:, None, 1] - sites["lat"].to_numpy()) * 111.2,
    )
    pull = sites["size_m2"].to_numpy() / np.maximum(km, 0.5) ** 2
    visits = areas["people"].to_numpy()[:, None] * pull / pull.sum(axis=1, keepdims=True)
    return np.stack([visits[quarters == q].sum(axis=0)[: len(stores)] for q in range(3)], axis=1)


def _rates(
    rng: np.random.Generator, shares: np.ndarray, appeal: np.ndarray, products: pd.DataFrame
) -> np.ndarray:
    """Units a week of each SKU in each store, were it listed."""
    dear = (products["price"].to_numpy() / 4.0) ** -0.7
    return 0.0022 * (shares @ appeal.T) * dear * rng.lognormal(0, 0.15, (len(shares), len(products)))


def _listed(rng: np.random.Generator, rates: np.ndarray, products: pd.DataFrame) -> np.ndarray:
    """Each store lists what sells there, as buyers do: about half of a category, and a few by chance."""
    listed = np.zeros(rates.shape, dtype=bool)
    for category in products["category"].unique():
        columns = np.flatnonzero(products["category"] == category)
        seen = rates[:, columns] * rng.lognormal(0, 0.4, (len(rates), len(columns)))
        keep = round(len(columns) * _LISTED_SHARE)
        best = np.argsort(-seen, axis=1, kind="stable")[:, :keep]
        listed[np.arange(len(rates))[:, None], columns[best]] = True
    return listed | (rng.random(rates.shape) < 0.04)


def _promotions(rng: np.random.Generator, products: pd.DataFrame) -> pd.DataFrame:
    """Price cuts that ran in every store: about one of each SKU in sixteen weeks."""
    on = rng.random((len(products), _N_WEEKS)) < _OFFER_RATE
    sku, week = np.nonzero(on)
    frame = pd.DataFrame(
        {
            "store_id": "",
            "sku": products["sku"].to_numpy()[sku],
            "period": [(_FIRST_WEEK + dt.timedelta(weeks=int(w))).isoformat() for w in week],
            "depth": rng.choice(_DEPTHS, len(sku)),
            "mechanic": "price",
            "display": rng.random(len(sku)) < 0.4,
            "mailer": rng.random(len(sku)) < 0.3,
        }
    )
    return frame.sort_values(["period", "sku"], ignore_index=True)


def _sales(
    rng: np.random.Generator,
    rates: np.ndarray,
    stores: pd.DataFrame,
    products: pd.DataFrame,
    promotions: pd.DataFrame,
) -> pd.DataFrame:
    weeks = [(_FIRST_WEEK + dt.timedelta(weeks=w)).isoformat() for w in range(_N_WEEKS)]
    depth = _by_week(promotions, products, weeks, promotions["depth"])
    shown = _by_week(promotions, products, weeks, promotions["display"].astype(float))
    lift = np.exp(_UPLIFT * depth) * _DISPLAY_UPLIFT**shown
    season = 1 + 0.15 * np.cos(2 * np.pi * np.arange(_N_WEEKS) / 52)
    units = rng.poisson(rates[:, :, None] * lift * season)
    store, sku, week = np.nonzero(units)
    sold = units[store, sku, week]
    price = products["price"].to_numpy()[sku] * (1 - depth[sku, week])
    return pd.DataFrame(
        {
            "store_id": stores["store_id"].to_numpy()[store],
            "sku": products["sku"].to_numpy()[sku],
            "period": np.array(weeks)[week],
            "units": sold,
            "revenue": np.round(np.round(price, 2) * sold, 2),
        }
    )


def _by_week(
    promotions: pd.DataFrame, products: pd.DataFrame, weeks: list[str], values: pd.Series
) -> np.ndarray:
    """Spread a column of promotions over SKUs and weeks, 0 where none ran."""
    table = np.zeros((len(products), len(weeks)))
    at_sku = pd.Index(products["sku"]).get_indexer(pd.Index(promotions["sku"]))
    at_week = pd.Index(weeks).get_indexer(pd.Index(promotions["period"]))
    table[at_sku, at_week] = values
    return table


def _customers(rng: np.random.Generator, areas: gpd.GeoDataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    homes = rng.choice(len(areas), size=_N_CUSTOMERS, p=areas["people"] / areas["people"].sum())
    places = _points_in(rng, areas, homes)
    joined = [
        (dt.date(2021, 1, 1) + dt.timedelta(days=int(d))).isoformat()
        for d in rng.integers(0, 1000, _N_CUSTOMERS)
    ]
    frame = pd.DataFrame(
        {
            "customer_id": [f"{i + 1:05d}" for i in range(_N_CUSTOMERS)],
            "lon": places[:, 0],
            "lat": places[:, 1],
            "joined": joined,
            "consent_mail": rng.random(_N_CUSTOMERS) < 0.7,
            "consent_mobile": rng.random(_N_CUSTOMERS) < 0.5,
            "consent_email": rng.random(_N_CUSTOMERS) < 0.6,
        }
    )
    return frame, homes


def _baskets(
    rng: np.random.Generator,
    customers: pd.DataFrame,
    quarters: np.ndarray,
    stores: pd.DataFrame,
    products: pd.DataFrame,
    appeal: np.ndarray,
    listed: np.ndarray,
) -> pd.DataFrame:
    """Trips to a store by size and distance, each with a few lines of what is listed and liked."""
    km = np.hypot(
        (customers["lon"].to_numpy()[:, None] - stores["lon"].to_numpy()) * 71.6,
        (customers["lat"].to_numpy()[:, None] - stores["lat"].to_numpy()) * 111.2,
    )
    pull = stores["size_m2"].to_numpy() / np.maximum(km, 0.5) ** 2
    pull /= pull.sum(axis=1, keepdims=True)
    trips = rng.poisson(rng.gamma(1.5, 5.0, len(customers)))
    people, shops, skus = (frame.iloc[:, 0].to_numpy(str) for frame in (customers, stores, products))
    prices = products["price"].to_numpy()
    rows: list[tuple[str, int, str, str, str, str, int, float]] = []
    basket = 0
    for person in range(len(customers)):
        for _ in range(trips[person]):
            basket += 1
            store = rng.choice(len(stores), p=pull[person])
            like = appeal[:, quarters[person]] * listed[store]
            picked = rng.choice(
                len(products), size=int(rng.integers(1, 4)), replace=False, p=like / like.sum()
            )
            day = (_FIRST_WEEK + dt.timedelta(days=int(rng.integers(0, 7 * _N_WEEKS)))).isoformat()
            channel = "online" if rng.random() < 0.1 else "store"
            for item in np.sort(picked):
                units = int(rng.integers(1, 3))
                money = round(units * float(prices[item]), 2)
                rows.append((people[person], basket, shops[store], day, channel, skus[item], units, money))
    names = ["customer_id", "basket_id", "store_id", "date", "channel", "sku", "units", "revenue"]
    return pd.DataFrame(rows, columns=names)


def _plan(town: _Town) -> str:
    rates = [
        {
            "name": trait,
            "numerator": trait,
            "denominator": "households" if trait in _OF_HOUSEHOLDS else "people",
            "label": _LABELS[trait],
        }
        for trait in _TRAITS
    ]
    areas = {
        "name": "areas",
        "path": "areas.geojson",
        "id": "area_id",
        "population": "people",
        "vintage": 2021,
        "source": "invented, as an example",
        "counts": [{"name": "people", "unit": "people"}, {"name": "households", "unit": "households"}],
        "rates": rates,
        "means": [{"name": "income", "weight": "people", "label": "income per head", "unit": "€"}],
    }
    values: dict[str, dict[str, object]] = {
        "plan": {"name": "Example town (invented data)", "seed": 0, "currency": "€", "period": "week"},
        "neighbourhoods": {"levels": [3]},
        "store_clusters": {"max_clusters": 4},
        "assortment": {"cost_per_range": 200.0, "cost_per_sku": 20.0},
        "promotions": {"horizon": 8, "budget": 500.0},
        "frontier": {"max_clusters": 4, "cost_per_cluster": 400.0},
    }
    return plan_toml(values, {name: {"path": f"{name}.csv"} for name in town.tables()}, areas)
