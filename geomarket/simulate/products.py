"""The invented range: brands, packs, prices, and how well each product sells everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as combinations

import numpy as np
import pandas as pd
from scipy import sparse

from geomarket.simulate.catalogue import BRANDS, CATEGORIES, OWN_LABELS, Subcategory
from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.types import FEATURE_TASTES, TYPES

__all__ = ["ATTRIBUTES", "Range", "build_range"]

ATTRIBUTES = ("tier", "pack", "flavour", "organic")

_BASICS = OWN_LABELS[1]
_TIER_PRICE = {"own label": 0.72, "mainstream": 1.0, "premium": 1.42}
_TIER_MARGIN = {"own label": 0.34, "mainstream": 0.26, "premium": 0.31}
_TIER_POPULARITY = {"own label": 0.25, "mainstream": 0.15, "premium": -0.35}
_ORGANIC_CHANCE = {"own label": 0.14, "mainstream": 0.14, "premium": 0.28}
_PACKS = ("small", "standard", "large")
_PACK_PRICE = np.array([0.62, 1.0, 1.72])
_PACK_WIDTH = np.array([0.8, 1.0, 1.35])
_PACK_CASE = np.array([24, 12, 6])
_PACK_POPULARITY = np.array([-0.25, 0.3, -0.15])
_POPULARITY_SPREAD = 0.55
# Log tastes of the types are stretched by this, so that catchments differ by about a third in what they like,
# and every product has likings of its own that nothing on its label tells.
_TASTE_SCALE = 1.9
_OWN_TASTE_SPREAD = 0.30
_SUBSTITUTES = 8


@dataclass(frozen=True)
class Range:
    """Products and what is true of them everywhere.

    Attributes
    ----------
    products : DataFrame
        The market's ``products`` table.
    rate : ndarray of shape (n_skus,)
        Units per week in an average store if listed, relative to the average product; mean 1.
    taste : ndarray of shape (n_types, n_skus)
        Log taste of each latent type, as drawn (not yet normalised).
    season : ndarray of shape (n_skus, weeks)
        Seasonal index; its mean over 52 weeks is 1.
    substitutes : scipy.sparse.csr_array of shape (n_skus, n_skus)
        Row k: the share of the switching buyers of k that turn to each substitute. Rows add up to 1, or to 0
        where a product is alone in its subcategory.
    category, subcategory : ndarray of int, shape (n_skus,)
        Codes in the order of ``CATEGORIES``.
    """

    products: pd.DataFrame
    rate: np.ndarray
    taste: np.ndarray
    season: np.ndarray
    substitutes: sparse.csr_array
    category: np.ndarray
    subcategory: np.ndarray


def build_range(settings: SimulationSettings) -> Range:
    """Return the products of a simulation with their popularity, tastes, seasons and substitutes."""
    shelves = [shelf for group in CATEGORIES.values() for shelf in group]
    category_of_shelf = np.repeat(np.arange(len(CATEGORIES)), [len(group) for group in CATEGORIES.values()])
    n = settings.n_skus
    subcategory = _spread(n, len(shelves))
    category = category_of_shelf[subcategory]
    named = _lines(settings, shelves, subcategory)
    products = pd.DataFrame(named, columns=["name", "brand", "tier", "pack", "flavour", "organic"])
    products.insert(0, "sku", [f"P{i:05d}" for i in range(1, n + 1)])
    products.insert(2, "category", np.array(list(CATEGORIES))[category])
    products.insert(3, "subcategory", np.array([shelf.name for shelf in shelves])[subcategory])
    draws = settings.stream("products").normal(size=(n, 4))
    pack = products["pack"].map(_PACKS.index).to_numpy()
    of_product = [shelves[code] for code in subcategory]
    _add_prices(products, of_product, pack, draws)
    rate = _popularity(products, pack, draws[:, 3])
    return Range(
        products=products[
            [
                "sku",
                "name",
                "category",
                "subcategory",
                "brand",
                "price",
                "cost",
                "width_cm",
                "case_pack",
                *ATTRIBUTES,
            ]
        ],
        rate=rate,
        taste=_tastes(settings, products, of_product, pack),
        season=_seasons(settings.weeks, of_product),
        substitutes=_substitutes(products, subcategory, rate),
        category=category,
        subcategory=subcategory,
    )


def _spread(n: int, n_groups: int) -> np.ndarray:
    """Assign items to groups in turn, in a scattered order that keeps the first items' groups when n grows."""
    order = np.argsort((np.arange(n_groups) * 0.6180339887498949) % 1.0)
    return order[np.arange(n) % n_groups]


_Line = tuple[str, str, str, str, str, bool]


def _lines(settings: SimulationSettings, shelves: list[Subcategory], subcategory: np.ndarray) -> list[_Line]:
    """Name every product: brand, flavour and pack drawn without repeats within a subcategory."""
    queues = [_queue(settings.stream("products", code + 1), shelf) for code, shelf in enumerate(shelves)]
    within = pd.Series(subcategory).groupby(subcategory).cumcount().tolist()
    lines = []
    for code, turn in zip(subcategory, within):
        edition, place = divmod(turn, len(queues[code]))
        name, *rest = queues[code][place]
        lines.append((f"{name} (edition {edition + 1})" if edition else name, *rest))
    return lines


