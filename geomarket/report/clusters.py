"""Store clusters on the page: who shops there, what to list and delist, what to promote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup

from geomarket.report.charts import as_figure, index_bars, share_bar
from geomarket.report.map import NeighbourhoodKey, trade_by_type
from geomarket.report.names import natural_key, slug
from geomarket.report.numbers import count, money, percent, plural
from geomarket.report.people import strongest_bars, swatch
from geomarket.report.promotions import by_channel, promotion_calendar
from geomarket.report.ranges import cluster_gain
from geomarket.report.tables import Cell, Column, Table, frame_table

__all__ = ["cluster_sections", "cluster_traits"]

_TOP_PROMOTIONS = 8
_MOST_BARS = 250
_WORKBOOK = "in the workbook"


def cluster_sections(plan: Any, key: NeighbourhoodKey, *, every_line: bool = False) -> list[dict[str, Any]]:
    """Return one section per store cluster: stores, profile, what to list and delist, promotions.

    ``every_line`` takes all lines of the range instead of the ones worth most.
    """
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
                "slug": slug(str(cluster)),
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
                "to_list": _range_lines(
                    plan, lines[lines["status"] == "list"], f"To list in {cluster}", every_line
                ),
                "to_delist": _range_lines(
                    plan, lines[lines["status"] == "delist"], f"To delist in {cluster}", every_line
                ),
                "margin": cluster_gain(plan, str(cluster)),
                "space": _space(plan, str(cluster)),
                "promotions": _cluster_promotions(plan, str(cluster)),
                "members": _members(trade, key, members, names),
            }
        )
    return sections


def cluster_traits(plan: Any, cluster: str) -> pd.DataFrame:
    """Return the traits a cluster may be known by: not those of a handful of shoppers."""
    profile = plan.store_clusters.profile
    mine = profile[(profile["store_cluster"] == cluster) & (profile["value"].abs() > 0)]
    mine = mine.rename(columns={"feature": "variable"})
    if "block" not in mine:
        return mine
    shares = mine["block"].isin(["catchment", "mix"])
    return mine[~shares | (mine[["value", "chain"]].max(axis=1) >= 0.02)]


def _cluster_profile(plan: Any, cluster: str) -> Markup | None:
    # one cluster is the chain: every index would be 100
    if plan.store_clusters.table["store_cluster"].nunique() < 2:
        return None
    traits = cluster_traits(plan, cluster)
    if traits.empty:
        return None
    title = f"{cluster}: index of its strongest traits, 100 is the chain's average"
    return as_figure(index_bars(strongest_bars(traits), title, top=260.0), "store_clusters")


def _cluster_shares(trade: pd.DataFrame, key: NeighbourhoodKey, stores: pd.Series) -> dict[str, Any] | None:
    """Where the cluster's trade comes from, by neighbourhood type."""
    demand = trade[trade["store_id"].isin(set(stores))].groupby("supergroup")["demand"].sum()
    total = demand.sum()
    if not total > 0:
        return None
    shares = [(code, float(demand.get(code, 0.0) / total)) for code in key.codes]
    return {
        "chart": as_figure(
            share_bar(
                [(key.label(code), share, key.colour(code)) for code, share in shares],
                "Trade by neighbourhood type",
                width=340,
                height=16,
            ),
            "store_cluster_trade",
        ),
        "legend": [
            {"swatch": swatch(key.colour(code)), "label": key.label(code), "share": percent(share)}
            for code, share in shares
            if share >= 0.005
        ],
    }


