"""From tables to a category's arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from geomarket.assortment.pairs import Pairs
from geomarket.assortment.problem import Limit, RangeProblem, empty_transfer
from geomarket.assortment.rules import RangeRules, all_skus, skus_of
from geomarket.assortment.spaces import TIER_NAMES, planogram_sizes
from geomarket.errors import TableError

__all__ = ["SKIPPED_COLUMNS", "CategoryData", "RangeInputs", "category_problem"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SKIPPED_COLUMNS = ["store_id", "category", "sku", "reason"]


@dataclass(frozen=True)
class RangeInputs:
    """The tables, checked, with every store in its cluster.

    ``products`` is indexed by sku; ``centres`` holds store_id and centre, ``substitutes`` sku, substitute, share.
    """

    demand: pd.DataFrame
    products: pd.DataFrame
    stores: pd.DataFrame
    today: pd.DataFrame
    spaces: pd.DataFrame | None
    substitutes: pd.DataFrame | None
    centres: pd.DataFrame | None
    skipped: pd.DataFrame
    stakes: pd.DataFrame | None = None

    @property
    def categories(self) -> list[str]:
        """Categories with a forecast."""
        return sorted(self.demand["category"].unique())

    def of_category(self, category: str) -> RangeInputs:
        """Return the part of every table that one category needs: what is handed to a worker."""
        demand = self.demand[self.demand["category"] == category]
        mine = set(demand["sku"])
        if "category" in self.products:
            mine |= set(self.products.index[self.products["category"] == category])

        def cut(frame: pd.DataFrame | None, column: str, wanted: set[str]) -> pd.DataFrame | None:
            return None if frame is None else frame[frame[column].isin(wanted)].reset_index(drop=True)

        return replace(
            self,
            demand=demand.reset_index(drop=True),
            products=self.products[self.products.index.isin(mine)],
            today=self.today[self.today["sku"].isin(mine)].reset_index(drop=True),
            spaces=cut(self.spaces, "category", {category}),
            substitutes=cut(self.substitutes, "sku", mine),
            stakes=cut(self.stakes, "sku", mine),
        )

    @classmethod
    def of(
        cls,
        demand: pd.DataFrame,
        products: pd.DataFrame,
        clusters: pd.DataFrame,
        rules: RangeRules,
        today: pd.DataFrame,
        spaces: pd.DataFrame | None,
        substitutes: pd.DataFrame | None,
        centres: pd.DataFrame | None,
        stakes: pd.DataFrame | None = None,
    ) -> RangeInputs:
        """Check the tables against each other and the rules."""
        _require("demand", demand, ["store_id", "sku", "category", "units", "margin"], ["store_id", "sku"])
        _require("products", products, ["sku", "name", *_product_columns(rules)], ["sku"])
        _require("clusters", clusters, ["store_id", "store_cluster"], ["store_id"])
        _require("today", today, ["store_id", "sku"], [])
        if spaces is not None:
            _require("spaces", spaces, ["store_id", "category", "capacity"], ["store_id", "category"])
        if substitutes is not None:
            _check_substitutes(substitutes)
        if stakes is not None:
            _require("stakes", stakes, ["store_id", "sku", "money"], ["store_id", "sku"])
        if centres is not None:
            _require("centres", centres, ["store_id", "centre"], [])
        elif rules.dc_cost:
            raise TableError(
                "centres: dc_cost is set but no table says which centre serves which store. Pass centres."
            )
        known = set(products["sku"])
        _unknown("demand", "sku", demand.loc[~demand["sku"].isin(known), "sku"], "products")
        forecast = set(demand["sku"])
        for rule in ("core", "must_list", "must_not"):
            named = pd.Series(sorted(all_skus(getattr(rules, rule)) - forecast), dtype=object)
            _unknown(f"rules.{rule}", "sku", named, "demand (no forecast, so it can't be planned)")
        planned = products[products["sku"].isin(forecast)]
        for limit in rules.limits:
            made = limit.column == "price_tier" and "price_tier" not in products
            kinds = {"low", "middle", "high"} if made else set(planned[limit.column].astype(object))
            absent = pd.Series([limit.value] if limit.value not in kinds else [], dtype=object)
            _unknown("rules.limits", limit.column, absent, "products")
        for column, needed in (
            ("width_cm", rules.unit == "width_cm"),
            ("case_pack", rules.case_periods is not None),
        ):
            if needed:
                _positive(planned, column)
        stores = clusters[["store_id", "store_cluster"]].dropna()
        here = set(stores["store_id"])
        skipped = pd.DataFrame(
            {
                "store_id": sorted(set(demand["store_id"]) - here),
                "category": None,
                "sku": None,
                "reason": "the store is in no store cluster",
            },
            columns=SKIPPED_COLUMNS,
        )
        listed = today[["store_id", "sku"]].drop_duplicates()
        return cls(
            demand[demand["store_id"].isin(here)],
            products.set_index("sku"),
            stores.sort_values("store_id", ignore_index=True),
            listed[listed["store_id"].isin(here)],
            spaces,
            substitutes,
            centres,
            skipped,
            stakes,
        )


def _product_columns(rules: RangeRules) -> list[str]:
    columns = {limit.column for limit in rules.limits}
    if "price_tier" in columns:
        columns = columns - {"price_tier"} | {"price"}
    if rules.unit == "width_cm":
        columns.add("width_cm")
    if rules.order_periods is not None:
        columns.add("moq")
    if rules.case_periods is not None:
        columns.add("case_pack")
    return sorted(columns)


@dataclass(frozen=True)
class CategoryData:
    """Forecasts of one category as arrays over the stores that have space for it.

    Stores are sorted by planogram and id, SKUs by id. ``substitution`` holds at [i, j] the share of SKU i's buyers who
    take j where i is not listed. ``room``: space each store has for the category itself, whatever its planogram.
    """

    category: str
    store_ids: npt.NDArray[np.object_]
    store_cluster: npt.NDArray[np.object_]
    planogram: Ints
    skus: npt.NDArray[np.str_]
    names: npt.NDArray[np.object_]
    width: Floats
    units: Floats
    margin: Floats
    low: Floats
    high: Floats
    today: Bools
    space_today: Floats
    room: Floats
    substitution: sparse.csr_array
    at_stake: Floats | None = None

    @property
    def unit_margin(self) -> Floats:
        """Margin of a unit in each store; the chain's where a store expects none."""
        units, margin = np.nan_to_num(self.units), np.nan_to_num(self.margin)
        total = units.sum(axis=0)
        chain = np.divide(margin.sum(axis=0), total, out=np.zeros_like(total), where=total > 0)
        return np.divide(margin, units, out=np.broadcast_to(chain, units.shape).copy(), where=units > 0)

    def outcome(self, facings: Ints, returns: Floats) -> tuple[Floats, Floats, Floats]:
        """Units, margin and units gained by substitution of each store and SKU, given facings by store.

        ``returns[f]`` is what ``f`` facings sell over what one does. NaN where not forecast.
        """
        listed = facings > 0
        lost = np.where(listed, 0.0, np.nan_to_num(self.units))
        gained = (lost @ self.substitution) * listed if self.substitution.nnz else np.zeros_like(lost)
        units = np.where(listed, self.units * returns[facings] + gained, 0.0)
        margin = np.where(listed, self.margin * returns[facings] + gained * self.unit_margin, 0.0)
        return units, margin, gained


