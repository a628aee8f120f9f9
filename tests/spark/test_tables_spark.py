"""The same files, read and checked by DuckDB and by Spark: the same rows, the same findings, the same plan."""

import shutil

import pandas as pd
import pytest

from geomarket.errors import MissingDataError, SettingsError, TableError
from geomarket.market import load_market, read_settings, write_template
from geomarket.market.stage_settings import EngineSettings

pytestmark = pytest.mark.spark

SPARK = '\n[engine]\nkind = "spark"\nmaster = "local[1]"\noptions = { "spark.sql.shuffle.partitions" = 2 }\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if shutil.which("java") is None:
        pytest.skip("JAVA MISSING: install Java 17 to run the Spark tests")
    pytest.importorskip("pyspark.sql", reason="PYSPARK MISSING: pip install geomarket[spark]")
    base = tmp_path_factory.mktemp("both") / "plan"
    write_template(base)
    spoil(base)
    return base


def spoil(base):
    """Plant every kind of fault that a row can have."""
    sales = pd.read_csv(base / "sales.csv", dtype=str)
    good = sales.iloc[0].to_dict()
    bad = [
        {"store_id": "nowhere"},
        {"sku": "nothing"},
        {"store_id": ""},
        {"units": "1.5"},
        {"units": "many"},
        {"units": "0", "revenue": "0"},
        {"units": "0", "revenue": "3.00"},
        {"units": "-2", "revenue": "3.00"},
        {"units": "-1", "revenue": "-1.10"},
        {"units": "3", "revenue": "0"},
        {"units": "1_0"},
        {"period": "1815-06-18"},
        {"period": "2999-01-01"},
        {"period": "someday"},
        {"revenue": "n/a"},
        {"units": " 7 ", "revenue": " 7.005 "},
        {"period": good["period"] + "T13:45:00"},
    ]
    rows = pd.DataFrame([{**good, **change} for change in bad])
    pd.concat([sales, rows, sales.iloc[5:9]]).to_csv(base / "sales.csv", index=False)
    baskets = pd.read_csv(base / "baskets.csv", dtype=str)
    lines = [
        {"customer_id": "stranger"},
        {"units": "-1", "revenue": "-2.00"},
        {"date": ""},
        {"sku": "nothing"},
    ]
    rows = pd.DataFrame([{**baskets.iloc[0].to_dict(), **change} for change in lines])
    pd.concat([baskets, rows]).to_csv(base / "baskets.csv", index=False)


def with_engine(base, text, name):
    toml = (base / "plan.toml").read_text(encoding="utf-8").replace("\n[engine]\n", text or "\n[engine]\n")
    (base / name).write_text(toml, encoding="utf-8")
    return base / name


def typed(base):
    """The same tables as Parquet with types, in a partitioned folder."""
    out = base.parent / "typed"
    if not out.exists():
        shutil.copytree(base, out)
        for name, dates in (("sales", "period"), ("baskets", "date")):
            frame = pd.read_csv(base / f"{name}.csv", dtype={"store_id": str, "sku": str, "customer_id": str})
            frame["units"] = pd.to_numeric(frame["units"].astype(str).str.strip(), errors="coerce")
            frame["revenue"] = pd.to_numeric(frame["revenue"].astype(str).str.strip(), errors="coerce").round(
                2
            )
            frame[dates] = pd.to_datetime(
                frame[dates].astype(str).str[:10], errors="coerce", format="%Y-%m-%d"
            ).dt.date
            (out / name).mkdir()
            half = len(frame) // 2
            frame.iloc[:half].to_parquet(out / name / "part-0.parquet", index=False)
            frame.iloc[half:].to_parquet(out / name / "part-1.parquet", index=False)
            toml = (out / "plan.toml").read_text(encoding="utf-8")
            (out / "plan.toml").write_text(toml.replace(f'"{name}.csv"', f'"{name}"'), encoding="utf-8")
    return out


def rows_of(table, keys):
    frame = table.to_pandas()
    frame["revenue"] = frame["revenue"].astype(str)
    day = "period" if "period" in frame else "date"
    frame[day] = pd.to_datetime(frame[day]).astype("datetime64[ns]")
    return frame.sort_values(keys, ignore_index=True)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_and_findings_are_the_same(form, folder):
    base = folder if form == "csv" else typed(folder)
    here = load_market(read_settings(with_engine(base, "", "here.toml")))
    there = load_market(read_settings(with_engine(base, SPARK, "there.toml")))
    for name, keys in (
        ("sales", ["store_id", "sku", "period"]),
        ("baskets", ["customer_id", "basket_id", "date", "sku", "units", "revenue"]),
    ):
        assert getattr(here, name).schema() == getattr(there, name).schema()
        ours, theirs = rows_of(getattr(here, name), keys), rows_of(getattr(there, name), keys)
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True, check_dtype=False)
    counted = ["table", "column", "check", "rows", "of_rows", "action"]
    pd.testing.assert_frame_equal(here.quality[counted], there.quality[counted])
    assert len(here.quality) > 20
    aside = ["table", "column", "reason"]
    assert here.quarantine[aside].value_counts().to_dict() == there.quarantine[aside].value_counts().to_dict()


