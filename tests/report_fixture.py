"""A small finished plan as plain objects, for the tests of report and workbook.

No stage is run: figures are invented on real H3 cells, with every column the report reads. Nothing here may be
taken for a finding.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geomarket.experiments import design_test
from geomarket.hexes.cells import cell_centres, points_to_cells
from geomarket.market.model import AreaLayer, Variable
from geomarket.market.settings import PlanSettings
from geomarket.planning.catchment_details import describe_catchments

TYPES = [
    (
        "A",
        "Young city renters",
        "Young adults who rent, few of them with children. Many walk or cycle to work.",
    ),
    ("B", "Families in houses", "Households with school-age children, mostly owners. Two cars are usual."),
    ("C", "Settled suburbs", "Owners past fifty, children gone. Incomes above the market's average."),
    (
        "D",
        "Older small households",
        "Pensioners living alone or in pairs, often in flats they have long rented.",
    ),
    ("E", "Student quarters", "Students and first jobs. Shared flats, high turnover, little space."),
]
VARIABLES = [
    ("age_0_14", "aged under 15", [0.10, 0.27, 0.14, 0.06, 0.03]),
    ("age_20_29", "aged 20 to 29", [0.31, 0.09, 0.08, 0.07, 0.48]),
    ("age_65_over", "aged 65 and over", [0.08, 0.10, 0.24, 0.41, 0.04]),
    ("owners", "homes lived in by their owner", [0.18, 0.81, 0.86, 0.35, 0.07]),
    ("one_person", "one-person households", [0.52, 0.14, 0.22, 0.55, 0.58]),
    ("two_cars", "households with two cars or more", [0.05, 0.52, 0.38, 0.06, 0.03]),
    ("degree", "with a degree", [0.51, 0.33, 0.36, 0.15, 0.44]),
]
CATEGORIES = ["Coffee", "Breakfast", "Ready meals", "Snacks", "Wine"]
CENTRE = (4.402, 51.219)


@np.errstate(invalid="ignore", divide="ignore")  # a market may have nobody in it
def make_plan(
    *,
    radius_km: float = 13.0,
    resolution: int = 8,
    n_stores: int = 18,
    n_competitors: int = 30,
    n_clusters: int = 4,
    skus_per_category: int = 14,
    customers: bool = True,
    promotions: bool = True,
    catchments: bool = True,
    centre: tuple[float, float] = CENTRE,
    seed: int = 0,
) -> Any:
    rng = np.random.default_rng(seed)
    cells = _disc(centre, radius_km, resolution)
    lon, lat = cell_centres(cells)
    km_east = ((lon - centre[0] + 180) % 360 - 180) * 111.32 * np.cos(np.radians(centre[1]))
    km_north = (lat - centre[1]) * 110.57
    out = np.hypot(km_east, km_north) / radius_km
    kind = _types(rng, km_east / radius_km, km_north / radius_km, out)

    hexes = _hexes(rng, cells, lon, lat, out, kind)
    neighbourhoods = _neighbourhoods(rng, hexes.table, kind)
    stores = _shops(rng, centre, radius_km, n_stores, "S", "Oakhill")
    competitors = _shops(rng, centre, radius_km, n_competitors, "X", None) if n_competitors else None
    boundaries = _boundaries(centre, radius_km)
    areas = AreaLayer(
        "census",
        gpd.GeoDataFrame({"area_id": ["a"]}, geometry=[shapely.box(4, 51, 5, 52)], crs="EPSG:4326"),
        hexes.variables,
        "population",
        2021,
        "invented",
    )
    products = _products(skus_per_category)
    market = SimpleNamespace(
        name="Oakhill in Riverton",
        stores=stores,
        competitors=competitors,
        products=products,
        areas=(areas,),
        period="week",
        periods_per_year=52.18,
        boundaries=boundaries,
        currency="€",
        simulated=True,
        customers=None,
        promotions=None,
        quality=_quality(),
        quarantine=pd.DataFrame(
            {
                "table": ["sales", "sales", "stores"],
                "row": [17, 90, 4],
                "column": ["units", "sku", "lon"],
                "value": ["-3", "Z999", ""],
                "reason": ["negative units", "sku not in products", "missing coordinates"],
            }
        ),
        notes=("Every figure comes from a simulation; no such city exists.",),
        inputs={"stores.csv": "0" * 64, "sales.parquet": "1" * 64},
    )
    clusters = _store_clusters(rng, stores, n_clusters)
    ranges = _ranges(rng, products, clusters.table)
    plan = SimpleNamespace(
        market=market,
        settings=PlanSettings(),
        hexes=hexes,
        neighbourhoods=neighbourhoods,
        catchments=_catchments(rng, hexes.table, neighbourhoods.table, stores) if catchments else None,
        customers=_customers(rng, hexes.table, neighbourhoods) if customers else None,
        store_clusters=clusters,
        demand=_demand(ranges.table, clusters.table),
        ranges=ranges,
        response=None,
        promotions=_promotions(rng, clusters, products) if promotions else None,
        frontier=_frontier(n_clusters),
        stores=stores.merge(clusters.table[["store_id", "store_cluster"]], on="store_id").assign(
            revenue_year=np.round(rng.uniform(1.2e6, 6e6, len(stores)), -3)
        ),
        skipped={} if promotions and customers else {"promotions": "the market has no promotion history"},
        warnings=("Forecasts for unlisted products are discounted by trial listings of 214 pairs.",),
        manifest={
            "version": "0.1.0",
            "settings": {"random_state": 0, "hexes": {"resolution": resolution}, "range": {"min_stores": 3}},
            "inputs": {"stores.csv": "0" * 64, "sales.parquet": "1" * 64},
            "rows": {"stores": n_stores, "sales": 412_332},
            "packages": {"numpy": "2.0.0", "pandas": "2.2.0"},
        },
        timings=pd.DataFrame({"stage": ["hexes"], "seconds": [1.0], "peak_mb": [100.0]}),
    )
    plan.summary = lambda: ["A summary."]
    return plan


def add_trips(plan: Any, n_customers: int = 20_000, seed: int = 0) -> Any:
    """Give a plan known customers' trips: drawn from its catchments, so that they differ from them by chance alone."""
    rng = np.random.default_rng(seed)
    table = plan.catchments.table
    share = (table["demand"] / table["demand"].sum()).to_numpy()
    customers = rng.multinomial(n_customers, share)
    flows = table[["cell", "store_id"]].assign(customers=customers, trips=3 * customers)
    plan.catchments.stores = plan.market.stores.assign(own=True)
    plan.catchments.unit = "revenue"
    plan.catchment_details = describe_catchments(
        plan.catchments,
        plan.market,
        plan.hexes,
        plan.neighbourhoods,
        flows[flows["customers"] > 0].reset_index(drop=True),
        plan.settings,
    )
    return plan