def category_problem(
    inputs: RangeInputs, category: str, rules: RangeRules
) -> tuple[CategoryData | None, RangeProblem | None, pd.DataFrame]:
    """Return one category's forecasts, its problem, and what can't be planned; None where no store has space."""
    demand = inputs.demand[inputs.demand["category"] == category]
    skus = np.sort(demand["sku"].unique().astype(str))
    width = (
        inputs.products["width_cm"].reindex(skus).to_numpy(dtype=float)
        if "width_cm" in inputs.products
        else np.full(skus.size, np.nan)
    )
    space = width if rules.unit == "width_cm" else np.ones(skus.size)
    stores = inputs.stores
    sku_index, store_index = pd.Index(skus), pd.Index(stores["store_id"])
    listed = inputs.today[inputs.today["sku"].isin(set(skus))]
    today = np.zeros((len(stores), skus.size), dtype=bool)
    today[
        store_index.get_indexer(pd.Index(listed["store_id"])), sku_index.get_indexer(pd.Index(listed["sku"]))
    ] = True
    capacity = _capacities(inputs.spaces, category, stores["store_id"], today @ space)
    has_space = capacity > 0
    skipped = _not_planned(inputs, category, stores.loc[~has_space, "store_id"], set(skus))
    if not has_space.any():
        return None, None, skipped
    stores, today, capacity = stores[has_space].reset_index(drop=True), today[has_space], capacity[has_space]
    planogram, frame = _planograms(stores["store_cluster"].to_numpy(dtype=object), capacity, rules)
    order = np.lexsort((stores["store_id"].to_numpy(dtype=str), planogram))
    rows = pd.Index(stores["store_id"].to_numpy()[order]).get_indexer(pd.Index(demand["store_id"]))
    columns = sku_index.get_indexer(pd.Index(demand["sku"]))

    def matrix(column: str) -> Floats:
        values = np.full((len(stores), skus.size), np.nan)
        if column in demand:
            values[rows[rows >= 0], columns[rows >= 0]] = demand[column].to_numpy(dtype=float)[rows >= 0]
        return values

    data = CategoryData(
        category=category,
        store_ids=stores["store_id"].to_numpy(dtype=object)[order],
        store_cluster=stores["store_cluster"].to_numpy(dtype=object)[order],
        planogram=planogram[order],
        skus=skus,
        names=inputs.products["name"].reindex(skus).to_numpy(dtype=object),
        width=width,
        units=matrix("units"),
        margin=matrix("margin"),
        low=matrix("low"),
        high=matrix("high"),
        today=today[order],
        space_today=(today @ space)[order],
        room=capacity[order],
        substitution=_substitution(inputs.substitutes, sku_index),
        at_stake=_at_stake(inputs.stakes, stores["store_id"], sku_index, today, order),
    )
    return data, _problem(inputs, data, frame, space, rules), skipped


