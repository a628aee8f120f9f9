"""Which of the engine's expressions run where, tried on one small market with the tests' own cases."""

from __future__ import annotations

import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from engine_cases import CASES, ENGINES, cases_market

__all__ = ["tried"]

_PACKAGES = {"Polars": "polars", "DataFusion": "datafusion", "PySpark": "pyspark"}


def tried() -> list[str]:
    """Return the table, as lines of Markdown."""
    market = cases_market()
    expected = {name: case(market.sales, market.baskets, market) for name, case in CASES.items()}
    cells: dict[str, list[str]] = {name: [f"{len(rows):,}"] for name, rows in expected.items()}
    heads = ["DuckDB, rows"]
    for engine, opened in ENGINES.items():
        heads.append(f"{engine} {_version(engine)}".strip())
        with tempfile.TemporaryDirectory() as folder:
            try:
                sales, baskets = opened(market, Path(folder))
            except Exception as error:
                for row in cells.values():
                    row.append(f"not tried ({type(error).__name__})")
                continue
            for name, case in CASES.items():
                cells[name].append(_outcome(case, sales, baskets, market, expected[name]))
    return [
        "",
        "## Which expressions run where",
        "",
        "The same expressions on the same small market, in engines that ibis speaks to; each result is compared with "
        "DuckDB's, every row and every digit. SQLite has no decimals: money lies there as floating numbers and is added "
        "in whole cents.",
        "",
        f"| expression | {' | '.join(heads)} |",
        "|" + "---|" * (len(heads) + 1),
        *(f"| {name} | {' | '.join(row)} |" for name, row in cells.items()),
        "",
        "Other engines ibis knows (BigQuery, Snowflake, Databricks, PostgreSQL, Trino …) were not run.",
    ]


def _outcome(case, sales, baskets, market, expected: pd.DataFrame) -> str:
    try:
        found = case(sales, baskets, market)
    except Exception as error:
        return f"does not run ({type(error).__name__})"
    try:
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    except AssertionError:
        return "DIFFERS"
    return "same"


def _version(engine: str) -> str:
    if engine == "SQLite":
        import sqlite3

        return sqlite3.sqlite_version
    try:
        return version(_PACKAGES[engine])
    except PackageNotFoundError:
        return ""
