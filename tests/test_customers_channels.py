"""Channel preference and response."""

import numpy as np
import pandas as pd
import pytest

from geomarket.customers import channel_preference, channel_response
from geomarket.errors import FitWarning, SettingsError, TableError

CHANNELS = ["mail", "online", "store"]
ALPHA = np.array([0.4, 1.0, 2.6])


def make_counts(n=2000, seed=0, alpha=ALPHA):
    rng = np.random.default_rng(seed)
    taste = rng.dirichlet(alpha, n)
    trips = rng.integers(0, 15, n)
    values = np.array([rng.multinomial(t, p) for t, p in zip(trips, taste)])
    ids = [f"c{i:04d}" for i in range(n)]
    frame = pd.DataFrame(values, index=ids, columns=CHANNELS).rename_axis("customer_id").reset_index()
    return frame.melt("customer_id", var_name="channel", value_name="trips"), taste


def test_the_population_is_recovered_and_shrinking_pays():
    counts, taste = make_counts()
    result = channel_preference(counts)
    # over seeds the standard deviation of each relative error is about 0.05
    assert np.allclose(result.prior["alpha"], ALPHA, rtol=0.2)
    assert result.strength == pytest.approx(ALPHA.sum(), rel=0.15)
    wide = result.table.pivot(index="customer_id", columns="channel", values="preference")[CHANNELS]
    assert np.allclose(wide.sum(axis=1), 1.0)
    raw = result.table.pivot(index="customer_id", columns="channel", values="share")[CHANNELS]
    known = raw.notna().all(axis=1)
    shrunk_error = ((wide - taste)[known] ** 2).to_numpy().mean()
    raw_error = ((raw - taste)[known] ** 2).to_numpy().mean()
    assert shrunk_error < 0.7 * raw_error
    assert np.allclose(wide[~known], result.prior.set_index("channel")["share"][CHANNELS])


def test_the_stated_spread_is_the_error_made():
    counts, taste = make_counts(seed=1)
    table = channel_preference(counts).table
    truth = pd.DataFrame(taste, columns=CHANNELS).stack().to_numpy()
    order = table.set_index(["customer_id", "channel"]).sort_index()
    z = (order["preference"].to_numpy() - truth) / order["sd"].to_numpy()
    assert 0.9 < z.std() < 1.1


def test_the_posterior_is_exact():
    counts, _ = make_counts(300)
    result = channel_preference(counts)
    alpha = result.prior.set_index("channel")["alpha"]
    one = counts[counts["customer_id"] == "c0007"].set_index("channel")["trips"]
    expected = (one + alpha) / (one + alpha).sum()
    ours = result.table[result.table["customer_id"] == "c0007"].set_index("channel")["preference"]
    assert np.allclose(ours[CHANNELS], expected[CHANNELS], rtol=1e-12)


def test_where_all_are_alike_everybody_gets_the_common_shares():
    counts, _ = make_counts(alpha=ALPHA * 1e7)
    with pytest.warns(FitWarning, match="do not differ"):
        result = channel_preference(counts)
    assert result.table.groupby("channel")["preference"].std().max() < 1e-3
    assert "do not differ beyond chance" in result.summary()[0]


def test_any_unit_can_prefer():
    counts, _ = make_counts()
    counts["neighbourhood"] = np.where(counts["customer_id"] < "c1000", "A1", "B1")
    with pytest.warns(FitWarning, match="neighbourhoods do not differ"):
        by_type = channel_preference(counts, unit="neighbourhood").table
    assert set(by_type["neighbourhood"]) == {"A1", "B1"}


def test_response_is_counted_and_shrunk():
    rng = np.random.default_rng(0)
    rate = {"A": 0.02, "B": 0.10, "C": 0.05, "D": 0.04}
    frames = [
        pd.DataFrame({"channel": "mail", "neighbourhood": t, "responded": rng.random(n) < r})
        for (t, r), n in zip(rate.items(), (4000, 4000, 4000, 20))
    ]
    contacts = pd.concat(frames, ignore_index=True)
    whole = channel_response(contacts)
    assert whole["contacts"].tolist() == [12020]
    assert whole["responses"].iloc[0] == contacts["responded"].sum()
    table = channel_response(contacts, by="neighbourhood").set_index("neighbourhood")
    assert table["responses"].sum() == contacts["responded"].sum()
    assert abs(table.loc["A", "expected"] - table.loc["A", "rate"]) < 0.001
    mean = whole["rate"].iloc[0]
    assert abs(table.loc["D", "expected"] - mean) < abs(table.loc["D", "rate"] - mean)
    assert (table["low"] <= table["rate"]).all()
    assert (table["rate"] <= table["high"]).all()


def test_bad_input_is_named():
    counts, _ = make_counts(10)
    with pytest.raises(TableError, match=r"column\(s\) channel missing"):
        channel_preference(counts.drop(columns="channel"))
    with pytest.raises(TableError, match="count trips, not money"):
        channel_preference(counts.assign(trips=0.5))
    with pytest.raises(TableError, match="only 1 channel"):
        channel_preference(counts[counts["channel"] == "mail"])
    with pytest.raises(SettingsError, match="every trips is 0"):
        channel_preference(counts.assign(trips=0))
    with pytest.raises(TableError, match=r"column\(s\) responded missing"):
        channel_response(pd.DataFrame({"channel": ["mail"]}))
    with pytest.raises(TableError, match="no rows"):
        channel_response(pd.DataFrame({"channel": [], "responded": []}))


def test_the_figure_draws():
    import matplotlib

    matplotlib.use("Agg")
    axes = channel_preference(make_counts(200)[0]).plot()
    assert [t.get_text() for t in axes.get_xticklabels()] == CHANNELS