def add_trial(plan: Any, seed: int = 0) -> Any:
    """Give a plan a test of the plan, designed on invented sales."""
    rng = np.random.default_rng(seed)
    stores = plan.market.stores
    periods = pd.date_range("2024-01-01", periods=60, freq="7D")
    level, noise = rng.normal(9, 0.3, len(stores)), rng.normal(0, 0.02, (len(stores), len(periods)))
    sales = pd.DataFrame(
        {
            "store_id": np.repeat(stores["store_id"].to_numpy(), len(periods)),
            "period": np.tile(periods, len(stores)),
            "revenue": np.exp(level[:, None] + noise).ravel(),
        }
    )
    cells = points_to_cells(stores["lon"].to_numpy(), stores["lat"].to_numpy(), 8)
    places = pd.DataFrame({"store_id": stores["store_id"], "cell": cells})
    design = design_test(sales, places, periods=8, buffer_rings=1)
    plan.experiment = SimpleNamespace(design=design, summary=design.summary)
    return plan


def _disc(centre: tuple[float, float], radius_km: float, resolution: int) -> np.ndarray:
    spacing = {6: 2.6, 7: 1.0, 8: 0.38, 9: 0.14}[resolution]
    axis = np.arange(-radius_km, radius_km + spacing, spacing)
    east, north = (grid.ravel() for grid in np.meshgrid(axis, axis))
    inside = np.hypot(east, north) <= radius_km
    lon = centre[0] + east[inside] / (111.32 * np.cos(np.radians(centre[1])))
    lat = centre[1] + north[inside] / 110.57
    return np.unique(points_to_cells((lon + 180) % 360 - 180, lat, resolution))


