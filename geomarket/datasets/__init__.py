"""Known open markets read from a data folder, and official boundary files."""

from geomarket.datasets.iowa import load_iowa

__all__ = ["load_iowa"]
