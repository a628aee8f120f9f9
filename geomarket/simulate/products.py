"""The invented range: brands, packs, prices, and how well each product sells everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as combinations

import numpy as np
import pandas as pd
from scipy import sparse

from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.types import FEATURE_TASTES, TYPES

__all__ = ["ATTRIBUTES", "CATEGORIES", "OWN_CHAIN", "Range", "build_range"]

OWN_CHAIN = "Hallowby"
ATTRIBUTES = ("tier", "pack", "flavour", "organic")

# (mean price €, width of one pack cm, pack sizes small/standard/large, flavours, log taste by type, peak week, swing)
_Subcategory = tuple[
    str, float, float, tuple[str, str, str], tuple[str, ...], tuple[float, ...], float, float
]

CATEGORIES: dict[str, tuple[_Subcategory, ...]] = {
    "Coffee and tea": (
        ("Ground coffee", 5.2, 9, ("250 g", "500 g", "1 kg"), ("Mild", "House Blend", "Dark Roast", "Decaf"),
         (0.5, 0.0, 0.1, 0.2, 0.0, -0.5), 2, 0.10),
        ("Coffee capsules", 4.4, 11, ("10 pack", "20 pack", "40 pack"), ("Lungo", "Ristretto", "Vanilla", "Decaf"),
         (0.7, -0.1, 0.2, 0.3, -0.5, -0.6), 50, 0.12),
        ("Instant coffee", 4.6, 8, ("50 g", "100 g", "200 g"), ("Original", "Gold", "Decaf"),
         (-0.7, 0.2, -0.1, -0.2, 0.5, 0.5), 2, 0.08),
        ("Tea", 2.6, 12, ("20 bags", "40 bags", "80 bags"), ("Breakfast", "Earl Blue", "Peppermint", "Green", "Rooibos"),
         (0.1, 0.1, -0.2, 0.1, 0.6, -0.2), 2, 0.20),
    ),
    "Breakfast": (
        ("Muesli and granola", 3.4, 13, ("375 g", "500 g", "1 kg"), ("Nut", "Berry", "Honey", "Five Grain"),
         (0.6, 0.2, 0.0, 0.2, -0.1, -0.7), 3, 0.08),
        ("Flakes", 2.7, 18, ("250 g", "375 g", "750 g"), ("Plain", "Cocoa", "Honey", "Frosted"),
         (-0.5, 0.1, 0.6, 0.0, -0.3, 0.4), 36, 0.06),
        ("Porridge", 1.9, 12, ("400 g", "500 g", "1 kg"), ("Fine Oat", "Whole Oat", "Apple", "Golden Syrup"),
         (0.2, 0.2, -0.1, 0.0, 0.3, -0.3), 3, 0.30),
        ("Spreads and jam", 3.0, 7, ("220 g", "340 g", "680 g"), ("Strawberry", "Apricot", "Honey", "Hazelnut"),
         (-0.1, 0.0, 0.3, 0.1, 0.4, 0.0), 48, 0.05),
    ),
    "Dairy and plant-based": (
        ("Milk", 1.3, 8, ("0.5 l", "1 l", "2 l"), ("Whole", "Semi-skimmed", "Lactose-free"),
         (-0.3, -0.2, 0.5, 0.1, 0.1, 0.2), 2, 0.03),
        ("Yoghurt", 1.8, 9, ("150 g", "500 g", "4 x 125 g"), ("Natural", "Strawberry", "Vanilla", "Peach", "Skyr"),
         (0.1, 0.0, 0.3, 0.1, 0.1, -0.1), 24, 0.06),
        ("Cheese", 3.6, 11, ("125 g", "250 g", "400 g"), ("Mild", "Mature", "Goat", "Blue", "Grated"),
         (0.3, -0.1, 0.0, 0.4, 0.2, -0.4), 51, 0.12),
        ("Butter and margarine", 2.9, 11, ("125 g", "250 g", "500 g"), ("Salted", "Unsalted", "Spreadable"),
         (-0.2, -0.3, 0.2, 0.2, 0.5, 0.1), 51, 0.14),
        ("Plant-based drinks", 2.3, 8, ("0.5 l", "1 l", "3 x 1 l"), ("Oat", "Almond", "Soya", "Barista Oat"),
         (0.9, 0.6, 0.0, -0.1, -0.9, -0.8), 3, 0.10),
    ),
    "Beer and wine": (
        ("Lager", 5.6, 13, ("4 x 0.33 l", "6 x 0.5 l", "12 x 0.5 l"), ("Pilsner", "Helles", "Export"),
         (-0.2, 0.5, 0.0, -0.1, -0.2, 0.6), 27, 0.25),
        ("Craft beer", 3.1, 7, ("0.33 l", "0.5 l", "4 x 0.33 l"), ("Pale Ale", "Stout", "Wheat", "Sour", "Amber"),
         (0.9, 0.5, -0.1, 0.1, -0.8, -0.8), 27, 0.18),
        ("Red wine", 7.4, 8, ("0.375 l", "0.75 l", "3 l box"), ("Soft", "Oaked", "Full-bodied", "Reserve"),
         (0.5, -0.5, -0.1, 0.6, 0.4, -0.8), 50, 0.40),
        ("White wine", 6.9, 8, ("0.375 l", "0.75 l", "3 l box"), ("Dry", "Crisp", "Off-dry", "Sparkling"),
         (0.4, -0.5, 0.0, 0.6, 0.3, -0.7), 28, 0.22),
        ("Alcohol-free", 4.2, 11, ("0.33 l", "6 x 0.33 l", "12 x 0.33 l"), ("Pilsner", "Wheat", "Radler"),
         (0.5, 0.0, 0.3, 0.2, -0.3, -0.6), 2, 0.22),
    ),
    "Snacks": (
        ("Crisps", 2.1, 17, ("45 g", "150 g", "6 x 25 g"), ("Sea Salt", "Paprika", "Onion", "Chilli", "Vinegar"),
         (-0.1, 0.5, 0.3, -0.2, -0.6, 0.4), 26, 0.10),
        ("Nuts", 3.3, 11, ("75 g", "150 g", "400 g"), ("Salted Peanut", "Cashew", "Mixed", "Almond"),
         (0.5, 0.0, -0.1, 0.3, 0.0, -0.5), 50, 0.22),
        ("Chocolate", 2.4, 9, ("45 g", "100 g", "300 g"), ("Milk", "Dark 70%", "Hazelnut", "Caramel", "Mint"),
         (0.1, 0.1, 0.1, 0.0, 0.3, -0.1), 50, 0.35),
        ("Biscuits", 2.0, 12, ("100 g", "200 g", "500 g"), ("Butter", "Oat", "Chocolate", "Ginger"),
         (-0.5, -0.1, 0.3, 0.0, 0.6, 0.3), 47, 0.16),
    ),
    "Pasta, rice and world foods": (
        ("Pasta", 1.6, 11, ("250 g", "500 g", "1 kg"), ("Spaghetti", "Penne", "Fusilli", "Wholewheat"),
         (0.0, 0.6, 0.3, -0.1, -0.5, 0.2), 40, 0.05),
        ("Rice", 2.4, 11, ("250 g", "500 g", "1 kg"), ("Long Grain", "Basmati", "Risotto", "Brown"),
         (0.1, 0.4, 0.1, 0.0, -0.3, 0.1), 40, 0.04),
        ("Cooking sauces", 2.6, 8, ("190 g", "400 g", "690 g"), ("Tomato", "Pesto", "Arrabbiata", "Mushroom"),
         (0.2, 0.5, 0.2, -0.1, -0.6, -0.1), 40, 0.05),
        ("World foods", 2.9, 9, ("100 g", "200 g", "400 g"), ("Ramen", "Curry Paste", "Tortilla", "Coconut", "Soy"),
         (0.6, 0.6, 0.0, -0.1, -1.0, 0.1), 5, 0.06),
    ),
    "Soft drinks": (
        ("Cola and lemonade", 2.2, 9, ("0.33 l", "1.5 l", "6 x 0.33 l"), ("Cola", "Cola Zero", "Lemon", "Orange"),
         (-0.5, 0.4, 0.2, -0.3, -0.6, 0.7), 28, 0.22),
        ("Juice", 2.5, 8, ("0.25 l", "1 l", "2 l"), ("Orange", "Apple", "Multifruit", "Tomato"),
         (0.0, 0.0, 0.4, 0.2, 0.1, -0.3), 20, 0.08),
        ("Water", 1.6, 15, ("0.5 l", "1.5 l", "6 x 1.5 l"), ("Still", "Sparkling", "Lightly Sparkling"),
         (0.1, 0.1, 0.2, 0.0, 0.1, -0.2), 28, 0.28),
        ("Energy drinks", 2.0, 6, ("0.25 l", "0.5 l", "4 x 0.25 l"), ("Classic", "Sugar-free", "Berry"),
         (0.0, 0.9, -0.1, -0.7, -1.3, 0.7), 26, 0.10),
    ),
    "Baby and household": (
        ("Nappies", 8.6, 24, ("22 pack", "44 pack", "88 pack"), ("Newborn", "Midi", "Maxi", "Junior"),
         (-0.3, -1.0, 1.0, 0.0, -1.3, 0.4), 10, 0.03),
        ("Baby food", 1.4, 7, ("120 g", "190 g", "4 x 100 g"), ("Carrot", "Apple", "Banana", "Pasta"),
         (0.1, -1.0, 0.9, 0.0, -1.3, 0.2), 10, 0.03),
        ("Laundry", 6.4, 16, ("20 washes", "40 washes", "80 washes"), ("Universal", "Colour", "Sensitive"),
         (-0.2, -0.4, 0.4, 0.2, 0.0, 0.2), 14, 0.05),
        ("Cleaning", 2.7, 9, ("0.5 l", "0.75 l", "1.5 l"), ("Kitchen", "Bathroom", "Universal", "Glass"),
         (0.0, -0.3, 0.1, 0.2, 0.2, 0.0), 14, 0.12),
    ),
}  # fmt: skip

_BRANDS = (
    "Tovelle", "Marnick", "Orlissa", "Brynwell", "Tamsora", "Quenby Hall", "Sollara", "Nortwick", "Pellamo",
    "Harrowmill", "Caldonne", "Wexmere", "Lumbrio", "Ottervale", "Zestello", "Ravenny", "Kippendale", "Bellavine",
    "Morvello", "Hopdyke", "Tillowin", "Ashquay", "Grenmoor", "Fennwick", "Velgrano", "Drovelly", "Sunderwick",
    "Mirrowby", "Palestrello", "Oakhurdle", "Fjellmarn", "Copperdene", "Larkenby", "Nuvessa", "Thornsea", "Wildermoss",
)  # fmt: skip
_TIERS = ("own label", "mainstream", "premium")
_TIER_PRICE = {"own label": 0.72, "mainstream": 1.0, "premium": 1.42}
_TIER_MARGIN = {"own label": 0.34, "mainstream": 0.26, "premium": 0.31}
_TIER_POPULARITY = {"own label": 0.25, "mainstream": 0.15, "premium": -0.35}
_PACKS = ("small", "standard", "large")
_PACK_PRICE = (0.62, 1.0, 1.72)
_PACK_WIDTH = (0.8, 1.0, 1.35)
_PACK_CASE = (24, 12, 6)
_PACK_POPULARITY = (-0.25, 0.3, -0.15)
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Range:
    """Products and what is true of them everywhere.

    Attributes
    ----------
    products : DataFrame
        The market's ``products`` table.
    rate : ndarray of shape (n_skus,)
        Units per week in an average store if listed, before local lift, season and promotions; mean 1.
    taste : ndarray of shape (n_types, n_skus)
        Log taste of each latent type, as drawn (not yet normalised).
    season : ndarray of shape (n_skus, weeks)
        Seasonal index; its mean over 52 weeks is 1.
    substitutes : scipy.sparse.csr_array of shape (n_skus, n_skus)
        Row k: the share of the switching buyers of k that turn to each substitute; rows add up to 1.
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
    flat = [(name, sub) for name, subs in CATEGORIES.items() for sub in subs]
    codes = list(CATEGORIES)
    n = settings.n_skus
    subcategory = _spread(n, len(flat))
    category = np.array([codes.index(flat[s][0]) for s in subcategory])
    lines = _lines(settings, flat, subcategory)
    products = pd.DataFrame(lines, columns=["name", "brand", "tier", "pack", "flavour", "organic"])
    products.insert(0, "sku", [f"P{i:05d}" for i in range(1, n + 1)])
    products.insert(2, "category", [codes[c] for c in category])
    products.insert(3, "subcategory", [flat[s][1][0] for s in subcategory])
    draws = settings.stream("products").normal(size=(n, 4))
    pack = products["pack"].map(_PACKS.index).to_numpy()
    _add_prices(products, [flat[s][1] for s in subcategory], pack, draws)

    popularity = 0.9 * draws[:, 3] + np.array(_PACK_POPULARITY)[pack]
    popularity += products["tier"].map(_TIER_POPULARITY).to_numpy() - 0.35 * np.log(
        products["price"].to_numpy() / 3.0
    )
    popularity -= 0.5 * products["organic"].to_numpy()
    rate = np.exp(popularity)
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
        rate=rate / rate.mean(),
        taste=_tastes(settings, products, [flat[s][1][5] for s in subcategory], pack),
        season=_seasons(settings.weeks, [flat[s][1] for s in subcategory]),
        substitutes=_substitutes(products, subcategory, rate),
        category=category,
        subcategory=subcategory,
    )