def _types(rng: np.random.Generator, east: np.ndarray, north: np.ndarray, out: np.ndarray) -> np.ndarray:
    wave = np.sin(3.1 * east + 0.4) + np.cos(2.6 * north - 0.8) + 0.8 * np.sin(4.0 * (east + north))
    noise = rng.normal(0, 0.16, len(out))
    kind = np.select([out + noise < 0.24, wave + 2 * noise > 0.9, wave + 2 * noise < -0.7], [0, 1, 3], 2)
    campus = np.hypot(east - 0.25, north - 0.22) + noise * 0.5 < 0.17
    return np.where(campus, 4, kind)


def _hexes(
    rng: np.random.Generator,
    cells: np.ndarray,
    lon: np.ndarray,
    lat: np.ndarray,
    out: np.ndarray,
    kind: np.ndarray,
) -> Any:
    population = np.round(2600 * np.exp(-2.4 * out) * rng.gamma(4, 0.25, len(cells)), 1)
    population[rng.random(len(cells)) < 0.05] = 0.0
    table = pd.DataFrame({"cell": cells, "lon": lon, "lat": lat, "population": population})
    table["coverage"] = np.where(out > 0.97, 0.6, 1.0)
    variables = [Variable("population", "people", "count", "population", unit="people")]
    for name, label, means in VARIABLES:
        share = np.clip(np.array(means)[kind] + rng.normal(0, 0.035, len(cells)), 0.005, 0.99)
        table[name] = np.where(population > 0, share, np.nan)
        variables.append(Variable(name, label, "rate", name, "population", unit="share"))
    table["income"] = np.where(
        population > 0, 21_000 + 9_000 * out + 3_000 * (kind == 2) + rng.normal(0, 900, len(cells)), np.nan
    )
    variables.append(Variable("income", "median income", "mean", "income", "population", unit="€"))
    conservation = pd.DataFrame(
        {
            "layer": "census",
            "variable": [variable.name for variable in variables],
            "source_total": [table["population"].sum()] * len(variables),
            "hex_total": [table["population"].sum()] * len(variables),
            "uncovered": 0.0,
            "relative_error": 3.1e-16,
        }
    )
    return SimpleNamespace(
        table=table,
        variables=tuple(variables),
        conservation=conservation,
        resolution=8,
        summary=lambda: ["Hexagons."],
    )


