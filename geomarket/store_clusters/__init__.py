"""Store clusters: stores alike in who lives around them and in what they sell.

Every store is described by blocks of features: the neighbourhood mix of its catchment, the category mix of its
trade, its size, its format and, if given, the competition it meets. Compositions are turned into points whose
straight-line distance is the Hellinger distance, every block is scaled to the same total variance before it is
weighted, and k-means does the rest. Revenue is kept out on purpose: a cluster of "stores that sell a lot" is a
grade, not a description of what its customers want.
"""

from geomarket.store_clusters.by_category import category_features
from geomarket.store_clusters.clustering import (
    ClusterRange,
    StoreClustering,
    cluster_range,
    cluster_stores,
    describe_clusters,
)
from geomarket.store_clusters.features import (
    DEFAULT_WEIGHTS,
    StoreFeatures,
    category_mix,
    composition_coordinates,
    store_features,
)
from geomarket.store_clusters.versions import (
    ClusterMoves,
    clustering_version,
    compare_clusters,
    continued_codes,
    freeze_clusters,
    frozen_labels,
    override_clusters,
    thaw_clusters,
)

__all__ = [
    "DEFAULT_WEIGHTS",
    "ClusterMoves",
    "ClusterRange",
    "StoreClustering",
    "StoreFeatures",
    "category_features",
    "category_mix",
    "cluster_range",
    "cluster_stores",
    "clustering_version",
    "compare_clusters",
    "composition_coordinates",
    "continued_codes",
    "describe_clusters",
    "freeze_clusters",
    "frozen_labels",
    "override_clusters",
    "store_features",
    "thaw_clusters",
]
