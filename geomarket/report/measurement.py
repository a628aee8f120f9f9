"""How the plan will be measured, and the page of what was found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from geomarket.hexmap import asset_text
from geomarket.report.charts import as_figure
from geomarket.report.measurement_charts import arms_map, gap_chart, power_chart
from geomarket.report.names import natural_key
from geomarket.report.numbers import count, money, percent, plural, signed
from geomarket.report.tables import Cell, Column, Table, frame_table
from geomarket.writing import replacing

__all__ = ["KPI_WORDS", "measurement_section", "write_measurement_page"]

ASSETS = "geomarket.report.assets"
KPI_WORDS = {"margin": "margin", "revenue": "revenue", "units": "units sold"}


def measurement_section(plan: Any) -> dict[str, Any] | None:
    """Return the test of the plan for the page; None where the plan has none."""
    experiment = getattr(plan, "experiment", None)
    if experiment is None:
        return None
    design = experiment.design
    lines = experiment.summary()
    names = plan.market.stores.drop_duplicates("store_id").set_index("store_id")["name"].astype("str")
    stores = _placed(plan, design)
    title = (
        f"Smallest change of {KPI_WORDS[design.value]} that is seen, by number of pairs and length of the test; "
        "the dot is this plan's test"
    )
    return {
        "verdict": lines[0],
        "can": lines[1],
        "notes": lines[2:],
        "kpi": KPI_WORDS[design.value],
        "first": plural(design.n_pairs, "store"),
        "start": f"{design.start.day} {design.start:%B %Y}" if design.start is not None else "",
        "periods": plural(design.periods, design.period),
        "rings": plural(design.buffer_rings, "ring"),
        "others": plural(int((design.table["arm"] == "out").sum()), "other store"),
        "chance": percent(design.wanted_power),
        "map": as_figure(
            arms_map(
                plan.hexes.table["cell"].to_numpy(),
                stores,
                "Where the test stores, the control stores and the others are",
            ),
            "map_measurement",
        ),
        "wide": as_figure(power_chart(design, title), "measurement_power"),
        "narrow": as_figure(power_chart(design, title, width=360, height=320), "measurement_power"),
        "pairs": _pairs_table(design, names),
        "out": _out_table(design, names),
        "power": _power_table(design),
        "check": _check_table(design),
        "balance": _balance_table(design),
    }


def _placed(plan: Any, design: Any) -> pd.DataFrame:
    stores = plan.market.stores.drop_duplicates("store_id")[["store_id", "name", "lon", "lat"]]
    return stores.merge(design.table[["store_id", "arm", "pair"]], on="store_id").dropna(
        subset=["lon", "lat"]
    )


def _pairs_table(design: Any, names: pd.Series) -> Table:
    rows = []
    for row in design.pairs.to_dict("records"):
        stores = [str(row[arm]) for arm in ("test", "control")]
        rows.append(
            [
                Cell(f"{int(row['pair'])}", float(row["pair"])),
                *(Cell(str(names.get(store, store)), note=store) for store in stores),
                Cell(f"{row['distance']:.2f}", float(row["distance"])),
                Cell(percent(row["placebo_sd"], 1), float(row["placebo_sd"])),
            ]
        )
    heads = [
        Column("Pair", "number"),
        Column("Changes first (test)", "main"),
        Column("Waits (control)", "main"),
    ]
    heads += [Column("How unlike", "number"), Column("Usual difference", "number")]
    return Table("Test and control stores, drawn by lot within each pair", heads, rows)


def _out_table(design: Any, names: pd.Series) -> Table:
    out = design.table[design.table["arm"] == "out"]
    out = out.sort_values("store_id", key=lambda ids: ids.astype("str").map(natural_key))
    rows = [
        [
            Cell(str(names.get(row["store_id"], row["store_id"])), note=str(row["store_id"])),
            Cell(str(row["reason"])),
        ]
        for row in out.to_dict("records")
    ]
    return Table("Stores that wait and are not compared", [Column("Store", "main"), Column("Why")], rows)


def _power_table(design: Any) -> Table:
    return frame_table(
        design.power,
        f"What tests of other lengths and sizes would see ({percent(design.confidence)} interval)",
        {
            "periods": (f"Length, {design.period}s", "number", count),
            "pairs": ("Pairs", "number", count),
            "sd": ("Usual difference of a pair", "number", lambda value: percent(value, 1)),
            "mde": ("Smallest change seen", "number", lambda value: percent(value, 1)),
            "power_wanted": (f"Chance to see {percent(design.wanted, 1)}", "number", percent),
            "power_expected": ("Chance to see what is expected", "number", percent),
            "pairs_needed": (f"Pairs needed for {percent(design.wanted, 1)}", "number", count),
        },
    )


def _check_table(design: Any) -> Table:
    return frame_table(
        design.placebo,
        "Past stretches in which nothing happened: what the arms would have shown",
        {
            "start": ("From", "text", _day),
            "end": ("To", "text", _day),
            "estimate": ("Difference", "number", _change),
            "low": ("Low", "number", _change),
            "high": ("High", "number", _change),
            "p": ("p", "number", lambda value: f"{value:.2f}"),
        },
    )


def _balance_table(design: Any) -> Table:
    def write(value: Any) -> str:
        return count(value, 2)

    return frame_table(
        design.balance,
        "How alike the arms are, in spreads between stores",
        {
            "trait": ("Trait", "text", None),
            "test": ("Test", "number", write),
            "control": ("Control", "number", write),
            "gap": ("Gap", "number", write),
        },
    )


def _day(value: Any) -> str:
    return f"{pd.Timestamp(value):%d %b %Y}"


def _change(value: Any) -> str:
    return signed(percent(value, 1))


def write_measurement_page(found: Any, path: str | os.PathLike[str]) -> Path:
    """Write what a plan's test found as one self-contained HTML page.

    Parameters
    ----------
    found : PlanMeasurement
        From :func:`geomarket.measure_plan`.
    path : path-like
        File to write; replaced only when the new one is complete.

    Returns
    -------
    Path
        ``path``. The same finding gives the same bytes.
    """
    from geomarket.report.page import content_security_policy, environment

    path = Path(path)
    style = Markup(asset_text("report.css", ASSETS))
    script = Markup(asset_text("tables.js", ASSETS).replace("export function", "function"))
    page = (
        environment()
        .get_template("measurement_page.html.j2")
        .render(
            title="What the test found",
            market={"name": found.market, "simulated": found.simulated},
            style=style,
            script=script,
            policy=content_security_policy(script, style),
            **_finding(found),
        )
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return path


def _finding(found: Any) -> dict[str, Any]:
    lift = found.lift
    lines = found.summary()
    path = lift.path[lift.path["kpi"] == lift.kpi]
    kpi = KPI_WORDS.get(lift.kpi, lift.kpi)
    title = f"{kpi.capitalize()} of test stores over their partners', each pair's usual gap taken off"
    charts = {
        name: as_figure(
            gap_chart(path["period"].tolist(), path["gap"].tolist(), lift.start, title, width=width),
            "measured",
        )
        for name, width in (("wide", 720), ("narrow", 360))
    }
    return {
        "headline": lines[0],
        "lines": lines[1:],
        "tiles": _tiles(found),
        "chart_title": title,
        **charts,
        "effects": _effects(found),
        "pairs": _pair_effects(found),
        "path": _path_table(path, lift),
        "spillover": _spillover_table(lift),
        "span": f"{lift.start:%d %b %Y} to {lift.end - pd.Timedelta(days=1):%d %b %Y}",
        "measured": plural(lift.n_periods, lift.period),
        "baseline": plural(lift.baseline, lift.period),
        "level": percent(lift.confidence),
        "inputs": sorted(found.inputs.items()),
    }


def _tiles(found: Any) -> list[dict[str, str]]:
    lift, row = found.lift, found.lift.main
    kpi = KPI_WORDS.get(lift.kpi, lift.kpi)
    tiles = [
        {
            "value": _change(row["lift"]),
            "label": f"{kpi}, test over control",
            "note": f"{_change(row['low'])} to {_change(row['high'])}",
        },
        {
            "value": signed(_amount(lift.kpi, row["incremental"], lift.currency)),
            "label": f"{kpi} on top, in {plural(lift.n_periods, lift.period)}",
            "note": f"{_amount(lift.kpi, row['incremental_low'], lift.currency)} to "
            f"{_amount(lift.kpi, row['incremental_high'], lift.currency)}",
        },
    ]
    if lift.roi:
        tiles.append(
            {
                "value": signed(percent(lift.roi["roi"])),
                "label": "return on the cost",
                "note": f"cost {money(lift.roi['cost'], lift.currency)}; {percent(lift.roi['low'])} to "
                f"{percent(lift.roi['high'])}",
            }
        )
    tiles.append(
        {
            "value": f"{int(row['pairs'])}",
            "label": "pairs of stores",
            "note": f"{int(row['groups'])} independent",
        }
    )
    return tiles


def _amount(kpi: str, value: Any, currency: str) -> str:
    return count(value) if kpi == "units" else money(value, currency)


def _effects(found: Any) -> Table:
    lift = found.lift
    rows = []
    for row in lift.table.to_dict("records"):
        amounts = [_amount(row["kpi"], row[name], lift.currency) for name in ("incremental", "actual")]
        flips = (
            f"{_change(row['flip_low'])} to {_change(row['flip_high'])}"
            if np.isfinite([row["flip_low"], row["flip_high"]]).all()
            else "too few pairs"
        )
        rows.append(
            [
                Cell(KPI_WORDS.get(row["kpi"], row["kpi"])),
                Cell(_change(row["lift"]), float(row["lift"])),
                Cell(f"{_change(row['low'])} to {_change(row['high'])}"),
                Cell(flips),
                Cell(f"{row['p']:.3f}", float(row["p"])),
                Cell(amounts[0], float(row["incremental"])),
                Cell(amounts[1], float(row["actual"])),
            ]
        )
    heads = [Column("What"), Column("Change", "number"), Column("Interval"), Column("Interval by sign flips")]
    heads += [Column("p", "number"), Column("On top", "number"), Column("Test stores in all", "number")]
    return Table("Test stores against their partners", heads, rows)


def _pair_effects(found: Any) -> Table:
    lift = found.lift
    names = found.stores.drop_duplicates(lift.unit).set_index(lift.unit)["name"]
    mine = lift.pairs[lift.pairs["kpi"] == lift.kpi]
    rows = []
    for row in mine.to_dict("records"):
        changes = [row[f"after_{arm}"] / row[f"before_{arm}"] - 1 for arm in ("test", "control")]
        rows.append(
            [
                Cell(f"{int(row['pair'])}", float(row["pair"])),
                *(
                    Cell(str(names.get(row[arm], row[arm])), note=str(row[arm]))
                    for arm in ("test", "control")
                ),
                *(Cell(_change(change), float(change)) for change in changes),
                Cell(_change(np.expm1(row["difference"])), float(row["difference"])),
            ]
        )
    heads = [Column("Pair", "number"), Column("Test store", "main"), Column("Control store", "main")]
    heads += [
        Column("Test, change", "number"),
        Column("Control, change", "number"),
        Column("Difference", "number"),
    ]
    return Table(
        f"Pair by pair: {KPI_WORDS.get(lift.kpi, lift.kpi)} a {lift.period} against before", heads, rows
    )


def _path_table(path: pd.DataFrame, lift: Any) -> Table:
    rows = [
        [
            Cell(_day(row["period"]), pd.Timestamp(row["period"]).timestamp()),
            Cell(_change(np.expm1(row["gap"])), float(row["gap"])),
            Cell("test" if row["period"] >= lift.start else "before"),
        ]
        for row in path.to_dict("records")
    ]
    return Table("The same in figures", [Column("From", "number"), Column("Gap", "number"), Column("")], rows)


def _spillover_table(lift: Any) -> Table:
    return frame_table(
        lift.spillover[lift.spillover["kpi"] == lift.kpi],
        "Stores next to test stores, against other stores that were left out",
        {
            "compared": ("Against stores", "text", None),
            "change": ("Change", "number", _change),
            "low": ("Low", "number", _change),
            "high": ("High", "number", _change),
            "near": ("Next to test stores", "number", count),
            "far": ("Others", "number", count),
        },
    )
