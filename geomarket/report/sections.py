"""The parts of the page, as plain values for the template. Nothing is estimated here: figures are looked up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from geomarket.report.charts import IndexBar, frontier_chart, index_bars, interval_chart, share_bar
from geomarket.report.map import NeighbourhoodKey, trade_by_type
from geomarket.report.numbers import count, money, money_short, money_tick, percent, plural, signed
from geomarket.report.tables import Cell, Column, Table, frame_table

__all__ = [
    "cluster_sections",
    "frontier_section",
    "kpi_tiles",
    "monday_section",
    "neighbourhood_cards",
    "quality_section",
    "trust_section",
    "verdict_section",
]

_TOP_BARS = 6
_TOP_PROMOTIONS = 12
_WORKBOOK = "in the workbook"


def verdict_section(plan: Any) -> dict[str, Any]:
    """Return the verdict's sentence, its money and its doubt."""
    verdict, currency = plan.frontier.verdict, plan.market.currency
    row = chosen_row(plan)
    result: dict[str, Any] = {"sentence": str(verdict.sentence), "kind": str(verdict.kind)}
    if (
        row is not None
        and np.isfinite([row["net"], row["net_low"], row["net_high"]]).all()
        and row["n_clusters"] > 1
    ):
        words = [money_short(row[name], currency) for name in ("net", "net_low", "net_high")]
        result["doubt"] = (
            f"{signed(words[0])} a year after its costs; the interval runs from {words[1]} to {words[2]}."
        )
        result["chart"] = interval_chart(
            row["net"],
            row["net_low"],
            row["net_high"],
            f"Net gain a year {words[0]}, from {words[1]} to {words[2]}",
            lambda value: money_tick(value, currency),
        )
    return result


def chosen_row(plan: Any) -> pd.Series | None:
    """Return the frontier's line of the recommended number of clusters."""
    table = plan.frontier.table
    chosen = table[table["chosen"].astype(bool)]
    return None if chosen.empty else chosen.iloc[0]


def kpi_tiles(plan: Any) -> list[dict[str, str]]:
    """Return the six figures a director asks for first."""
    currency = plan.market.currency
    clusters = plan.store_clusters.table
    actions = plan.ranges.changes["action"].value_counts()
    listed, delisted = int(actions.get("list", 0)), int(actions.get("delist", 0))
    n_stores = max(1, clusters["store_id"].nunique())
    tiles = []
    row = chosen_row(plan)
    if row is not None:
        doubt = f"{money_short(row['net_low'], currency)} to {money_short(row['net_high'], currency)}"
        national = int(row["n_clusters"]) <= 1
        tiles.append(
            {
                "value": "None" if national else signed(money_short(row["net"], currency)),
                "label": "net gain of going local, a year",
                "note": "one range for all stores is the advice" if national else doubt,
            }
        )
    n_clusters = clusters["store_cluster"].nunique()
    tiles.append(
        {
            "value": f"{n_clusters}",
            "label": plural(n_clusters, "store cluster").split(" ", 1)[1],
            "note": plural(n_stores, "store"),
        }
    )
    tiles.append(
        {
            "value": f"{listed + delisted:,}",
            "label": "changes to make",
            "note": f"{listed / n_stores:.1f} to list and {delisted / n_stores:.1f} to delist a store",
        }
    )
    types = plan.neighbourhoods.table["supergroup"].nunique()
    people = float(plan.hexes.table["population"].sum()) if "population" in plan.hexes.table else float("nan")
    tiles.append(
        {"value": f"{types}", "label": "neighbourhood types", "note": f"{count(people)} residents mapped"}
    )
    if plan.promotions is not None:
        net = plan.promotions.table["net"].sum()
        tiles.append(
            {
                "value": signed(money_short(net, currency)),
                "label": "planned promotions, net",
                "note": plural(len(plan.promotions.table), "promotion"),
            }
        )
    holdout = _chosen_holdout(plan)
    if holdout is not None:
        tiles.append(
            {
                "value": percent(holdout["wmape"]),
                "label": "forecast error, held out",
                "note": "weighted absolute error (WMAPE), listed pairs",
            }
        )
    return tiles


def _chosen_holdout(plan: Any) -> pd.Series | None:
    table = plan.demand.holdout
    if table.empty or "wmape" not in table:
        return None
    chosen = table[table["family"] == "chosen"]
    pool = chosen if len(chosen) else table
    whole = pool[pool["category"].astype("str").isin(["all", "total", ""])] if "category" in pool else pool
    return whole.iloc[0] if len(whole) else None


