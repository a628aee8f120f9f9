"""The parts of the page, as plain values for the template. Nothing is estimated here: figures are looked up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from geomarket.report.charts import as_figure, decay_chart, frontier_chart, interval_chart, waterfall_chart
from geomarket.report.map_stores import trial_by_store
from geomarket.report.numbers import count, money, money_short, money_tick, percent, plural, signed
from geomarket.report.ranges import category_verdicts, changes_tile, first_phase, gain_tile
from geomarket.report.tables import Cell, Column, Table, frame_table

__all__ = [
    "decay_section",
    "frontier_section",
    "kpi_tiles",
    "monday_section",
    "promotion_section",
    "promotion_steps",
    "quality_section",
    "seen_by_distance",
    "trade_by_distance",
    "trust_section",
    "verdict_section",
]

_TOP_LISTINGS = 10
_WATERFALL = (
    ("incremental_margin", "Margin of extra units", 1),
    ("subsidised", "Given away on units that would have sold anyway", -1),
    ("cannibalised", "Lost on other products", -1),
    ("halo", "Gained on other products", 1),
    ("dip", "Lost later, to shoppers who stocked up", -1),
    ("funding", "Paid by suppliers", 1),
    ("contact_cost", "Cost of telling shoppers", -1),
)


def verdict_section(plan: Any) -> dict[str, Any]:
    """Return the verdict's sentence, its money and its doubt."""
    verdict, currency = plan.frontier.verdict, plan.market.currency
    row = chosen_row(plan)
    clause, rest = _first_clause(str(verdict.sentence))
    result: dict[str, Any] = {"headline": clause, "rest": rest, "kind": str(verdict.kind)}
    if (
        row is not None
        and np.isfinite([row["net"], row["net_low"], row["net_high"]]).all()
        and row["n_clusters"] > 1
    ):
        words = [money_short(row[name], currency) for name in ("net", "net_low", "net_high")]
        result["headline"] = (
            f"{clause}: worth {words[0]} a year after costs, between {words[1]} and {words[2]}"
        )
        result["chart"] = as_figure(
            interval_chart(
                row["net"],
                row["net_low"],
                row["net_high"],
                f"Net gain a year {words[0]}, from {words[1]} to {words[2]}",
                lambda value: money_tick(value, currency),
            ),
            "verdict",
        )
    return result


def _first_clause(sentence: str) -> tuple[str, str]:
    """Split "Plan 3 store clusters: on periods …" into the advice and what speaks for it."""
    clause, colon, rest = sentence.partition(": ")
    if not colon or len(clause) > 80:
        return sentence, ""
    return clause, rest[:1].upper() + rest[1:]


def chosen_row(plan: Any) -> pd.Series | None:
    """Return the frontier's line of the recommended number of clusters."""
    table = plan.frontier.table
    chosen = table[table["chosen"].astype(bool)]
    return None if chosen.empty else chosen.iloc[0]


