"""Settings of a simulation and the random streams drawn from its seed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np

from geomarket.errors import SettingsError

__all__ = ["LOCALISATIONS", "SimulationSettings"]

LOCALISATIONS = ("strong", "none", "latent")

# Order matters: a stream's place in this tuple is its key, so new names go at the end.
STREAMS = (
    "seeds",
    "types",
    "census",
    "points",
    "names",
    "stores",
    "competitors",
    "travel",
    "products",
    "tastes",
    "local",
    "listing",
    "promotions",
    "sales",
    "customers",
    "trips",
    "baskets",
    "contacts",
    "totals",
    "substitution",
)

_LIMITS = {
    "n_customers": (100, 5_000_000),
    "n_stores": (4, 2_000),
    "n_skus": (40, 20_000),
    "weeks": (12, 520),
}


@dataclass(frozen=True)
class SimulationSettings:
    """What a simulated market is made from; checked on creation.

    Parameters
    ----------
    n_customers : int
        Card customers, 100 to 5,000,000.
    n_stores : int
        Own stores, 4 to 2,000. Competitors number 1.3 times as many.
    n_skus : int
        Products of the chain, 40 to 20,000.
    weeks : int
        ISO weeks of trade, 12 to 520.
    seed : int
        Seed of every random stream, 0 or more.
    localisation : {"strong", "none", "latent"}
        Where local differences in demand come from.

    Raises
    ------
    SettingsError
        A number is not whole or outside its limits, or the localisation is unknown.
    """

    n_customers: int = 50_000
    n_stores: int = 60
    n_skus: int = 600
    weeks: int = 104
    seed: int = 0
    localisation: str = "strong"

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            self._require_whole(name, low, high)
        self._require_whole("seed", 0, 2**63 - 1)
        if self.localisation not in LOCALISATIONS:
            raise SettingsError(
                f"localisation = {self.localisation!r} is not known. Use one of "
                f"{', '.join(repr(name) for name in LOCALISATIONS)}."
            )

    def _require_whole(self, name: str, low: int, high: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise SettingsError(
                f"{name} = {value!r} is not a whole number. Give one from {low:,} to {high:,}."
            )
        if not low <= value <= high:
            raise SettingsError(
                f"{name} = {value:,} is out of range. Give a whole number from {low:,} to {high:,}."
            )
        object.__setattr__(self, name, int(value))

    def stream(self, name: str, *keys: int) -> np.random.Generator:
        """Return the generator of one named stream; ``keys`` pick a sub-stream (a store's own, say).

        Streams are independent of each other and of the sizes, so that a change of one size leaves the draws of
        every other table as they were.
        """
        key = (STREAMS.index(name), *keys)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    def digest(self) -> str:
        """Return the SHA-256 of the settings in canonical JSON."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
