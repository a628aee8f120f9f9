"""What every results table must say: machine, date, versions."""

from __future__ import annotations

import datetime as dt
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "geopandas",
    "shapely",
    "h3",
    "duckdb",
    "highspy",
    "numba",
)


def machine_lines(packages: tuple[str, ...] = PACKAGES) -> list[str]:
    """Return Markdown lines: processor, cores, memory, date and package versions."""
    versions = []
    for package in packages:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} (not installed)")
    return [
        f"Machine: {_processor()}, {os.cpu_count()} cores, {_memory_gb():.0f} GB; "
        f"{platform.system()}, Python {platform.python_version()}. Date: {dt.date.today().isoformat()}.",
        "",
        f"Versions: geomarket {version('geomarket')}, {', '.join(versions)}.",
    ]


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
