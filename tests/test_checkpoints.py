"""Checkpoints: found again by content, never trusted from others, never loaded when damaged."""

import os
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from geomarket.errors import SettingsError
from geomarket.market import sales_table
from geomarket.market.model import Variable
from geomarket.planning.checkpoints import MISSING, Checkpoints, default_folder, fingerprint


def frame():
    return pd.DataFrame(
        {"store_id": ["1", "2"], "x": [1.5, np.nan], "when": pd.to_datetime(["2024-01-01", None])}
    )


def test_what_was_saved_comes_back_exactly(tmp_path):
    kept = Checkpoints(tmp_path / "c")
    kept.save("k", (frame(), None))
    found, nothing = Checkpoints(tmp_path / "c").load("k")
    pd.testing.assert_frame_equal(found, frame(), check_exact=True)
    assert nothing is None
    assert kept.load("other") is MISSING


def test_a_damaged_checkpoint_is_none(tmp_path):
    kept = Checkpoints(tmp_path / "c")
    kept.save("k", frame())
    path = next(kept.folder.glob("*.checkpoint"))
    body = path.read_bytes()
    for broken in (body[:-1], body[:10], b"", body[:-1] + bytes([body[-1] ^ 1])):
        path.write_bytes(broken)
        assert kept.load("k") is MISSING


def test_a_planted_pickle_is_never_run(tmp_path):
    folder = tmp_path / "c"
    kept = Checkpoints(folder)
    kept.save("k", 1)
    folder.chmod(0o777)
    with pytest.raises(SettingsError, match="can't be trusted"):
        Checkpoints(folder)


def test_a_disk_that_is_full_costs_the_checkpoint_not_the_run(tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path / "c")
    monkeypatch.setattr(
        os, "replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    kept.save("k", 1)
    assert list(kept.folder.iterdir()) == []


def test_prune_keeps_what_the_run_used(tmp_path):
    Checkpoints(tmp_path).save("old", 1)
    run = Checkpoints(tmp_path)
    run.save("new", 2)
    run.prune()
    assert run.load("old") is MISSING
    assert run.load("new") == 2


def test_checkpoints_lie_outside_the_folder_that_is_handed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "out"
    assert out not in default_folder(out).parents
    assert default_folder(out) != default_folder(tmp_path / "out2")


CHANGES = {
    "a value": lambda f: f.assign(x=[1.5, 0.0]),
    "a name": lambda f: f.rename(columns={"x": "y"}),
    "a type": lambda f: f.astype({"store_id": object}),
    "the order": lambda f: f.iloc[::-1],
    "a date": lambda f: f.assign(when=pd.to_datetime(["2024-01-02", None])),
    "the index": lambda f: f.set_index("store_id"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_fingerprint_sees(change):
    assert fingerprint(frame()) != fingerprint(CHANGES[change](frame()))


def test_fingerprints_of_shapes_settings_and_tables():
    shapes = gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326)
    moved = shapes.assign(geometry=[shapely.box(0, 0, 1, 1.0000001)])
    assert fingerprint(shapes) != fingerprint(moved)
    assert fingerprint(shapes) != fingerprint(shapes.set_crs(3857, allow_override=True))
    assert fingerprint(Variable("a", "A", "count", "a")) != fingerprint(Variable("a", "B", "count", "a"))
    lines = pd.DataFrame(
        {"store_id": ["1", "2"], "sku": "a", "period": "2024-01-01", "units": [1, 2], "revenue": [1.0, 2.0]}
    )
    swapped = lines.assign(units=[2, 1])
    assert fingerprint(sales_table(lines)) == fingerprint(sales_table(lines.iloc[::-1]))
    assert fingerprint(sales_table(lines)) != fingerprint(sales_table(swapped))


def test_fingerprints_are_the_same_in_another_process():
    code = (
        "import pandas as pd, numpy as np\n"
        "from geomarket.planning.checkpoints import fingerprint\n"
        "f = pd.DataFrame({'a': ['x', 'y'], 'b': [1.0, np.nan]})\n"
        "print(fingerprint(f, {'k': (1, 'z')}, frozenset({'p', 'q'})))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