def neighbourhood_cards(plan: Any, key: NeighbourhoodKey) -> list[dict[str, Any]]:
    """Return one card per supergroup: portrait, size, strongest indices, penetration, groups."""
    types = plan.neighbourhoods.types.set_index("code")
    index = plan.neighbourhoods.index
    protected = {variable.name for variable in plan.hexes.variables if variable.protected}
    penetration = None if plan.customers is None else plan.customers.table.set_index("neighbourhood")
    cards = []
    for position, code in enumerate(key.codes):
        mine = index[(index["code"] == code) & ~index["variable"].isin(protected)]
        described = types.loc[code] if code in types.index else pd.Series(dtype=object)
        card = {
            "code": code,
            "position": position,
            "name": key.names[position],
            "swatch": swatch(key.colours[position]),
            "portrait": str(described.get("portrait", "") or ""),
            "share": percent(described.get("population_share")),
            "people": count(described.get("population")),
            "cells": count(described.get("cells")),
            "chart": index_bars(
                _strongest(mine),
                f"{key.label(code)}: index of its strongest traits, 100 is the average resident",
                top=260.0,
            ),
            "figures": frame_table(
                mine.sort_values("index", ascending=False),
                f"{key.label(code)}, all traits",
                {
                    "label": ("Trait", "text", None),
                    "mean": ("Here", "number", _figure),
                    "overall": ("Average", "number", _figure),
                    "index": ("Index", "number", count),
                },
            ),
            "groups": _groups(plan, key, code),
        }
        if penetration is not None and code in penetration.index:
            card["penetration"] = _penetration_words(penetration.loc[code])
        cards.append(card)
    return cards


def _figure(value: float) -> str:
    """Write a mean of which only the size tells whether it is a share."""
    return percent(value, 1) if abs(value) <= 1 else count(value, 0 if abs(value) >= 100 else 1)


def _strongest(index: pd.DataFrame) -> list[IndexBar]:
    """Return the traits farthest from average, highest index first."""
    known = index[np.isfinite(index["index"].astype(float))]
    far = (np.log(known["index"].clip(lower=1)) - np.log(100)).abs()
    top = known.assign(far=far).sort_values(["far", "variable"], ascending=[False, True]).head(_TOP_BARS)
    top = top.sort_values(["index", "variable"], ascending=[False, True])
    return [
        IndexBar(
            row["label"], float(row["index"]), float(row.get("low", np.nan)), float(row.get("high", np.nan))
        )
        for row in top.to_dict("records")
    ]


def _groups(plan: Any, key: NeighbourhoodKey, code: str) -> list[dict[str, str]]:
    types = plan.neighbourhoods.types
    children = types[types["parent"] == code].sort_values("code")
    return [
        {
            "code": str(row["code"]),
            "name": str(row["name"]),
            "share": percent(row["population_share"], 1),
            "swatch": swatch(key.colour(str(row["code"]))),
            "portrait": str(row["portrait"]),
        }
        for row in children.to_dict("records")
    ]


def _penetration_words(row: pd.Series) -> str:
    if not np.isfinite(row["index"]):
        return "Too few customers to say how many of its residents are customers."
    return (
        f"{percent(row['penetration'], 1)} of residents are customers: index {row['index']:.0f} "
        f"({row['index_low']:.0f} to {row['index_high']:.0f})."
    )


def swatch(colour: str) -> Markup:
    """Return a small square of a colour (a style attribute would need a laxer security policy)."""
    square = Markup('<rect width="12" height="12" rx="2" fill="{}"/>').format(colour)
    return Markup('<svg class="swatch" viewBox="0 0 12 12" aria-hidden="true">{}</svg>').format(square)


def cluster_sections(plan: Any, key: NeighbourhoodKey) -> list[dict[str, Any]]:
    """Return one section per store cluster: stores, profile, what to list and delist, promotions."""
    table = plan.store_clusters.table
    names = plan.market.stores.set_index("store_id")["name"].astype("str")
    trade = trade_by_type(plan)
    sections = []
    for cluster, members in sorted(
        table.groupby("store_cluster"), key=lambda item: natural_key(str(item[0]))
    ):
        medoid = members.loc[members["medoid"].astype(bool), "store_id"]
        lines = plan.ranges.table[plan.ranges.table["store_cluster"] == cluster]
        status = lines["status"].value_counts()
        sections.append(
            {
                "code": str(cluster),
                "name": str(members["name"].iloc[0]),
                "stores": plural(len(members), "store"),
                "typical": str(names.get(medoid.iloc[0], medoid.iloc[0])) if len(medoid) else "",
                "flagged": "; ".join(
                    sorted({str(r) for r in members.loc[members["flagged"].astype(bool), "reason"] if r})
                ),
                "is_flagged": bool(members["flagged"].any()),
                "counts": {action: int(status.get(action, 0)) for action in ("list", "delist", "keep")},
                "profile": _cluster_profile(plan, str(cluster)),
                "shares": _cluster_shares(trade, key, members["store_id"]),
                "to_list": _range_lines(plan, lines[lines["status"] == "list"], f"To list in {cluster}"),
                "to_delist": _range_lines(
                    plan, lines[lines["status"] == "delist"], f"To delist in {cluster}"
                ),
                "promotions": _cluster_promotions(plan, str(cluster)),
                "members": _members(plan, trade, key, members, names),
            }
        )
    return sections


