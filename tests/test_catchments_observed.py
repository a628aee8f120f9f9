"""Trade areas of known customers: right where customers are many, silent where they are few."""

import numpy as np
import pandas as pd
import pytest

from geomarket.catchments import observed_areas, trade_areas
from geomarket.errors import SettingsError, TableError
from geomarket.hexes.cells import neighbours, parents, points_to_cells

K = 10
HOME = points_to_cells([4.40], [51.22], 8)
DISC = np.sort(neighbours(HOME, 14)["neighbour"].to_numpy())


def sample(customers, seed=0, spread=4.0):
    """Customers of one store, drawn from a density that falls with the rings around it; and that density."""
    ring = neighbours(HOME, 14).set_index("neighbour")["ring"].loc[DISC].to_numpy()
    density = np.exp(-ring / spread)
    density /= density.sum()
    count = np.random.default_rng(seed).multinomial(customers, density)
    flows = pd.DataFrame({"cell": DISC, "store_id": "A", "trips": 3.0 * count, "customers": count})
    return flows[flows["customers"] > 0], pd.Series(density, index=DISC)


def places(found, flows, store="A"):
    """Customers behind each place that can be told apart: cells joined under one ancestor."""
    mine = found[found["store_id"] == store]
    people = flows[flows["store_id"] == store].set_index("cell")["customers"]
    sums = []
    single = mine[mine["joined"] == 1]
    sums += people.reindex(single["cell"]).tolist()
    for level in (7, 6):
        joined = mine[mine["joined"] > 1]
        up = parents(joined["cell"].to_numpy(), level)
        for _, place in joined.groupby([up, joined["joined"].to_numpy()]):
            if len(place) == place["joined"].iloc[0]:
                sums.append(people.reindex(place["cell"]).sum())
    return sums


def test_with_many_customers_everywhere_they_are_the_trade_areas():
    rng = np.random.default_rng(1)
    flows = pd.DataFrame(
        {
            "cell": np.tile(DISC, 2),
            "store_id": np.repeat(["A", "B"], len(DISC)),
            "trips": rng.gamma(2.0, 50.0, 2 * len(DISC)),
            "customers": rng.integers(K, 200, 2 * len(DISC)),
        }
    )
    found = observed_areas(flows, DISC, k=K)
    known = trade_areas(flows, "trips")
    keys = ["store_id", "band", "cell"]
    pd.testing.assert_frame_equal(
        found[keys], known.sort_values(keys, ignore_index=True)[keys], check_dtype=False
    )
    assert (found["joined"] == 1).all()
    assert (found["shown"] == 1.0).all()


@pytest.mark.parametrize("customers", [150, 600, 4000])
def test_no_place_stands_for_few_customers(customers):
    flows, _ = sample(customers)
    found = observed_areas(flows, DISC, k=K)
    behind = places(found, flows)
    assert behind
    assert min(behind) >= K
    assert not found.duplicated(["store_id", "cell"]).any()


def test_the_shape_holds_the_custom_it_says():
    for seed in range(3):
        flows, density = sample(1500, seed)
        found = observed_areas(flows, DISC, k=K)
        assert (found["joined"] > 1).any()
        for band in (0.5, 0.7):
            inside = density[found.loc[found["band"] <= band, "cell"]].sum()
            # the last place taken overshoots; 1,500 draws leave a standard error of 0.013
            assert band - 0.05 < inside < band + 0.12


def test_a_band_that_few_customers_leave_open_is_not_drawn():
    flows = pd.DataFrame(
        {
            "cell": [HOME[0], DISC[0], DISC[-1]],
            "store_id": "A",
            "trips": [75.0, 15.0, 10.0],
            "customers": [40, 3, 2],
        }
    )
    found = observed_areas(flows, DISC, k=K)
    assert found["cell"].tolist() == [HOME[0]]
    assert found["shown"].tolist() == [0.75]
    few = observed_areas(flows[flows["customers"] < K], DISC, k=K)
    assert few.empty
    assert list(few) == list(found)


def test_rows_may_come_in_any_order_and_wrong_input_is_named():
    flows, _ = sample(900)
    mixed = flows.sample(frac=1.0, random_state=3)
    pd.testing.assert_frame_equal(observed_areas(flows, DISC), observed_areas(mixed, DISC[::-1]))
    with pytest.raises(TableError, match="customers"):
        observed_areas(flows.drop(columns="customers"), DISC)
    with pytest.raises(SettingsError, match="ascending"):
        observed_areas(flows, DISC, (0.9, 0.5))
    with pytest.raises(TableError, match="one resolution"):
        observed_areas(flows.assign(cell=parents(flows["cell"].to_numpy(), 7)), DISC)