def _spread(n: int, n_groups: int) -> np.ndarray:
    """Assign items to groups evenly; the first items keep their group when n grows."""
    order = np.argsort((np.arange(n_groups) * _GOLDEN) % 1.0)
    return order[np.arange(n) % n_groups]


def _lines(
    settings: SimulationSettings, flat: list[tuple[str, _Subcategory]], subcategory: np.ndarray
) -> list[tuple[str, str, str, str, str, bool]]:
    """Name every product: brand, flavour and pack drawn without repeats within a subcategory."""
    queues: list[list[tuple[str, str, str, str, str, bool]]] = []
    for code, (_, sub) in enumerate(flat):
        rng = settings.stream("products", code + 1)
        noun, _, _, sizes, flavours, *_ = sub
        outside = rng.permutation(len(_BRANDS))[:5]
        brands = [(f"{OWN_CHAIN} Pantry", "own label"), (f"{OWN_CHAIN} Basics", "own label")]
        brands += [(_BRANDS[b], "mainstream" if place < 3 else "premium") for place, b in enumerate(outside)]
        combos = list(combinations(brands, flavours, range(3)))
        drawn = []
        for i in rng.permutation(len(combos)):
            (brand, tier), flavour, pack = combos[i]
            organic = bool(
                rng.random() < (0.06 if brand.endswith("Basics") else 0.28 if tier == "premium" else 0.14)
            )
            words = f"{brand} {'Organic ' if organic else ''}{noun} {flavour} {sizes[pack]}"
            drawn.append((words, brand, tier, _PACKS[pack], flavour, organic))
        queues.append(drawn)
    within = pd.Series(subcategory).groupby(subcategory).cumcount().to_numpy()
    lines = []
    for sub_code, place in zip(subcategory, within):
        queue = queues[sub_code]
        edition, place = divmod(int(place), len(queue))
        name, *rest = queue[place]
        lines.append((f"{name} (edition {edition + 1})" if edition else name, *rest))
    return lines