def _at_stake(
    stakes: pd.DataFrame | None, store_ids: pd.Series, skus: pd.Index, today: Bools, order: Ints
) -> Floats | None:
    """Return the money at stake by store and SKU on the shelf today; nothing is at stake of what isn't."""
    if stakes is None:
        return None
    rows = pd.Index(store_ids).get_indexer(pd.Index(stakes["store_id"]))
    columns = skus.get_indexer(pd.Index(stakes["sku"]))
    known = (rows >= 0) & (columns >= 0)
    money = np.zeros(today.shape)
    money[rows[known], columns[known]] = stakes["money"].to_numpy(dtype=float)[known]
    return np.where(today, money, 0.0)[order]


def _not_planned(inputs: RangeInputs, category: str, closed: pd.Series, forecast: set[str]) -> pd.DataFrame:
    no_space = pd.DataFrame(
        {
            "store_id": closed,
            "category": category,
            "sku": None,
            "reason": "the store has no space for the category",
        }
    )
    if "category" not in inputs.products:
        return no_space[SKIPPED_COLUMNS]
    others = set(inputs.products.index[inputs.products["category"] == category]) - forecast
    unforecast = inputs.today[inputs.today["sku"].isin(others)].assign(
        category=category, reason="listed today but without a forecast: left as it is, its space not planned"
    )
    parts = [part[SKIPPED_COLUMNS] for part in (no_space, unforecast) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else no_space[SKIPPED_COLUMNS]


def _capacities(
    spaces: pd.DataFrame | None, category: str, store_ids: pd.Series, space_today: Floats
) -> Floats:
    if spaces is None:
        return space_today
    given = spaces[spaces["category"] == category].set_index("store_id")["capacity"]
    # A store without a line has no such shelf.
    return given.reindex(store_ids).fillna(0.0).to_numpy(dtype=float)


def _planograms(
    names: npt.NDArray[np.object_], capacity: Floats, rules: RangeRules
) -> tuple[Ints, pd.DataFrame]:
    """Number of each store's planogram, and the planograms: store_cluster, tier, stores, capacity."""
    planogram = np.empty(names.size, dtype=np.int64)
    lines: list[dict[str, Any]] = []
    for cluster in sorted(set(names)):
        members = np.flatnonzero(names == cluster)
        sizes = planogram_sizes(capacity[members], rules.max_tiers, rules.tier_spread)
        for size in range(int(sizes.max()) + 1):
            mine = members[sizes == size]
            planogram[mine] = len(lines)
            room = float(capacity[mine].mean())
            lines.append(
                {
                    "store_cluster": cluster,
                    "tier": TIER_NAMES[int(sizes.max()) + 1][size],
                    "stores": mine.size,
                    "capacity": max(1.0, np.floor(room + 0.5)) if rules.unit == "count" else room,
                }
            )
    return planogram, pd.DataFrame(lines)


def _substitution(substitutes: pd.DataFrame | None, skus: pd.Index) -> sparse.csr_array:
    if substitutes is None:
        return sparse.csr_array((skus.size, skus.size))
    left, right = (
        skus.get_indexer(pd.Index(substitutes["sku"])),
        skus.get_indexer(pd.Index(substitutes["substitute"])),
    )
    known = (left >= 0) & (right >= 0) & (substitutes["share"].to_numpy(dtype=float) > 0)
    values = substitutes["share"].to_numpy(dtype=float)[known]
    matrix = sparse.coo_array((values, (left[known], right[known])), shape=(skus.size, skus.size)).tocsr()
    matrix.sort_indices()
    return matrix


def _problem(
    inputs: RangeInputs, data: CategoryData, frame: pd.DataFrame, space: Floats, rules: RangeRules
) -> RangeProblem:
    clusters = tuple(dict.fromkeys(frame["store_cluster"]))
    names = frame["store_cluster"].to_numpy(dtype=object)
    # A pair without a forecast sells nothing; where a whole planogram has none, the SKU is closed to it.
    units, margin = _by_planogram(data, data.units), _by_planogram(data, data.margin)
    forecast = _by_planogram(data, np.isfinite(data.margin)) > 0
    products = inputs.products.reindex(data.skus)
    must, banned = _marked(rules, "must_list", data.skus, names), _marked(rules, "must_not", data.skus, names)
    core = np.isin(data.skus, sorted(all_skus(rules.core)))
    pairs, transfer = _transfers(data, len(frame))
    stores = frame["stores"].to_numpy(dtype=np.int64)
    slow = np.zeros(margin.shape, dtype=bool)
    if rules.case_periods is not None:
        slow = (
            units / stores[:, None] * rules.case_periods < products["case_pack"].to_numpy(dtype=float) - 1e-9
        )
    order_units = None
    if rules.order_periods is not None:
        order_units = products["moq"].fillna(0.0).to_numpy(dtype=float) / rules.order_periods
    return RangeProblem(
        category=data.category,
        skus=data.skus,
        clusters=clusters,
        cluster=pd.Index(clusters).get_indexer(pd.Index(names)).astype(np.int64),
        tiers=tuple(frame["tier"]),
        stores=stores,
        capacity=frame["capacity"].to_numpy(dtype=float),
        space=space,
        margin=margin,
        core=core,
        must=must,
        banned=banned | (~forecast & ~must & ~core),
        slow=slow,
        units=units,
        pairs=pairs,
        transfer=transfer,
        listed_today=_by_planogram(data, data.today).astype(np.int64),
        ranges_today=data.today,
        store_planogram=data.planogram,
        centres=_centres(inputs.centres, data, len(frame)),
        order_units=order_units,
        at_stake=None if data.at_stake is None else _by_planogram(data, data.at_stake),
        limits=_limits(rules, products, names),
    )


def _by_planogram(data: CategoryData, values: npt.NDArray[Any]) -> Floats:
    """Sum over the stores of each planogram, missing as nothing."""
    total = np.zeros((int(data.planogram.max()) + 1, values.shape[1]))
    np.add.at(total, data.planogram, np.nan_to_num(values.astype(float)))
    return total


def _marked(
    rules: RangeRules, rule: str, skus: npt.NDArray[np.str_], names: npt.NDArray[np.object_]
) -> Bools:
    named = {name: sorted(skus_of(getattr(rules, rule), name)) for name in set(names)}
    return np.array([np.isin(skus, named[name]) for name in names])


def _transfers(data: CategoryData, n_planograms: int) -> tuple[Ints, Floats]:
    """Pairs with substitution, and the money each would move in each planogram."""
    if not data.substitution.nnz:
        return empty_transfer()
    pairs = data.substitution.tocoo()
    left, right = np.asarray(pairs.coords[0], dtype=np.int64), np.asarray(pairs.coords[1], dtype=np.int64)
    moved = np.nan_to_num(data.units)[:, left] * data.unit_margin[:, right] * pairs.data
    total = np.zeros((n_planograms, left.size))
    np.add.at(total, data.planogram, moved)
    return np.column_stack([left, right]), total


def _centres(centres: pd.DataFrame | None, data: CategoryData, n_planograms: int) -> Bools | None:
    if centres is None:
        return None
    mine = centres[centres["store_id"].isin(set(data.store_ids))]
    missing = sorted(set(data.store_ids) - set(mine["store_id"]))
    if missing:
        raise TableError(
            f"centres: {len(missing)} stores have no centre ({', '.join(map(str, missing[:3]))}). "
            "Give each at least one."
        )
    planogram = dict(zip(data.store_ids, data.planogram))
    names = sorted(mine["centre"].unique())
    served = np.zeros((len(names), n_planograms), dtype=bool)
    served[
        pd.Index(names).get_indexer(pd.Index(mine["centre"])), mine["store_id"].map(planogram).to_numpy()
    ] = True
    return served


def _limits(rules: RangeRules, products: pd.DataFrame, names: npt.NDArray[np.object_]) -> tuple[Limit, ...]:
    limits = []
    for limit in rules.limits:
        if limit.column == "price_tier" and "price_tier" not in products:
            place = products["price"].rank(method="first", pct=True)
            kind = pd.cut(place, [0, 1 / 3, 2 / 3, 1], labels=["low", "middle", "high"]).astype(object)
        else:
            kind = products[limit.column].astype(object)
        where = (
            np.ones(names.size, dtype=bool) if limit.store_cluster is None else names == limit.store_cluster
        )
        members = (kind == limit.value).to_numpy(dtype=bool)
        # A kind that the category doesn't have is another category's business.
        if members.any():
            limits.append(Limit(members, where, limit.least, limit.most, limit.words))
    return tuple(limits)


def _check_substitutes(substitutes: pd.DataFrame) -> None:
    _require("substitutes", substitutes, ["sku", "substitute", "share"], ["sku", "substitute"])
    share = substitutes["share"]
    total = share.groupby(substitutes["sku"]).sum()
    if (
        not share.between(0, 1).all()
        or (total > 1 + 1e-9).any()
        or (substitutes["sku"] == substitutes["substitute"]).any()
    ):
        worst = ", ".join(map(str, total.sort_values(ascending=False).index[:3]))
        raise TableError(
            f"substitutes: shares must be between 0 and 1, add up to at most 1 for a SKU, and not lead back to it "
            f"(largest totals: {worst}). What is missing to 1 is lost."
        )


def _require(table: str, frame: pd.DataFrame, columns: list[str], key: list[str]) -> None:
    missing = [column for column in columns if column not in frame]
    if missing:
        raise TableError(
            f"{table}: no column {', '.join(missing)}. Its columns are {', '.join(map(str, frame.columns))}."
        )
    if key and (Pairs(frame).repeat() if key == ["store_id", "sku"] else frame.duplicated(key).any()):
        twice = frame.loc[frame.duplicated(key), key].head(3).to_numpy().tolist()
        raise TableError(
            f"{table}: {int(frame.duplicated(key).sum())} of {len(frame):,} rows repeat a {' and '.join(key)} "
            f"({twice}). Give one row each."
        )
    for column in columns:
        if (
            pd.api.types.is_numeric_dtype(frame[column])
            and np.isinf(frame[column].to_numpy(dtype=float)).any()
        ):
            raise TableError(
                f"{table}: column {column} holds infinite values. Replace them by NaN or a number."
            )


def _positive(products: pd.DataFrame, column: str) -> None:
    bad = products.loc[~(products[column] > 0), "sku"]
    if len(bad):
        cure = "set unit = 'count'" if column == "width_cm" else "leave case_periods out"
        raise TableError(
            f"products: {len(bad)} of {len(products):,} planned SKUs have no {column} above 0 ({_few(bad)}). "
            f"Fill the column, or {cure}."
        )


def _unknown(table: str, column: str, values: pd.Series, where: str) -> None:
    if len(values):
        raise TableError(
            f"{table}: {values.nunique()} values of {column} are not in {where} ({_few(values)}). "
            "Add them there, or take them out here."
        )


def _few(values: pd.Series) -> str:
    shown = ", ".join(map(str, sorted(values.astype(str).unique())[:3]))
    return shown + (", …" if values.nunique() > 3 else "")
