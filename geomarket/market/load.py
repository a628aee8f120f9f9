"""From plan.toml to a Market: all tables read, checked and put together."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import geopandas as gpd

from geomarket.errors import GeomarketError, MissingDataError, SettingsError, TableError
from geomarket.market.areas import read_areas, read_boundaries
from geomarket.market.big_tables import clean_baskets, clean_sales
from geomarket.market.casting import identifier
from geomarket.market.connection import connect, out_of_room
from geomarket.market.context import Context, KnownIds
from geomarket.market.contract import BIG_TABLES, REQUIRED_TABLES, TABLES
from geomarket.market.corrections import read_neighbourhood_files
from geomarket.market.files import Source, check_unchanged, find_sources
from geomarket.market.findings import KEPT, Findings
from geomarket.market.model import AreaLayer, Market
from geomarket.market.places import Extent
from geomarket.market.reading import read_raw
from geomarket.market.remote import is_url
from geomarket.market.settings import PlanSettings, TableSettings
from geomarket.market.settings_file import read_settings
from geomarket.market.small_tables import clean_table

__all__ = ["load_market"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")
_IDS = {"stores": "store_id", "competitors": "store_id", "products": "sku", "customers": "customer_id"}
# Tables others refer to come first.
_ORDER = (
    *(
        "stores",
        "competitors",
        "sites",
        "products",
        "customers",
        "store_totals",
        "contacts",
        "promotions",
        "points",
        "measured",
    ),
    *("travel", "boundaries", "sales", "baskets"),
)


def load_market(plan: str | Path | PlanSettings, today: dt.date | None = None) -> Market:
    """Read and check every table a plan names.

    Rows that can't be used are set aside and listed in ``quarantine``; everything found is counted in ``quality``.
    Whether there is too much of it to plan with is for :func:`~geomarket.market.quality.stop_reasons` to say.

    Parameters
    ----------
    plan : path or PlanSettings
        A plan.toml, or settings read from one.
    today : date, optional
        Dates after this are in the future, where ``[quality] latest`` is not set; the clock's day by default.

    Returns
    -------
    Market

    Raises
    ------
    SettingsError
        If plan.toml has a mistake or lacks a table no plan can do without.
    MissingDataError
        If a file isn't there.
    TableError
        If a table can't be used as a whole: unreadable, without a column, empty, of the wrong type, lon and lat
        swapped throughout … All such tables are named in one message.
    """
    settings = plan if isinstance(plan, PlanSettings) else read_settings(plan)
    _require_tables(settings)
    return _Loading(settings, today or dt.date.today()).market()


def _require_tables(settings: PlanSettings) -> None:
    file = settings.file.name if settings.file else "settings"
    absent = [f"[tables.{name}]" for name in REQUIRED_TABLES if name not in settings.tables.given()]
    if not settings.areas:
        absent.append("[[areas]]")
    if absent:
        raise SettingsError(
            f"{file}: {', '.join(absent)} {'is' if len(absent) == 1 else 'are'} missing: no plan can be made without "
            "stores, products, sales and areas. `geomarket new DIR` writes a plan.toml to compare with."
        )


class _Loading:
    """The tables of one plan, one after the other; a table that can't be used doesn't keep others from being tried."""

    def __init__(self, settings: PlanSettings, today: dt.date) -> None:
        self.settings = settings
        self.findings = Findings(settings.quality.quarantine_rows)
        self.context = Context(settings, today)
        engine = settings.engine
        self.backend = connect(engine.memory_limit, engine.threads, settings.spill_folder)
        self.connection: duckdb.DuckDBPyConnection = self.backend.con
        self.spark: Any = None
        self.scratch = ""
        self.errors: list[GeomarketError] = []
        self.sources: list[tuple[str, Source]] = []
        self.remote: dict[str, str] = {}
        self.frames: dict[str, Any] = {}

    def market(self) -> Market:
        """Read all tables and put them together."""
        areas = [layer for area in self.settings.areas if (layer := self._try(self._areas, area))]
        for name in _ORDER:
            if name in self.settings.tables.given():
                self.frames[name] = self._try(self._table, name)
        self._try(self._neighbourhood_files)
        for table, source in self.sources:
            self._try(check_unchanged, table, [source])
        if self.errors:
            raise _together(self.errors)
        plan, products = self.settings.plan, self.frames["products"]
        known = TABLES["products"].names
        return Market(
            name=plan.name,
            areas=tuple(areas),
            period=plan.period,
            currency=plan.currency,
            product_attributes=tuple(str(name) for name in products.columns if name not in known),
            quarantine=self.findings.quarantine,
            quality=self.findings.quality,
            inputs=self._inputs(),
            **{name: frame for name, frame in self.frames.items() if name in _ORDER},
        )

    def _try(self, work: Callable[..., _T], *given: Any) -> _T | None:
        try:
            return work(*given)
        except (TableError, MissingDataError, SettingsError) as err:
            self.errors.append(err)
            return None

    def _areas(self, area: Any) -> AreaLayer:
        layer, sources = read_areas(area, self.settings.quality, self.settings.folder, self.findings)
        self.sources += [(f"areas:{area.name}", source) for source in sources]
        if area is self.settings.areas[0]:
            self.context.extent = Extent.of(layer.frame)
        return layer

    def _table(self, name: str) -> Any:
        _log.info("reading %s", name)
        if name == "boundaries":
            return self._boundaries()
        settings = self.settings.tables.given()[name]
        if name in BIG_TABLES and self.settings.engine.kind == "spark":
            return self._spark_table(name, settings)
        try:
            raw = read_raw(self.connection, name, settings, self.settings.folder)
            self.sources += [(name, source) for source in raw.sources]
            self._note_remote(name, raw.sources, raw.total)
            if name in ("sales", "baskets"):
                clean = clean_sales if name == "sales" else clean_baskets
                return self.backend.table(clean(self.connection, raw, self.context, self.findings))
            clean_one = clean_table(self.connection, raw, self.context, self.findings)
        except duckdb.Error as err:
            raise (
                out_of_room(name, err)
                or TableError(f"{name}: can't be checked ({str(err).splitlines()[0]}).")
            ) from err
        finally:
            self._forget(name)
        if name in _IDS:
            usable = frozenset(clean_one.frame[_IDS[name]])
            self.context.known[name] = KnownIds(
                name, usable, clean_one.set_aside - usable, clean_one.left_out - usable
            )
        return clean_one.frame

    def _spark_table(self, name: str, settings: TableSettings) -> Any:
        from geomarket.market.spark_tables import SparkTables, open_spark

        if self.spark is None:
            self.spark, self.scratch = open_spark(self.settings.engine)
        local = [path for path in settings.paths if not is_url(path)]
        sources = find_sources(name, local, self.settings.folder) if local else []
        self.sources += [(name, source) for source in sources]
        reader = SparkTables(self.spark, self.scratch, self.context, self.findings)
        table = reader.table(name, settings, self.settings.folder, sources)
        reader.check_unchanged(name, settings)
        self.remote.update(reader.facts[name])
        return table

    def _note_remote(self, name: str, sources: Iterable[Source], rows: int) -> None:
        """Say which files are read where they are, and whether a change of them would show."""
        remote = [source.remote for source in sources if source.is_in_place and source.remote is not None]
        if not remote:
            return
        blind = sum(not file.is_watched for file in remote)
        words = f"{name}: {len(remote):,} files are read at their URLs, not hashed"
        check = "their store's tag or time and their size would show a change"
        if blind:
            check = (
                f"the store gives neither tag nor time of {blind:,}: a change of the same size would not show"
            )
        self.findings.note(name, "", "read at a URL", 0, rows, KEPT, f"{words}; {check}.")

    def _boundaries(self) -> gpd.GeoDataFrame:
        settings = self.settings.tables.given()["boundaries"]
        sources = find_sources("boundaries", settings.paths, self.settings.folder)
        if len(sources) > 1:
            raise TableError("boundaries: several files; expected one.")
        self.sources += [("boundaries", source) for source in sources]
        return read_boundaries(sources[0], settings.crs, settings.layer, settings.columns.get("name", "name"))

    def _neighbourhood_files(self) -> None:
        """Check the files of [neighbourhoods], so that mistakes in them are told together with the others."""
        files = read_neighbourhood_files(self.settings)
        self.sources += [("neighbourhoods", source) for source in files.sources]

    def _forget(self, name: str) -> None:
        """Drop what reading left behind; whether it is a view or a table depends on the file."""
        for kind, relation in (
            ("VIEW", f"checked_{name}"),
            ("VIEW", f"raw_{name}"),
            ("TABLE", f"raw_{name}"),
        ):
            try:
                self.connection.execute(f"DROP {kind} IF EXISTS {identifier(relation)}").fetchall()
            except duckdb.CatalogException:
                continue
        for filesystem in self.connection.list_filesystems():
            self.connection.unregister_filesystem(filesystem)

    def _inputs(self) -> dict[str, str]:
        inputs = {source.name: source.sha256 for _, source in self.sources} | self.remote
        return dict(sorted(inputs.items()))


def _together(errors: list[GeomarketError]) -> GeomarketError:
    """One error that says what all of them say, of their type where they agree."""
    if len(errors) == 1:
        return errors[0]
    kinds = {type(err) for err in errors}
    kind = kinds.pop() if len(kinds) == 1 else TableError
    return kind("\n".join(str(err) for err in errors))
