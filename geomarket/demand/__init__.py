"""Demand: what each store would sell of each SKU, listed or not.

Size of the store × rate of the SKU × local lift, fitted on the pairs seen listed; what a listed pair sold is drawn
towards that as far as chance explains the difference. Which family of local lifts is used is decided per category on
pairs held out, the baseline on ties. Forecasts for unlisted pairs run high, because stores list what sells: they are
called unvalidated until a discount has been learnt from pairs that were listed later.
"""

from geomarket.demand.affinity import MixAffinity
from geomarket.demand.baseline import Baseline, fit_baseline, fit_biproportional
from geomarket.demand.discount import NewListingDiscount, learn_discount
from geomarket.demand.evidence import Evidence, gather_evidence
from geomarket.demand.exposure import listing_exposure, listing_spans
from geomarket.demand.families import BaselineFamily, ClusterFamily, Family
from geomarket.demand.holdout import holdout_metrics
from geomarket.demand.lowrank import LowRank
from geomarket.demand.model import Demand, fit_demand
from geomarket.demand.neighbours import NearestByMix, NearestBySales
from geomarket.demand.new_skus import (
    LaunchEvidence,
    NewSkuForecast,
    forecast_new_skus,
    learn_launches,
    with_new_skus,
)
from geomarket.demand.pairs import Pairs, make_pairs
from geomarket.demand.shrinkage import poisson_gamma
from geomarket.demand.substitution import (
    attribute_similarity,
    exogenous_demand,
    first_choices,
    logit_demand,
    logit_diversion,
    substitution_matrix,
)
from geomarket.demand.transference import (
    Transference,
    assumed_transference,
    learn_transference,
    with_transfer,
)

__all__ = [
    "Baseline",
    "BaselineFamily",
    "ClusterFamily",
    "Demand",
    "Evidence",
    "Family",
    "LaunchEvidence",
    "LowRank",
    "MixAffinity",
    "NearestByMix",
    "NearestBySales",
    "NewListingDiscount",
    "NewSkuForecast",
    "Pairs",
    "Transference",
    "assumed_transference",
    "attribute_similarity",
    "exogenous_demand",
    "first_choices",
    "fit_baseline",
    "fit_biproportional",
    "fit_demand",
    "forecast_new_skus",
    "gather_evidence",
    "holdout_metrics",
    "learn_discount",
    "learn_launches",
    "learn_transference",
    "listing_exposure",
    "listing_spans",
    "logit_demand",
    "logit_diversion",
    "make_pairs",
    "poisson_gamma",
    "substitution_matrix",
    "with_new_skus",
    "with_transfer",
]
