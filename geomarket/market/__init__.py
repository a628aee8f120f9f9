"""The tables a plan needs: settings, reading, checking, quarantine, the Market."""

from geomarket.market.cluster_files import ClusterFiles, read_cluster_files
from geomarket.market.connection import baskets_table, connect, sales_table
from geomarket.market.corrections import NeighbourhoodFiles, read_neighbourhood_files
from geomarket.market.load import load_market
from geomarket.market.model import AreaLayer, Market, Variable
from geomarket.market.quality import QualityReport, check_plan, quality_report, stop_reasons
from geomarket.market.settings import PlanSettings
from geomarket.market.settings_file import parse_settings, read_settings
from geomarket.market.templates import write_template

__all__ = [
    "AreaLayer",
    "ClusterFiles",
    "Market",
    "NeighbourhoodFiles",
    "PlanSettings",
    "QualityReport",
    "Variable",
    "baskets_table",
    "check_plan",
    "connect",
    "load_market",
    "parse_settings",
    "quality_report",
    "read_cluster_files",
    "read_neighbourhood_files",
    "read_settings",
    "sales_table",
    "stop_reasons",
    "write_template",
]