def _neighbourhoods(rng: np.random.Generator, hexes: pd.DataFrame, kind: np.ndarray) -> Any:
    populated = hexes["population"].to_numpy() > 0
    letters = np.array([code for code, _, _ in TYPES])
    names = np.array([name for _, name, _ in TYPES])
    second = 1 + (hexes["lon"].rank().to_numpy() * 7919 % 3).astype(int)
    codes = np.char.add(letters[kind], second.astype(str)).astype(object)
    table = pd.DataFrame(
        {
            "cell": hexes["cell"],
            "neighbourhood": pd.Series(np.where(populated, codes, None), dtype="str"),
            "supergroup": pd.Series(np.where(populated, letters[kind], None), dtype="str"),
            "name": pd.Series(np.where(populated, names[kind], None), dtype="str"),
            "uncertainty": np.where(populated, np.clip(rng.beta(2, 3, len(hexes)), 0, 1), np.nan),
        }
    )
    people = hexes["population"].where(populated, 0).groupby(np.where(populated, letters[kind], "")).sum()
    count = table.groupby("supergroup")["cell"].count()
    types = [
        {
            "level": "supergroup",
            "code": code,
            "parent": None,
            "name": name,
            "portrait": portrait,
            "cells": int(count.get(code, 0)),
            "population": float(people.get(code, 0.0)),
            "population_share": float(people.get(code, 0.0) / people.sum()),
        }
        for code, name, portrait in TYPES
    ]
    names_of = {code: name for code, name, _ in TYPES}
    for code in sorted(set(codes[populated])):
        mine = populated & (codes == code)
        share = hexes["population"].to_numpy()[mine].sum() / people.sum()
        types.append(
            {
                "level": "group",
                "code": code,
                "parent": code[0],
                "name": f"{names_of[code[0]]}, group {code[1]}",
                "portrait": "A variant of its supergroup.",
                "cells": int(mine.sum()),
                "population": float(hexes["population"].to_numpy()[mine].sum()),
                "population_share": float(share),
            }
        )
    rows: list[dict[str, Any]] = []
    for name, label, _ in VARIABLES:
        values, weights = hexes[name].to_numpy(), hexes["population"].to_numpy()
        overall = np.nansum(values * weights) / weights.sum()
        for code in letters:
            mine = populated & (letters[kind] == code)
            if not mine.any():
                continue
            mean = np.nansum(values[mine] * weights[mine]) / weights[mine].sum()
            index = 100 * mean / overall
            rows.append(
                {
                    "code": code,
                    "level": "supergroup",
                    "variable": name,
                    "label": label,
                    "unit": "share",
                    "mean": mean,
                    "overall": overall,
                    "index": index,
                    "index_low": index * 0.96,
                    "index_high": index * 1.04,
                    "n_areas": int(mine.sum()),
                    "base": weights[mine].sum(),
                    "strength": (mean - overall) / 0.15,
                    "protected": False,
                    "reliable": True,
                }
            )
    return SimpleNamespace(
        table=table,
        types=pd.DataFrame(types),
        index=pd.DataFrame(rows),
        summary=lambda: ["Five neighbourhood types."],
    )


def _shops(
    rng: np.random.Generator,
    centre: tuple[float, float],
    radius_km: float,
    count: int,
    letter: str,
    chain: str | None,
) -> pd.DataFrame:
    angle, reach = rng.uniform(0, 2 * np.pi, count), radius_km * 0.9 * np.sqrt(rng.uniform(0, 1, count))
    lon = centre[0] + reach * np.cos(angle) / (111.32 * np.cos(np.radians(centre[1])))
    chains = rng.choice(["Harvest", "Nieuwmarkt", "Corner & Co"], count, p=[0.5, 0.3, 0.2])
    streets = [
        "Mill Lane",
        "Harbour",
        "Station Road",
        "Abbey",
        "Canal Street",
        "Northgate",
        "Green Park",
        "Foundry",
    ]
    prefix = np.full(count, chain) if chain else chains
    return pd.DataFrame(
        {
            "store_id": [f"{letter}{k + 1:03d}" for k in range(count)],
            "name": [
                f"{prefix[k]} {streets[k % len(streets)]} {k // len(streets) + 1}" for k in range(count)
            ],
            "lon": (lon + 180) % 360 - 180,
            "lat": centre[1] + reach * np.sin(angle) / 110.57,
            "chain": prefix,
            "format": rng.choice(["city", "supermarket", "superstore"], count),
            "size_m2": rng.integers(4, 32, count) * 100.0,
        }
    )


def _boundaries(centre: tuple[float, float], radius_km: float) -> gpd.GeoDataFrame:
    wide, high = radius_km / (111.32 * np.cos(np.radians(centre[1]))), radius_km / 110.57
    x, y = centre
    corners = [(-1, -1), (0.1, -1), (1, -1), (-1, 0.15), (0.05, 0.1), (1, 0.2), (-1, 1), (0, 1), (1, 1)]
    points = [(x + a * wide, y + b * high) for a, b in corners]
    quarters = [(0, 1, 4, 3), (1, 2, 5, 4), (3, 4, 7, 6), (4, 5, 8, 7)]
    return gpd.GeoDataFrame(
        {"name": ["Southmoor", "Eastvale", "Weststead", "Northhaven"]},
        geometry=[shapely.Polygon([points[k] for k in quarter]) for quarter in quarters],
        crs="EPSG:4326",
    )


