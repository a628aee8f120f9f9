"""The six latent types of people the simulated city is made of: who they are and what they like.

Every figure here is invented. The profiles were chosen so that a planner finds them believable and so that a
neighbourhood classification can tell them apart; they describe no real place.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "CHANNEL_TASTES",
    "CONTACT_CHANNELS",
    "CONTACT_RESPONSE",
    "FEATURE_TASTES",
    "HOUSEHOLD_SIZE",
    "INCOME",
    "PARTITIONS",
    "RESPONSE_TERMS",
    "SHARES",
    "SPEND_INDEX",
    "TYPES",
    "TYPE_LABELS",
    "response_effects",
]

TYPES = ("city", "students", "families", "suburbs", "retired", "estates")
TYPE_LABELS = {
    "city": "City professionals in rented flats",
    "students": "Students and starters",
    "families": "Young families in new-build streets",
    "suburbs": "Comfortable owners in the suburbs",
    "retired": "Retired residents",
    "estates": "Hard-pressed housing estates",
}

# Share of the city's areas each type should have.
SHARES = np.array([0.15, 0.10, 0.19, 0.23, 0.16, 0.17])
HOUSEHOLD_SIZE = np.array([1.72, 1.95, 3.10, 2.65, 1.68, 2.40])
INCOME = np.array([43_000.0, 19_500.0, 38_500.0, 54_000.0, 29_000.0, 20_500.0])
SPEND_INDEX = np.array([1.05, 0.80, 1.10, 1.25, 0.95, 0.80])

# Each partition: denominator, then {column: (label, share by type)}; the shares of one type add up to 1.
# A partition of one column is a plain share of its denominator.
PARTITIONS: dict[str, dict[str, tuple[str, tuple[float, ...]]]] = {
    "population": {
        "age_0_14": ("aged under 15", (0.07, 0.04, 0.27, 0.17, 0.09, 0.22)),
        "age_15_24": ("aged 15 to 24", (0.11, 0.48, 0.09, 0.11, 0.07, 0.15)),
        "age_25_39": ("aged 25 to 39", (0.47, 0.30, 0.31, 0.14, 0.10, 0.22)),
        "age_40_59": ("aged 40 to 59", (0.22, 0.10, 0.25, 0.34, 0.22, 0.24)),
        "age_60_74": ("aged 60 to 74", (0.09, 0.05, 0.06, 0.17, 0.32, 0.12)),
        "age_75_plus": ("aged 75 and over", (0.04, 0.03, 0.02, 0.07, 0.20, 0.05)),
    },
    "households": {
        "hh_one_person": ("living alone", (0.46, 0.38, 0.13, 0.15, 0.39, 0.34)),
        "hh_couple": ("couples without children at home", (0.34, 0.17, 0.21, 0.39, 0.47, 0.16)),
        "hh_children": ("couples with children", (0.10, 0.05, 0.56, 0.38, 0.08, 0.22)),
        "hh_lone_parent": ("lone parents", (0.03, 0.03, 0.08, 0.06, 0.03, 0.22)),
        "hh_shared": ("flat shares and other households", (0.07, 0.37, 0.02, 0.02, 0.03, 0.06)),
    },
    "households:tenure": {
        "tenure_owner": ("owning their home", (0.38, 0.12, 0.72, 0.88, 0.79, 0.22)),
        "tenure_private": ("renting privately", (0.54, 0.74, 0.20, 0.09, 0.11, 0.24)),
        "tenure_social": ("renting from a social landlord", (0.08, 0.14, 0.08, 0.03, 0.10, 0.54)),
    },
    "households:dwelling": {
        "dwelling_flat": ("in a flat", (0.84, 0.74, 0.14, 0.06, 0.22, 0.58)),
        "dwelling_terrace": ("in a terraced house", (0.13, 0.22, 0.50, 0.24, 0.28, 0.37)),
        "dwelling_detached": ("in a detached house", (0.03, 0.04, 0.36, 0.70, 0.50, 0.05)),
    },
    "households:cars": {
        "cars_none": ("without a car", (0.50, 0.66, 0.07, 0.04, 0.20, 0.47)),
        "cars_one": ("with one car", (0.44, 0.29, 0.46, 0.36, 0.58, 0.43)),
        "cars_two_plus": ("with two cars or more", (0.06, 0.05, 0.47, 0.60, 0.22, 0.10)),
    },
    "households:income": {
        "income_low": ("on a low income", (0.16, 0.62, 0.18, 0.09, 0.35, 0.64)),
        "income_middle": ("on a middle income", (0.42, 0.31, 0.55, 0.41, 0.49, 0.32)),
        "income_high": ("on a high income", (0.42, 0.07, 0.27, 0.50, 0.16, 0.04)),
    },
    "adults:education": {
        "edu_degree": ("with a degree", (0.66, 0.46, 0.36, 0.44, 0.24, 0.11)),
        "edu_school": ("with a school or vocational certificate", (0.28, 0.46, 0.52, 0.46, 0.48, 0.50)),
        "edu_none": ("without a certificate", (0.06, 0.08, 0.12, 0.10, 0.28, 0.39)),
    },
    "active:unemployed": {"unemployed": ("unemployed", (0.04, 0.09, 0.04, 0.025, 0.04, 0.15))},
    "employed:occupation": {
        "occ_professional": ("in professional and managerial work", (0.64, 0.26, 0.38, 0.50, 0.33, 0.11)),
        "occ_service": ("in office, sales and service work", (0.27, 0.58, 0.37, 0.33, 0.36, 0.40)),
        "occ_manual": ("in manual work", (0.09, 0.16, 0.25, 0.17, 0.31, 0.49)),
    },
    "adults:students": {"students": ("studying full time", (0.08, 0.55, 0.03, 0.04, 0.01, 0.05))},
    "population:origin": {"born_abroad": ("born abroad", (0.28, 0.26, 0.14, 0.08, 0.05, 0.24))},
}
# Economically active share of residents aged 15 and over.
ACTIVE = np.array([0.82, 0.52, 0.80, 0.66, 0.33, 0.64])

# Log taste of each type for what a pack says of itself.
FEATURE_TASTES = {
    "own_label": np.array([-0.35, 0.25, 0.10, -0.15, 0.05, 0.55]),
    "premium": np.array([0.45, -0.35, -0.10, 0.35, 0.10, -0.60]),
    "organic": np.array([0.55, 0.15, 0.20, 0.15, -0.25, -0.60]),
    "large_pack": np.array([-0.60, -0.40, 0.55, 0.30, -0.35, 0.20]),
    "small_pack": np.array([0.40, 0.35, -0.40, -0.20, 0.30, 0.05]),
}

CHANNEL_TASTES = np.array([0.22, 0.18, 0.16, 0.11, 0.04, 0.05])
CONTACT_CHANNELS = ("mail", "door_drop", "mobile", "email")
CONTACT_RESPONSE = np.array(
    [
        [0.030, 0.012, 0.080, 0.070],
        [0.015, 0.010, 0.095, 0.040],
        [0.050, 0.030, 0.070, 0.055],
        [0.070, 0.035, 0.035, 0.060],
        [0.105, 0.065, 0.010, 0.020],
        [0.055, 0.060, 0.045, 0.020],
    ]
)
# Chance that a card holder of each type allows mail, mobile messages, e-mail.
CONSENT = np.array(
    [
        [0.35, 0.62, 0.70],
        [0.25, 0.75, 0.60],
        [0.50, 0.60, 0.66],
        [0.60, 0.42, 0.64],
        [0.74, 0.22, 0.35],
        [0.55, 0.48, 0.34],
    ]
)
# Chance, relative to the average, that a person of each type holds the chain's card.
CARD_INDEX = np.array([0.90, 0.70, 1.25, 1.15, 1.10, 0.75])

RESPONSE_TERMS = ("price", "display", "mailer", "dip")
_RESPONSES = np.array(
    [
        # log units per log price, then log units: on display, in the mailer, the week after a promotion
        [-1.50, 0.26, 0.14, -0.10],
        [-2.60, 0.38, 0.12, -0.16],
        [-2.35, 0.32, 0.34, -0.22],
        [-1.75, 0.28, 0.30, -0.18],
        [-1.90, 0.22, 0.46, -0.14],
        [-2.80, 0.40, 0.40, -0.12],
    ]
)


def response_effects(localisation: str) -> np.ndarray:
    """Return the promotion effects by type, shape (n_types, 4), columns as in ``RESPONSE_TERMS``.

    Without localisation every type responds like the average of all.
    """
    if localisation == "none":
        return np.repeat(SHARES[None, :] @ _RESPONSES, len(TYPES), axis=0)
    return _RESPONSES.copy()
