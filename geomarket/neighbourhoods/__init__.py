"""Geodemographic classification: hexagons or areas into neighbourhood types."""

from geomarket.neighbourhoods.classifier import NeighbourhoodClassifier
from geomarket.neighbourhoods.evidence import LevelEvidence, level_evidence, suggest_levels
from geomarket.neighbourhoods.figures import plot_clustergram, plot_evidence, plot_migration, plot_type
from geomarket.neighbourhoods.hierarchy import LEVELS
from geomarket.neighbourhoods.index import index_table
from geomarket.neighbourhoods.kmeans import KMeansFit, fit_kmeans, nearest
from geomarket.neighbourhoods.portraits import name_types, portray_types
from geomarket.neighbourhoods.preparation import Preparation, correlation_screen, prepare, shrink_rates
from geomarket.neighbourhoods.published import PublishedTypes, assign_to_centroids
from geomarket.neighbourhoods.result import UNCERTAINTY_BREAKS, Neighbourhoods, classify
from geomarket.neighbourhoods.spatial import SmoothedTypes, morans_i, residual_autocorrelation, smooth_types
from geomarket.neighbourhoods.vintages import VintageComparison, compare_vintages, population_stability

__all__ = [
    "LEVELS",
    "UNCERTAINTY_BREAKS",
    "KMeansFit",
    "LevelEvidence",
    "NeighbourhoodClassifier",
    "Neighbourhoods",
    "Preparation",
    "PublishedTypes",
    "SmoothedTypes",
    "VintageComparison",
    "assign_to_centroids",
    "classify",
    "compare_vintages",
    "correlation_screen",
    "fit_kmeans",
    "index_table",
    "level_evidence",
    "morans_i",
    "name_types",
    "nearest",
    "plot_clustergram",
    "plot_evidence",
    "plot_migration",
    "plot_type",
    "population_stability",
    "portray_types",
    "prepare",
    "residual_autocorrelation",
    "shrink_rates",
    "smooth_types",
    "suggest_levels",
]
