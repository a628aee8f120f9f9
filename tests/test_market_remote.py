"""Tables in partitioned folders and at URLs: the same market as from plain files, and what can't be known is said."""

from __future__ import annotations

import sys

import duckdb
import pandas as pd
import pytest
from market_files import TODAY, load, refused, tables, write_market

from geomarket.errors import MissingDataError, SettingsError, TableError
from geomarket.market import load_market

fsspec = pytest.importorskip("fsspec", reason="FSSPEC MISSING: pip install fsspec")
memory = pytest.importorskip("fsspec.implementations.memory")


class TaggedStore(memory.MemoryFileSystem):
    """An object store in memory that gives an ETag, as S3 does, and answers to its name."""

    protocol = "s3"
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("s3://", "memory://", 1))

    def info(self, path, **kwargs):
        facts = super().info(path, **kwargs)
        facts.pop("created", None)
        return facts if facts["type"] == "directory" else {**facts, "ETag": f'"{hash(self.cat(path)):x}"'}


class BlindStore(TaggedStore):
    """One that gives no more than the size."""

    protocol = "gs"

    @classmethod
    def _strip_protocol(cls, path):
        return memory.MemoryFileSystem._strip_protocol(path.replace("gs://", "memory://", 1))

    def info(self, path, **kwargs):
        return {name: value for name, value in super().info(path, **kwargs).items() if name != "ETag"}

    def modified(self, path):
        raise NotImplementedError("as a web server's")


@pytest.fixture
def store():
    fsspec.register_implementation("s3", TaggedStore, clobber=True)
    fsspec.register_implementation("gs", BlindStore, clobber=True)
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    yield filesystem
    TaggedStore.store.clear()
    TaggedStore.pseudo_dirs[:] = [""]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return sales_of(load(write_market(tmp_path_factory.mktemp("plain"))))


def sales_of(market):
    return market.sales.order_by(["store_id", "sku", "period"]).to_pandas()


def put(store, url, frame):
    with store.open(url, "wb") as file:
        if url.endswith(".parquet"):
            frame.to_parquet(file, index=False)
        else:
            file.write(frame.to_csv(index=False).encode())


def partitioned(write, base, form, by=("period", "store_id")):
    """Write sales by period and store, in folders that hold these two columns."""
    for values, part in tables()["sales"].groupby(list(by)):
        folders = "/".join(f"{name}={value}" for name, value in zip(by, values))
        write(f"{base}/{folders}/part-0.{form}", part.drop(columns=list(by)))


def write_file(path, frame):
    from pathlib import Path

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False) if path.endswith("parquet") else frame.to_csv(path, index=False)


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("pattern", ["sales", "sales/*/*/*.{form}", "sales/**/*.{form}"])
def test_columns_in_the_names_of_folders_are_read_as_text(tmp_path, plain, form, pattern):
    """Store "007" keeps its zeros, and the market is that of one plain file."""
    partitioned(write_file, str(tmp_path / "sales"), form)
    market = load(write_market(tmp_path, sections={"sales": {"path": pattern.format(form=form)}}))
    pd.testing.assert_frame_equal(sales_of(market), plain)
    assert market.quarantine.empty
    assert "sales/period=2024-01-01/store_id=007/part-0." + form in market.inputs


def test_a_folder_named_so_above_the_plan_is_no_column(tmp_path, plain):
    base = tmp_path / "store_id=7"
    base.mkdir()
    (base / "sales").mkdir()
    tables()["sales"].to_parquet(base / "sales" / "part.parquet")
    pd.testing.assert_frame_equal(
        sales_of(load(write_market(base, sections={"sales": {"path": "sales"}}))), plain
    )


def test_folders_partitioned_differently_are_refused(tmp_path):
    partitioned(write_file, str(tmp_path / "sales"), "parquet")
    write_file(str(tmp_path / "sales" / "period=2024-01-01" / "part.parquet"), tables()["sales"])
    found = refused(write_market(tmp_path, sections={"sales": {"path": "sales"}}))
    assert "hold the columns" in found and "Partition all files alike." in found


def test_partitioned_text_in_another_encoding(tmp_path):
    sales = tables()["sales"].replace({"sku": {"01": "Tee 'Öl'"}})
    products = tables()["products"].replace({"sku": {"01": "Tee 'Öl'"}})
    for period, part in sales.groupby("period"):
        path = tmp_path / "sales" / f"period={period}" / "part.csv"
        path.parent.mkdir(parents=True)
        part.drop(columns="period").to_csv(path, index=False, encoding="cp1252")
    section = {"sales": {"path": "sales", "encoding": "cp1252"}}
    market = load(write_market(tmp_path, {"products": products}, sections=section))
    assert len(sales_of(market)) == 24 and market.quarantine.empty


@pytest.mark.parametrize("path", ["s3://bucket/sales", "s3://bucket/sales/*/*/*.parquet"])
def test_parquet_in_an_object_store_is_read_where_it_is(tmp_path, plain, store, path, monkeypatch):
    monkeypatch.setattr(
        TaggedStore, "get_file", lambda *_, **__: pytest.fail("a large table's Parquet was fetched whole")
    )
    partitioned(lambda url, frame: put(store, url, frame), "s3://bucket/sales", "parquet")
    market = load(write_market(tmp_path, sections={"sales": {"path": path}}))
    pd.testing.assert_frame_equal(sales_of(market), plain)
    known = {name: facts for name, facts in market.inputs.items() if "bucket" in name}
    assert len(known) == 8 and all("tag " in facts and "bytes" in facts for facts in known.values())
    told = market.quality[market.quality["check"] == "read at a URL"]["message"].item()
    assert told.startswith(
        "sales: 8 files are read at their URLs, not hashed; their store's tag or time and their size"
    )


