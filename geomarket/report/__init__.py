"""Draws a finished plan: the report page and the workbook. Computes nothing a planner would want to test."""

from geomarket.report.decisions import Decisions, read_decisions
from geomarket.report.exports import EXPORT_FORMATS, map_layers, write_exports
from geomarket.report.figures import map_figure, write_figures, write_measurement_figures
from geomarket.report.measurement import write_measurement_page
from geomarket.report.page import render_report, write_report
from geomarket.report.pages import write_pages
from geomarket.report.workbook import write_workbook

__all__ = [
    "EXPORT_FORMATS",
    "Decisions",
    "map_figure",
    "map_layers",
    "read_decisions",
    "render_report",
    "write_exports",
    "write_figures",
    "write_measurement_figures",
    "write_measurement_page",
    "write_pages",
    "write_report",
    "write_workbook",
]
