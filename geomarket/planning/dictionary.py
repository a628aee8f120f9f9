"""What every column of every published table means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import geopandas as gpd
import pandas as pd

from geomarket.planning.dictionary_people import COLUMNS_OF_PEOPLE, MEANINGS_OF_PEOPLE
from geomarket.planning.dictionary_reach import COLUMNS_OF, MEANINGS

__all__ = ["TABLE_MEANINGS", "table_dictionary"]

TABLE_MEANINGS = {
    "hexes": "One row per hexagon: place, census figures, neighbourhood type, trade. GeoParquet.",
    "neighbourhoods": "One row per neighbourhood type: name, portrait, size.",
    "portraits": "One row per neighbourhood type and census variable: mean and index.",
    "stores": "One row per own store: place, store cluster, trade, number of changes.",
    "demand": "One row per store and product: what it sells, or would sell if listed.",
    "demand_holdout": "One row per category and forecast: errors on pairs that were held out.",
    "assortment": "One row per store cluster, planogram and product: what to list.",
    "changes": "One row per store and product: list, delist or keep.",
    "range_spaces": "One row per store cluster, category and planogram size: space, and margin by the same forecasts.",
    "range_phases": "One row per phase of the changes: how many, in how many stores.",
    "gain_over_today": "What planning brings on periods it was not made on: today's ranges, and after each step.",
    "gain_by_category": "The same by category, after all phases.",
    "gain_by_store": "The same by store: margin a year on the judging periods.",
    "decisions": "One row per decision of a planner about an earlier plan: what became of it.",
    "frontier": "One row per number of store clusters: gain promised, kept and net of costs.",
    "frontier_categories": "One row per category: how local to go in it alone.",
    "quarantine": "Rows of the input that could not be used, up to a cap per reason.",
    "data_quality": "One row per finding of the checks on the input.",
    "conservation": "One row per layer and variable: totals before and after the way to hexagons.",
    "area_layers": "One row per layer of areas: vintage, source, and how much of the grid it covers.",
    "neighbourhood_migration": "One row per earlier and present supergroup: who lives where one became the other.",
    "neighbourhood_drift": "One row per census variable: how far it drifted since the earlier plan.",
    "neighbourhood_corrections": "One row per type renamed or hexagon moved to another type by hand.",
    "store_clusters": "One row per store cluster and feature: what sets it apart.",
    "store_cluster_members": "One row per store: its store cluster, and why where it was moved there.",
    "store_cluster_evidence": "One row per number of store clusters tried: how stable it is, and if it was weighed.",
    "store_cluster_moves": "One row per store: its cluster when frozen, and if the clusters are made anew.",
    "catchments": "One row per store and hexagon of its core trade area.",
    "catchment_profile": "One row per store and neighbourhood type: where its trade comes from.",
    "catchment_model": "One row per catchment model: fit on trade it had and had not seen.",
    "customers_by_neighbourhood": "One row per neighbourhood type: customers, penetration, value.",
    "customers_by_cell": "One row per hexagon: customers, where enough to show.",
    "promotions": "One row per planned promotion: where, when, what it nets.",
    "promotion_response": "One row per store cluster, category and term of the promotion model.",
    "promotion_effects": "One row per category on offer, category that moves, and kind: effects on other categories.",
    "promotion_cannibalisation": "One row per category: share of extra units its other products lose.",
    "promotion_holdout": "One row per category and model: errors on offers held out of the fit.",
    "promotion_by_type": "One row per term and neighbourhood type: response by whom stores serve.",
    "test_design": "One row per store: its part in the test of the plan.",
    "test_pairs": "One row per pair of the test.",
    "test_power": "One row per length and size of a test: what it would see.",
    "test_check": "One row per past stretch in which nothing happened: how the arms differed.",
    "test_balance": "One row per trait: how alike the arms are.",
    "test_sales": "One row per store and period: sales before the test, which it is compared with.",
    "test_products": "One row per product whose sales the test measures.",
    "dictionary": "This table: what every column means.",
    **MEANINGS,
    **MEANINGS_OF_PEOPLE,
}

_TRADE_YEAR = "a year, in the catchment model's unit (customers or money)"
# meaning of a column wherever it stands, unless the table says otherwise below
_COLUMNS = {
    "area_id": "Id of the area, as in your layer.",
    "base": "Residents (or households) the average rests on.",
    "baseline_units": "Units expected without the promotion.",
    "bias": "Sum of forecasts over sum of sales, less 1.",
    "block": "Kind of feature: catchment, mix, size …",
    "cannibalised": "Margin lost on products that sell less.",
    "catchment_demand": f"Trade the catchment model expects {_TRADE_YEAR}.",
    "category": "Category, as in your table of products.",
    "cell": "H3 index of the hexagon, as a hexadecimal text.",
    "cells": "Hexagons.",
    "chain": "Chain, as in your table.",
    "channel": "How shoppers hear of the promotion.",
    "check": "What was looked for.",
    "chosen": "Whether it was chosen.",
    "cluster_name": "What sets the store cluster apart, in words.",
    "code": "Code of the type: B2 is the second group of supergroup B.",
    "column": "Column of the table.",
    "contact_cost": "Cost of telling shoppers.",
    "cost": "What counts against the budget.",
    "coverage": "Share of the hexagon that the first layer covers.",
    "customers": "Customers; missing where fewer than the privacy threshold.",
    "customer_share": "Share of all customers.",
    "delist": "Products to be delisted.",
    "demand": f"Trade expected {_TRADE_YEAR}.",
    "depth": "Price cut as a share of the regular price.",
    "dip": "Margin lost later, to shoppers who stocked up.",
    "distance": "Distance to the centre of its supergroup, in the classification's space.",
    "estimate": "Estimate.",
    "exposure": "Periods the product was listed in the store.",
    "facings": "Facings in each store.",
    "family": "Which forecast was used.",
    "feature": "Name of the feature.",
    "format": "Format, as in your table of stores.",
    "funding": "Paid by the supplier.",
    "geometry": "Outline of the hexagon (WGS 84).",
    "group": "Code of the neighbourhood group.",
    "group_uncertainty": "Distance to its group over that to the next: 1 is undecided.",
    "halo": "Margin gained on products that sell along.",
    "heavy": "Heavy customers; missing where fewer than the privacy threshold.",
    "heavy_share": "Share of its customers who are heavy customers.",
    "high": "High end of the interval.",
    "incremental_margin": "Margin of the extra units, at the reduced price.",
    "index": "Index: 100 is the average of the market (of store clusters: of the chain).",
    "index_high": "High end of the index's interval.",
    "index_low": "Low end of the index's interval.",
    "label": "In words.",
    "lat": "Latitude, WGS 84.",
    "layer": "Layer of areas.",
    "level": "supergroup, group or subgroup.",
    "lift": "Share of the category's units here over its share in the chain.",
    "listed": "Whether the store lists the product today.",
    "lon": "Longitude, WGS 84.",
    "low": "Low end of the interval.",
    "margin": "Expected margin a period.",
    "market": f"Trade of all stores with the hexagon's residents {_TRADE_YEAR}.",
    "mean": "Average over the residents of the type (shares as 0 to 1).",
    "mechanic": "How the promotion is offered.",
    "medoid": "Whether the store is nearest to the middle of its store cluster.",
    "message": "The finding in words.",
    "n": "Rows the estimate rests on.",
    "n_areas": "Hexagons the average rests on.",
    "n_clusters": "Number of store clusters; 1 is one range for all.",
    "n_delist": "Products to be delisted.",
    "n_keep": "Products that stay.",
    "n_list": "Products to be listed.",
    "n_missing": "Census variables that the hexagon lacks.",
    "name": "Name.",
    "nearest_own_km": "Distance to the nearest own store in km.",
    "neighbourhood": "Code of the neighbourhood type, the finest level; missing where nobody lives.",
    "net": "Everything added up.",
    "net_high": "The same at the high end.",
    "net_low": "The same at the low end.",
    "of_rows": "Rows of the table.",
    "overall": "Average over all residents.",
    "own_distance": "Distance to the centre of its finest type.",
    "own_share": "Share of the trade that goes to own stores, by the catchment model.",
    "pairs": "Pairs of store and product it rests on.",
    "parent": "Code of the type it is part of.",
    "penetration": "Customers over residents; missing where too few to show.",
    "period": "First day of the week or month.",
    "population": "Residents.",
    "population_share": "Share of all residents.",
    "portrait": "Who lives there, in words.",
    "protected": "Whether it is a protected trait: never used for targeting.",
    "raw": "Estimate before it was shrunk.",
    "raw_se": "Its standard error.",
    "reason": "Reason in words.",
    "reliable": "Whether enough areas and residents stand behind it to be told.",
    "revenue": "Revenue, in money.",
    "revenue_year": "Revenue a year, from the sales table.",
    "row": "Row of the input, as counted by the reader (0 is the first).",
    "rows": "Rows.",
    "sample": "in: the data the model was fitted on; out: data it had not seen.",
    "se": "Standard error.",
    "second": "Code of the next nearest supergroup.",
    "second_distance": "Distance to the centre of the next nearest supergroup.",
    "share": "Share, 0 to 1.",
    "size_m2": "Sales area in square metres.",
    "sku": "Id of the product, as in your table.",
    "status": "State in words.",
    "store_cluster": "Store cluster: stores with one range. An order, not a grade.",
    "store_id": "Id of the store, as in your table.",
    "stores": "Stores.",
    "stores_planned": "Stores that are to list it.",
    "stores_today": "Stores that list it today.",
    "strength": "Difference to the average, in spreads between areas.",
    "parent_strength": "Difference to the type it is part of, in spreads between areas.",
    "subsidised": "The price cut on units that would have sold anyway.",
    "supergroup": "Code of the supergroup.",
    "suppressed": "Whether figures are hidden for privacy.",
    "table": "Table.",
    "term": "Term of the model.",
    "tier": "Planogram: all, or the sizes S, M, L that have it.",
    "transferable_share": "Share of its units that would move to other products if it went.",
    "uncertainty": "Distance to its supergroup over that to the next: 0 is clear, 1 undecided.",
    "unit": "Unit.",
    "units": "Expected units a period.",
    "units_transferred": "Part of the units that comes from products it replaces.",
    "uplift_units": "Units expected on top of the baseline.",
    "value": "Value.",
    "variable": "Name of the census variable.",
    "whitespace": f"Trade that goes to others {_TRADE_YEAR}.",
    "width_cm": "Width of a facing in cm.",
    "wmape": "Weighted absolute error: sum of errors over sum of true figures.",
}
_IN_TABLE = {
    "hexes": {
        "name": "Name of the neighbourhood type.",
        "status": "complete, partial data, unpopulated, too little data, or set by hand.",
    },
    "demand": {
        "low": "Low end of the 90% interval of the units.",
        "high": "High end of the 90% interval of the units.",
        "margin": "Expected margin a period in this store while listed.",
        "units": "Expected units a period in this store while listed.",
    },
    "demand_holdout": {
        "family": "Forecast; chosen: the best of each category.",
        "poisson_deviance": "Mean Poisson deviance.",
        "spearman_within_sku": "Rank correlation over stores, within each product.",
    },
    "assortment": {
        "status": "list: new here; keep: listed today by most of the stores; delist: to go.",
        "scope": "national: in every cluster with space for it; local: not.",
        "stores": "Stores of the cluster with space for the category.",
        "rank": "Place in the cluster by margin per space; 1 is best.",
        "units": "Expected units a period, all planned stores together.",
        "margin": "Expected margin a period, all planned stores together.",
        "low": "Low ends of the stores' intervals of the units, added up.",
        "high": "High ends of the stores' intervals of the units, added up.",
        "margin_low": "Low ends of the stores' intervals of the margin, added up.",
        "margin_high": "High ends of the stores' intervals of the margin, added up.",
    },
    "changes": {
        "action": "list, delist or keep, against what the store lists today.",
        "when": "Phase of the change; waits: not before a trial proves that it pays; stays: nothing changes.",
    },
    "range_spaces": {
        "stores": "Stores that use the planogram.",
        "capacity": "Space of the planogram.",
        "used": "Space the planned range takes.",
        "unit": "What space is counted in: SKUs or centimetres.",
        "today_low": "Least space of its stores today.",
        "today_high": "Most space of its stores today.",
        "margin_today": "Expected margin a period of today's ranges, by the forecasts planned by.",
        "margin": "Expected margin a period of the planned ranges, by the forecasts planned by: flattering.",
    },
    "range_phases": {
        "phase": "today; phase 1, 2 …; waits.",
        "stores": "Stores that change something.",
        "listings": "Listings, all stores together.",
        "delistings": "Delistings, all stores together.",
        "listings_median": "Listings in the median store.",
        "listings_max": "Listings in the store with most.",
        "delistings_median": "Delistings in the median store.",
        "delistings_max": "Delistings in the store with most.",
        "margin": "Margin a period once the phase is done, by the forecasts planned by: flattering.",
    },
    "gain_over_today": {
        "ranges": "today; after the first phase; after all phases; the whole plan with what waits.",
        "margin": "Margin a year on the judging periods.",
        "gain": "Margin a year over today's ranges, valued the same way.",
        "low": "Low end of its 90% interval.",
        "high": "High end of its 90% interval.",
        "gain_share": "Gain over today's margin.",
        "low_share": "Low end over today's margin.",
        "high_share": "High end over today's margin.",
        "claimed": "Gain by the forecasts the ranges were chosen by: in sample, flattering.",
        "claimed_share": "The same over today's margin.",
        "listed": "What new listings earn, by forecasts of products their stores do not carry.",
        "delisted": "What the delisted products earned.",
        "changes": "Listings and delistings.",
    },
    "gain_by_category": {
        "today": "Margin a year of today's ranges on the judging periods.",
        "gain": "Margin a year over today's ranges, after all phases.",
        "low": "Low end of its 90% interval.",
        "high": "High end of its 90% interval.",
        "gain_share": "Gain over today's margin.",
        "low_share": "Low end over today's margin.",
        "high_share": "High end over today's margin.",
    },
    "gain_by_store": {
        "today": "Margin a year of today's ranges on the judging periods.",
        "first phase": "The same after the first phase of changes.",
        "all phases": "The same after all phases.",
        "whole plan": "The same with what waits.",
    },
    "decisions": {
        "store_cluster": "Store cluster as it was called when decided.",
        "cluster_now": "The same cluster in this plan; missing where it is gone.",
        "rule": "must_list or must_not.",
        "reason": "As the planner gave it.",
        "applied": "Whether it is in force.",
        "remark": "Why it is not in force, or what changed.",
        "outcome": "What became of it.",
    },
    "frontier_categories": {
        "kind": "national, cluster or store.",
        "gain_holdout": "Gain a year on periods the plan had not seen.",
        "low": "Low end of its interval.",
        "high": "High end of its interval.",
        "cost": "Share of the cost of more ranges.",
        "net": "Gain less cost.",
        "national_margin": "Margin a year with one range for all.",
    },
    "data_quality": {"action": "What was done with the rows."},
    "quarantine": {"value": "What the column held."},
    "frontier": {
        "gain_in_sample": "Gain a year on the data the plan was made on. Flatters.",
        "gain_choice": "Gain a year on the periods the number of clusters was chosen on.",
        "gain_holdout": "Gain a year on periods the plan had not seen.",
        "low": "Low end of the interval of the gain kept.",
        "high": "High end of the interval of the gain kept.",
        "cost": "Cost a year of more ranges.",
        "net": "Gain kept less cost, a year.",
        "net_choice": "Gain less cost on the periods the number of clusters was chosen on.",
        "net_choice_low": "Its low end.",
        "picked": "Whether it was picked on the choosing periods alone.",
        "distinct_skus": "Products listed in any cluster.",
        "trade_held": "Share of the new periods' actual margin that lies in products the ranges keep.",
    },
    "conservation": {
        "part": "Count, numerator or denominator.",
        "source_total": "Total over the areas.",
        "hex_total": "Total over the hexagons.",
        "uncovered": "Part of the total that lies in no hexagon.",
        "relative_error": "Difference of the totals over the total.",
        "conserved": "Whether they agree to rounding.",
        "missing_areas": "Areas without the figure.",
    },
    "store_clusters": {
        "value": "Mean over the cluster's stores.",
        "chain": "Mean over all stores.",
        "index": "100 × the cluster's mean over the chain's.",
    },
    "store_cluster_members": {
        "name": "Name of the store cluster: what sets it apart.",
        "flagged": "Whether the store is alone in its cluster.",
        "reason": "Why it is where its features would not put it; empty for most.",
    },
    "store_cluster_evidence": {
        "explained": "Share of the differences between stores that lies between the clusters.",
        "silhouette": "Mean silhouette: 1 far apart, 0 no border.",
        "bootstrap_ari": "Mean adjusted Rand index with clusterings of resampled stores: 1 is the same again.",
        "ari_low": "Its 10% quantile.",
        "smallest": "Stores in the smallest cluster.",
        "chosen": "Whether the plan has this many.",
        "offered": "Whether it came back well enough to be weighed by the frontier.",
    },
    "store_cluster_moves": {
        "before": "Store cluster in the frozen clustering; empty for a new store.",
        "after": "Store cluster made anew; empty for a store no longer planned.",
        "after_matched": "The same, by the code of the frozen cluster it continues.",
        "change": "stayed, moved, opened or closed.",
    },
    "catchments": {
        "share": "Share of the store's trade that comes from the hexagon.",
        "cumulative": "Share of the store's trade from this hexagon and all stronger ones.",
        "band": "Smallest of 0.5, 0.7 and 0.9 that the cumulative share lies in.",
    },
    "catchment_profile": {"share": "Share of the store's trade that comes from the type."},
    "catchment_model": {
        "model": "Name of the model.",
        "test": "What it was tested on.",
        "trips": "Trips it was tested on.",
        "stores": "Stores it was tested on.",
        "without_demand": "Stores for which the model expects nothing.",
        "pseudo_r2": "1 less the ratio of log-likelihoods to that of the uniform model.",
        "r2_log": "R² of the logarithms.",
        "r2_pattern": "R² of the shares.",
        "mape": "Mean absolute error in per cent of the true figure, as a share.",
        "median_ape": "Median absolute error in per cent of the true figure, as a share.",
        "spearman": "Rank correlation.",
    },
    "customers_by_neighbourhood": {
        "low": "Low end of the penetration's interval.",
        "high": "High end of the penetration's interval.",
        "margin": "Margin of its customers.",
        "revenue": "Revenue of its customers.",
    },
    "customers_by_cell": {"margin": "Margin of its customers.", "revenue": "Revenue of its customers."},
    "promotions": {
        "stores": "Stores that run it.",
        "chance": "Chance that it nets more than nothing, as far as the response is known.",
        "promised": "Whether it is planned only because its vendor was promised it.",
        "offer_price": "Price on offer; empty where the mechanic has no one price.",
    },
    "promotion_effects": {
        "category": "Category on offer.",
        "gains": "Category whose units change.",
        "kind": "units: per log change of the category on offer; mailer: with all its usual trade in the leaflet.",
        "estimate": "Log change of units, shrunk to the mean of all pairs.",
        "se": "Standard error of the estimate.",
        "low": "Low end of the 90% interval.",
        "high": "High end of the 90% interval.",
        "raw": "The pair's own estimate.",
        "raw_se": "Standard error of the pair's own estimate.",
        "p": "Chance of such an estimate where there is no effect.",
        "known": "Told apart from nothing, with at most 10% false finds over all pairs.",
    },
    "promotion_cannibalisation": {
        "share": "Share of an offer's extra units that other products of the category lose.",
        "se": "Standard error of the share.",
        "low": "Low end of the 90% interval.",
        "high": "High end of the 90% interval.",
        "raw": "The category's own estimate.",
        "raw_se": "Standard error of the category's own estimate.",
    },
    "promotion_holdout": {
        "category": "Category; all for the whole.",
        "model": "What the forecast takes an offer to do.",
        "rows": "Offers forecast.",
        "units": "Units they sold.",
        "wmape": "Sum of absolute errors over sum of units.",
        "poisson_deviance": "Mean Poisson deviance of an offer.",
        "bias": "Sum of forecasts over sum of units, less 1.",
    },
    "promotion_by_type": {
        "term": "price: log units per log price; display, mailer: log units.",
        "neighbourhood": "Code of the neighbourhood type.",
        "estimate": "Response of stores that serve only this type.",
        "se": "Standard error of the estimate.",
        "low": "Low end of the 90% interval.",
        "high": "High end of the 90% interval.",
        "stores": "Sum over stores of the type's share of their trade.",
    },
    "promotion_response": {
        "shrunk_from": "What the estimate was shrunk towards.",
        "between": "Spread of the true effects between groups.",
    },
    "test_design": {
        "arm": "test: changes first; control: waits; out: waits and is not compared.",
        "pair": "Number of its pair.",
        "level": "Mean a period of what is measured, before the test.",
        "near": "Arm of the stores that a store left out is near to.",
        "cell": "H3 index of its hexagon, as a hexadecimal text.",
    },
    "test_pairs": {
        "pair": "Number of the pair.",
        "test": "Id of the store that changes first.",
        "control": "Id of the store that waits.",
        "distance": "How unlike the two are, in spreads between stores.",
        "placebo_sd": "Spread of their difference on past stretches in which nothing happened (log scale).",
    },
    "test_power": {
        "periods": "Length of the test.",
        "pairs": "Pairs of stores.",
        "sd": "Spread of a pair's difference without an effect (log scale).",
        "mde": "Smallest change that is seen with the chance wanted, as a share.",
        "power_wanted": "Chance of seeing the smallest change that matters.",
        "power_expected": "Chance of seeing what the plan expects.",
        "pairs_needed": "Pairs needed to see the smallest change that matters.",
    },
    "test_check": {
        "start": "First period of the stretch.",
        "end": "Last period of the stretch.",
        "estimate": "Difference between the arms, as a share.",
        "low": "Low end of its interval.",
        "high": "High end of its interval.",
        "p": "Chance of such a difference where there is none.",
    },
    "test_balance": {
        "trait": "What the stores should be alike in.",
        "test": "Mean of the test stores, in spreads between stores.",
        "control": "Mean of the control stores, in spreads between stores.",
        "gap": "Difference of the two.",
    },
    "test_sales": {
        "period": "First day of the week or month.",
        "units": "Units of the products measured.",
        "revenue": "Their revenue.",
        "margin": "Their revenue less cost, where the cost is known.",
    },
    "test_products": {"cost": "Cost of a unit."},
    "dictionary": {
        "type": "Type of the column.",
        "meaning": "What it holds.",
        "table": "Table in the folder tables.",
    },
    "area_layers": {
        "vintage": "Year the figures are from.",
        "source": "Where they are from.",
        "areas": "Areas of the layer.",
        "variables": "Variables taken from it.",
        "uncovered": "Largest share of one of its totals that lies outside the grid and was not placed.",
        "cells": "Hexagons of the grid that it reaches.",
        "coverage": "Mean share of a hexagon's surface that it covers.",
    },
    "neighbourhood_migration": {
        "old": "Supergroup in the earlier plan.",
        "new": "Supergroup now.",
        "matched": "Whether new is what the old type became as a whole.",
        "areas": "Hexagons.",
        "share": "Share of the old type's residents.",
    },
    "neighbourhood_drift": {
        "psi": "Population stability index: below 0.1 is stable, above 0.25 strongly shifted.",
        "verdict": "The same in words.",
    },
    "neighbourhood_corrections": {
        "kind": "rename (of a type) or override (of a hexagon).",
        "target": "Code of the type, or H3 index of the hexagon.",
        "old": "Name, or code of the type, before.",
        "new": "Name, or code of the type, since.",
        "reason": "Why.",
        "author": "Who decided.",
    },
    **COLUMNS_OF,
    **COLUMNS_OF_PEOPLE,
}
_KINDS = {"count": "residents or households", "rate": "share, 0 to 1", "mean": "mean"}


def table_dictionary(tables: Mapping[str, pd.DataFrame], variables: Iterable[Any] = ()) -> pd.DataFrame:
    """Return what every column of the tables means.

    Parameters
    ----------
    tables : mapping of name to DataFrame
        As :func:`geomarket.plan_tables` returns them.
    variables : iterable of Variable
        Census variables, whose columns are called by their names; their labels and units are their meaning.

    Returns
    -------
    DataFrame
        table, column, type, meaning (empty where a column is not known here).

    Examples
    --------
    >>> frame = pd.DataFrame({"store_id": ["S1"], "units": [2.0]})
    >>> table_dictionary({"demand": frame})[["column", "meaning"]].iloc[0].tolist()
    ['store_id', 'Id of the store, as in your table.']
    """
    census = {variable.name: _census_meaning(variable) for variable in variables}
    rows = []
    for name in sorted(tables):
        own = _IN_TABLE.get(name, {})
        for column in tables[name].columns:
            known = census if name == "hexes" and column not in own else {}
            meaning = own.get(column) or known.get(column) or _COLUMNS.get(column) or _derived(column, own)
            rows.append((name, str(column), _type_name(tables[name], column), meaning))
    return pd.DataFrame(rows, columns=["table", "column", "type", "meaning"])


def _derived(column: str, own: Mapping[str, str]) -> str:
    """Return the meaning of a column that says another one as a share of the margin."""
    base = column.removesuffix("_share")
    if base == column:
        return ""
    meaning = own.get(base) or _COLUMNS.get(base, "")
    return f"{meaning.rstrip('.')}, as a share of the national margin." if meaning else ""


def _census_meaning(variable: Any) -> str:
    what = variable.unit if variable.unit not in ("", "share") else _KINDS.get(variable.kind, variable.kind)
    unit = f" ({what})" if what != variable.label else ""
    guard = " Protected trait: never used for targeting." if variable.protected else ""
    return f"{variable.label[:1].upper()}{variable.label[1:]}{unit}.{guard}"


def _type_name(frame: pd.DataFrame, column: str) -> str:
    kind = frame[column]
    if isinstance(frame, gpd.GeoDataFrame) and column == frame.geometry.name:
        return "geometry"
    if pd.api.types.is_bool_dtype(kind):
        return "true or false"
    if pd.api.types.is_integer_dtype(kind):
        return "whole number"
    if pd.api.types.is_float_dtype(kind):
        return "number"
    return "date" if pd.api.types.is_datetime64_any_dtype(kind) else "text"