def test_text_and_small_tables_are_fetched_hashed_and_cleared(tmp_path, plain, store, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    partitioned(lambda url, frame: put(store, url, frame), "s3://bucket/sales", "csv", ("period", "store_id"))
    put(store, "s3://bucket/stores.parquet", tables()["stores"])
    sections = {"sales": {"path": "s3://bucket/sales"}, "stores": {"path": "s3://bucket/stores.parquet"}}
    market = load(write_market(tmp_path, sections=sections))
    pd.testing.assert_frame_equal(sales_of(market), plain)
    assert market.stores["store_id"].tolist() == ["007", "008", "009", "010"]
    remote = [value for name, value in market.inputs.items() if "bucket" in name]
    assert len(remote) == 9 and all(len(value) == 64 for value in remote)
    assert [path.name for path in scratch.iterdir() if "fetched" in path.name] == []


def test_what_a_store_does_not_say_is_said(tmp_path, store):
    put(fsspec.filesystem("gs"), "gs://bucket/sales.parquet", tables()["sales"])
    market = load(write_market(tmp_path, sections={"sales": {"path": "gs://bucket/sales.parquet"}}))
    assert market.quality["message"].str.contains("a change of the same size would not show").sum() == 1
    assert market.inputs[
        "gs:///bucket/sales.parquet"
        if "gs:///bucket/sales.parquet" in market.inputs
        else "gs://bucket/sales.parquet"
    ].endswith(" bytes")


def test_an_object_that_changes_while_it_is_read_is_refused(tmp_path, store, monkeypatch):
    from geomarket.market import load as loading

    put(store, "s3://bucket/sales.parquet", tables()["sales"])
    plan = write_market(tmp_path, sections={"sales": {"path": "s3://bucket/sales.parquet"}})
    kept = loading.clean_sales

    def meanwhile(*given):
        result = kept(*given)
        put(store, "s3://bucket/sales.parquet", tables()["sales"].assign(units=9))
        return result

    monkeypatch.setattr(loading, "clean_sales", meanwhile)
    assert "sales: s3://bucket/sales.parquet changed while it was being read" in refused(plan)
    monkeypatch.setattr(
        loading, "clean_sales", lambda *given: (kept(*given), store.rm("/bucket/sales.parquet"))[0]
    )
    assert "changed while it was being read" in refused(plan)


def test_a_file_url_is_a_file(tmp_path, plain):
    tables()["sales"].to_csv(tmp_path / "my sales.csv", index=False)
    url = (tmp_path / "my sales.csv").as_uri()
    market = load(write_market(tmp_path, sections={"sales": {"path": url}}))
    pd.testing.assert_frame_equal(sales_of(market), plain)
    assert len(market.inputs["my sales.csv"]) == 64


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("s3://bucket/nothing/*.parquet", MissingDataError, ["nothing to read at s3://bucket/nothing"]),
        ("s3://bucket/folder", MissingDataError, ["nothing to read at s3://bucket/folder"]),
        ("s3://bucket/one.xls", TableError, ["one.xls", "Save it as .xlsx or CSV"]),
        ("https://[host/s.csv", SettingsError, ["this is no address"]),
        ("zip://s.csv", SettingsError, ["copy the files here"]),
        ("ftps4://host/s.csv", SettingsError, ["no kind of store fsspec knows"]),
        ("https://me:pw@host/s.csv", SettingsError, ["leave passwords", "'https://host/s.csv'"]),
        (
            "https://host/s.csv?X-Amz-Signature=abc",
            SettingsError,
            ["leave passwords", "'https://host/s.csv'"],
        ),
        ("https://host/s.csv?sig=abc", SettingsError, ["leave passwords"]),
    ],
)
def test_urls_that_can_not_be_read_say_why(tmp_path, store, path, kind, words):
    put(store, "s3://bucket/one.xls", tables()["sales"])
    found = refused(write_market(tmp_path, sections={"stores": {"path": path}}), kind)
    assert (
        all(word in found for word in words)
        and "pw" not in found.replace("passwords", "")
        and "abc" not in found
    )


@pytest.mark.parametrize(
    ("url", "module", "cure"),
    [
        ("gcs://bucket/s.parquet", "gcsfs", "pip install fsspec gcsfs"),
        ("s3a://bucket/s.parquet", "fsspec", "pip install fsspec s3fs"),
        ("abfss://box@host/s.parquet", "adlfs", "pip install fsspec adlfs"),
    ],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, url, module, cure):
    monkeypatch.setitem(sys.modules, module, None)
    found = refused(write_market(tmp_path, sections={"sales": {"path": url}}), SettingsError)
    assert cure in found


def test_a_store_that_refuses_is_not_a_traceback(tmp_path, store, monkeypatch):
    def deny(*_, **__):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(TaggedStore, "isfile", deny)
    plan = write_market(tmp_path, sections={"sales": {"path": "s3://bucket/sales.parquet"}})
    found = refused(plan, MissingDataError)
    assert "Access Denied" in found and "credentials in the environment" in found


def test_duckdb_keeps_no_store_after_reading(tmp_path, store):
    """What DuckDB still holds at the end, it complains of when the interpreter goes."""
    from geomarket.market.load import _Loading
    from geomarket.market.settings_file import read_settings

    put(store, "s3://bucket/sales.parquet", tables()["sales"])
    plan = write_market(tmp_path, sections={"sales": {"path": "s3://bucket/sales.parquet"}})
    loading = _Loading(read_settings(plan), TODAY)
    assert loading.market().sales.count().execute() == 24
    assert isinstance(loading.connection, duckdb.DuckDBPyConnection)
    assert loading.connection.list_filesystems() == []
    assert load_market(plan, today=TODAY).sales.count().execute() == 24
