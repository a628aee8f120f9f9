"""Every figure of the report as PNG and SVG for slides, drawn without a browser."""

from geomarket.report.figures.maps import map_figure
from geomarket.report.figures.writing import write_figures, write_measurement_figures

__all__ = ["map_figure", "write_figures", "write_measurement_figures"]