def _add_prices(
    products: pd.DataFrame, subs: list[_Subcategory], pack: np.ndarray, draws: np.ndarray
) -> None:
    tier = products["tier"]
    price = (
        np.array([sub[1] for sub in subs]) * np.array(_PACK_PRICE)[pack] * tier.map(_TIER_PRICE).to_numpy()
    )
    price *= np.where(products["brand"].str.endswith("Basics"), 0.8, 1.0)
    price *= np.where(products["organic"], 1.22, 1.0) * np.exp(0.07 * draws[:, 0])
    # Shelf prices end in 9.
    products["price"] = np.maximum(0.39, np.round(price * 10) / 10 - 0.01).round(2)
    margin = (tier.map(_TIER_MARGIN).to_numpy() + 0.035 * draws[:, 1]).clip(0.08, 0.55)
    products["cost"] = (products["price"] * (1 - margin)).round(2)
    width = np.array([sub[2] for sub in subs]) * np.array(_PACK_WIDTH)[pack] * np.exp(0.06 * draws[:, 2])
    products["width_cm"] = width.round(1)
    products["case_pack"] = np.array(_PACK_CASE)[pack].astype(np.int64)


def _tastes(
    settings: SimulationSettings, products: pd.DataFrame, by_sub: list[tuple[float, ...]], pack: np.ndarray
) -> np.ndarray:
    features = {
        "own_label": products["tier"].eq("own label"),
        "premium": products["tier"].eq("premium"),
        "organic": products["organic"],
        "large_pack": pack == _PACKS.index("large"),
        "small_pack": pack == _PACKS.index("small"),
    }
    taste = np.array(by_sub).T.copy()
    for name, loading in FEATURE_TASTES.items():
        taste += loading[:, None] * np.asarray(features[name], dtype=float)[None, :]
    return taste + 0.25 * settings.stream("tastes").normal(size=(len(products), len(TYPES))).T


