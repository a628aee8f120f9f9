"""The tables a plan needs: settings, reading, checking, quarantine, the Market."""

from geomarket.market.connection import baskets_table, connect, sales_table
from geomarket.market.model import AreaLayer, Market, Variable
from geomarket.market.settings import PlanSettings
from geomarket.market.settings_file import parse_settings, read_settings

__all__ = [
    "AreaLayer",
    "Market",
    "PlanSettings",
    "Variable",
    "baskets_table",
    "connect",
    "parse_settings",
    "read_settings",
    "sales_table",
]
