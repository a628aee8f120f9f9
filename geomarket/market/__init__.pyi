from .cluster_files import ClusterFiles, read_cluster_files
from .connection import baskets_table, connect, sales_table
from .corrections import NeighbourhoodFiles, read_neighbourhood_files
from .load import load_market
from .model import AreaLayer, Market, Variable
from .quality import QualityReport, check_plan, quality_report, stop_reasons
from .settings import PlanSettings
from .settings_file import parse_settings, read_settings
from .templates import write_template
from .warehouse import warehouse_baskets, warehouse_sales

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
    "warehouse_baskets",
    "warehouse_sales",
    "write_template",
]
