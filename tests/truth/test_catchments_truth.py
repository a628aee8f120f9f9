"""Catchments against what must be true: exact recovery, simulation with known exponents, identities."""

import warnings

import numpy as np
import pandas as pd
import pytest

from geomarket.catchments import Huff, distance_pairs, fit_log_centred
from geomarket.errors import FitWarning

TRUE = {"log_size": 0.8, "discount": 0.3, "log_km": -1.8}
ATTRACTION = ("log_size", "discount")


def world(n_cells=500, n_stores=30, trips=200, seed=0, side=0.3):
    """Cells and stores in a square, shares by known exponents, and multinomial trips."""
    rng = np.random.default_rng(seed)
    cells = pd.DataFrame(
        {
            "cell": np.arange(n_cells),
            "lon": rng.uniform(0, side, n_cells),
            "lat": rng.uniform(0, side, n_cells),
        }
    )
    stores = pd.DataFrame(
        {
            "store_id": [f"S{i:03d}" for i in range(n_stores)],
            "lon": rng.uniform(0, side, n_stores),
            "lat": rng.uniform(0, side, n_stores),
            "size_m2": np.exp(rng.normal(7, 0.6, n_stores)),
            "discount": rng.integers(0, 2, n_stores),
        }
    )
    pairs = distance_pairs(cells, stores, k_nearest=n_stores).sort_values(["cell", "store_id"])
    shares = Huff(ATTRACTION).fix(stores, TRUE).predict(pairs, stores)
    matrix = shares["probability"].to_numpy().reshape(n_cells, n_stores)
    drawn = rng.multinomial(trips, matrix / matrix.sum(axis=1, keepdims=True))
    return cells, stores, shares, shares.assign(trips=drawn.ravel())


def errors(params):
    estimate = params.set_index("term")["estimate"]
    return {term: abs(estimate[term] - value) for term, value in TRUE.items()}


def test_noise_free_shares_give_back_the_exponents_by_least_squares():
    _, stores, shares, _ = world(60, 12)
    exact = fit_log_centred(shares, stores, shares, ATTRACTION, value="probability")
    assert max(errors(exact).values()) < 1e-10


def test_noise_free_shares_give_back_the_exponents_by_maximum_likelihood():
    _, stores, shares, _ = world(60, 12)
    fit = Huff(ATTRACTION).fit(shares, stores, shares, value="probability")
    assert max(errors(fit.params_).values()) < 1e-8


@pytest.mark.parametrize("seed", range(3))
def test_exponents_are_recovered_from_trips(seed):
    # over 50 seeds of this design the largest error was 0.018
    _, stores, shares, flows = world(seed=seed)
    fit = Huff(ATTRACTION).fit(shares, stores, flows)
    assert max(errors(fit.params_).values()) <= 0.03


def test_zero_flows_bias_least_squares_but_not_maximum_likelihood():
    _, stores, shares, flows = world(seed=1)
    assert (flows["trips"] == 0).mean() > 0.01
    with pytest.warns(FitWarning, match="no flow"):
        dropped = fit_log_centred(shares, stores, flows, ATTRACTION)
    with pytest.warns(FitWarning, match="adds 0.5"):
        shifted = fit_log_centred(shares, stores, flows, ATTRACTION, add=0.5)
    assert errors(dropped)["log_km"] > 0.1
    assert errors(shifted)["log_km"] > 0.1
    fit = Huff(ATTRACTION).fit(shares, stores, flows)
    assert errors(fit.params_)["log_km"] <= 0.03


def test_a_new_store_draws_from_all_others_in_proportion():
    cells, stores, shares, _ = world(80, 10)
    model = Huff(ATTRACTION).fix(stores, TRUE)
    new = pd.DataFrame(
        {"store_id": ["NEW"], "lon": [0.15], "lat": [0.15], "size_m2": [1500.0], "discount": [1]}
    )
    everyone = pd.concat([stores, new], ignore_index=True)
    after = model.predict(distance_pairs(cells, everyone, k_nearest=11), everyone)
    assert np.allclose(after.groupby("cell")["probability"].sum(), 1.0, rtol=0, atol=1e-12)
    q = after[after["store_id"] == "NEW"].set_index("cell")["probability"]
    both = shares.merge(after, on=["cell", "store_id"], suffixes=("_before", "_after"))
    expected = both["probability_before"] * (1 - both["cell"].map(q))
    assert np.allclose(both["probability_after"], expected, rtol=0, atol=1e-12)
    market = pd.Series(np.random.default_rng(0).gamma(2, 50, len(cells)), index=cells["cell"])
    lost = (both["probability_before"] - both["probability_after"]) * both["cell"].map(market)
    own = both["store_id"].isin(["S000", "S001", "S002"])
    volume = float((q * q.index.map(market)).sum())
    assert lost[own].sum() + lost[~own].sum() == pytest.approx(volume, rel=1e-12)


