"""The command line: parses, calls, prints."""

from __future__ import annotations

import datetime as dt
import enum
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from geomarket.console import DONE, FAILED, count_progress, expected_seconds, set_up_logging, stage_progress
from geomarket.console import errors_to_exit_codes as _errors_to_exit_codes
from geomarket.console import out as _out
from geomarket.errors import TableError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Geodemographic local-marketing planner: from raw tables to a plan per store cluster.",
)


Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from what the last run into this folder finished.")
]
Kept = Annotated[
    Path | None,
    typer.Option("--checkpoints", help="Where finished steps are kept; your cache folder by default."),
]
Workers = Annotated[
    int, typer.Option("--jobs", "-j", help="Categories planned side by side; -1: as many as cores.")
]
Backend = Annotated[
    str | None,
    typer.Option(
        "--backend",
        help="Where jobs run: loky (processes here, the default), threading, spark, dask or ray. All were run, each on "
        "one machine, and gave the same bytes.",
    ),
]


class DemoMarket(enum.StrEnum):
    """Markets the demo knows."""

    simulated = "simulated"
    iowa = "iowa"


class LogFormat(enum.StrEnum):
    """How logs are written."""

    text = "text"
    json = "json"


class DemoSize(enum.StrEnum):
    """Sizes of the simulated market."""

    full = "full"
    small = "small"


Pages = Annotated[
    bool, typer.Option("--pages", help="Also a page per store cluster and per store, in pages/.")
]
Figures = Annotated[
    bool, typer.Option("--figures", help="Also every figure and the map as PNG and SVG, in figures/.")
]
Exports = Annotated[
    bool, typer.Option("--exports", help="Also all tables and map layers in every format, in exports/.")
]
Formats = Annotated[
    str, typer.Option("--format", help="Formats of exports/: csv,parquet,geoparquet,geojson,kml.")
]


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what each stage does.")] = False,
    log: Annotated[
        LogFormat, typer.Option(help="Log lines: text, or JSON for a scheduler.")
    ] = LogFormat.text,
) -> None:
    set_up_logging(verbose, log is LogFormat.json)


@app.command()
def plan(
    settings: Annotated[Path, typer.Argument(help="The plan.toml that names tables and settings.")],
    out: Out = Path("plan"),
    resume: Resume = False,
    jobs: Workers = 1,
    backend: Backend = None,
    checkpoints: Kept = None,
    pages: Pages = False,
    figures: Figures = False,
    exports: Exports = False,
    formats: Formats = "",
) -> None:
    """Run the whole plan: report.html, plan.xlsx, tables/ and manifest.json."""
    from geomarket.market import load_market, read_settings, stop_reasons
    from geomarket.planning import run_plan

    def work(progress: Callable[[str], None], how: dict[str, Any]) -> Any:
        resolved = read_settings(settings)
        progress("Reading the tables")
        market = load_market(resolved)
        reasons = stop_reasons(market, resolved)
        if reasons:
            raise TableError("The tables can't carry a plan:\n- " + "\n- ".join(reasons))
        return run_plan(market, resolved, on_stage=progress, **how)

    folders = _extra_folders(pages, figures, exports, formats)
    _run(work, out, resume, jobs, backend, checkpoints, folders)


@app.command()
def demo(
    out: Out = Path("geomarket-demo"),
    market: Annotated[DemoMarket, typer.Option(help="Which market to plan.")] = DemoMarket.simulated,
    size: Annotated[DemoSize, typer.Option(help="Size of the simulated market.")] = DemoSize.full,
    seed: Annotated[int, typer.Option(help="Seed of the simulated market.")] = 0,
    resume: Resume = False,
    jobs: Workers = 1,
    backend: Backend = None,
    checkpoints: Kept = None,
    pages: Pages = False,
    figures: Figures = False,
    exports: Exports = False,
    formats: Formats = "",
) -> None:
    """Plan the bundled simulated market, or Hy-Vee's spirits in Iowa (needs GEOMARKET_DATA)."""
    from geomarket.planning import demo_plan

    def work(progress: Callable[[str], None], how: dict[str, Any]) -> Any:
        return demo_plan(market.value, size=size.value, seed=seed, on_stage=progress, **how)

    folders = _extra_folders(pages, figures, exports, formats)
    _run(work, out, resume, jobs, backend, checkpoints, folders)