def natural_key(code: str) -> tuple[int, str]:
    """Sort C2 before C10."""
    digits = "".join(sign for sign in code if sign.isdigit())
    return (int(digits) if digits else 0, code)


def _cluster_profile(plan: Any, cluster: str) -> Markup | None:
    profile = plan.store_clusters.profile
    mine = profile[(profile["store_cluster"] == cluster) & (profile["value"].abs() > 0)]
    if mine.empty:
        return None
    mine = mine.rename(columns={"feature": "variable"})
    if "block" in mine:
        # a trait of a handful of shoppers isn't what the cluster is known for
        shares = mine["block"].isin(["catchment", "mix"])
        mine = mine[~shares | (mine[["value", "chain"]].max(axis=1) >= 0.02)]
    title = f"{cluster}: index of its strongest traits, 100 is the chain's average"
    return index_bars(_strongest(mine), title, top=260.0)


def _cluster_shares(trade: pd.DataFrame, key: NeighbourhoodKey, stores: pd.Series) -> dict[str, Any] | None:
    """Where the cluster's trade comes from, by neighbourhood type."""
    demand = trade[trade["store_id"].isin(set(stores))].groupby("supergroup")["demand"].sum()
    total = demand.sum()
    if not total > 0:
        return None
    shares = [(code, float(demand.get(code, 0.0) / total)) for code in key.codes]
    return {
        "chart": share_bar(
            [(key.label(code), share, key.colour(code)) for code, share in shares],
            "Trade by neighbourhood type",
            width=340,
            height=16,
        ),
        "legend": [
            {"swatch": swatch(key.colour(code)), "label": key.label(code), "share": percent(share)}
            for code, share in shares
            if share >= 0.005
        ],
    }