@pytest.mark.parametrize("loss", ["log", "poisson"])
def test_noise_free_totals_give_back_the_exponents(loss):
    cells, stores, shares, _ = world(120, 25, side=0.6)
    market = pd.Series(np.random.default_rng(3).gamma(1, 100, len(cells)), index=cells["cell"])
    drawn = (shares["probability"] * shares["cell"].map(market) * 37).groupby(shares["store_id"]).sum()
    totals = drawn.rename("revenue").reset_index()
    fit = Huff(ATTRACTION).fit_totals(shares, stores, totals, market, loss=loss)
    assert max(errors(fit.params_).values()) < 1e-5
    assert fit.money_per_market_unit_ == pytest.approx(37, rel=1e-5)


def test_an_outside_option_takes_its_share_and_gives_way_to_a_new_store():
    cells, stores, shares, _ = world(100, 10)
    market = pd.Series(np.random.default_rng(1).gamma(2, 50, len(cells)), index=cells["cell"])
    model = Huff(ATTRACTION, outside_share=0.2).fix(stores, TRUE).set_outside(shares, stores, market)
    before = model.predict(shares[["cell", "store_id", "km"]], stores)
    served = before.groupby("cell")["probability"].sum()
    assert float(market @ (1 - served)) / market.sum() == pytest.approx(0.2, rel=1e-9)
    # among those who choose a store nothing changes
    assert np.allclose(before["probability"] / before["cell"].map(served), shares["probability"], atol=1e-12)
    new = pd.DataFrame(
        {"store_id": ["NEW"], "lon": [0.15], "lat": [0.15], "size_m2": [1500.0], "discount": [1]}
    )
    everyone = pd.concat([stores, new], ignore_index=True)
    after = model.predict(distance_pairs(cells, everyone, k_nearest=11), everyone)
    q = after[after["store_id"] == "NEW"].set_index("cell")["probability"]
    outside_after = 1 - after.groupby("cell")["probability"].sum()
    assert np.allclose(outside_after, (1 - served) * (1 - q), atol=1e-12)


@pytest.mark.parametrize("loss", ["log", "poisson"])
def test_noise_free_totals_with_an_outside_option_give_back_the_exponents(loss):
    cells, stores, shares, _ = world(120, 25, side=0.6)
    market = pd.Series(np.random.default_rng(3).gamma(1, 100, len(cells)), index=cells["cell"])
    model = Huff(ATTRACTION, outside_share=0.3).fix(stores, TRUE).set_outside(shares, stores, market)
    drawn = model.predict(shares[["cell", "store_id", "km"]], stores)
    drawn = (drawn["probability"] * drawn["cell"].map(market)).groupby(drawn["store_id"]).sum()
    totals = drawn.rename("revenue").reset_index()
    fit = Huff(ATTRACTION, outside_share=0.3).fit_totals(shares, stores, totals, market, loss=loss)
    assert max(errors(fit.params_).values()) < 1e-4
    assert fit.outside_ == pytest.approx(model.outside_, abs=1e-3)


def test_own_customers_alone_are_enough_for_the_exponents():
    # the choice among own stores has the same exponents as the choice among all (independence)
    _, stores, shares, flows = world(seed=2)
    own = stores["store_id"].head(12)
    fit = Huff(ATTRACTION).fit(
        shares[shares["store_id"].isin(own)], stores, flows[flows["store_id"].isin(own)]
    )
    three_se = 3 * fit.params_.set_index("term")["clustered_se"]
    assert all(error <= three_se[term] for term, error in errors(fit.params_).items())


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    # 60 worlds × 3 terms; 90% intervals: 3 binomial standard errors of 180 draws is 0.067
    covered = []
    for seed in range(60):
        _, stores, shares, flows = world(60, 12, trips=50, seed=100 + seed)
        params = Huff(ATTRACTION).fit(shares, stores, flows).params_.set_index("term")
        covered += [params.loc[t, "low"] <= v <= params.loc[t, "high"] for t, v in TRUE.items()]
    assert 0.83 <= np.mean(covered) <= 0.99


