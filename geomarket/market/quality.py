"""May a plan be made of this market? And what a person should read before it is."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from geomarket.errors import GeomarketError
from geomarket.market.contract import REQUIRED_TABLES
from geomarket.market.findings import READ, SET_ASIDE, STOP
from geomarket.market.load import load_market
from geomarket.market.model import Market
from geomarket.market.settings import PlanSettings
from geomarket.market.settings_file import read_settings

__all__ = ["QualityReport", "check_plan", "quality_report", "stop_reasons"]

_WIDTH = 110
_UNKNOWN = {"store_id": "on_unknown_store", "sku": "on_unknown_sku"}


@dataclass(frozen=True)
class QualityReport:
    """What checking a market found, ready to print.

    Attributes
    ----------
    text : str
        The report in lines of at most about 110 characters.
    table : DataFrame
        ``Market.quality``; empty where the tables could not be read at all.
    stops : tuple of str
        Why a plan must not be made; empty where it may.
    status : int
        Exit status: 0 where a plan may be made, 2 where not.
    """

    text: str
    table: pd.DataFrame
    stops: tuple[str, ...]

    @property
    def status(self) -> int:
        """0 where a plan may be made, 2 (bad input) where not."""
        return 2 if self.stops else 0

    def __str__(self) -> str:
        return self.text


def stop_reasons(market: Market, settings: PlanSettings | None = None) -> list[str]:
    """Say why a plan must not be made of this market.

    Parameters
    ----------
    market : Market
        As loaded: its ``quality`` is what counts.
    settings : PlanSettings, optional
        Holds the limits (section ``[quality]``); the defaults when None.

    Returns
    -------
    list of str
        One sentence or two each, with the cure; empty where a plan may be made.

    Examples
    --------
    >>> from geomarket.market.findings import Findings
    >>> findings = Findings()
    >>> findings.set_aside("stores", "lon", "missing", [(3, "")], 1, 10)
    >>> from types import SimpleNamespace
    >>> one = SimpleNamespace(quality=findings.quality, stores=[1], products=[1], sales=None)
    >>> stop_reasons(one)[0].split(".")[0]
    'stores: 1 of 10 rows (10'
    """
    limits = (settings or PlanSettings()).quality
    quality = market.quality
    reasons = [str(message) for message in quality.loc[quality["action"] == STOP, "message"]]
    aside = quality[quality["action"] == SET_ASIDE]
    for table, rows in aside.groupby("table", sort=False):
        count, total = int(rows["rows"].sum()), int(rows["of_rows"].max())
        if count > limits.max_quarantine_share * total:
            worst = rows.sort_values("rows", ascending=False, kind="stable").iloc[0]
            reasons.append(
                f"{table}: {count:,} of {total:,} rows ({count / total:.1%}) can't be used, more than the limit of "
                f"{limits.max_quarantine_share:.1%}; most often {worst['column']}: {worst['check']}. "
                "Mend them, or raise max_quarantine_share in [quality]."
            )
    for column, setting in _UNKNOWN.items():
        unknown = aside[(aside["column"] == column) & aside["check"].str.startswith("is not in")]
        if getattr(limits, setting) == "stop":
            reasons += [f'{message} ([quality] {setting} = "stop")' for message in unknown["message"]]
    return reasons + [
        f"{name}: no usable row is left." for name in REQUIRED_TABLES if _is_empty(market, name)
    ]


def quality_report(market: Market, settings: PlanSettings | None = None) -> QualityReport:
    """Put what checking found into a text to print.

    Parameters
    ----------
    market : Market
        As loaded.
    settings : PlanSettings, optional
        Holds the limits; the defaults when None.

    Returns
    -------
    QualityReport
    """
    stops = stop_reasons(market, settings)
    lines = [f"Data quality of {market.name}", ""]
    for table, rows in market.quality.groupby("table", sort=False):
        read = rows[rows["action"] == READ]
        size = f"{int(read['rows'].iloc[0]):,} rows" if len(read) else f"{int(rows['of_rows'].max()):,} rows"
        others = rows[rows["action"] != READ]
        lines.append(f"{table}: {size}, " + ("nothing to report" if others.empty else "with these findings:"))
        for row in others.itertuples():
            message = str(row.message).removeprefix(f"{table}: ")
            lines += textwrap.wrap(message, _WIDTH, initial_indent="  - ", subsequent_indent="    ")
    lines.append("")
    if stops:
        lines.append("A plan can't be made of this:")
        for reason in stops:
            lines += textwrap.wrap(reason, _WIDTH, initial_indent="  ! ", subsequent_indent="    ")
    else:
        lines.append("A plan can be made of this.")
    return QualityReport("\n".join(lines), market.quality, tuple(stops))


def check_plan(path: str | Path) -> QualityReport:
    """Read and check everything a plan.toml names; mistakes are in the report, not raised.

    Parameters
    ----------
    path : path
        The plan.toml.

    Returns
    -------
    QualityReport
        What ``geomarket check`` prints, and the status it exits with.
    """
    try:
        settings = read_settings(path)
        return quality_report(load_market(settings), settings)
    except GeomarketError as err:
        stops = str(err).splitlines()
        lines = ["The tables can't be read:"]
        for stop in stops:
            lines += textwrap.wrap(stop, _WIDTH, initial_indent="  ! ", subsequent_indent="    ")
        return QualityReport("\n".join(lines), pd.DataFrame(), tuple(stops))


def _is_empty(market: Market, name: str) -> bool:
    table = getattr(market, name)
    if name == "sales":
        return table is not None and int(table.count().to_pyarrow().as_py()) == 0
    return len(table) == 0
