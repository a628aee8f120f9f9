"""The chart of two vintages: bands as wide as the people, and the section on the page."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import report_fixture

from geomarket.neighbourhoods import VintageComparison
from geomarket.report import render_report
from geomarket.report.migration import migration_chart

FLOWS = pd.DataFrame(
    {
        "old": ["A", "A", "B"],
        "new": ["A", "B", "B"],
        "matched": [True, False, True],
        "areas": [30, 10, 20],
        "population": [3000.0, 1000.0, 4000.0],
        "share": [0.75, 0.25, 1.0],
    }
)


def test_bands_are_as_wide_as_the_people_and_stay_inside():
    chart = str(migration_chart(FLOWS, {}, {"A": "#111111", "B": "#222222"}, "t", height=300))
    thick = [float(value) for value in re.findall(r'class="flow[^"]*"[^>]*?v([\d.]+)C', chart)]
    assert thick == pytest.approx([3 * thick[1], thick[1], 4 * thick[1]], rel=0.01)
    assert chart.count('class="flow kept"') == 2
    blocks = [
        (float(y), float(high))
        for y, high in re.findall(r'<rect [^>]*y="([\d.]+)"[^>]*height="([\d.]+)"', chart)
    ]
    assert len(blocks) == 4
    assert all(y + high <= 300.5 for y, high in blocks)
    # both sides hold everybody
    assert blocks[0][1] + blocks[1][1] == pytest.approx(sum(thick), abs=0.3)
    assert blocks[2][1] + blocks[3][1] == pytest.approx(sum(thick), abs=0.3)
    assert "A to B: 12.5% of residents" in chart


def test_the_section_is_there_only_with_an_earlier_vintage():
    plan = report_fixture.make_plan(radius_km=3.0, n_stores=3, n_clusters=1, skus_per_category=3)
    assert 'id="migration"' not in render_report(plan)
    psi = pd.DataFrame(
        {"variable": ["owners", "degree"], "psi": [0.31, 0.02], "verdict": ["strongly shifted", "stable"]}
    )
    matches = pd.DataFrame(
        {"old": ["A", "B"], "new": ["A", "B"], "distance": [0.1, 0.2], "kept": [0.75, 1.0]}
    )
    plan.vintages = VintageComparison(FLOWS, matches, psi, 0.71, 0.125)
    html = render_report(plan)
    section = html.split('id="migration"')[1].split("</section>")[0]
    assert "12.5% of residents live where the type changed" in section
    assert "0.71" in section
    assert "homes lived in by their owner" in section
    assert "with a degree" not in section
    assert '<a href="#migration">What changed</a>' in html