def test_maximum_likelihood_is_poisson_regression_with_one_effect_per_cell():
    import statsmodels.api as sm

    _, stores, shares, flows = world(25, 8, trips=80, seed=4)
    fit = Huff(ATTRACTION).fit(shares, stores, flows)
    of_store = flows["store_id"].map(stores.set_index("store_id")["size_m2"])
    discount = flows["store_id"].map(stores.set_index("store_id")["discount"])
    columns = np.column_stack([np.log(of_store), discount, np.log(flows["km"])])
    effects = pd.get_dummies(flows["cell"]).to_numpy(dtype=float)
    poisson = sm.GLM(flows["trips"], np.hstack([columns, effects]), family=sm.families.Poisson()).fit(
        tol=1e-14
    )
    estimate = fit.params_["estimate"].to_numpy()
    assert np.allclose(estimate, poisson.params[:3], rtol=0, atol=1e-8)
    assert np.allclose(fit.params_["se"], poisson.bse[:3], rtol=1e-6)
    clustered = sm.GLM(flows["trips"], np.hstack([columns, effects]), family=sm.families.Poisson()).fit(
        cov_type="cluster", cov_kwds={"groups": flows["cell"].to_numpy(), "use_correction": False}, tol=1e-14
    )
    correction = np.sqrt(25 / 24)
    assert np.allclose(fit.params_["clustered_se"], clustered.bse[:3] * correction, rtol=1e-4)
    robust = sm.GLM(flows["trips"], np.hstack([columns, effects]), family=sm.families.Poisson()).fit(
        cov_type="HC0", tol=1e-14
    )
    # with effects the sandwich over pairs is that of the columns centred on their cell's expected mean
    assert np.allclose(fit.params_["robust_se"], robust.bse[:3], rtol=1e-6)


def test_a_large_badly_scaled_problem_converges():
    # a centimetre-sized and a hair-sized column: coefficients of 0.8 and 3,000, on 300,000 pairs
    rng = np.random.default_rng(7)
    n_cells, n_stores = 1500, 200
    cells = pd.DataFrame(
        {"cell": np.arange(n_cells), "lon": rng.uniform(0, 4, n_cells), "lat": rng.uniform(0, 4, n_cells)}
    )
    stores = pd.DataFrame(
        {
            "store_id": [f"S{i}" for i in range(n_stores)],
            "lon": rng.uniform(0, 4, n_stores),
            "lat": rng.uniform(0, 4, n_stores),
            "size_cm2": np.exp(rng.normal(16, 1, n_stores)),
            "tiny": rng.normal(0, 1e-4, n_stores) + 5,
        }
    )
    truth = {"log_size_cm2": 0.8, "tiny": 3000.0, "log_km": -1.8}
    pairs = distance_pairs(cells, stores, k_nearest=n_stores)
    shares = Huff(("log_size_cm2", "tiny")).fix(stores, truth).predict(pairs, stores)
    flows = shares.assign(trips=rng.poisson(200 * shares["probability"]))
    fit = Huff(("log_size_cm2", "tiny")).fit(pairs, stores, flows)
    params = fit.params_.set_index("term")
    assert np.isfinite(params[["estimate", "se", "robust_se", "clustered_se"]]).all().all()
    for term, value in truth.items():
        assert abs(params.loc[term, "estimate"] - value) < 5 * params.loc[term, "clustered_se"]
    assert fit.n_iterations_ < 30


def test_least_squares_agrees_with_the_huff_package():
    # its mci_fit is an oracle for strictly positive columns only; a 0/1 column goes in as exp(column)
    data_management = pytest.importorskip("huff.data_management")
    _, stores, shares, flows = world(40, 8, trips=5000, seed=5)
    flows = flows.assign(trips=flows["trips"] + 1)
    ours = fit_log_centred(shares, stores, flows, ATTRACTION).set_index("term")["estimate"]
    by_store = stores.set_index("store_id")
    frame = flows[["cell", "store_id", "km", "trips"]].assign(
        size_m2=flows["store_id"].map(by_store["size_m2"]),
        discount=np.exp(flows["store_id"].map(by_store["discount"])),
    )
    frame["share"] = frame["trips"] / frame.groupby("cell")["trips"].transform("sum")
    frame["cell"] = frame["cell"].astype(str)
    matrix = data_management.load_interaction_matrix(
        frame,
        customer_origins_col="cell",
        supply_locations_col="store_id",
        attraction_col=["size_m2", "discount"],
        transport_costs_col="km",
        probabilities_col="share",
        data_type="df",
        check_df_vars=False,
    )
    fitted = matrix.mci_fit(cols=["A_j", "t_ij", "discount"])
    theirs = {row["Coefficient"]: row["Estimate"] for row in fitted.coefs.values()}
    assert ours["log_size"] == pytest.approx(theirs["A_j"], abs=1e-8)
    assert ours["log_km"] == pytest.approx(theirs["t_ij"], abs=1e-8)
    assert ours["discount"] == pytest.approx(theirs["discount"], abs=1e-6)


def test_no_warning_without_zeros():
    _, stores, shares, _ = world(60, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_log_centred(shares, stores, shares, ATTRACTION, value="probability")