def _queue(rng: np.random.Generator, shelf: Subcategory) -> list[_Line]:
    """Every product a subcategory could have, in random order."""
    drawn = rng.permutation(len(BRANDS))[:5]
    brands = [(name, "own label") for name in OWN_LABELS]
    brands += [(BRANDS[b], "mainstream" if place < 3 else "premium") for place, b in enumerate(drawn)]
    combos = list(combinations(brands, shelf.flavours, range(len(_PACKS))))
    organic = rng.random(len(combos))
    queue = []
    for i in rng.permutation(len(combos)):
        (brand, tier), flavour, pack = combos[i]
        is_organic = bool(brand != _BASICS and organic[i] < _ORGANIC_CHANCE[tier])
        words = (
            f"{brand} {'Organic ' if is_organic else ''}{shelf.title.format(flavour)}, {shelf.sizes[pack]}"
        )
        queue.append((words, brand, tier, _PACKS[pack], flavour, is_organic))
    return queue


def _add_prices(
    products: pd.DataFrame, shelf: list[Subcategory], pack: np.ndarray, draws: np.ndarray
) -> None:
    tier = products["tier"]
    price = np.array([s.price for s in shelf]) * _PACK_PRICE[pack] * tier.map(_TIER_PRICE).to_numpy()
    price = price * np.where(products["brand"] == _BASICS, 0.8, 1.0)
    price = price * np.where(products["organic"], 1.22, 1.0) * np.exp(0.07 * draws[:, 0])
    # Shelf prices end in 9.
    products["price"] = np.maximum(0.39, np.round(price * 10) / 10 - 0.01).round(2)
    margin = (tier.map(_TIER_MARGIN).to_numpy() + 0.035 * draws[:, 1]).clip(0.08, 0.55)
    products["cost"] = (products["price"] * (1 - margin)).round(2)
    width = np.array([s.width for s in shelf]) * _PACK_WIDTH[pack] * np.exp(0.06 * draws[:, 2])
    products["width_cm"] = width.round(1)
    products["case_pack"] = _PACK_CASE[pack].astype(np.int64)


def _popularity(products: pd.DataFrame, pack: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Long-tailed relative rates: cheap standard packs of known brands sell most."""
    log_rate = (
        _POPULARITY_SPREAD * draw + _PACK_POPULARITY[pack] + products["tier"].map(_TIER_POPULARITY).to_numpy()
    )
    log_rate = log_rate - 0.35 * np.log(products["price"].to_numpy()) - 0.5 * products["organic"].to_numpy()
    rate = np.exp(log_rate)
    return rate / rate.mean()


def _tastes(
    settings: SimulationSettings, products: pd.DataFrame, shelf: list[Subcategory], pack: np.ndarray
) -> np.ndarray:
    features = {
        "own_label": products["tier"].eq("own label"),
        "premium": products["tier"].eq("premium"),
        "organic": products["organic"],
        "large_pack": pack == _PACKS.index("large"),
        "small_pack": pack == _PACKS.index("small"),
    }
    taste = np.array([s.taste for s in shelf]).T
    for name, loading in FEATURE_TASTES.items():
        taste = taste + loading[:, None] * np.asarray(features[name], dtype=float)[None, :]
    own = settings.stream("tastes").normal(size=(len(products), len(TYPES))).T
    return _TASTE_SCALE * taste + _OWN_TASTE_SPREAD * own


def _seasons(weeks: int, shelf: list[Subcategory]) -> np.ndarray:
    """Seasonal index: one bump a year, narrower the stronger it is, as before holidays."""
    peak = np.array([s.peak for s in shelf])[:, None]
    swing = np.array([s.swing for s in shelf])[:, None]
    bump = np.exp((1.0 + 4.0 * swing) * (np.cos(2 * np.pi * (np.arange(52) - peak) / 52) - 1))
    index = 1 + 2.2 * swing * (bump / bump.mean(axis=1, keepdims=True) - 1)
    return index[:, np.arange(weeks) % 52]


def _substitutes(products: pd.DataFrame, subcategory: np.ndarray, rate: np.ndarray) -> sparse.csr_array:
    """Substitution shares within the subcategory: by popularity and likeness, the strongest few kept."""
    n = len(products)
    rows, columns, values = [np.empty(0, int)], [np.empty(0, int)], [np.empty(0)]
    traits = np.column_stack([pd.factorize(products[name])[0] for name in ATTRIBUTES])
    for code in np.unique(subcategory):
        member = np.flatnonzero(subcategory == code)
        if len(member) < 2:
            continue
        alike = (traits[member][:, None, :] == traits[member][None, :, :]).sum(axis=2)
        pull = rate[member][None, :] ** 0.7 * np.exp(0.8 * alike)
        np.fill_diagonal(pull, 0.0)
        if len(member) > _SUBSTITUTES + 1:
            weakest = -np.sort(-pull, axis=1)[:, _SUBSTITUTES - 1, None]
            pull = np.where(pull >= weakest, pull, 0.0)
        share = pull / pull.sum(axis=1, keepdims=True)
        row, column = np.nonzero(share)
        rows.append(member[row])
        columns.append(member[column])
        values.append(share[row, column])
    where = (np.concatenate(rows), np.concatenate(columns))
    return sparse.csr_array((np.concatenate(values), where), shape=(n, n), dtype=float)