def _products(per_category: int) -> pd.DataFrame:
    words = [
        "Classic",
        "Organic",
        "Light",
        "Family pack",
        "Single",
        "Dark",
        "Mild",
        "Extra",
        "Premium",
        "Value",
    ]
    rows = []
    for k, category in enumerate(CATEGORIES):
        for j in range(per_category):
            name = f"{category} {words[j % len(words)]} {250 * (1 + j // len(words))} g"
            rows.append([f"{k + 1}{j:03d}", name, category, 1.5 + 0.4 * j])
    return pd.DataFrame(rows, columns=["sku", "name", "category", "price"])


def _quality() -> pd.DataFrame:
    rows = [
        [
            "sales",
            "units",
            "negative units",
            41,
            412_332,
            "netted",
            "Returns: taken off the same store and product.",
        ],
        [
            "sales",
            "sku",
            "unknown sku",
            12,
            412_332,
            "quarantined",
            "12 rows name a product that is not in products.",
        ],
        [
            "stores",
            "lon",
            "missing coordinates",
            1,
            19,
            "quarantined",
            "A store without coordinates can't be mapped.",
        ],
    ]
    return pd.DataFrame(rows, columns=["table", "column", "check", "rows", "of_rows", "action", "message"])


def _store_clusters(rng: np.random.Generator, stores: pd.DataFrame, n_clusters: int) -> Any:
    names = ["City centre, young", "Family suburbs", "Older neighbourhoods", "Mixed high streets", "Students"]
    labels = np.sort(rng.integers(0, n_clusters, len(stores)))
    labels[:n_clusters] = np.arange(n_clusters)
    labels = np.sort(labels)
    table = pd.DataFrame(
        {
            "store_id": stores["store_id"],
            "store_cluster": [f"C{k + 1}" for k in labels],
            "name": [names[k % len(names)] for k in labels],
            "medoid": [i == 0 or labels[i - 1] != k for i, k in enumerate(labels)],
            "flagged": [int((labels == k).sum()) == 1 for k in labels],
            "reason": ["only store of its kind" if (labels == k).sum() == 1 else "" for k in labels],
        }
    )
    features = [(f"share_{code}", f"trade from {code} · {name}") for code, name, _ in TYPES] + [
        ("size", "sales area, m²")
    ]
    rows = []
    for k in range(n_clusters):
        for feature, label in features:
            chain = 1400.0 if feature == "size" else 1 / len(TYPES)
            value = chain * float(rng.uniform(0.4, 1.9))
            block = "format" if feature == "size" else "catchment"
            rows.append([f"C{k + 1}", feature, block, label, value, chain, 100 * value / chain])
    profile = pd.DataFrame(
        rows, columns=["store_cluster", "feature", "block", "label", "value", "chain", "index"]
    )
    summed = table.groupby("store_cluster").agg(
        name=("name", "first"), stores=("store_id", "size"), flagged=("flagged", "any")
    )
    medoids = table[table["medoid"]].set_index("store_cluster")["store_id"]
    clusters = summed.assign(medoid=medoids).reset_index()
    return SimpleNamespace(
        table=table, profile=profile, clusters=clusters, summary=lambda: [f"{n_clusters} store clusters."]
    )


