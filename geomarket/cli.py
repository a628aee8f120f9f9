"""The command line: parses, calls, prints."""

from __future__ import annotations

import enum
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from geomarket.errors import GeomarketError, MissingDataError, SettingsError, TableError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Geodemographic local-marketing planner: from raw tables to a plan per store cluster.",
)

DONE, FAILED, BAD_INPUT = 0, 1, 2

_out = Console(soft_wrap=True, highlight=False)
_err = Console(stderr=True, soft_wrap=True, highlight=False)


class DemoMarket(enum.StrEnum):
    """Markets the demo knows."""

    simulated = "simulated"
    iowa = "iowa"


class DemoSize(enum.StrEnum):
    """Sizes of the simulated market."""

    full = "full"
    small = "small"


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what each stage does.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.captureWarnings(True)


@app.command()
def plan(
    settings: Annotated[Path, typer.Argument(help="The plan.toml that names tables and settings.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("plan"),
) -> None:
    """Run the whole plan: report.html, plan.xlsx, tables/ and manifest.json."""
    from geomarket.market import load_market, read_settings, stop_reasons
    from geomarket.planning import run_plan

    def work(progress: Callable[[str], None]) -> Any:
        resolved = read_settings(settings)
        progress("Reading the tables")
        market = load_market(resolved)
        reasons = stop_reasons(market, resolved)
        if reasons:
            raise TableError("The tables can't carry a plan:\n- " + "\n- ".join(reasons))
        return run_plan(market, resolved, on_stage=progress)

    _run(work, out)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("geomarket-demo"),
    market: Annotated[DemoMarket, typer.Option(help="Which market to plan.")] = DemoMarket.simulated,
    size: Annotated[DemoSize, typer.Option(help="Size of the simulated market.")] = DemoSize.full,
    seed: Annotated[int, typer.Option(help="Seed of the simulated market.")] = 0,
) -> None:
    """Plan the bundled simulated market, or Hy-Vee's spirits in Iowa (needs GEOMARKET_DATA)."""
    from geomarket.planning import demo_plan

    _run(lambda progress: demo_plan(market.value, size=size.value, seed=seed, on_stage=progress), out)


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
def new(folder: Annotated[Path, typer.Argument(help="Folder to make.")]) -> None:
    """Write a commented plan.toml and small template tables that `geomarket plan` runs as they are."""
    from geomarket.market import write_template

    with _errors_to_exit_codes():
        write_template(folder)
    _out.print(
        f"Wrote {folder}. Next: geomarket plan {folder / 'plan.toml'} --out {folder / 'plan'}", markup=False
    )


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


def _run(work: Callable[[Callable[[str], None]], Any], out: Path) -> None:
    from geomarket.planning import claim_folder, write_outputs
    from geomarket.report import write_report, write_workbook

    with _errors_to_exit_codes(), _stage_progress() as progress:
        claim_folder(out)
        finished = work(progress)
        progress("Writing report, workbook and tables")
        write_outputs(finished, out, {"report.html": write_report, "plan.xlsx": write_workbook})
    for line in finished.summary():
        _out.print(f"• {line}", markup=False)
    _out.print(f"Report: {(out / 'report.html').resolve()}", markup=False)


@contextmanager
def _errors_to_exit_codes() -> Iterator[None]:
    try:
        yield
    except (TableError, SettingsError, MissingDataError) as error:
        _err.print(f"{error}", style="red", markup=False)
        raise typer.Exit(BAD_INPUT) from error
    except GeomarketError as error:
        _err.print(f"The plan failed: {error}", style="red", markup=False)
        raise typer.Exit(FAILED) from error


@contextmanager
def _stage_progress() -> Iterator[Callable[[str], None]]:
    """Show the running stage on a terminal; stay quiet elsewhere."""
    from geomarket.planning import STAGES

    if not _err.is_terminal:
        yield lambda stage: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_err, transient=True) as bar:
        task = bar.add_task("Starting", total=len(STAGES) + 2)
        bar.advance(task, -1)

        def next_stage(stage: str) -> None:
            bar.update(task, description=stage, advance=1)

        yield next_stage


def main() -> None:
    """Run the command line."""
    app()