def _range_lines(plan: Any, lines: pd.DataFrame, caption: str, every_line: bool) -> Table:
    """Products with category and reason beneath, largest margin first."""
    currency = plan.market.currency
    period = getattr(plan.ranges, "period", plan.market.period)
    ordered = lines.sort_values(["margin", "sku"], ascending=[False, True])
    shown = ordered if every_line else ordered.head(max(1, _max_changes(plan) // 6))
    when = _when(plan, shown)
    rows = [
        [
            Cell(str(line["name"]), note=f"{line['category']}: {line['reason']}{when.get(line['sku'], '')}"),
            Cell(
                count(line["units"], 0 if line["units"] >= 10 else 1),
                float(line["units"]),
                note=_between(line, "low", "high", lambda value: count(value, 0 if value >= 10 else 1)),
            ),
            Cell(
                money(line["margin"], currency),
                float(line["margin"]),
                note=_between(line, "margin_low", "margin_high", lambda value: money(value, currency)),
            ),
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


def _between(line: dict[Any, Any], low: str, high: str, write: Callable[[float], str]) -> str:
    """Write an interval under its figure; nothing where it is not known."""
    ends = [float(line.get(name, float("nan"))) for name in (low, high)]
    return "" if any(pd.isna(end) for end in ends) else f"{write(ends[0])} to {write(ends[1])}"


def _when(plan: Any, lines: pd.DataFrame) -> dict[str, str]:
    """How many stores make the change in the first phase, later, and not before proof, as words by SKU."""
    changes = plan.ranges.changes
    if "when" not in changes or lines.empty:
        return {}
    mine = changes[
        changes["store_cluster"].eq(lines["store_cluster"].iloc[0])
        & changes["sku"].isin(lines["sku"])
        & changes["action"].ne("keep")
    ]
    step = mine["when"].where(mine["when"].isin(["phase 1", "waits"]), "later")
    counts = mine.groupby(["sku", step])["store_id"].nunique().unstack(fill_value=0)
    words = (("phase 1", "in the first phase"), ("later", "later"), ("waits", "not before proof"))
    found = {}
    for sku, row in counts.iterrows():
        parts = [f"{plural(int(row[name]), 'store')} {how}" for name, how in words if row.get(name, 0)]
        found[str(sku)] = f"; {', '.join(parts)}"
    return found


def _space(plan: Any, cluster: str) -> Table | None:
    """The space of each planogram: what there is, what the range takes, what its stores have today."""
    spaces = getattr(plan.ranges, "spaces", None)
    if spaces is None or "used" not in spaces:
        return None
    mine = spaces[spaces["store_cluster"] == cluster]
    unit = "SKUs" if (mine["unit"] == "count").all() else "cm"
    return frame_table(
        mine.assign(tier=[{"all": "one size"}.get(tier, f"size {tier}") for tier in mine["tier"]]),
        f"Space in {cluster}, {unit}",
        {
            "category": ("Category", "text", None),
            "tier": ("Planogram", "text", None),
            "stores": ("Stores", "number", count),
            "capacity": ("Room", "number", count),
            "used": ("Range takes", "number", count),
            "today_low": ("Stores have today, least", "number", count),
            "today_high": ("Most", "number", count),
        },
    )


def _max_changes(plan: Any) -> int:
    return int(plan.settings.report.max_changes)


def _cluster_promotions(plan: Any, cluster: str) -> dict[str, Any] | None:
    """Return the cluster's promotions: the calendar, and the ones that net most."""
    if plan.promotions is None:
        return None
    table = plan.promotions.table
    mine = table[table["store_cluster"] == cluster]
    if mine.empty:
        return None
    currency = plan.market.currency
    best = _offers(mine)
    rows = [
        [
            Cell(str(line["name"]), note=str(line["reason"])),
            Cell(line["dates"]),
            Cell(percent(line["depth"]), float(line["depth"])),
            Cell(str(line["channel"])),
            Cell(count(line["uplift_units"]), float(line["uplift_units"])),
            Cell(money(line["net"], currency), float(line["net"])),
        ]
        for line in best.head(_TOP_PROMOTIONS).to_dict("records")
    ]
    heads = [Column("Product and reason", "main"), Column("From", "dates"), Column("Price cut", "number")]
    heads += [Column("Channel"), Column("Extra units", "number"), Column("Net", "number")]
    left_out = len(best) - len(rows)
    return {
        "count": plural(len(mine), "promotion"),
        "calendar": _calendar(mine, cluster),
        "table": Table(
            f"Offers that net most in {cluster}, all their dates together",
            heads,
            rows,
            f"{left_out:,} more offers {_WORKBOOK}" if left_out else "",
        ),
    }


def _offers(promotions: pd.DataFrame) -> pd.DataFrame:
    """Return one line per product and kind of offer: its dates, and what they bring together; most net first."""
    dated = promotions.sort_values("period")
    dated = dated.assign(dates=[f"{pd.Timestamp(day):%d %b %Y}" for day in dated["period"]])
    kinds = ["sku", "name", "depth", "mechanic", "channel"]
    offers = dated.groupby(kinds, sort=True, dropna=False).agg(
        dates=("dates", ", ".join),
        uplift_units=("uplift_units", "sum"),
        net=("net", "sum"),
        reason=("reason", "first"),
    )
    return offers.reset_index().sort_values(["net", "sku"], ascending=[False, True])


def _calendar(promotions: pd.DataFrame, cluster: str) -> Markup:
    """One strip per channel and category."""
    title = f"Promotion calendar of {cluster}: promotions by category, channel and first day"
    return as_figure(promotion_calendar(by_channel(promotions), title), f"promotion_calendar_{slug(cluster)}")


def _members(trade: pd.DataFrame, key: NeighbourhoodKey, members: pd.DataFrame, names: pd.Series) -> Table:
    """Return the cluster's stores, each a link that shows it on the map, with where its trade comes from."""
    shares = trade.pivot(index="store_id", columns="supergroup", values="share").fillna(0.0)
    shares_of = {
        str(store): {str(code): float(share) for code, share in row.items()}
        for store, row in shares.iterrows()
    }
    draw = _share_words if len(shares) > _MOST_BARS else _share_cell
    heads = [Column("Store")]
    if len(shares):
        words = draw is _share_words
        heads.append(Column("Most of its trade") if words else Column("Trade by neighbourhood type", "chart"))
    rows = []
    for store in members.sort_values("store_id").to_dict("records"):
        store_id = str(store["store_id"])
        name = str(names.get(store_id, store_id))
        row = [Cell(name, markup=store_link(store_id, name, " (typical)" if store["medoid"] else ""))]
        if len(shares):
            row.append(draw(shares_of.get(store_id, {}), key))
        rows.append(row)
    return Table("Stores of the cluster", heads, rows)


def _share_cell(shares: dict[str, float], key: NeighbourhoodKey) -> Cell:
    """Draw where a store's trade comes from, as far as the eye sees it."""
    drawn = [(code, shares[code], key.colour(code)) for code in key.codes if shares.get(code, 0.0) >= 0.005]
    return Cell("", markup=as_figure(share_bar(drawn, "Trade by type"), "store_trade"))


def _share_words(shares: dict[str, float], key: NeighbourhoodKey) -> Cell:
    """Say where most of a store's trade comes from: hundreds of drawings would make a page too large to mail."""
    largest = sorted(((share, code) for code, share in shares.items() if share >= 0.005), reverse=True)[:3]
    return Cell(", ".join(f"{code} {percent(share)}" for share, code in largest))


def store_link(store_id: str, name: str, remark: str = "") -> Markup:
    """Return a link that shows the store on the map; it can be sent to others, too."""
    # the signs that JavaScript's encodeURIComponent leaves alone, too
    encoded = quote(store_id, safe="!'()*~")
    anchor = f"store-{encoded}"
    return Markup('<a id="{0}" href="#{0}">{1}</a>{2}').format(anchor, name, remark)