def _catchments(
    rng: np.random.Generator, hexes: pd.DataFrame, types: pd.DataFrame, stores: pd.DataFrame
) -> Any:
    lon, lat = hexes["lon"].to_numpy(), hexes["lat"].to_numpy()
    pull = np.empty((len(hexes), len(stores)))
    km = np.empty_like(pull)
    for j, store in enumerate(stores.itertuples()):
        east = ((lon - store.lon + 180) % 360 - 180) * 111.32 * np.cos(np.radians(lat))
        km[:, j] = np.maximum(np.hypot(east, (lat - store.lat) * 110.57), 0.5)
        pull[:, j] = store.size_m2**0.8 / km[:, j] ** 1.9
    rivals = pull.mean() * 6
    share = pull / (pull.sum(axis=1, keepdims=True) + rivals)
    market = hexes["population"].to_numpy() * 2400.0
    demand = share * market[:, None]
    areas, profile = [], []
    codes = types["supergroup"].to_numpy(dtype=object)
    for j, store in enumerate(stores["store_id"]):
        order = np.argsort(-demand[:, j], kind="stable")
        running = np.cumsum(demand[order, j]) / demand[:, j].sum()
        before = running - demand[order, j] / demand[:, j].sum()
        band = np.select([before < 0.5, before < 0.7, before < 0.9], [0.5, 0.7, 0.9], 0.0)
        kept = band > 0
        areas.append(
            pd.DataFrame(
                {
                    "store_id": store,
                    "cell": hexes["cell"].to_numpy()[order][kept],
                    "share": demand[order, j][kept] / demand[:, j].sum(),
                    "band": band[kept],
                }
            )
        )
        for code in sorted({c for c in codes if isinstance(c, str)}):
            part = demand[codes == code, j].sum()
            profile.append([store, code, part / demand[:, j].sum(), part])
    cells = pd.DataFrame(
        {
            "cell": hexes["cell"],
            "own_share": share.sum(axis=1),
            "market": market,
            "whitespace": market * (1 - share.sum(axis=1)),
            "nearest_own_km": km.min(axis=1),
        }
    )
    return SimpleNamespace(
        table=pd.DataFrame(
            {
                "cell": np.repeat(hexes["cell"].to_numpy(), len(stores)),
                "store_id": np.tile(stores["store_id"].to_numpy(), len(hexes)),
                "own": True,
                "km": km.ravel(),
                "probability": share.ravel(),
                "demand": demand.ravel(),
            }
        ),
        areas=pd.concat(areas, ignore_index=True),
        profile=pd.DataFrame(profile, columns=["store_id", "neighbourhood", "share", "demand"]),
        cells=cells,
        params=pd.DataFrame(
            {
                "term": ["size", "distance"],
                "estimate": [0.8, -1.9],
                "se": [0.05, 0.08],
                "robust_se": [0.07, np.nan],
                "low": [0.66, -2.1],
                "high": [0.94, -1.7],
            }
        ),
        comparison=pd.DataFrame(
            {
                "model": ["huff", "huff", "size_only", "size_only", "uniform", "uniform"],
                "label": ["Fitted", "Fitted", "Size only", "Size only", "All alike", "All alike"],
                "sample": ["in", "out"] * 3,
                "test": "random cells",
                "cells": [600, 200] * 3,
                "trips": [303_906.0, 73_986.0] * 3,
                "pseudo_r2": [0.48, 0.49, 0.11, 0.12, 0.0, 0.0],
                "wmape": [0.25, 0.24, 1.22, 1.25, 1.37, 1.40],
            }
        ),
        summary=lambda: ["Half of a store's trade comes from within 2.1 km."],
    )


def _customers(rng: np.random.Generator, hexes: pd.DataFrame, neighbourhoods: Any) -> Any:
    count = rng.binomial(np.maximum(hexes["population"].to_numpy().astype(int), 0), 0.12).astype(float)
    hidden = (count > 0) & (count < 10)
    count[hidden] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(hexes["population"] > 0, count / hexes["population"], np.nan)
    cells = pd.DataFrame({"cell": hexes["cell"], "customers": count, "penetration": rate})
    rows = []
    groups = neighbourhoods.types[neighbourhoods.types["level"] == "group"]
    for group in groups.itertuples():
        rate = 0.12 * float(rng.uniform(0.6, 1.4))
        rows.append(
            {
                "neighbourhood": group.code,
                "name": group.name,
                "customers": round(group.population * rate),
                "population": group.population,
                "penetration": rate,
                "low": rate * 0.97,
                "high": rate * 1.03,
                "index": rate / 0.0012,
                "index_low": rate / 0.00124,
                "index_high": rate / 0.00116,
                "heavy_share": 0.13,
                "revenue": group.population * 40,
                "margin": group.population * 11,
                "suppressed": "",
            }
        )
    if not rows:
        return None
    table = pd.DataFrame(rows)
    hide = table.index[-1:]
    table.loc[hide, ["customers", "penetration", "low", "high", "index", "index_low", "index_high"]] = np.nan
    table.loc[hide, "suppressed"] = "too few customers"
    return SimpleNamespace(table=table, cells=cells, summary=lambda: ["12% are customers."])


