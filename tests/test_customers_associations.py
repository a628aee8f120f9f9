"""What goes together: by hand, with planted pairs, and with nothing below k."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from geomarket.customers import basket_associations
from geomarket.errors import NotSupportedError, SettingsError, TableError


def listed(held, items):
    """One row per customer and item from a table of yes and no."""
    customer, item = np.nonzero(held)
    return pd.DataFrame({"customer_id": [f"c{i:05d}" for i in customer], "item": np.array(items)[item]})


def test_a_case_done_by_hand():
    # 40 customers: 20 buy bread, 16 butter, 12 both
    bread = [f"c{i:02d}" for i in range(20)]
    butter = [f"c{i:02d}" for i in range(8, 24)]
    bought = pd.DataFrame({"customer_id": bread + butter, "item": ["bread"] * 20 + ["butter"] * 16})
    found = basket_associations(bought, n_customers=40, k=4)
    row = found.table.iloc[0]
    assert (row["item_a"], row["item_b"]) == ("bread", "butter")
    assert (row["customers"], row["customers_a"], row["customers_b"]) == (12, 20, 16)
    assert row["support"] == pytest.approx(12 / 40)
    assert row["confidence_ab"] == pytest.approx(12 / 20)
    assert row["confidence_ba"] == pytest.approx(12 / 16)
    assert row["lift"] == pytest.approx(12 * 40 / (20 * 16))
    assert row["low"] < row["lift"] < row["high"]
    assert found.n_hidden == 0


def test_planted_pairs_come_first_and_chance_stays_at_one():
    rng = np.random.default_rng(1)
    n, items = 4_000, [f"item {i:02d}" for i in range(20)]
    held = rng.random((n, 20)) < 0.3
    for a, b in ((0, 7), (3, 11)):
        held[:, b] = np.where(rng.random(n) < 0.5, held[:, a], held[:, b])
    found = basket_associations(listed(held, items), n)
    top = found.table.head(2)
    assert set(zip(top["item_a"], top["item_b"])) == {("item 00", "item 07"), ("item 03", "item 11")}
    # half copied: P(both) = 0.3 (0.5 + 0.5 x 0.3)
    assert top["lift"].to_numpy() == pytest.approx(0.65 / 0.3, rel=0.06)
    rest = found.table.iloc[2:]
    assert len(found.table) == 190
    # 90% intervals of 188 pairs without a tie: 3 standard errors of a share are 0.066
    covered = ((rest["low"] <= 1) & (rest["high"] >= 1)).mean()
    assert abs(covered - 0.9) < 0.066


def test_who_comes_often_does_not_make_a_pair():
    """Everybody buys at random, some come often: every lift is above 1, among alike customers none is."""
    rng = np.random.default_rng(2)
    n, items = 6_000, [f"item {i}" for i in range(6)]
    trips = rng.integers(1, 60, n)
    held = rng.random((n, 6)) < (1 - 0.98**trips)[:, None]
    ids = [f"c{i:05d}" for i in range(n)]
    found = basket_associations(listed(held, items), n, pd.Series(trips, index=ids))
    assert (found.table["low"] > 1.1).all()
    assert found.table["lift_alike"].to_numpy() == pytest.approx(1.0, abs=0.05)


def test_no_group_below_k_is_told():
    rng = np.random.default_rng(3)
    n, items = 120, [f"item {i}" for i in range(8)]
    held = rng.random((n, 8)) < np.linspace(0.02, 0.97, 8)
    found = basket_associations(listed(held, items), n, k=10)
    table = found.table
    parts = [
        table["customers"],
        table["customers_a"] - table["customers"],
        table["customers_b"] - table["customers"],
        n - table["customers_a"] - table["customers_b"] + table["customers"],
    ]
    for part in parts:
        assert not part.between(1, 9).any()
    assert found.n_hidden > 0
    # what is not told can't be worked out from the items told: its range is at least k
    told = dict(zip(table["item_a"], table["customers_a"])) | dict(zip(table["item_b"], table["customers_b"]))
    for count in told.values():
        assert min(count, n - count) >= 10


def test_it_does_not_hang_on_row_order_and_input_is_left_alone():
    rng = np.random.default_rng(4)
    bought = listed(rng.random((300, 5)) < 0.4, list("abcde"))
    before = bought.copy()
    first = basket_associations(bought).table
    second = basket_associations(bought.sample(frac=1, random_state=0)).table
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(bought, before)


def test_words_and_figure():
    rng = np.random.default_rng(5)
    held = rng.random((500, 3)) < 0.4
    nothing = basket_associations(listed(held, ["tea", "jam", "oil"]), 500)
    held[:, 1] = held[:, 0] ^ (rng.random(500) < 0.1)
    found = basket_associations(listed(held, ["tea", "jam", "oil"]), 500)
    assert "jam and tea" in found.summary()[0]
    assert "only a test" in found.summary()[1]
    assert "No two items" in nothing.summary()[0] or (nothing.table["low"] > 1).any()
    found.plot().figure.clear()


def test_bad_input_is_named():
    bought = pd.DataFrame({"customer_id": ["a", "a"], "item": ["x", "y"]})
    with pytest.raises(TableError, match="item missing"):
        basket_associations(bought.drop(columns="item"))
    with pytest.raises(TableError, match="repeat"):
        basket_associations(pd.concat([bought, bought]))
    with pytest.raises(SettingsError, match="n_customers"):
        basket_associations(bought, n_customers=0)
    with pytest.raises(SettingsError, match="k = 0"):
        basket_associations(bought, k=0)
    with pytest.raises(NotSupportedError, match="two are needed"):
        basket_associations(bought, n_customers=50)
    with pytest.raises(TableError, match="trips"):
        basket_associations(bought, n_customers=4, k=1, trips=pd.Series({"b": 1}))


def test_the_library_behind_it_does_not_change_what_warnings_are_shown():
    code = (
        "import warnings, pandas as pd\n"
        "from geomarket.customers import basket_associations\n"
        "before = list(warnings.filters)\n"
        "bought = pd.DataFrame({'customer_id': list('abab'), 'item': list('xxyy')})\n"
        "basket_associations(bought, n_customers=4, k=1)\n"
        "assert list(warnings.filters) == before, warnings.filters\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