def kpi_tiles(plan: Any) -> list[dict[str, str]]:
    """Return the six figures a director asks for first."""
    currency = plan.market.currency
    clusters = plan.store_clusters.table
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
    gain = gain_tile(plan)
    tiles += [changes_tile(plan), *([gain] if gain else [])]
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
                "label": "forecast error",
                "note": "of store–product pairs held out (WMAPE)",
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
        chart = frontier_chart(
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
        return as_figure(chart, "frontier")

    def write(value: Any) -> str:
        return money_short(value, currency)

    return {
        "why": list(getattr(plan.frontier.verdict, "explanation", ())),
        "categories": category_verdicts(plan),
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
    first = first_phase(changes)
    made = changes[changes["action"] != "keep"]
    counted = first.groupby(["store_id", "action"]).size().unstack(fill_value=0)
    counted = counted.reindex(index=sorted(changes["store_id"].unique()), fill_value=0)
    counted = counted.reindex(columns=["list", "delist"], fill_value=0).rename_axis("store_id").reset_index()
    later = made["store_id"].value_counts().sub(first["store_id"].value_counts(), fill_value=0)
    counted["later"] = counted["store_id"].map(later).fillna(0).astype(int)
    counted["keep"] = (
        counted["store_id"]
        .map(changes.loc[changes["action"] == "keep", "store_id"].value_counts())
        .fillna(0)
        .astype(int)
    )
    clusters = plan.store_clusters.table.set_index("store_id")["store_cluster"]
    counted["store"] = counted["store_id"].map(names).fillna(counted["store_id"])
    counted["store_cluster"] = counted["store_id"].map(clusters)
    trial = trial_by_store(plan)
    counted["total"] = counted["list"] + counted["delist"]
    counted = counted.sort_values(["total", "store_id"], ascending=[False, True])
    by_store = [
        [
            Cell(str(row["store"]), note=str(row["store_id"])),
            Cell(str(row["store_cluster"])),
            *([Cell(_part(trial.get(str(row["store_id"]), {})))] if trial else []),
            *(Cell(f"{row[action]:,}", float(row[action])) for action in ("list", "delist", "later", "keep")),
        ]
        for row in counted.to_dict("records")
    ]
    store_heads = [
        Column("Store", "main"),
        Column("Cluster"),
        *([Column("Trial")] if trial else []),
        Column("To list", "number"),
        Column("To delist", "number"),
        Column("Later", "number"),
        Column("Stay", "number"),
    ]
    return {
        "count": plural(len(first), "change"),
        "stores": plural(first["store_id"].nunique(), "store"),
        "later": f"{len(made) - len(first):,}" if len(made) > len(first) else "",
        "trial": _trial_sentence(plan, trial),
        "by_store": Table("Changes by store", store_heads, by_store),
        "top": _top_listings(plan, first[first["action"] == "list"]),
    }


def _part(trial: dict[str, str]) -> str:
    """Return what a store does in the test of the plan, in one word."""
    return "first" if trial.get("arm") == "test" else "waits" if trial else ""


def _trial_sentence(plan: Any, trial: dict[str, dict[str, str]]) -> str:
    """Say who makes the changes at once where the plan is put to a test."""
    first = sum(part.get("arm") == "test" for part in trial.values())
    until = {part["until"] for part in trial.values() if "until" in part}
    if not first or not until:
        return ""
    start = plan.experiment.design.start
    return (
        f"So that it can be told what they bring, {plural(first, 'test store')} make them on {start.day} {start:%B %Y} "
        f"and all others wait until {until.pop()}."
    )


def _top_listings(plan: Any, listings: pd.DataFrame) -> Table:
    """The listings of the first phase, all stores of a cluster together, those worth most."""
    currency = plan.market.currency
    period = getattr(plan.ranges, "period", plan.market.period)
    known = plan.ranges.table.drop_duplicates(["store_cluster", "sku"])
    made = listings.groupby(["store_cluster", "sku"], as_index=False).agg(
        new=("store_id", "nunique"), margin=("margin", "sum")
    )
    made = made.merge(
        known[["store_cluster", "sku", "name", "reason"]], on=["store_cluster", "sku"], how="left"
    )
    ordered = made.sort_values(["margin", "store_cluster", "sku"], ascending=[False, True, True])
    rows = [
        [
            Cell(str(line["name"]), note=str(line["reason"])),
            Cell(str(line["store_cluster"])),
            Cell(f"{line['new']:,}", float(line["new"])),
            Cell(money(line["margin"], currency), float(line["margin"])),
        ]
        for line in ordered.head(min(_TOP_LISTINGS, int(plan.settings.report.max_changes))).to_dict("records")
    ]
    heads = [
        Column("Product and reason", "main"),
        Column("Cluster"),
        Column("New stores", "number"),
        Column(f"Their margin a {period}", "number"),
    ]
    return Table("Listings worth most", heads, rows)


def quality_section(plan: Any) -> dict[str, Any]:
    """Return what was found in the data, what was set aside, and that nobody was lost on the way to hexagons."""
    market = plan.market
    set_aside = market.quarantine.groupby(["table", "reason"], sort=True).size().rename("rows").reset_index()
    conservation = plan.hexes.conservation
    found = market.quality[market.quality["rows"] > 0]
    worst = float(conservation["relative_error"].abs().max()) if len(conservation) else float("nan")
    return {
        "checks": frame_table(
            found,
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
        "clean": len(market.quality) - len(found),
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
    """Return how well forecasts did on data they had not seen, and what a reader must know."""
    return {
        "validated": bool(getattr(plan.demand, "validated", False)),
        "warnings": [str(warning) for warning in plan.warnings],
        "forecasts": _forecast_table(plan),
        "refusals": _refusals(plan),
    }


def _refusals(plan: Any) -> list[tuple[str, str]]:
    """Return what no promotion was planned for and why, what shares a reason together."""
    refusals = getattr(plan.promotions, "refusals", None)
    if refusals is None or refusals.empty:
        return []
    scopes = refusals.astype("str").groupby("reason", sort=False)["scope"].agg(", ".join)
    return [(scope, reason) for reason, scope in scopes.items()]


def _forecast_table(plan: Any) -> Table | None:
    """Return one line per category: the forecast used beside the baseline, on held-out pairs."""
    table = plan.demand.holdout
    if table.empty:
        return None
    baseline = table[table["family"] == "baseline"].drop_duplicates("category").set_index("category")
    used = table[table["chosen"].astype(bool)].drop_duplicates("category", keep="last").set_index("category")
    rows = []
    for category in dict.fromkeys(table["category"]):
        if category not in used.index:
            continue
        mine = used.loc[category]
        base = baseline["wmape"].get(category, float("nan"))
        name = "All categories" if category == "all" else str(category)
        family = "chosen by category" if mine["family"] == "chosen" else str(mine["family"])
        rows.append(
            [
                Cell(name),
                Cell(family),
                Cell(count(mine["pairs"]), float(mine["pairs"])),
                Cell(percent(base, 1), float(base)),
                Cell(percent(mine["wmape"], 1), float(mine["wmape"])),
                Cell(count(mine["spearman_within_sku"], 2), float(mine["spearman_within_sku"])),
                Cell(percent(mine["bias"], 1), float(mine["bias"])),
            ]
        )
    heads = [Column("Category"), Column("Forecast used")]
    heads += [
        Column(label, "number")
        for label in ("Pairs", "Error, baseline", "Error, used", "Rank correlation over stores", "Bias")
    ]
    return Table("Forecasts of store–product pairs that were held out (error: WMAPE)", heads, rows)


def promotion_steps(plan: Any) -> list[tuple[str, float]]:
    """Return the parts of the planned promotions' net, gains positive and losses negative, without empty ones."""
    table = plan.promotions.table
    steps = [(label, sign * float(table[name].sum())) for name, label, sign in _WATERFALL if name in table]
    return [(label, amount) for label, amount in steps if amount]


def promotion_section(plan: Any) -> dict[str, Any] | None:
    """Return where the money of the planned promotions comes from and goes, as chart and table."""
    if plan.promotions is None or plan.promotions.table.empty:
        return None
    table, currency = plan.promotions.table, plan.market.currency
    steps = promotion_steps(plan)
    net = float(table["net"].sum())
    title = f"From the margin of extra units to {money_short(net, currency)} net"
    lines = [*steps, ("Net", net)]
    low = float(table["net_low"].sum()) if "net_low" in table else float("nan")
    return {
        "count": plural(len(table), "promotion"),
        "low": money_short(low, currency) if np.isfinite(low) else "",
        "net": money_short(net, currency),
        "chart": as_figure(
            waterfall_chart(steps, "Net", title, lambda value: money_short(value, currency)), "promotions"
        ),
        "table": Table(
            "The same in figures",
            [Column("Part"), Column("Amount", "number")],
            [[Cell(label), Cell(money(amount, currency), amount)] for label, amount in lines],
        ),
    }


def seen_by_distance(plan: Any) -> list[tuple[float, float]]:
    """Share of known customers' trips from within a distance, at the ends of the distance bands."""
    details = getattr(plan, "catchment_details", None)
    if details is None or not details.decay["observed"].notna().any():
        return []
    known = details.decay[details.decay["to"].notna()]
    return list(zip(known["to"].tolist(), known["observed"].cumsum().tolist()))


def trade_by_distance(plan: Any) -> tuple[list[float], list[float], dict[float, float]] | None:
    """Return distances in km, the share of own stores' trade from within each, and how far 50, 70 and 90% reach."""
    if plan.catchments is None or "km" not in plan.catchments.table:
        return None
    table = plan.catchments.table
    own = table[table["own"].astype(bool) & table["demand"].gt(0) & table["km"].notna()]
    if own.empty:
        return None
    ordered = own.sort_values("km")
    km, trade = ordered["km"].to_numpy(dtype=float), ordered["demand"].cumsum().to_numpy(dtype=float)
    share = trade / trade[-1]
    reach = {part: float(km[min(int(np.searchsorted(share, part)), len(km) - 1)]) for part in (0.5, 0.7, 0.9)}
    end = float(km[min(int(np.searchsorted(share, 0.97)), len(km) - 1)])
    grid = np.linspace(0, end, 60)
    curve = np.concatenate([[0.0], share])[np.searchsorted(km, grid, side="right")]
    return grid.tolist(), curve.tolist(), reach


def decay_section(plan: Any) -> dict[str, Any] | None:
    """Return how far away own stores' trade comes from, by the catchment model."""
    found = trade_by_distance(plan)
    if found is None:
        return None
    km, share, reach = found
    words = f"Half of the trade comes from within {reach[0.5]:.1f} km, 90% from within {reach[0.9]:.1f} km"
    return {
        "words": words,
        "chart": as_figure(decay_chart(km, share, reach, words, seen=seen_by_distance(plan)), "catchments"),
        "table": Table(
            "How far away own stores' trade comes from",
            [Column("Share of trade", "number"), Column("Within, km", "number")],
            [[Cell(percent(part), part), Cell(f"{far:.1f}", far)] for part, far in reach.items()],
        ),
    }
