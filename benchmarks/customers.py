"""Customers on a real panel: lifetime value held out, who holds the value, campaigns answered, small here and big overall.

Usage: python benchmarks/customers.py [--write] [--only lifetime|value|campaigns|relationship|together|scale]

* lifetime: BG/NBD and Gamma-Gamma on the first half of a grocer's panel, judged on the second (needs GEOMARKET_DATA);
* value: how unequally the panel's revenue and its expected value are spread;
* campaigns: how coupon campaigns were answered, by type;
* relationship: customers small in a category and big overall, and the money they stand for;
* together: what the same households buy;
* scale: the customers' part of a plan on the simulated market of 50,000 customers.

With --write the tables go to benchmarks/results/customers.md.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _machine import machine_lines

RESULTS = Path(__file__).parent / "results" / "customers.md"
TOP_ITEMS, SHOWN = 80, 12


class Watch:
    """Wall and processor time since it was made; on a busy machine the second is the one to compare."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __str__(self) -> str:
        return f"{time.perf_counter() - self.wall:.1f} s ({time.process_time() - self.cpu:.1f} s of processor time)"


def table(frame: pd.DataFrame) -> list[str]:
    """Markdown of a frame, numbers to three digits."""

    def text(value: Any) -> str:
        if isinstance(value, float):
            return "–" if np.isnan(value) else f"{value:,.3f}"
        return f"{value:,}" if isinstance(value, (int, np.integer)) else str(value)

    head = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * frame.shape[1]]
    return head + ["| " + " | ".join(text(v) for v in row) + " |" for row in frame.itertuples(index=False)]


def lifetime(panel: Any) -> list[str]:
    from geomarket import engine
    from geomarket.customers import check_lifetime, lifetime_value

    first, end = pd.Timestamp("2017-01-01"), pd.Timestamp("2018-01-01")
    cut = first + (end - first) / 2
    watch = Watch()
    before = engine.customer_totals(panel.baskets, panel.products, (None, cut))
    after = engine.customer_totals(panel.baskets, panel.products, (cut, None))
    check = check_lifetime(before, after, cut, end)
    value = lifetime_value(before, cut, horizon_months=6, discount_rate=0.0)
    came = value.table[["customer_id", "revenue"]].merge(
        after[["customer_id", "revenue"]].rename(columns={"revenue": "came"}), on="customer_id", how="left"
    )
    came["came"] = came["came"].fillna(0.0)
    took = str(watch)
    tenth = pd.qcut(came["revenue"].rank(method="first", ascending=False), 10, labels=range(1, 11))
    by = came.groupby(tenth, observed=True).agg(
        households=("came", "size"), expected=("revenue", "mean"), came=("came", "mean")
    )
    whole = value.totals.set_index("measure").loc["revenue"]
    ends = check.table["predicted"] / check.table["actual"] - 1
    return [
        f"{len(before):,} households seen by {cut:%d %b %Y}; {check.weeks:.0f} weeks foretold ({took}).",
        "",
        f"* Trips: {check.ratio - 1:+.1%} of those made; rank correlation over households {check.spearman:.2f}.",
        f"* Revenue: {whole['expected']:,.0f} dollars expected ({whole['low']:,.0f} to {whole['high']:,.0f} at 90%), "
        f"{came['came'].sum():,.0f} came ({whole['expected'] / came['came'].sum() - 1:+.1%}); rank correlation "
        f"{came[['revenue', 'came']].corr('spearman').iloc[0, 1]:.2f}.",
        f"* By tenths: the first foretold {ends.iloc[0]:+.0%}, the last {ends.iloc[-1]:+.0%} of the trips it made: households "
        "drift to the middle more than the model says, and few leave this panel for good.",
        *(f"* {note}" for note in value.notes),
        "",
        "Tenths by trips foretold (trips per household):",
        "",
        *table(check.table),
        "",
        "Tenths by revenue expected (dollars per household):",
        "",
        *table(by.reset_index(names="tenth").astype({"tenth": int})),
    ]


def value(panel: Any) -> list[str]:
    from geomarket import engine
    from geomarket.customers import lifetime_value, value_customers, value_deciles

    totals = engine.customer_totals(panel.baskets, panel.products)
    past = value_deciles(totals["revenue"])
    future = lifetime_value(totals, "2018-01-01").deciles
    segments = value_customers(totals).segments
    shares = pd.DataFrame(
        {
            "tenth": past["decile"],
            "households": past["customers"],
            "share of 2017's revenue": past["share"],
            "together": past["cumulative"],
            "share of the next year's expected": future["share"],
        }
    )
    return [*table(shares), "", *table(segments)]