@app.command()
def check(
    settings: Annotated[Path, typer.Argument(help="The plan.toml that names tables and settings.")],
) -> None:
    """Check the tables; print the data-quality report; exit non-zero where the plan would stop."""
    from geomarket.market import check_plan

    report = check_plan(settings)
    _out.print(str(report), markup=False)
    raise typer.Exit(report.status)


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(help="Output folder of a finished plan.")],
    against: Annotated[
        Path | None, typer.Option(help="Output folder of an earlier run with the same customers.")
    ] = None,
    k: Annotated[int, typer.Option(min=1, help="Smallest count of customers that may be shown.")] = 10,
) -> None:
    """Play the attacker on a finished folder; fail if a hidden count of customers can be worked out."""
    from geomarket.planning import audit_folder

    with _errors_to_exit_codes():
        found = audit_folder(folder, against, k)
    for line in found.summary():
        _out.print(f"• {line}", markup=False)
    raise typer.Exit(0 if found.passed else 1)


@app.command()
def measure(
    folder: Annotated[Path, typer.Argument(help="Output folder of the plan that ran.")],
    sales: Annotated[Path, typer.Option(help="Sales of the test: a file as the plan's sales table.")],
    start: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day of the test; as designed by default."),
    ] = None,
    end: Annotated[
        dt.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Day after its last; as designed by default."),
    ] = None,
    cost: Annotated[
        float | None,
        typer.Option(min=0, help="Money the change cost in all test stores; gives the return."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder to write; measurement/ in the plan's by default."),
    ] = None,
    figures: Annotated[bool, typer.Option("--figures", help="Also its figure as PNG and SVG.")] = False,
) -> None:
    """Say what a plan brought: lift, interval, margin, return, spillover, from its test and the sales since."""
    from geomarket.planning import measure_plan, write_measurement
    from geomarket.report import write_measurement_figures, write_measurement_page

    days = [None if day is None else day.date() for day in (start, end)]
    target = out or folder / "measurement"
    with _errors_to_exit_codes():
        found = measure_plan(folder, sales, *days, cost=cost)
        write_measurement(found, target, write_measurement_page)
        if figures:
            write_measurement_figures(found, target)
    for line in found.summary():
        _out.print(f"• {line}", markup=False)
    _out.print(f"Page: {(target / 'measurement.html').resolve()}", markup=False)


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Tables of the simulated market instead, of any size.")
    ] = False,
    stores: Annotated[int, typer.Option(help="Stores of the simulated market.")] = 60,
    skus: Annotated[int, typer.Option(help="Its SKUs.")] = 600,
    customers: Annotated[int, typer.Option(help="Its card customers.")] = 50_000,
    weeks: Annotated[int, typer.Option(help="Its weeks of trade.")] = 104,
    seed: Annotated[int, typer.Option(help="Its seed.")] = 0,
) -> None:
    """Write a commented plan.toml and small template tables that `geomarket plan` runs as they are."""
    with _errors_to_exit_codes():
        if simulated:
            _write_simulated(folder, customers, stores, skus, weeks, seed)
        else:
            from geomarket.market import write_template

            write_template(folder)
    _out.print(
        f"Wrote {folder}. Next: geomarket plan {folder / 'plan.toml'} --out {folder / 'plan'}", markup=False
    )


def _write_simulated(folder: Path, customers: int, stores: int, skus: int, weeks: int, seed: int) -> None:
    from geomarket.simulate import write_simulated_market

    with count_progress("Simulating stores", stores) as tell:
        write_simulated_market(folder, customers, stores, skus, weeks, seed, on_store=tell)


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="Output folder of a finished run.")],
    after: Annotated[Path, typer.Argument(help="Output folder of another.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write it: .md, .html, .json or .txt.")
    ] = None,
) -> None:
    """Say what changed between two runs, and why; exit with 1 where anything did, 0 where nothing."""
    from geomarket.planning import diff_runs, diff_text, write_diff

    with _errors_to_exit_codes():
        found = diff_runs(before, after)
        if out is not None:
            write_diff(found, out)
    _out.print(diff_text(found), markup=False, end="")
    raise typer.Exit(DONE if found.same else FAILED)