def _seasons(weeks: int, subs: list[_Subcategory]) -> np.ndarray:
    week = np.arange(weeks) % 52
    peak = np.array([sub[6] for sub in subs])[:, None]
    swing = np.array([sub[7] for sub in subs])[:, None]
    # A von Mises bump: narrow peaks for the strong seasons, as before holidays; mean 1 over 52 weeks.
    sharpness = 1.0 + 4.0 * swing
    year = np.arange(52)
    bump = np.exp(sharpness * (np.cos(2 * np.pi * (year - peak) / 52) - 1))
    bump = 1 + 2.2 * swing * (bump / bump.mean(axis=1, keepdims=True) - 1)
    return bump[:, week]


def _substitutes(products: pd.DataFrame, subcategory: np.ndarray, rate: np.ndarray) -> sparse.csr_array:
    """Substitution shares within the subcategory: by popularity and likeness, eight nearest kept."""
    n = len(products)
    rows, columns, values = [], [], []
    traits = np.column_stack([pd.factorize(products[name])[0] for name in ATTRIBUTES])
    for code in np.unique(subcategory):
        member = np.flatnonzero(subcategory == code)
        if len(member) < 2:
            continue
        alike = (traits[member][:, None, :] == traits[member][None, :, :]).sum(axis=2)
        pull = rate[member][None, :] ** 0.7 * np.exp(0.8 * alike)
        np.fill_diagonal(pull, 0.0)
        if len(member) > 9:
            floor = -np.sort(-pull, axis=1)[:, 7:8]
            pull = np.where(pull >= floor, pull, 0.0)
        share = pull / pull.sum(axis=1, keepdims=True)
        row, column = np.nonzero(share)
        rows.append(member[row])
        columns.append(member[column])
        values.append(share[row, column])
    return sparse.csr_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(n, n), dtype=float
    )
