"""Measuring a plan that ran: its design from the finished folder, later sales, and what they show."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from geomarket import engine
from geomarket.amounts import as_money
from geomarket.errors import MissingDataError, SettingsError, TableError
from geomarket.experiments import PairedLift, as_history, measure_pairs
from geomarket.market.later_sales import LaterSales, read_later_sales
from geomarket.planning.outputs import MANIFEST, SIGNATURE
from geomarket.results import Result
from geomarket.writing import replacing

__all__ = ["PlanMeasurement", "measure_plan", "write_measurement"]

RESULT = "measurement.json"
MADE_BY = "geomarket measurement"
NOTICEABLE = 0.01
"""A larger share of revenue left out is told."""


@dataclass(frozen=True)
class PlanMeasurement(Result):
    """What a plan's test found.

    Attributes
    ----------
    lift : PairedLift
        The finding.
    history : DataFrame
        Rows for the table ``measured`` of the next plan.
    experiment : dict
        The design as the plan's manifest holds it.
    stores : DataFrame
        store_id, name, arm, pair, near: the design with names.
    quality : DataFrame
        What was found in the later sales.
    notes : tuple of str
        What a reader must know.
    market, simulated, inputs
        Of the plan; hashes of the later sales.
    """

    lift: PairedLift
    history: pd.DataFrame
    experiment: dict[str, Any]
    stores: pd.DataFrame
    quality: pd.DataFrame
    notes: tuple[str, ...]
    market: str
    simulated: bool
    inputs: dict[str, str]

    @property
    def table(self) -> pd.DataFrame:  # type: ignore[override]
        """Lift and money, one row per kpi."""
        return self.lift.table

    def summary(self) -> list[str]:
        """Say what was found, and against what was promised."""
        lines = self.lift.summary()
        promised = self.experiment.get("expected")
        if promised is not None and self.lift.kpi == self.experiment.get("kpi"):
            row, words = self.lift.main, f"{promised:+.1%}".replace("-", "−")
            inside = row["low"] <= promised <= row["high"]
            lines.insert(
                1,
                f"The plan expected {words}: "
                + ("the finding bears that out." if inside else "the finding does not bear that out.")
                if row["low"] > 0 or not inside
                else f"The plan expected {words}: the finding neither bears that out nor rules it out.",
            )
        return [*lines, *self.notes]

    def plot(self, ax: Any = None) -> Any:
        """Draw the gap between test and control by period."""
        return self.lift.plot(ax)

    def result(self) -> dict[str, Any]:
        """Return everything found, ready for JSON."""
        lift = self.lift
        return {
            "written_by": MADE_BY,
            "geomarket": version("geomarket"),
            "market": self.market,
            "simulated": self.simulated,
            "summary": self.summary(),
            "kpi": lift.kpi,
            "start": str(lift.start.date()),
            "end": str(lift.end.date()),
            "periods": lift.n_periods,
            "baseline": lift.baseline,
            "confidence": lift.confidence,
            "effects": _records(lift.table),
            "roi": lift.roi,
            "spillover": _records(lift.spillover),
            "dropped": _records(lift.dropped),
            "design": self.experiment,
            "inputs": self.inputs,
            "data_quality": _records(self.quality),
        }


def measure_plan(
    folder: str | Path,
    sales: str | Path,
    start: dt.date | str | None = None,
    end: dt.date | str | None = None,
    *,
    cost: float | None = None,
    today: dt.date | None = None,
) -> PlanMeasurement:
    """Measure the test of a finished plan on sales that came in since.

    Parameters
    ----------
    folder : path
        Output folder of the plan.
    sales : path
        Sales of the test period: columns as the plan's sales table.
    start, end : date, optional
        The test, half open: when test stores changed; by default the period after the plan's history, and the last
        period in the sales, at most as long as designed.
    cost : float, optional
        Money the change cost in all test stores together over the test; by default the listings and delistings in test
        stores at ``[assortment] cost_per_change``, where that is set.
    today : date, optional
        Later dates are mistakes; the clock's day by default.

    Returns
    -------
    PlanMeasurement

    Raises
    ------
    MissingDataError
        If the folder holds no finished plan, or a plan without a test.
    TableError
        If the sales can't be used, or have no period in the test.
    NotSupportedError
        If fewer than two pairs can be measured.
    """
    folder = Path(folder)
    manifest = _finished(folder)
    experiment = _experiment(folder, manifest)
    tables = {name: _table(folder, name) for name in ("test_design", "test_sales", "test_products", "stores")}
    design, history, products = tables["test_design"], tables["test_sales"], tables["test_products"]
    unit, period = str(experiment["unit"]), str(experiment["period"])
    later = read_later_sales(sales, design[unit].astype("str"), manifest.get("settings") or {}, today)
    first = pd.Timestamp(start if start is not None else experiment["start"])
    last = _end_of(first, end, experiment)
    told = engine.trade_by_period(later.sales, products)
    known = pd.to_datetime(history["period"])
    new = told[told["period"] > known.max()].drop(columns="costed_revenue")
    both = pd.concat([history.assign(period=known), new], ignore_index=True)
    notes = _notes(later, told, products, design, first, last, period)
    change_cost, words = _cost(cost, manifest, tables["stores"], design)
    lift = measure_pairs(
        design,
        both[both["period"] < last],
        first,
        last,
        unit=unit,
        kpi=str(experiment["kpi"]),
        baseline=int(experiment["baseline"]),
        cost=change_cost,
        confidence=float(experiment["confidence"]),
        period=period,
        currency=str(experiment.get("currency", "")),
        random_state=int(experiment["seed"]),
    )
    if lift.n_periods < int(experiment["periods"]):
        notes.append(
            f"The test was designed for {experiment['periods']} {period}s; {lift.n_periods} are in the sales. Looking "
            "again and again until something shows finds things that are not there: wait for the rest."
        )
    names = tables["stores"].set_index("store_id")["name"]
    return PlanMeasurement(
        lift=lift,
        history=as_history(
            lift,
            f"{manifest.get('market', 'plan')}, {first.date()}",
            experiment["promised"] if experiment.get("promised") is not None else float("nan"),
        ),
        experiment=experiment,
        stores=design.assign(name=design[unit].map(names))[[unit, "name", "arm", "pair", "near"]],
        quality=later.quality,
        notes=(*notes, *words),
        market=str(manifest.get("market", "")),
        simulated=bool(manifest.get("simulated", False)),
        inputs=later.inputs,
    )


def write_measurement(
    found: PlanMeasurement, folder: str | Path, draw: Callable[[PlanMeasurement, Path], object]
) -> list[Path]:
    """Write a measurement: page, tables as CSV, and measurement.json last.

    Parameters
    ----------
    found : PlanMeasurement
        From :func:`measure_plan`.
    folder : path
        New, empty, or written by an earlier measurement.
    draw : callable
        ``draw(found, path)`` writes the page.

    Returns
    -------
    list of Path

    Raises
    ------
    SettingsError
        If the folder holds something else. Name another one.
    """
    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not _is_measurement(folder)):
        raise SettingsError(
            f"--out {folder} exists and was not written by `geomarket measure`. Name another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "measurement.html") as temporary:
        draw(found, temporary)
    tables = {"effects": found.table, "pairs": found.lift.pairs, "measured": found.history}
    for name, frame in tables.items():
        with replacing(folder / f"{name}.csv") as temporary:
            frame.to_csv(temporary, index=False, lineterminator="\n", date_format="%Y-%m-%d")
    with replacing(folder / RESULT) as temporary:
        text = json.dumps(
            _finite(found.result()), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
        )
        temporary.write_text(text + "\n", encoding="utf-8")
    return [folder / "measurement.html", *(folder / f"{name}.csv" for name in tables), folder / RESULT]


def _is_measurement(folder: Path) -> bool:
    try:
        return json.loads((folder / RESULT).read_text(encoding="utf-8")).get("written_by") == MADE_BY
    except (OSError, ValueError, AttributeError):
        return False


def _finished(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise MissingDataError(
            f"{folder}: no {MANIFEST} of a plan there. Name the folder that `geomarket plan --out` wrote."
        ) from err
    if (
        not isinstance(manifest, dict)
        or manifest.get("written_by") != SIGNATURE
        or not manifest.get("complete")
    ):
        raise MissingDataError(f"{folder}: the plan there is not finished. Run `geomarket plan` to its end.")
    return manifest


def _experiment(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    experiment = manifest.get("experiment")
    if isinstance(experiment, dict):
        return experiment
    reason = (manifest.get("skipped") or {}).get("measurement", "it was made before plans came with a test")
    raise MissingDataError(
        f"{folder}: the plan there has no test to measure ({reason}). Make the plan again, with [measurement] "
        "enabled = true, before the change begins."
    )


def _table(folder: Path, name: str) -> pd.DataFrame:
    path = folder / "tables" / f"{name}.parquet"
    try:
        return pd.read_parquet(path)
    except FileNotFoundError as err:
        raise MissingDataError(
            f"{path}: not there, though the plan has a test. Make the plan again."
        ) from err
    except (OSError, ValueError) as err:
        raise TableError(f"{path}: can't be read ({err}). Make the plan again.") from err


def _end_of(first: pd.Timestamp, end: dt.date | str | None, experiment: dict[str, Any]) -> pd.Timestamp:
    if end is not None:
        last = pd.Timestamp(end)
        if last <= first:
            raise SettingsError(f"--end {last.date()} must be after --start {first.date()}; it is half open.")
        return last
    n = int(experiment["periods"])
    return first + (pd.Timedelta(weeks=n) if experiment["period"] == "week" else pd.DateOffset(months=n))


def _cost(
    cost: float | None, manifest: dict[str, Any], stores: pd.DataFrame, design: pd.DataFrame
) -> tuple[float | None, list[str]]:
    if cost is not None:
        return cost, []
    settings = manifest.get("settings") or {}
    currency = str((settings.get("plan") or {}).get("currency") or "")
    each = float((settings.get("assortment") or {}).get("cost_per_change") or 0)
    tested = design.loc[design["arm"] == "test", "store_id"]
    changes = int(stores.loc[stores["store_id"].isin(tested), ["n_list", "n_delist"]].to_numpy().sum())
    if not each * changes:
        return None, ["No cost was given, so no return is worked out; give --cost."]
    return each * changes, [
        f"Cost: {changes:,} listings and delistings in test stores at {as_money(each, currency)} each, from the "
        "plan's settings."
    ]


def _notes(
    later: LaterSales,
    told: pd.DataFrame,
    products: pd.DataFrame,
    design: pd.DataFrame,
    first: pd.Timestamp,
    last: pd.Timestamp,
    period: str,
) -> list[str]:
    notes = []
    window = (first, last)
    whole = engine.sales_by_period(later.sales, ("store_id",), window)
    mine = told[(told["period"] >= first) & (told["period"] < last)]
    arm = design.set_index("store_id")["arm"]
    share = {}
    for name in ("test", "control"):
        total = whole.loc[whole["store_id"].map(arm) == name, "revenue"].sum()
        share[name] = (
            1 - mine.loc[mine["store_id"].map(arm) == name, "revenue"].sum() / total if total > 0 else 0.0
        )
    if max(share.values()) >= NOTICEABLE:
        notes.append(
            f"Left out: {share['test']:.1%} of test stores' and {share['control']:.1%} of control stores' revenue is "
            "of products that the plan does not know or that are in categories it does not plan. Were they launched "
            "in one arm only, the difference is off by as much."
        )
    if products["cost"].notna().any():
        notes.append("Margin is revenue less the unit costs the plan was made with.")
    aside = later.quality.loc[later.quality["action"] == "set aside", "message"]
    notes += [str(message) for message in aside]
    return notes


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NA or value is pd.NaT:
        return None
    return str(value.date()) if isinstance(value, pd.Timestamp) else value


def _finite(value: Any) -> Any:
    """Replace what JSON has no figure for (an interval without end, a missing value) by null."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    value = _plain(value)
    return None if isinstance(value, float) and not np.isfinite(value) else value
