"""Experiments: the test that comes with a plan, and what it found."""

from __future__ import annotations

from geomarket.experiments.design import PairedDesign, design_test
from geomarket.experiments.history import KeptShare, as_history, kept_share
from geomarket.experiments.intervals import PairedEstimate, paired_estimate, sign_flip_interval
from geomarket.experiments.measure import PairedLift, measure_pairs
from geomarket.experiments.power import minimum_detectable_effect, pairs_needed, power_of, power_table
from geomarket.experiments.synthetic import SyntheticControl, simplex_weights, synthetic_control

__all__ = [
    "KeptShare",
    "PairedDesign",
    "PairedEstimate",
    "PairedLift",
    "SyntheticControl",
    "as_history",
    "design_test",
    "kept_share",
    "measure_pairs",
    "minimum_detectable_effect",
    "paired_estimate",
    "pairs_needed",
    "power_of",
    "power_table",
    "sign_flip_interval",
    "simplex_weights",
    "synthetic_control",
]
