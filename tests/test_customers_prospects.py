"""Quadrants and prospect scores."""

import numpy as np
import pandas as pd
import pytest

from geomarket.customers import quadrants, score_prospects
from geomarket.errors import NotSupportedError, SettingsError, TableError

RATES = {"A1": 0.05, "A2": 0.01, "B1": 0.02}


def make_cells(n=600, seed=0, rates=RATES, reach=1.0):
    rng = np.random.default_rng(seed)
    cells = pd.DataFrame(
        {
            "cell": rng.permutation(np.arange(1000, 1000 + n)),
            "population": rng.gamma(2, 200, n),
            "neighbourhood": rng.choice(list(rates), n),
            "nearest_own_km": rng.uniform(0.5, 20, n),
        }
    )
    rate = cells["neighbourhood"].map(rates) * cells["nearest_own_km"] ** (-0.5 * reach) * 2
    count = rng.poisson(rate * cells["population"])
    customers = pd.DataFrame({"cell": np.repeat(cells["cell"], count)}).reset_index(drop=True)
    return customers.assign(customer_id=[f"c{i}" for i in range(len(customers))]), cells


def test_the_score_finds_customers_it_has_not_seen():
    customers, cells = make_cells()
    result = score_prospects(customers, cells, ("neighbourhood", "nearest_own_km"))
    assert result.table["cell"].tolist() == cells["cell"].tolist()
    assert result.table["customers"].sum() == len(customers)
    expected = (result.table["rate"] * result.table["population"]).sum()
    assert expected == pytest.approx(len(customers))
    weights = result.table["population"] / result.table["population"].sum()
    assert (weights * result.table["score"]).sum() == pytest.approx(100)
    first = result.lift.iloc[0]
    assert first["low"] > 2
    assert first["low"] <= first["lift"] <= first["high"]
    by_term = result.coefficients.set_index("term")["coefficient"]
    assert by_term["neighbourhood=A1"] > by_term["neighbourhood=B1"] > by_term["neighbourhood=A2"]
    assert by_term["log nearest_own_km"] < 0
    without = score_prospects(customers, cells, ("neighbourhood",)).lift.iloc[0]["lift"]
    assert first["lift"] > without
    assert "judged on cells the score was not fitted to" in result.summary()[0]
    assert "no better than chance" not in result.summary()[0]


def test_a_score_without_information_says_so():
    customers, cells = make_cells(rates={"A1": 0.02, "B1": 0.02}, reach=0.0)
    result = score_prospects(customers, cells)
    assert result.lift["lift"].between(0.8, 1.2).all()
    assert "no better than chance" in result.summary()[0]


def test_a_cell_does_not_score_itself():
    # one cell with very many customers of a type that has few: its own score must not rise
    customers, cells = make_cells()
    cell = cells.loc[cells["neighbourhood"] == "A2", "cell"].iloc[0]
    before = score_prospects(customers, cells).table.set_index("cell")["score"]
    many = pd.concat([customers, pd.DataFrame({"cell": [cell] * 300})])
    after = score_prospects(many, cells).table.set_index("cell")["score"]
    peers = cells.loc[(cells["neighbourhood"] == "A2") & (cells["cell"] != cell), "cell"]
    assert after[cell] < before[cell] * 1.02
    assert after[peers].mean() > before[peers].mean()


def test_scores_do_not_hang_on_row_order_and_unknown_stays_unknown():
    customers, cells = make_cells()
    cells.loc[0, "population"] = np.nan
    cells.loc[1, "neighbourhood"] = None
    cells.loc[2, "population"] = 0.0
    first = score_prospects(customers, cells)
    assert first.table.loc[:2, "score"].isna().all()
    again = score_prospects(customers.sample(frac=1, random_state=1), cells.sample(frac=1, random_state=2))
    assert np.allclose(
        first.table.sort_values("cell")["score"], again.table.sort_values("cell")["score"], equal_nan=True
    )
    pd.testing.assert_frame_equal(first.lift, again.lift)


def test_too_little_or_wrong_data_is_named():
    customers, cells = make_cells()
    with pytest.raises(NotSupportedError, match="too few for 5 folds"):
        score_prospects(customers.head(3), cells)
    with pytest.raises(TableError, match=r"cells: column\(s\) type missing"):
        score_prospects(customers, cells, ("type",))
    with pytest.raises(TableError, match="1 rows repeat a cell"):
        score_prospects(customers, pd.concat([cells, cells.head(1)]))
    with pytest.raises(SettingsError, match="at least 2 folds"):
        score_prospects(customers, cells, folds=1)


def test_quadrants_split_by_share_and_index():
    table = pd.DataFrame(
        {
            "neighbourhood": list("ABCDE"),
            "customer_share": [0.4, 0.35, 0.1, 0.15, np.nan],
            "index": [140.0, 80.0, 120.0, 60.0, np.nan],
            "index_low": [120.0, 70.0, 95.0, 50.0, np.nan],
            "index_high": [160.0, 90.0, 150.0, 75.0, np.nan],
        }
    )
    result = quadrants(table)
    assert result["quadrant"].tolist()[:4] == ["core", "developmental", "niche", "monitor"]
    assert pd.isna(result["quadrant"].iloc[4])
    assert result["certain"].tolist() == [True, True, False, True, False]
    assert quadrants(table, min_share=0.5)["quadrant"].iloc[0] == "niche"
    assert not quadrants(table.drop(columns=["index_low", "index_high"]))["certain"].any()
    with pytest.raises(TableError, match=r"column\(s\) index missing"):
        quadrants(table.drop(columns="index"))


def test_the_figure_draws():
    import matplotlib

    matplotlib.use("Agg")
    customers, cells = make_cells(200)
    assert score_prospects(customers, cells).plot().get_ylabel() == "Share of customers"