def _ranges(rng: np.random.Generator, products: pd.DataFrame, clusters: pd.DataFrame) -> Any:
    rows, changes, spaces = [], [], []
    for cluster, members in clusters.groupby("store_cluster"):
        count = len(members)
        for product in products.itertuples():
            status = str(rng.choice(["keep", "list", "delist", "out"], p=[0.56, 0.14, 0.12, 0.18]))
            if status == "out":
                continue
            lift = float(rng.uniform(1.1, 2.4) if status == "list" else rng.uniform(0.3, 1.3))
            units = float(rng.gamma(2, 6)) * count
            margin = units * float(rng.uniform(0.3, 1.1))
            national = product.sku.endswith("000") and status != "delist"
            reason = {
                "list": f"sells {lift:.1f}× the chain rate here; earns {margin:,.2f} a week in {count} stores",
                "delist": f"delisted: ranks {rng.integers(12, 20)} for 11 places in this cluster",
                "keep": "in the national core; sells at about the chain rate here",
            }[status]
            rows.append(
                {
                    "store_cluster": cluster,
                    "category": product.category,
                    "tier": "none" if status == "delist" else "all",
                    "sku": product.sku,
                    "name": product.name,
                    "scope": "national" if national else "local",
                    "status": status,
                    "stores": count,
                    "stores_planned": 0 if status == "delist" else count,
                    "stores_today": 0 if status == "list" else count,
                    "units": units,
                    "margin": margin,
                    "low": units * 0.7,
                    "high": units * 1.35,
                    "width_cm": 8.0,
                    "lift": lift,
                    "rank": int(rng.integers(1, 20)),
                    "reason": reason,
                }
            )
            changes += [
                [
                    store,
                    cluster,
                    product.category,
                    "all",
                    product.sku,
                    status,
                    units / count,
                    margin / count,
                    reason,
                ]
                for store in members["store_id"]
            ]
        for category in CATEGORIES:
            today = float(rng.uniform(3e3, 9e3))
            spaces.append(
                [cluster, category, "all", count, 96.0, 92.0, "width_cm", 90.0, 98.0, today, today * 1.04]
            )
    change_columns = [
        "store_id",
        "store_cluster",
        "category",
        "tier",
        "sku",
        "action",
        "units",
        "margin",
        "reason",
    ]
    space_columns = [
        "store_cluster",
        "category",
        "tier",
        "stores",
        "capacity",
        "used",
        "unit",
        "today_low",
        "today_high",
        "margin_today",
        "margin",
    ]
    solver = pd.DataFrame(
        {
            "category": CATEGORIES,
            "status": "optimal",
            "objective": rng.uniform(8e3, 2e4, len(CATEGORIES)).round(2),
            "bound": 2e4,
            "gap": 0.0004,
            "constraints_checked": 412,
            "worst_violation": 0.0,
        }
    )
    return SimpleNamespace(
        table=pd.DataFrame(rows),
        changes=pd.DataFrame(changes, columns=change_columns),
        spaces=pd.DataFrame(spaces, columns=space_columns),
        solver=solver,
        period="week",
        summary=lambda: ["The range."],
    )