@app.command("apply-overrides")
def apply_overrides(
    workbook: Annotated[Path, typer.Argument(help="The plan.xlsx with your decisions filled in.")],
    settings: Annotated[
        Path | None, typer.Option(help="The plan.toml of the next run: the file is written beside it.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; overrides.toml by default.")
    ] = None,
) -> None:
    """Turn a planner's decisions in the workbook into a file that the next plan honours."""
    from geomarket.planning import overrides_line, read_overrides, write_overrides

    path = out or (settings.parent if settings else workbook.parent) / "overrides.toml"
    with _errors_to_exit_codes():
        decided = read_overrides(workbook)
        hint = overrides_line(settings, path)
        write_overrides(decided, path)
    for line in decided.summary():
        _out.print(f"• {line}", markup=False)
    _out.print(f"Wrote {path}. {hint}", markup=False)


@app.command()
def boundaries(folder: Annotated[Path, typer.Argument(help="Folder to write the files to.")]) -> None:
    """Write the simulated market's boundary files (districts and areas, GeoJSON)."""
    from geomarket.datasets.boundaries import write_boundaries

    with _errors_to_exit_codes():
        for path in write_boundaries(folder):
            _out.print(str(path), markup=False)


@app.command()
def version() -> None:
    """Print the version."""
    from geomarket import __version__

    _out.print(__version__)


def _extra_folders(
    pages: bool, figures: bool, exports: bool, formats: str
) -> dict[str, Callable[[Any, Path], object]]:
    """Return what fills pages/, figures/ and exports/, as far as they are asked for."""
    from geomarket.report import EXPORT_FORMATS, write_exports, write_figures, write_pages

    wanted = [name.strip() for name in formats.split(",") if name.strip()] or list(EXPORT_FORMATS)
    unknown = [name for name in wanted if name not in EXPORT_FORMATS]
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)} can't be written; choose from {', '.join(EXPORT_FORMATS)}.",
            param_hint="--format",
        )
    folders: dict[str, Callable[[Any, Path], object]] = {}
    if pages:
        folders["pages"] = write_pages
    if figures:
        folders["figures"] = write_figures
    if exports or formats:
        folders["exports"] = lambda plan, folder: write_exports(plan, folder, wanted)
    return folders


def _run(
    work: Callable[[Callable[[str], None], dict[str, Any]], Any],
    out: Path,
    resume: bool,
    jobs: int,
    backend: str | None,
    kept: Path | None,
    folders: dict[str, Callable[[Any, Path], object]],
) -> None:
    from geomarket.planning import (
        STAGES,
        Checkpoints,
        JobOptions,
        Keeper,
        default_folder,
        hold_folder,
        write_outputs,
    )
    from geomarket.report import write_report, write_workbook

    with (
        _errors_to_exit_codes(),
        hold_folder(out),
        stage_progress(expected_seconds(out, dict.fromkeys(STAGES, 4.0)), extra=8.0) as progress,
    ):
        checkpoints = Checkpoints(kept or default_folder(out))
        keeper = Keeper(checkpoints, resume)
        finished = work(progress, {"keeper": keeper, "jobs": JobOptions(jobs, backend)})
        progress("Writing report, workbook and tables")
        write_outputs(finished, out, {"report.html": write_report, "plan.xlsx": write_workbook}, folders)
        checkpoints.prune()
    if keeper.reused:
        _out.print(f"Reused from an earlier run: {', '.join(keeper.reused)}.", markup=False)
    for line in finished.summary():
        _out.print(f"• {line}", markup=False)
    _out.print(f"Report: {(out / 'report.html').resolve()}", markup=False)
    if finished.failures:
        raise typer.Exit(FAILED)


def main() -> None:
    """Run the command line."""
    try:
        with _errors_to_exit_codes():
            app()
    except (
        typer.Exit
    ) as stop:  # what goes wrong before a command is under way, such as too little memory to start
        sys.exit(stop.exit_code)
