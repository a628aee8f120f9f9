"""The report: one HTML file that opens from disk and asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from geomarket.hexmap import as_script_json, asset_text, bundle, encode_json
from geomarket.report import sections
from geomarket.report.catchments import catchment_section
from geomarket.report.clusters import cluster_sections
from geomarket.report.customers import people_section
from geomarket.report.fairness import fairness_section
from geomarket.report.map import build_map, neighbourhood_key
from geomarket.report.measurement import measurement_section
from geomarket.report.migration import migration_section
from geomarket.report.numbers import plural
from geomarket.report.people import customer_section, neighbourhood_cards
from geomarket.report.promotions import promotion_details
from geomarket.report.ranges import ranges_section
from geomarket.report.store_groups import store_groups_section
from geomarket.report.targeting import targeting_section
from geomarket.report.validation import doubted, is_validated
from geomarket.writing import replacing

__all__ = ["render_report", "write_report"]

_SCRIPTS = (
    "tables.js",
    "mapwords.js",
    "mapview.js",
    "maplayers.js",
    "mapdata.js",
    "maptiles.js",
    "mapaddress.js",
    "mapoutlines.js",
    "maptip.js",
    "mapcards.js",
    "mapcontrols.js",
    "mapapp.js",
    "page.js",
)
ASSETS = "geomarket.report.assets"
_NAMED_SECTION = re.compile(r'<section id="([a-z-]+)" data-nav="([^"<>]+)"')


def write_report(plan: Any, path: str | os.PathLike[str]) -> Path:
    """Write the report of a plan as one self-contained HTML file.

    Parameters
    ----------
    plan : Plan
        A finished plan; stages that were skipped are None and their reason is told.
    path : path-like
        File to write; replaced only when the new one is complete.

    Returns
    -------
    Path
        ``path``. The same plan gives the same bytes.
    """
    path = Path(path)
    page = render_report(plan)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return path


def render_report(plan: Any) -> str:
    """Return the report's HTML.

    Every text of the user is escaped by the template or, in the map, set as text by the script. The
    content-security policy lets the page's own script and style run and nothing else.
    """
    key = neighbourhood_key(plan.neighbourhoods)
    script = Markup(bundle([asset_text("hexpainter.js"), *(asset_text(name, ASSETS) for name in _SCRIPTS)]))
    style = Markup(asset_text("report.css", ASSETS))
    title = plan.settings.report.title or plan.market.name
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            plan=plan,
            market=plan.market,
            policy=content_security_policy(script, style, tile_origin(plan.settings.report)),
            script=script,
            style=style,
            map_data=Markup(as_script_json(_packed(build_map(plan, key)))),
            verdict=doubted(plan, sections.verdict_section(plan), "verdict"),
            tiles=doubted(plan, sections.kpi_tiles(plan), "tiles"),
            validated=is_validated(plan),
            neighbourhoods=neighbourhood_cards(plan, key),
            migration=migration_section(plan, key),
            customers=customer_section(plan),
            people=people_section(plan),
            clusters=doubted(plan, cluster_sections(plan, key), "clusters"),
            store_groups=doubted(plan, store_groups_section(plan), "store_groups"),
            promotions=promotion_details(plan),
            catchments=catchment_section(plan),
            targeting=targeting_section(plan),
            fairness=fairness_section(plan),
            frontier=doubted(plan, sections.frontier_section(plan), "frontier"),
            ranges=doubted(plan, ranges_section(plan), "ranges"),
            monday=doubted(plan, sections.monday_section(plan), "monday"),
            quality=sections.quality_section(plan),
            trust=sections.trust_section(plan),
            measurement=measurement_section(plan),
            k=plan.settings.privacy.k,
            stages=[(_stage_name(stage), reason) for stage, reason in plan.skipped.items()],
            settings=_flat(plan.manifest.get("settings", {})),
            made=_flat({name: value for name, value in plan.manifest.items() if name != "settings"}),
        )
    )


def _packed(map_data: dict[str, Any]) -> dict[str, Any]:
    return {**map_data, "details": encode_json(map_data["details"])}


def content_security_policy(script: str, style: str, images: str = "") -> str:
    """Return a policy that allows exactly this script and this style, and no request but images of one origin.

    Examples
    --------
    >>> content_security_policy("", "")[:42]
    "default-src 'none'; script-src 'sha256-47D"
    >>> "img-src data: https://tiles.example;" in content_security_policy("", "", "https://tiles.example")
    True
    """
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        f"img-src {f'data: {images}'.strip()}; base-uri 'none'; form-action 'none'"
    )


def tile_origin(report: Any) -> str:
    """Return the origin the page may load map tiles from; empty unless the settings ask for online tiles."""
    if not report.online_tiles:
        return ""
    address = urlsplit(report.tile_url)
    return f"{address.scheme}://{address.netloc}"


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")


def environment() -> Environment:
    """Return the templates' environment: everything is escaped, a missing value is an error."""
    made = Environment(
        loader=PackageLoader("geomarket.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["contents"] = contents
    made.filters["plural"] = plural
    return made


def contents(main: Markup) -> list[tuple[str, Markup]]:
    """Return (anchor, label) of every section that gives itself a name for the contents bar.

    Examples
    --------
    >>> contents(Markup('<section id="map" data-nav="Map" class="wide">…</section><section id="x">…</section>'))
    [('map', Markup('Map'))]
    """
    return [(anchor, Markup(label)) for anchor, label in _NAMED_SECTION.findall(main)]


def _stage_name(stage: str) -> str:
    return stage.replace("_", " ").capitalize()


def _flat(content: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as (dotted name, value) lines in a fixed order."""
    if isinstance(content, dict):
        lines = []
        for name in sorted(content, key=str):
            lines += _flat(content[name], f"{prefix}.{name}" if prefix else str(name))
        return lines
    if isinstance(content, (list, tuple)):
        return [(prefix, ", ".join(str(value) for value in content))]
    return [(prefix, "" if content is None else str(content))]