def campaigns(panel: Any) -> list[str]:
    from geomarket.customers import channel_response

    redeemed = panel.redemptions[["campaign_id", "customer_id"]].drop_duplicates().assign(responded=True)
    sent = panel.contacts.merge(redeemed, on=["campaign_id", "customer_id"], how="left")
    sent["responded"] = sent["responded"].notna()
    sent = sent.merge(panel.campaigns[["campaign_id", "type"]], on="campaign_id")
    found = channel_response(sent.rename(columns={"type": "channel"}))
    found = found.rename(columns={"channel": "type", "responses": "redeemed at least one coupon"})
    number = panel.campaigns.groupby("type").size().rename("campaigns")
    told = panel.customers.dropna(subset=["income"])
    by = (
        sent.merge(told[["customer_id"]], on="customer_id").groupby("type")["responded"].agg(["size", "mean"])
    )
    return [
        *table(found.drop(columns="expected").assign(campaigns=found["type"].map(number))),
        "",
        "An answer is not an effect: whom to send a campaign was the grocer's choice, and nobody was held out. "
        f"{len(panel.redemptions):,} coupons were redeemed by {panel.redemptions['customer_id'].nunique():,} households of "
        f"{panel.contacts['customer_id'].nunique():,} contacted.",
        "Among the households that answered the survey: "
        + "; ".join(f"{kind} {row['mean']:.1%} of {row['size']:,.0f}" for kind, row in by.iterrows())
        + ".",
    ]


def relationship(panel: Any) -> list[str]:
    from geomarket import engine
    from geomarket.customers import relationship_value

    watch = Watch()
    bought = engine.customer_category(
        panel.baskets, panel.products.assign(category=panel.products["department"])
    )
    found = relationship_value(bought, "revenue").table
    took = str(watch)
    found = found[found["customers"] >= 500].sort_values("value_overall", ascending=False)
    largest = found.head(SHOWN)
    return [
        f"Bottom half of a department's households and top fifth of all, departments with 500 households or more; "
        f"money is revenue ({took}).",
        "",
        *table(largest[["category", "customers", "flagged", "value_here", "value_overall", "share_overall"]]),
    ]


def together(panel: Any) -> list[str]:
    from geomarket import engine
    from geomarket.customers import basket_associations

    totals = engine.customer_totals(panel.baskets, panel.products)
    watch = Watch()
    bought = engine.customer_items(panel.baskets, panel.products, "category", top=TOP_ITEMS)
    found = basket_associations(bought, len(totals), totals.set_index("customer_id")["trips"])
    took = str(watch)
    columns = [
        "item_a",
        "item_b",
        "customers",
        "support",
        "confidence_ab",
        "lift",
        "low",
        "high",
        "lift_alike",
    ]
    every = found.table
    return [
        f"The {TOP_ITEMS} categories most households buy, {len(every):,} pairs ({took}). Who comes often buys more of "
        f"everything: {(every['low'] > 1).mean():.0%} of the pairs have a lift clearly above 1, with a median of "
        f"{every['lift'].median():.2f}; among households that come equally often the median is "
        f"{every['lift_alike'].median():.2f}. The strongest by that:",
        "",
        *table(every.head(SHOWN)[columns]),
    ]


def scale(panel: Any) -> list[str]:
    import geomarket
    from geomarket import engine
    from geomarket.customers import basket_associations, lifetime_value, relationship_value

    market = geomarket.simulate_market()
    rows = []
    watch = Watch()
    totals = engine.customer_totals(market.baskets, market.products)
    rows.append(("totals of customers", str(watch)))
    watch = Watch()
    lifetime_value(totals, n_draws=50)
    rows.append(("lifetime value", str(watch)))
    watch = Watch()
    relationship_value(engine.customer_category(market.baskets, market.products))
    rows.append(("whole relationship", str(watch)))
    watch = Watch()
    for items in ("category", "subcategory", "sku"):
        bought = engine.customer_items(market.baskets, market.products, items)
        basket_associations(bought, len(totals), totals.set_index("customer_id")["trips"])
    rows.append(("what goes together, by category, subcategory and SKU", str(watch)))
    lines = int(market.baskets.count().execute())
    return [
        f"{len(totals):,} customers, {lines:,} basket lines.",
        "",
        *table(pd.DataFrame(rows, columns=["part", "time"])),
    ]


PARTS = {
    "lifetime": ("Lifetime value, held out: half a year foretold from the half before", lifetime),
    "value": ("Who holds the value", value),
    "campaigns": ("How coupon campaigns were answered", campaigns),
    "relationship": ("Small here, big overall", relationship),
    "together": ("What goes together", together),
    "scale": ("Time at scale (simulated market)", scale),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables to benchmarks/results")
    parser.add_argument("--only", choices=list(PARTS), action="append")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    from geomarket.datasets import load_complete_journey

    panel = load_complete_journey() if os.environ.get("GEOMARKET_DATA") else None
    lines = ["# Customers", "", *machine_lines(), ""]
    lines += [
        "Complete Journey: a year (2017) of a grocer's panel of 2,469 households. Odd lines are set aside:",
        "",
    ]
    lines += [f"* {message}" for message in (panel.quality["message"] if panel is not None else [])]
    lines.append("")
    for part in options.only or PARTS:
        title, work = PARTS[part]
        lines += [f"## {title}", ""]
        lines += (
            work(panel) if panel is not None or part == "scale" else ["Not run: GEOMARKET_DATA is not set."]
        )
        lines.append("")
    lines += ["Data: 84.51°/dunnhumby The Complete Journey (CC0 in its R package)."]
    print("\n".join(lines))
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