def _range_lines(plan: Any, lines: pd.DataFrame, caption: str) -> Table:
    """Products with category and reason beneath, largest margin first."""
    currency = plan.market.currency
    period = getattr(plan.ranges, "period", plan.market.period)
    ordered = lines.sort_values(["margin", "sku"], ascending=[False, True])
    shown = ordered.head(max(1, _max_changes(plan) // 4))
    rows = [
        [
            Cell(str(line["name"]), note=f"{line['category']}: {line['reason']}"),
            Cell(count(line["units"], 0 if line["units"] >= 10 else 1), float(line["units"])),
            Cell(money(line["margin"], currency), float(line["margin"])),
        ]
        for line in shown.to_dict("records")
    ]
    heads = [
        Column("Product and reason", "main"),
        Column(f"Units a {period}", "number"),
        Column(f"Margin a {period}", "number"),
    ]
    left_out = len(ordered) - len(shown)
    return Table(caption, heads, rows, f"{left_out:,} more {_WORKBOOK}" if left_out else "")


def _max_changes(plan: Any) -> int:
    return int(plan.settings.report.max_changes)


def _cluster_promotions(plan: Any, cluster: str) -> Table | None:
    if plan.promotions is None:
        return None
    table = plan.promotions.table
    mine = table[table["store_cluster"] == cluster].sort_values(["period", "sku"])
    if mine.empty:
        return None
    currency = plan.market.currency
    return frame_table(
        mine,
        f"Promotions in {cluster}",
        {
            "period": ("From", "text", lambda day: f"{pd.Timestamp(day):%d %b %Y}"),
            "name": ("Product", "text", None),
            "depth": ("Price cut", "number", percent),
            "mechanic": ("Mechanic", "text", None),
            "channel": ("Channel", "text", None),
            "uplift_units": ("Extra units", "number", count),
            "net": ("Net", "number", lambda v: money(v, currency)),
            "reason": ("Why", "wide", None),
        },
        limit=_TOP_PROMOTIONS,
        more=_WORKBOOK,
    )


def _members(
    plan: Any, trade: pd.DataFrame, key: NeighbourhoodKey, members: pd.DataFrame, names: pd.Series
) -> Table:
    changes = plan.ranges.changes.groupby(["store_id", "action"]).size().unstack(fill_value=0)
    shares = trade.pivot(index="store_id", columns="supergroup", values="share").fillna(0.0)
    shares_of: dict[str, dict[str, float]] = shares.to_dict("index")
    heads = [Column("Store")]
    if len(shares):
        heads.append(Column("Trade by neighbourhood type", "chart"))
    heads += [Column("To list", "number"), Column("To delist", "number"), Column("Map", "chart")]
    rows = []
    for store in members.sort_values("store_id").to_dict("records"):
        store_id = str(store["store_id"])
        name = str(names.get(store_id, store_id))
        row = [Cell(f"{name} (typical)" if store["medoid"] else name)]
        if len(shares):
            mine = shares_of.get(store_id, {})
            drawn = [(key.label(code), mine.get(code, 0.0), key.colour(code)) for code in key.codes]
            row.append(Cell("", markup=share_bar(drawn, f"Trade of {name} by type")))
        for action in ("list", "delist"):
            number = int(changes[action].get(store_id, 0)) if action in changes else 0
            row.append(Cell(f"{number:,}", float(number)))
        button = Markup('<button type="button" class="link" data-show-store="{}">show</button>').format(
            store_id
        )
        row.append(Cell("", markup=button))
        rows.append(row)
    return Table("Stores of the cluster", heads, rows)


def frontier_section(plan: Any) -> dict[str, Any]:
    """Return gain against number of store clusters, as charts and as a table."""
    table, currency = plan.frontier.table.reset_index(drop=True), plan.market.currency
    chosen = np.flatnonzero(table["chosen"].astype(bool).to_numpy())
    labels = [str(int(n)) for n in table["n_clusters"]]
    series = {
        "promised (in sample)": table["gain_in_sample"].tolist(),
        "kept (held out)": table["gain_holdout"].tolist(),
        "net of costs": table["net"].tolist(),
    }
    title = (
        "Gain a year against the number of store clusters: promised, kept on held-out periods, net of costs"
    )

    def draw(width: int, height: int) -> Markup:
        return frontier_chart(
            labels,
            series,
            table["net_low"].tolist(),
            table["net_high"].tolist(),
            int(chosen[0]) if chosen.size else 0,
            title,
            lambda value: money_tick(value, currency),
            width=width,
            height=height,
        )

    def write(value: Any) -> str:
        return money_short(value, currency)

    return {
        "wide": draw(720, 340),
        "narrow": draw(360, 300),
        "series": list(series),
        "most": labels[-1],
        "table": frame_table(
            table.assign(advice=np.where(table["chosen"].astype(bool), "advised", "")),
            "Gain a year by number of store clusters",
            {
                "n_clusters": ("Clusters", "number", count),
                "label": ("Plan", "text", None),
                "gain_in_sample": ("Promised (in sample)", "number", write),
                "gain_holdout": ("Kept (held out)", "number", write),
                "cost": ("Cost", "number", write),
                "net": ("Net", "number", write),
                "net_low": ("Net, low", "number", write),
                "net_high": ("Net, high", "number", write),
                "advice": ("Advice", "text", None),
            },
        ),
    }


def monday_section(plan: Any) -> dict[str, Any]:
    """Return what each store has to change, and the changes worth most."""
    changes = plan.ranges.changes
    names = plan.market.stores.set_index("store_id")["name"].astype("str")
    made = changes[changes["action"] != "keep"]
    counted = changes.groupby(["store_id", "action"]).size().unstack(fill_value=0)
    counted = counted.reindex(columns=["list", "delist", "keep"], fill_value=0).reset_index()
    clusters = plan.store_clusters.table.set_index("store_id")["store_cluster"]
    counted["store"] = counted["store_id"].map(names).fillna(counted["store_id"])
    counted["store_cluster"] = counted["store_id"].map(clusters)
    counted["total"] = counted["list"] + counted["delist"]
    counted = counted.sort_values(["total", "store_id"], ascending=[False, True])
    lines = plan.ranges.table
    top = lines[lines["status"] == "list"].sort_values(
        ["margin", "store_cluster", "sku"], ascending=[False, True, True]
    )
    return {
        "count": plural(len(made), "change"),
        "stores": plural(made["store_id"].nunique(), "store"),
        "by_store": frame_table(
            counted,
            "Changes by store",
            {
                "store": ("Store", "text", None),
                "store_id": ("Id", "text", None),
                "store_cluster": ("Cluster", "text", None),
                "list": ("To list", "number", count),
                "delist": ("To delist", "number", count),
                "keep": ("Stay", "number", count),
            },
        ),
        "top": _top_listings(plan, top.head(min(12, _max_changes(plan)))),
    }


def _top_listings(plan: Any, lines: pd.DataFrame) -> Table:
    currency = plan.market.currency
    period = getattr(plan.ranges, "period", plan.market.period)
    rows = []
    for line in lines.to_dict("records"):
        stores = int(line.get("stores_planned", 0)) - int(line["stores_today"])
        rows.append(
            [
                Cell(str(line["name"]), note=str(line["reason"])),
                Cell(str(line["store_cluster"])),
                Cell(f"{max(stores, 0):,}", float(max(stores, 0))),
                Cell(money(line["margin"], currency), float(line["margin"])),
            ]
        )
    heads = [
        Column("Product and reason", "main"),
        Column("Cluster"),
        Column("New stores", "number"),
        Column(f"Margin a {period}", "number"),
    ]
    return Table("Listings worth most", heads, rows)


def quality_section(plan: Any) -> dict[str, Any]:
    """Return what was found in the data, what was set aside, and that nobody was lost on the way to hexagons."""
    market = plan.market
    set_aside = market.quarantine.groupby(["table", "reason"], sort=True).size().rename("rows").reset_index()
    conservation = plan.hexes.conservation
    worst = float(conservation["relative_error"].abs().max()) if len(conservation) else float("nan")
    return {
        "checks": frame_table(
            market.quality,
            "What the checks found",
            {
                "table": ("Table", "text", None),
                "column": ("Column", "text", None),
                "check": ("Check", "text", None),
                "rows": ("Rows", "number", count),
                "of_rows": ("Of", "number", count),
                "action": ("Done", "text", None),
                "message": ("In words", "wide", None),
            },
        ),
        "set_aside": frame_table(
            set_aside,
            "Rows set aside (as listed)",
            {
                "table": ("Table", "text", None),
                "reason": ("Reason", "wide", None),
                "rows": ("Rows", "number", count),
            },
        ),
        "conservation": frame_table(
            conservation,
            "Totals before and after the way to hexagons",
            {
                "layer": ("Layer", "text", None),
                "variable": ("Variable", "text", None),
                "source_total": ("Areas", "number", lambda v: count(v, 0)),
                "hex_total": ("Hexagons", "number", lambda v: count(v, 0)),
                "uncovered": ("Uncovered", "number", lambda v: count(v, 0)),
                "relative_error": ("Relative error", "number", lambda v: f"{v:.0e}"),
            },
        ),
        "digits": "" if not np.isfinite(worst) else str(15 if worst < 1e-15 else int(-np.log10(worst))),
    }


def trust_section(plan: Any) -> dict[str, Any]:
    """Return how well forecasts and catchments did on data they had not seen, beside simple rules."""
    holdout = plan.demand.holdout
    chosen = "chosen"
    result: dict[str, Any] = {
        "catchments": None,
        "terms": None,
        "validated": bool(getattr(plan.demand, "validated", False)),
        "holdout": frame_table(
            holdout.assign(used=np.where(holdout["family"] == chosen, "used", ""))
            if len(holdout)
            else holdout,
            "Forecasts on held-out pairs",
            {
                "family": ("Forecast", "text", None),
                "category": ("Category", "text", None),
                "pairs": ("Pairs", "number", count),
                "wmape": ("Error (WMAPE)", "number", lambda v: percent(v, 1)),
                "poisson_deviance": ("Poisson deviance", "number", lambda v: count(v, 2)),
                "spearman_within_sku": ("Rank correlation", "number", lambda v: count(v, 2)),
                "bias": ("Bias", "number", lambda v: percent(v, 1)),
                "used": ("", "text", None),
            },
            limit=_max_changes(plan),
            more="rows",
        ),
    }
    if plan.catchments is not None:
        result["catchments"] = _plain_table(
            plan.catchments.comparison, "Catchment models against simple rules"
        )
        result["terms"] = _plain_table(plan.catchments.params, "What draws shoppers (catchment model)")
    return result


def _plain_table(frame: pd.DataFrame, caption: str) -> Table:
    """Return any small frame as it is, numbers to four figures."""
    columns = {
        str(name): (
            str(name).replace("_", " ").capitalize(),
            "number"
            if pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name])
            else "text",
            (lambda v: "–" if pd.isna(v) else f"{v:,.4g}".replace("-", "−"))
            if pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name])
            else None,
        )
        for name in frame.columns
    }
    return frame_table(frame, caption, columns, limit=60, more="rows")