def partitioned(base, form, way):
    """Sales in folders by store, as a warehouse exports them."""
    out = base.parent / f"by-store-{form}-{way}"
    shutil.copytree(base, out)
    baskets = pd.read_csv(out / "baskets.csv", dtype=str)
    baskets.head(50).to_csv(out / "baskets.csv", index=False)
    write_template(out / "fresh")
    sales = pd.read_csv(out / "fresh" / "sales.csv", dtype=str)
    for store, part in sales.groupby("store_id"):
        folder = out / "sales" / f"store_id={store}"
        folder.mkdir(parents=True)
        part = part.drop(columns="store_id")
        if form == "csv":
            part.to_csv(folder / "part.csv", index=False)
        else:
            part.to_parquet(folder / "part.parquet", index=False)
    (out / "sales" / "_SUCCESS").write_text("")
    toml = (out / "plan.toml").read_text(encoding="utf-8")
    (out / "plan.toml").write_text(toml.replace('"sales.csv"', '"PATH"'), encoding="utf-8")
    return out


@pytest.mark.parametrize(("form", "way"), [("csv", "pattern"), ("parquet", "folder"), ("parquet", "url")])
def test_partitioned_folders_patterns_and_urls_are_the_same(form, way, folder):
    base = partitioned(folder, form, way)
    paths = {"folder": "sales", "pattern": f"sales/*/*.{form}", "url": (base / "sales").as_uri()}
    frames = {}
    for name, text, path in (("here", "", "sales"), (way, SPARK, paths[way])):
        file = with_engine(base, text, f"{name}.toml")
        file.write_text(file.read_text(encoding="utf-8").replace("PATH", path), encoding="utf-8")
        market = load_market(read_settings(file))
        frames[name] = rows_of(market.sales, ["store_id", "sku", "period"])
        files = [known for known in market.inputs if "/part." in known]
        assert len(files) == len(list((base / "sales").rglob("part.*")))
        if name == "url":
            assert all(
                "bytes" in market.inputs[known] and "changed 20" in market.inputs[known] for known in files
            )
            assert market.quality["message"].str.contains("read at URLs, not hashed").sum() == 1
    assert len(frames["here"]) > 100
    pd.testing.assert_frame_equal(frames["here"], frames[way], check_exact=True, check_dtype=False)


def test_urls_spark_can_not_open_say_why(folder, tmp_path):
    for url, words in (
        ((tmp_path / "nothing").as_uri(), "nothing to read at file://"),
        (
            "nostore://bucket/sales",
            r"nostore://bucket/sales can't be opened by Spark .*options in \[engine\]",
        ),
    ):
        file = with_engine(folder, SPARK, "url.toml")
        toml = file.read_text(encoding="utf-8").replace('"sales.csv"', f'"{url}"')
        file.write_text(toml, encoding="utf-8")
        with pytest.raises(MissingDataError, match=words):
            load_market(read_settings(file))


def test_files_at_a_url_that_change_meanwhile_are_refused(folder, tmp_path, monkeypatch):
    from geomarket.market.spark_tables import SparkTables

    sales = tmp_path / "sales.csv"
    shutil.copy(folder / "sales.csv", sales)
    file = with_engine(folder, SPARK, "url.toml")
    toml = file.read_text(encoding="utf-8").replace('"sales.csv"', f'"{sales.as_uri()}"')
    file.write_text(toml, encoding="utf-8")
    kept = SparkTables._netted

    def meanwhile(*given):
        sales.write_text(sales.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        return kept(*given)

    monkeypatch.setattr(SparkTables, "_netted", meanwhile)
    with pytest.raises(TableError, match="sales: files changed while they were being read"):
        load_market(read_settings(file))


def test_a_plan_made_with_spark_has_the_same_bytes(folder, tmp_path):
    from typer.testing import CliRunner

    from geomarket.cli import app

    base = tmp_path / "plan"
    write_template(base)
    outputs = {}
    for kind, text in (("here", ""), ("there", SPARK)):
        file = with_engine(base, text, f"{kind}.toml")
        result = CliRunner().invoke(
            app, ["plan", str(file), "--out", str(tmp_path / kind), "--checkpoints", str(tmp_path / "kept")]
        )
        assert result.exit_code == 0, result.output
        outputs[kind] = {p.name: p.read_bytes() for p in sorted((tmp_path / kind / "tables").iterdir())}
    differing = [name for name in outputs["here"] if outputs["here"][name] != outputs["there"].get(name)]
    assert differing == []


def test_nothing_known_and_missing_columns_are_refused(folder, tmp_path):
    base = tmp_path / "plan"
    write_template(base)
    sales = pd.read_csv(base / "sales.csv", dtype=str)
    sales.assign(store_id="x" + sales["store_id"]).to_csv(base / "sales.csv", index=False)
    with pytest.raises(TableError, match="no row has a store_id that is in stores"):
        load_market(read_settings(with_engine(base, SPARK, "there.toml")))
    sales.drop(columns="units").to_csv(base / "sales.csv", index=False)
    with pytest.raises(TableError, match="no column 'units'"):
        load_market(read_settings(with_engine(base, SPARK, "there.toml")))


def test_missing_java_is_said(monkeypatch, folder):
    from geomarket.market import spark_tables

    monkeypatch.setattr(spark_tables.shutil, "which", lambda name: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SettingsError, match="Install Java 17"):
        spark_tables.open_spark(EngineSettings(kind="spark"))


def test_nothing_is_left_in_the_working_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load_market(read_settings(with_engine(folder, SPARK, "there.toml")))
    assert list(tmp_path.iterdir()) == []
