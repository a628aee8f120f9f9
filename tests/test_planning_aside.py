"""What is set aside on disk until it is needed again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geomarket.planning.aside import SetAside


def test_what_is_set_aside_comes_back_as_often_as_asked(tmp_path):
    frames = [pd.DataFrame({"a": np.arange(3) + n, "b": ["x", "y", None]}) for n in range(3)]
    aside = SetAside(iter(frames), tmp_path)
    assert not list(tmp_path.iterdir()), "the file has a name"
    for number in (2, 0, -1, 1, 0):
        pd.testing.assert_frame_equal(aside[number], frames[number])
        assert aside[number] is not frames[number]
    assert len(aside[1:]) == 2 and [len(frame) for frame in aside] == [3, 3, 3]
    with pytest.raises(IndexError):
        aside[3]


class _Full:
    """A file on a disk with room for one item only."""

    def __init__(self, whole, room):
        self.whole, self.room = whole, room

    def __getattr__(self, name):
        return getattr(self.whole, name)

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return self.whole.write(data)


def test_without_room_on_disk_it_stays_in_memory(tmp_path, monkeypatch, caplog):
    from geomarket.planning import aside as module

    make = module.tempfile.TemporaryFile
    monkeypatch.setattr(module.tempfile, "TemporaryFile", lambda dir: _Full(make(dir=dir), 1500))
    items = [bytes(1000), bytes(2000), bytes(3)]
    aside = SetAside(items, tmp_path)
    assert [len(item) for item in aside] == [1000, 2000, 3]
    assert aside[1] is items[1] and aside[0] is not items[0]
    assert "No space left on device" in caplog.text
    nowhere = SetAside(items, tmp_path / "not there")
    assert nowhere[0] is items[0]
