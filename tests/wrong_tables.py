"""Tables that are wrong in meaning rather than in form, and what must hold of a plan that is made of them all the same.

Shared by the tests, which try few, and by benchmarks/faults.py, which tries many and counts.
"""

from __future__ import annotations

import contextlib
import decimal
import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from geomarket.errors import GeomarketError
from geomarket.market import load_market, read_settings, stop_reasons
from geomarket.planning import Plan, plan_tables, run_plan

TABLES = ("stores", "products", "sales", "customers", "baskets", "competitors", "promotions")
IDS = ("store_id", "sku", "customer_id", "basket_id")
DAYS = ("period", "date", "joined")
FIGURES = ("lon", "lat", "size_m2", "price", "cost", "width_cm", "case_pack", "units", "revenue", "depth")
Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def _column(frame: pd.DataFrame, rng: np.random.Generator, names: tuple[str, ...]) -> str:
    found = [column for column in frame.columns if column in names]
    return str(rng.choice(found)) if found else ""


def _some(frame: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Choose rows: one, a few, a third, or all."""
    share = rng.choice([0.0, 0.03, 0.3, 1.0])
    return rng.choice(len(frame), max(1, int(share * len(frame))), replace=False)


def _with(frame: pd.DataFrame, rows: np.ndarray, column: str, values: object) -> pd.DataFrame:
    if not column:
        return frame
    changed = frame.copy()
    changed.iloc[rows, changed.columns.get_loc(column)] = values
    return changed


def _times(frame: pd.DataFrame, rows: np.ndarray, column: str, factor: float) -> pd.DataFrame:
    if not column:
        return frame
    figures = pd.to_numeric(frame[column].iloc[rows], errors="coerce") * factor
    return _with(frame, rows, column, figures.map(lambda x: "" if np.isnan(x) else f"{x:.10g}").to_numpy())


def duplicate_ids(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    again = frame.iloc[_some(frame, rng)]
    column = _column(frame, rng, FIGURES)
    return pd.concat([frame, _times(again, np.arange(len(again)), column, 1.5)], ignore_index=True)


def swapped_columns(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    one, other = rng.choice(frame.columns, 2, replace=False)
    return frame.rename(columns={one: other, other: one})


def negative(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return _times(frame, _some(frame, rng), _column(frame, rng, FIGURES), -1.0)


def wrong_unit(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    factor = float(rng.choice([10.0, 100.0, 1000.0, 0.1, 0.01, 0.001]))
    return _times(frame, _some(frame, rng), _column(frame, rng, FIGURES), factor)


def wrong_days(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    column, rows = _column(frame, rng, DAYS), _some(frame, rng)
    if not column:
        return frame
    days = frame[column].iloc[rows]
    how = rng.choice(["+1", "+30", "-30", "+7900", "swap", "time", "number"])
    if how == "swap":
        new = days.str.replace(r"(\d+)-(\d+)-(\d+)", r"\1-\3-\2", regex=True)
    elif how == "time":
        new = days + "T23:59:59Z"
    elif how == "number":
        new = days.str.replace("-", "")
    else:
        new = days.map(lambda day: f"{int(day[:4]) + int(how):04d}{day[4:]}" if day[:4].isdigit() else day)
    return _with(frame, rows, column, new.to_numpy())


def missing(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return _with(
        frame, _some(frame, rng), str(rng.choice(frame.columns)), rng.choice(["", " ", "NA", "NULL"])
    )


def extreme(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    values = ["1e308", "-1e308", "1e-308", "inf", "nan", "9" * 18, "9" * 40, "0", "-0.0"]
    return _with(frame, _some(frame, rng), _column(frame, rng, FIGURES), rng.choice(values))


def mixed_types(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    values = ["abc", "12 kg", "1,5", "True", "2024-01-01", "€ 3.50", "3.5e", "0x10", "½"]
    return _with(frame, _some(frame, rng), str(rng.choice(frame.columns)), rng.choice(values))


def unknown_keys(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    rows = _some(frame, rng)
    return _with(frame, rows, _column(frame, rng, IDS), [f"unknown {row}" for row in rows])


def respelt_keys(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    column, rows = _column(frame, rng, IDS), _some(frame, rng)
    if not column:
        return frame
    how = rng.choice(["{} ", " {}", "0{}", "{}.0", "lower"])
    ids = frame[column].iloc[rows]
    new = ids.str.lower() if how == "lower" else ids.map(lambda value: how.format(value))
    return _with(frame, rows, column, new.to_numpy())


def one_value(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    column = str(rng.choice(frame.columns))
    return frame.assign(**{column: frame[column].iloc[int(rng.integers(len(frame)))]})


def few_rows(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return frame.iloc[: int(rng.choice([0, 1, 2, 5, max(len(frame) // 2, 1)]))]


def two_faults(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    for kind in rng.choice(sorted(WRONG), 2, replace=False):
        if kind != "two faults" and len(frame):
            frame = WRONG[kind](frame, rng)
    return frame


WRONG: dict[str, Change] = {
    "duplicate ids": duplicate_ids,
    "swapped columns": swapped_columns,
    "negative figures": negative,
    "wrong units of measure": wrong_unit,
    "wrong days": wrong_days,
    "missing values": missing,
    "extreme figures": extreme,
    "mixed types": mixed_types,
    "unknown keys": unknown_keys,
    "keys spelt otherwise": respelt_keys,
    "one value in a whole column": one_value,
    "few rows or none": few_rows,
    "two of these": two_faults,
}
"""Kinds of wrong tables."""


def shuffled(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return frame.iloc[rng.permutation(len(frame))]


def columns_in_another_order(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return frame[[frame.columns[i] for i in rng.permutation(len(frame.columns))]]


HARMLESS: dict[str, Change] = {
    "rows in another order": shuffled,
    "columns in another order": columns_in_another_order,
}
"""Changes that mean nothing: the plan has to be the same."""


def changed_bytes(content: bytes, change: Change, seed: int) -> bytes:
    """Return a CSV file after a change."""
    frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    after = change(frame, np.random.default_rng(seed))
    return after.to_csv(index=False, lineterminator="\n").encode()


def planned(settings_file: Path) -> tuple[str, Plan | None]:
    """Return "planned" and the plan; or "refused" or "would stop" and None. Anything else is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            chosen = read_settings(settings_file)
            market = load_market(chosen)
            if stop_reasons(market, chosen):
                return "would stop", None
            return "planned", run_plan(market, chosen)
        except GeomarketError as error:
            assert str(error).strip(), "an error without words"
            return "refused", None


def wrong_in(plan: Plan, folder: Path) -> list[str]:
    """Recompute what must hold of any plan from its published tables and the files it was made of; say what doesn't."""
    tables = plan_tables(plan)
    return [
        *_wrong_ranges(plan, tables),
        *_wrong_figures(tables),
        *_wrong_places(plan, tables),
        *_wrong_offers(plan, tables),
        *_wrong_money(plan, folder / "sales.csv"),
        *_wrong_words(plan),
    ]


SIZES = ("all", "S", "M", "L", "none")
"""Tiers: from which size of planogram up a SKU is listed."""


def _wrong_ranges(plan: Plan, tables: dict[str, pd.DataFrame]) -> list[str]:
    found = []
    chosen, changes, spaces = tables["assortment"], tables["changes"], tables["range_spaces"]
    for table in (chosen, changes, tables["demand"]):
        if not set(table["sku"]) <= set(plan.market.products["sku"]):
            found.append("a SKU that is no product")
    for table in (changes, tables["demand"], tables["store_cluster_members"]):
        if not set(table["store_id"]) <= set(plan.market.stores["store_id"]):
            found.append("a store that is none of the stores")
    for space in spaces.itertuples():
        here = chosen[
            (chosen["store_cluster"] == space.store_cluster)
            & (chosen["category"] == space.category)
            & (chosen["tier"].map(SIZES.index) <= SIZES.index(space.tier))
            & chosen["status"].isin(["list", "keep"])
        ]
        width = here["facings"] if space.unit == "count" else here["facings"] * here["width_cm"]
        if abs(width.sum() - space.used) > 1e-6 * max(1.0, space.used) or space.used > space.capacity * (
            1 + 1e-9
        ):
            found.append(
                f"{space.store_cluster} {space.category}: {width.sum()} in a space of {space.capacity}"
            )
    # What sold in the last period is on the shelf today, and what never sold is not.
    today = set(
        changes.loc[changes["action"].isin(["keep", "delist"]), ["store_id", "sku"]].itertuples(
            index=False, name=None
        )
    )
    sold = plan.market.sales.select("store_id", "sku", "period").to_pandas()
    sold = sold[sold["store_id"].isin(changes["store_id"]) & sold["sku"].isin(chosen["sku"])]
    last = sold[sold["period"] == sold["period"].max()]
    ever, lately = (set(zip(some["store_id"], some["sku"])) for some in (sold, last))
    if not lately <= today <= ever:
        found.append("changes don't start from today's ranges")
    if changes.duplicated(["store_id", "sku"]).any():
        found.append("two orders for one SKU in one store")
    return found


def _wrong_figures(tables: dict[str, pd.DataFrame]) -> list[str]:
    found = []
    for name, table in tables.items():
        numbers = table.select_dtypes("number")
        # wide open intervals are said to be open
        bounds = [c for c in numbers.columns if c.endswith(("low", "high"))]
        if np.isinf(numbers.drop(columns=bounds).to_numpy(float)).any():
            found.append(f"infinite figures in {name}")
    demand = tables["demand"]
    if not (demand["units"] >= 0).all() or not (demand["low"] <= demand["units"] * (1 + 1e-9) + 1e-9).all():
        found.append("forecasts below zero, missing, or outside their interval")
    if not tables["assortment"]["margin"].notna().all():
        found.append("a range with margins missing")
    return found


def _wrong_places(plan: Plan, tables: dict[str, pd.DataFrame]) -> list[str]:
    found = []
    types = tables["neighbourhoods"]
    if not np.allclose(types.groupby("level")["population_share"].sum(), 1.0):
        found.append("shares of neighbourhoods don't add up to one")
    if not tables["conservation"]["conserved"].all():
        found.append("people lost between areas and hexagons")
    if plan.catchments is not None:
        share = plan.catchments.table.groupby("cell")["probability"].sum()
        if (share > 1 + 1e-9).any() or (plan.catchments.table["probability"] < 0).any():
            found.append("probabilities of a hexagon above one")
    if plan.customers is not None and plan.market.customers is not None:
        counted = plan.customers.table["customers"].sum()
        if counted > len(plan.market.customers):
            found.append("more customers counted than there are")
    chosen = tables["frontier"]["chosen"]
    if chosen.sum() != 1:
        found.append(f"{chosen.sum()} numbers of store clusters chosen")
    elif int(tables["frontier"].loc[chosen, "n_clusters"].iloc[0]) != plan.store_clusters.labels.nunique():
        found.append("the verdict names another number of store clusters than the plan has")
    return found


def _wrong_offers(plan: Plan, tables: dict[str, pd.DataFrame]) -> list[str]:
    if plan.promotions is None:
        return []
    offers = tables["promotions"]
    found = []
    if offers["cost"].sum() > plan.settings.promotions.budget * (1 + 1e-9) + 1e-6:
        found.append("offers over budget")
    if not offers["depth"].between(0, 1, inclusive="left").all():
        found.append("an offer that costs more than the price")
    changes = tables["changes"]
    first = changes["when"] == "phase 1"  # offers are planned for the shelf as the first phase leaves it
    there = changes[(changes["action"] == "keep") | ((changes["action"] == "list") == first)]
    if not set(zip(offers["store_cluster"], offers["sku"])) <= set(zip(there["store_cluster"], there["sku"])):
        found.append("an offer of what is not on the shelf")
    return found


def _wrong_money(plan: Plan, path: Path) -> list[str]:
    """Units and revenue of the file, less the rows set aside, are those of the market; added here to the cent."""
    market = plan.market
    raw = pd.read_csv(path, dtype=str, keep_default_na=False, sep=None, engine="python")
    aside = market.quarantine[market.quarantine["table"] == "sales"]
    said = market.quality[market.quality["table"] == "sales"]
    if len(aside) and aside["row"].isna().any():
        return []
    rows = aside["row"].dropna().astype(int).unique() - 1
    gone = int(said.loc[said["action"] == "set aside", "rows"].sum())
    left_out = int(said.loc[said["action"] == "left out", "rows"].sum())
    if len(rows) != gone or left_out:  # not all of them are listed
        return []
    kept = raw[~np.isin(np.arange(len(raw)), rows)]
    found = []
    for column in ("units", "revenue"):
        with contextlib.suppress(decimal.InvalidOperation):
            total = sum((decimal.Decimal(value.strip()) for value in kept[column]), decimal.Decimal(0))
            here = float(market.sales[column].sum().execute())
            if abs(float(total) - here) > 1e-6 * max(1.0, abs(here)):
                found.append(f"sales: {column} of {total} in the file, {here} in the market")
    return found


def _wrong_words(plan: Plan) -> list[str]:
    lines = [line for line in (*plan.summary(), *plan.warnings) if re.search(r"\b(nan|inf|NaT)\b", line)]
    return [f"a figure without a value is told: {line[:200]}" for line in lines]
