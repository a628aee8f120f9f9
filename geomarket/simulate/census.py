"""Census counts of the invented city: what the areas and wards publish about their people."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd

from geomarket.market.model import AreaLayer, Variable
from geomarket.simulate.geography import City
from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.types import ACTIVE, HOUSEHOLD_SIZE, INCOME, PARTITIONS

__all__ = ["area_layers"]

# Standard deviation of the log odds by which an area departs from the mix of its types.
_AREA_SPREAD = 0.22
_ACTIVE_LABEL = "active:unemployed"


def area_layers(settings: SimulationSettings, city: City, people: int) -> tuple[AreaLayer, AreaLayer]:
    """Return the census layer of areas (counts) and the older ward layer (median household income).

    Parameters
    ----------
    settings : SimulationSettings
        Gives the seed.
    city : City
        Areas, wards and latent types.
    people : int
        Residents of the city.

    Returns
    -------
    tuple of AreaLayer
        Areas of 2021, finest first, then wards of 2016.
    """
    rng = settings.stream("census")
    counts = _counts(rng, city, people)
    areas = gpd.GeoDataFrame(
        pd.concat([city.areas[["area_id", "name", "district"]], counts, city.areas[["geometry"]]], axis=1),
        geometry="geometry",
        crs=city.areas.crs,
    )
    layer = AreaLayer(
        name="Census areas 2021",
        frame=areas,
        variables=_variables(),
        population="population",
        vintage=2021,
        source="simulated",
    )
    return layer, _ward_layer(settings.stream("census", 1), city, people, counts["households"].to_numpy())


def _counts(rng: np.random.Generator, city: City, people: int) -> pd.DataFrame:
    mix = city.area_types
    population = np.maximum(1, np.rint(city.population * people)).astype(np.int64)
    size = mix @ HOUSEHOLD_SIZE * np.exp(rng.normal(0, 0.03, len(mix)))
    counts = {
        "population": population,
        "households": np.maximum(1, np.rint(population / size)).astype(np.int64),
    }
    for key, columns in PARTITIONS.items():
        if key == "households":
            counts["adults"] = counts["population"] - counts["age_0_14"]
            counts["active"] = rng.binomial(counts["adults"], _shares(rng, mix, ACTIVE[None, :])[:, 0])
        total = counts[key.split(":")[0]]
        profile = np.array([share for _, share in columns.values()])
        if len(columns) == 1:
            drawn = rng.binomial(total, _shares(rng, mix, profile)[:, 0])[:, None]
        else:
            drawn = rng.multinomial(total, _shares(rng, mix, profile))
        counts.update(dict(zip(columns, drawn.T)))
        if key == _ACTIVE_LABEL:
            counts["employed"] = counts["active"] - counts["unemployed"]
    return pd.DataFrame({name: values.astype(np.int64) for name, values in counts.items()})


def _shares(rng: np.random.Generator, mix: np.ndarray, profile: np.ndarray) -> np.ndarray:
    """Expected shares by area, shape (n_areas, n_columns): the type mix, moved a little on the log-odds scale."""
    expected = mix @ profile.T
    if expected.shape[1] == 1:
        odds = expected / (1 - expected) * np.exp(rng.normal(0, _AREA_SPREAD, expected.shape))
        return odds / (1 + odds)
    moved = expected * np.exp(rng.normal(0, _AREA_SPREAD, expected.shape))
    return moved / moved.sum(axis=1, keepdims=True)


def _variables() -> tuple[Variable, ...]:
    found = [
        Variable("population", "residents", "count", "population", classify=False, unit="people"),
        Variable("households", "households", "count", "households", classify=False, unit="households"),
    ]
    for key, columns in PARTITIONS.items():
        denominator = key.split(":")[0]
        for name, (label, _) in columns.items():
            protected = name == "born_abroad"
            found.append(
                Variable(
                    name,
                    label,
                    "rate",
                    name,
                    denominator,
                    classify=not protected,
                    protected=protected,
                    unit="share",
                )
            )
    return tuple(found)


def _ward_layer(rng: np.random.Generator, city: City, people: int, households: np.ndarray) -> AreaLayer:
    """Median income by ward from the households living at the ward's population points."""
    points = city.points
    per_point = points["weight"].to_numpy() / city.population[points["area"]] * households[points["area"]]
    income = (city.area_types @ INCOME)[points["area"]]
    n = len(city.wards)
    total = np.bincount(points["ward"], per_point, n)
    mean = np.divide(
        np.bincount(points["ward"], per_point * income, n), total, out=np.full(n, np.nan), where=total > 0
    )
    frame = city.wards.assign(
        households=np.rint(0.96 * total).astype(np.int64),
        median_income=(np.round(0.9 * mean * np.exp(rng.normal(0, 0.03, n)) / 100) * 100),
    )
    frame = gpd.GeoDataFrame(
        frame[["area_id", "name", "households", "median_income", "geometry"]], crs=city.wards.crs
    )
    return AreaLayer(
        name="Wards 2016",
        frame=frame,
        variables=(
            Variable(
                "median_income",
                "median household income",
                "mean",
                "median_income",
                "households",
                classify=False,
                unit="€",
            ),
        ),
        population="households",
        vintage=2016,
        source="simulated",
    )