def _demand(ranges: pd.DataFrame, clusters: pd.DataFrame) -> Any:
    rows = []
    for k, category in enumerate(["all", *CATEGORIES]):
        for family, wmape in (("baseline", 0.415), ("cluster", 0.398), ("chosen", 0.381)):
            if family != "chosen" or category == "all":
                chosen = family == "chosen" or (family == "cluster" and category != "all")
                rows.append([category, family, chosen, 2_140, wmape + 0.01 * k, 2.04, 0.5, 0.01])
    columns = [
        "category",
        "family",
        "chosen",
        "pairs",
        "wmape",
        "poisson_deviance",
        "spearman_within_sku",
        "bias",
    ]
    chosen = pd.DataFrame(
        {"category": CATEGORIES, "family": "cluster", "pairs": 428, "gain": 0.1, "gain_se": 0.02}
    )
    return SimpleNamespace(
        table=ranges,
        holdout=pd.DataFrame(rows, columns=columns),
        chosen=chosen,
        validated=True,
        summary=lambda: ["Demand."],
    )


def _promotions(rng: np.random.Generator, clusters: Any, products: pd.DataFrame) -> Any:
    weeks = [pd.Timestamp(2025, 1, 6) + pd.Timedelta(weeks=k) for k in range(8)]
    rows = []
    for cluster, members in clusters.table.groupby("store_cluster"):
        for product in products.iloc[:: len(products) // 5].itertuples():
            uplift, baseline = float(rng.gamma(3, 30)), float(rng.gamma(3, 40))
            margin = uplift * 0.9
            parts = {
                "incremental_margin": margin,
                "subsidised": 0.15 * baseline,
                "cannibalised": 0.06 * margin,
                "halo": 0.1 * margin,
                "dip": 0.12 * margin,
                "funding": 5.0,
                "contact_cost": 3.0,
            }
            gains = parts["incremental_margin"] + parts["halo"] + parts["funding"]
            net = gains - sum(parts[name] for name in ("subsidised", "cannibalised", "dip", "contact_cost"))
            rows.append(
                {
                    "store_cluster": cluster,
                    "sku": product.sku,
                    "name": product.name,
                    "category": product.category,
                    "period": weeks[int(rng.integers(0, 8))],
                    "depth": float(rng.choice([0.15, 0.25, 0.33])),
                    "mechanic": "price cut",
                    "channel": str(rng.choice(["shelf", "display", "mailer"])),
                    "stores": len(members),
                    "uplift_units": uplift,
                    "baseline_units": baseline,
                    **parts,
                    "cost": 12.0,
                    "net": net,
                    "net_low": net * 0.7,
                    "reason": "25% off lifts units by 64%; the dip afterwards is small",
                }
            )
    refusals = pd.DataFrame(
        {"scope": ["Wine"], "reason": ["Never promoted in the data: its response can't be known."]}
    )
    return SimpleNamespace(table=pd.DataFrame(rows), refusals=refusals, summary=lambda: ["Promotions."])


def _frontier(n_clusters: int) -> Any:
    count = np.array([1, 2, 3, 4, 5, 6, 8, 10, 12, 18])
    label = ["national", *[f"{n} clusters" for n in count[1:-1]], "each store"]
    holdout = 240e3 * (1 - np.exp(-(count - 1) / 2.2)) - 1_500.0 * np.maximum(count - 6, 0)
    in_sample = 260e3 * (1 - np.exp(-(count - 1) / 2.4)) + 16e3 * (count - 1)
    cost = 9_000.0 * (count - 1)
    net = holdout - cost
    spread = np.where(count == 1, 0.0, 28e3 + 1_200 * count)
    table = pd.DataFrame(
        {
            "n_clusters": count,
            "label": label,
            "gain_in_sample": in_sample,
            "gain_holdout": holdout,
            "low": holdout - spread,
            "high": holdout + spread,
            "cost": cost,
            "net": net,
            "net_low": net - spread,
            "net_high": net + spread,
            "chosen": count == n_clusters,
        }
    )
    verdict = SimpleNamespace(
        kind="cluster" if n_clusters > 1 else "national",
        n_clusters=n_clusters,
        sentence=f"Go local, with {n_clusters} store clusters: about €150,000 a year more than one range for all.",
    )
    return SimpleNamespace(table=table, verdict=verdict, summary=lambda: [verdict.sentence])
