"""The aisles of the invented chain: categories, subcategories, brands and packs. Every name is made up."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["BRANDS", "CATEGORIES", "OWN_CHAIN", "OWN_LABELS", "Subcategory"]

OWN_CHAIN = "Hallowby"
OWN_LABELS = (f"{OWN_CHAIN} Pantry", f"{OWN_CHAIN} Basics")

BRANDS = (
    "Tovelle", "Marnick", "Orlissa", "Brynwell", "Tamsora", "Quenby Hall", "Sollara", "Nortwick", "Pellamo",
    "Harrowmill", "Caldonne", "Wexmere", "Lumbrio", "Ottervale", "Zestello", "Ravenny", "Kippendale", "Bellavine",
    "Morvello", "Hopdyke", "Tillowin", "Ashquay", "Grenmoor", "Fennwick", "Velgrano", "Drovelly", "Sunderwick",
    "Mirrowby", "Palestrello", "Oakhurdle", "Fjellmarn", "Copperdene", "Larkenby", "Nuvessa", "Thornsea", "Wildermoss",
)  # fmt: skip


class Subcategory(NamedTuple):
    """A shelf of like products.

    ``title`` is what a label says, with ``{}`` for the flavour; ``price`` € and ``width`` cm are those of the
    standard pack of a mainstream brand; ``sizes`` small, standard, large; ``taste`` the log liking of each latent
    type, in the order of ``types.TYPES``; ``peak`` the week of the year of most trade, ``swing`` how strong it is.
    """

    name: str
    title: str
    price: float
    width: float
    sizes: tuple[str, str, str]
    flavours: tuple[str, ...]
    taste: tuple[float, float, float, float, float, float]
    peak: int
    swing: float


_S = Subcategory
CATEGORIES: dict[str, tuple[Subcategory, ...]] = {
    "Coffee and tea": (
        _S("Ground coffee", "{} Ground Coffee", 5.2, 9, ("250 g", "500 g", "1 kg"),
           ("Mild", "House Blend", "Dark Roast", "Decaf"), (0.5, 0.0, 0.1, 0.2, 0.0, -0.5), 2, 0.10),
        _S("Coffee capsules", "Coffee Capsules {}", 4.4, 11, ("10 pack", "20 pack", "40 pack"),
           ("Lungo", "Ristretto", "Vanilla", "Decaf"), (0.7, -0.1, 0.2, 0.3, -0.5, -0.6), 50, 0.12),
        _S("Instant coffee", "{} Instant Coffee", 4.6, 8, ("50 g", "100 g", "200 g"),
           ("Classic", "Smooth", "Decaf"), (-0.7, 0.2, -0.1, -0.2, 0.5, 0.5), 2, 0.08),
        _S("Tea", "{} Tea", 2.6, 12, ("20 bags", "40 bags", "80 bags"),
           ("Breakfast", "Bergamot", "Peppermint", "Green", "Rooibos"), (0.1, 0.1, -0.2, 0.1, 0.6, -0.2), 2, 0.20),
    ),
    "Breakfast": (
        _S("Muesli and granola", "{}", 3.4, 13, ("375 g", "500 g", "1 kg"),
           ("Nut Muesli", "Berry Muesli", "Honey Granola", "Five-grain Muesli"),
           (0.6, 0.2, 0.0, 0.2, -0.1, -0.7), 3, 0.08),
        _S("Flakes", "{}", 2.7, 18, ("250 g", "375 g", "750 g"),
           ("Corn Flakes", "Cocoa Hoops", "Honey Loops", "Frosted Flakes"),
           (-0.5, 0.1, 0.6, 0.0, -0.3, 0.4), 36, 0.06),
        _S("Porridge", "{}", 1.9, 12, ("400 g", "500 g", "1 kg"),
           ("Fine Oats", "Whole Oats", "Apple Porridge", "Syrup Porridge"),
           (0.2, 0.2, -0.1, 0.0, 0.3, -0.3), 3, 0.30),
        _S("Spreads and jam", "{}", 3.0, 7, ("220 g", "340 g", "680 g"),
           ("Strawberry Jam", "Apricot Jam", "Clear Honey", "Hazelnut Spread"),
           (-0.1, 0.0, 0.3, 0.1, 0.4, 0.0), 48, 0.05),
    ),
    "Dairy and plant-based": (
        _S("Milk", "{} Milk", 1.3, 8, ("0.5 l", "1 l", "2 l"),
           ("Whole", "Semi-skimmed", "Lactose-free"), (-0.3, -0.2, 0.5, 0.1, 0.1, 0.2), 2, 0.03),
        _S("Yoghurt", "{}", 1.8, 9, ("150 g", "500 g", "4 x 150 g"),
           ("Natural Yoghurt", "Strawberry Yoghurt", "Vanilla Yoghurt", "Peach Yoghurt", "Skyr"),
           (0.1, 0.0, 0.3, 0.1, 0.1, -0.1), 24, 0.06),
        _S("Cheese", "{} Cheese", 3.6, 11, ("125 g", "250 g", "400 g"),
           ("Mild", "Mature", "Goat's", "Blue", "Grated"), (0.3, -0.1, 0.0, 0.4, 0.2, -0.4), 51, 0.12),
        _S("Butter", "{} Butter", 2.9, 11, ("125 g", "250 g", "500 g"),
           ("Salted", "Unsalted", "Spreadable"), (-0.2, -0.3, 0.2, 0.2, 0.5, 0.1), 51, 0.14),
        _S("Plant-based drinks", "{} Drink", 2.3, 8, ("0.5 l", "1 l", "3 x 1 l"),
           ("Oat", "Almond", "Soya", "Barista Oat"), (0.9, 0.6, 0.0, -0.1, -0.9, -0.8), 3, 0.10),
    ),
    "Beer and wine": (
        _S("Lager", "{}", 5.6, 13, ("4 x 0.33 l", "6 x 0.5 l", "12 x 0.5 l"),
           ("Pilsner", "Helles", "Export Lager"), (-0.2, 0.5, 0.0, -0.1, -0.2, 0.6), 27, 0.25),
        _S("Craft beer", "{}", 3.1, 7, ("0.33 l", "0.5 l", "4 x 0.33 l"),
           ("Pale Ale", "Stout", "Wheat Beer", "Sour Ale", "Amber Ale"), (0.9, 0.5, -0.1, 0.1, -0.8, -0.8), 27, 0.18),
        _S("Red wine", "{} Red Wine", 7.4, 8, ("0.375 l", "0.75 l", "3 l box"),
           ("Soft", "Oaked", "Full-bodied", "Reserve"), (0.5, -0.5, -0.1, 0.6, 0.4, -0.8), 50, 0.40),
        _S("White wine", "{} White Wine", 6.9, 8, ("0.375 l", "0.75 l", "3 l box"),
           ("Dry", "Crisp", "Off-dry", "Sparkling"), (0.4, -0.5, 0.0, 0.6, 0.3, -0.7), 28, 0.22),
        _S("Alcohol-free", "Alcohol-free {}", 4.2, 11, ("0.33 l", "6 x 0.33 l", "12 x 0.33 l"),
           ("Pilsner", "Wheat Beer", "Radler"), (0.5, 0.0, 0.3, 0.2, -0.3, -0.6), 2, 0.22),
    ),
    "Snacks": (
        _S("Crisps", "{} Crisps", 2.1, 17, ("45 g", "150 g", "6 x 45 g"),
           ("Sea Salt", "Paprika", "Onion", "Chilli", "Vinegar"), (-0.1, 0.5, 0.3, -0.2, -0.6, 0.4), 26, 0.10),
        _S("Nuts", "{}", 3.3, 11, ("75 g", "150 g", "400 g"),
           ("Salted Peanuts", "Cashews", "Mixed Nuts", "Almonds"), (0.5, 0.0, -0.1, 0.3, 0.0, -0.5), 50, 0.22),
        _S("Chocolate", "{} Chocolate", 2.4, 9, ("45 g", "100 g", "300 g"),
           ("Milk", "Dark 70 %", "Hazelnut", "Caramel", "Mint"), (0.1, 0.1, 0.1, 0.0, 0.3, -0.1), 50, 0.35),
        _S("Biscuits", "{} Biscuits", 2.0, 12, ("100 g", "200 g", "500 g"),
           ("Butter", "Oat", "Chocolate", "Ginger"), (-0.5, -0.1, 0.3, 0.0, 0.6, 0.3), 47, 0.16),
    ),
    "Pasta, rice and world foods": (
        _S("Pasta", "{}", 1.6, 11, ("250 g", "500 g", "1 kg"),
           ("Spaghetti", "Penne", "Fusilli", "Wholewheat Penne"), (0.0, 0.6, 0.3, -0.1, -0.5, 0.2), 40, 0.05),
        _S("Rice", "{} Rice", 2.4, 11, ("250 g", "500 g", "1 kg"),
           ("Long Grain", "Basmati", "Risotto", "Brown"), (0.1, 0.4, 0.1, 0.0, -0.3, 0.1), 40, 0.04),
        _S("Cooking sauces", "{} Sauce", 2.6, 8, ("190 g", "400 g", "690 g"),
           ("Tomato", "Pesto", "Arrabbiata", "Mushroom"), (0.2, 0.5, 0.2, -0.1, -0.6, -0.1), 40, 0.05),
        _S("World foods", "{}", 2.9, 9, ("100 g", "200 g", "400 g"),
           ("Ramen Noodles", "Curry Paste", "Tortillas", "Coconut Cream", "Miso"),
           (0.6, 0.6, 0.0, -0.1, -1.0, 0.1), 5, 0.06),
    ),
    "Soft drinks": (
        _S("Cola and lemonade", "{}", 2.2, 9, ("0.33 l", "1.5 l", "6 x 0.5 l"),
           ("Cola", "Cola Zero", "Lemonade", "Orangeade"), (-0.5, 0.4, 0.2, -0.3, -0.6, 0.7), 28, 0.22),
        _S("Juice", "{} Juice", 2.5, 8, ("0.25 l", "1 l", "2 l"),
           ("Orange", "Apple", "Multifruit", "Tomato"), (0.0, 0.0, 0.4, 0.2, 0.1, -0.3), 20, 0.08),
        _S("Water", "{} Water", 1.6, 15, ("0.5 l", "1.5 l", "6 x 1.5 l"),
           ("Still", "Sparkling", "Lightly Sparkling"), (0.1, 0.1, 0.2, 0.0, 0.1, -0.2), 28, 0.28),
        _S("Energy drinks", "{} Energy Drink", 2.0, 6, ("0.25 l", "0.5 l", "4 x 0.25 l"),
           ("Classic", "Sugar-free", "Berry"), (0.0, 0.9, -0.1, -0.7, -1.3, 0.7), 26, 0.10),
    ),
    "Baby and household": (
        _S("Nappies", "Nappies {}", 8.6, 24, ("22 pack", "44 pack", "88 pack"),
           ("Newborn", "Midi", "Maxi", "Junior"), (-0.3, -1.0, 1.0, 0.0, -1.3, 0.4), 10, 0.03),
        _S("Baby food", "Baby {}", 1.4, 7, ("120 g", "190 g", "4 x 120 g"),
           ("Carrot Purée", "Apple Purée", "Banana Purée", "Pasta Meal"), (0.1, -1.0, 0.9, 0.0, -1.3, 0.2), 10, 0.03),
        _S("Laundry", "{} Detergent", 6.4, 16, ("20 washes", "40 washes", "80 washes"),
           ("Universal", "Colour", "Sensitive"), (-0.2, -0.4, 0.4, 0.2, 0.0, 0.2), 14, 0.05),
        _S("Cleaning", "{} Cleaner", 2.7, 9, ("0.5 l", "0.75 l", "1.5 l"),
           ("Kitchen", "Bathroom", "Universal", "Glass"), (0.0, -0.3, 0.1, 0.2, 0.2, 0.0), 14, 0.12),
    ),
}  # fmt: skip
