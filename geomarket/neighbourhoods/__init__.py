"""Geodemographic classification: hexagons or areas into neighbourhood types."""

from geomarket.neighbourhoods.classifier import NeighbourhoodClassifier
from geomarket.neighbourhoods.evidence import LevelEvidence, level_evidence, suggest_levels
from geomarket.neighbourhoods.figures import plot_type
from geomarket.neighbourhoods.hierarchy import LEVELS
from geomarket.neighbourhoods.index import index_table
from geomarket.neighbourhoods.kmeans import KMeansFit, fit_kmeans, nearest
from geomarket.neighbourhoods.portraits import name_types, portray_types
from geomarket.neighbourhoods.preparation import Preparation, correlation_screen, prepare, shrink_rates
from geomarket.neighbourhoods.result import Neighbourhoods, classify

__all__ = [
    "LEVELS",
    "KMeansFit",
    "LevelEvidence",
    "NeighbourhoodClassifier",
    "Neighbourhoods",
    "Preparation",
    "classify",
    "correlation_screen",
    "fit_kmeans",
    "index_table",
    "level_evidence",
    "name_types",
    "nearest",
    "plot_type",
    "portray_types",
    "prepare",
    "shrink_rates",
    "suggest_levels",
]
