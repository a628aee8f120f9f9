"""How local to go with Hy-Vee's spirits in Iowa: gains in sample and out of it, and the trade that ranges hold.

Needs GEOMARKET_DATA.

    python benchmarks/frontier.py [--write]
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
from _machine import machine_lines

import geomarket
from geomarket import engine
from geomarket.planning.trade import Trade, current_trade

RESULTS = Path(__file__).parent / "results" / "frontier.md"
NUMBERS = [2, 3, 4, 5, 6, 8, 10, 12, 20, 40]
RANGE = 200


def held(trade: Trade, groups: dict[int, pd.Series]) -> list[str]:
    """Share of 2021's trade in ranges of 200 SKUs ranked on 2020: no forecast in it at all."""
    middle = dt.date(2021, 1, 1)
    both = [
        engine.store_sku_periods(trade.sales, window).pivot(index="store_id", columns="sku", values="revenue")
        for window in ((None, middle), (middle, None))
    ]
    stores, skus = both[0].index.intersection(both[1].index), both[0].columns.union(both[1].columns)
    before, after = (frame.reindex(index=stores, columns=skus).fillna(0.0).to_numpy() for frame in both)

    def share(ranking: np.ndarray) -> float:
        best = np.argsort(-ranking, axis=1, kind="stable")[:, :RANGE]
        return float(np.take_along_axis(after, best, axis=1).sum() / after.sum())

    rows = [("one range", share(np.broadcast_to(before.sum(axis=0), before.shape)))]
    for number, labels in groups.items():
        code = pd.factorize(labels.reindex(stores))[0]
        member = np.eye(code.max() + 1)[code]
        rows.append((f"{number} clusters", share(member @ (member.T @ before))))
    rows += [("each store's own 2020", share(before)), ("hindsight: each store's own 2021", share(after))]
    return [f"| {name} | {value:.1%} |" for name, value in rows]


def main() -> None:
    """Run and print, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    market = geomarket.load_iowa()
    trade = current_trade(market)
    mix = geomarket.category_mix(trade.pairs, trade.products.assign(category=trade.products["subcategory"]))
    features = geomarket.store_features(None, mix, trade.stores)
    groups = geomarket.cluster_range(features, numbers=NUMBERS, n_bootstrap=2, random_state=0).labels
    lines = [
        "# How local to go: Hy-Vee's spirits in Iowa",
        "",
        *machine_lines(("numpy", "pandas", "scikit-learn")),
        "",
    ]
    lines += [
        f"{len(trade.stores)} stores, {len(trade.products):,} SKUs, 2020 and 2021 by month; store clusters by what stores "
        "order (subcategory mix). Orders by retailers from the state monopoly, not till sales.",
        "",
        f"## Ranges of {RANGE} SKUs ranked on 2020: share of 2021's trade they hold",
        "",
        "No forecast in it; it flatters each store's own range, since a store can only have sold what it listed.",
        "",
        "| ranges | share held |",
        "|---|---|",
        *held(trade, groups),
    ]
    folds = geomarket.fold_sales(trade.sales, "month")
    for name, family in (
        ("size × rate × lift of 8 clusters", geomarket.ClusterFamily(groups[8])),
        ("low-rank tastes", geomarket.LowRank()),
    ):
        found = geomarket.local_frontier(
            folds,
            trade.stores,
            trade.products,
            groups,
            periods_per_year=12.0,
            families=[family],
            today=trade.today,
            cost_per_cluster=15_000.0,
            currency="$",
        )
        lines += [
            "",
            f"## Three folds of alternating months, demand by {name}",
            "",
            "Planned on the first, chosen on the second, reported on the third; gain a year over one range, as a share "
            "of its margin. No new-listing discount; a cluster costs $15,000 a year.",
            "",
            "| ranges | in sample | choosing | reporting | 90% interval | net a year | chosen |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in found.table.to_dict("records"):
            lines.append(
                f"| {row['label']} | {row['gain_in_sample_share']:+.2%} | {row['gain_choice_share']:+.2%} | "
                f"{row['gain_holdout_share']:+.2%} | {row['low_share']:+.2%} to {row['high_share']:+.2%} | "
                f"${row['net']:,.0f} | {'yes' if row['chosen'] else ''} |"
            )
        lines += ["", *(f"- {line}" for line in (found.verdict.sentence, *found.verdict.explanation))]
        kinds = found.categories.groupby(["kind", "n_clusters"])["category"].apply(", ".join)
        lines += [
            "",
            "By category: "
            + "; ".join(f"{n} range{'s' * (n > 1)}: {names}" for (_, n), names in kinds.items())
            + ".",
        ]
    text = "\n".join(lines) + "\n"
    if asked.write:
        RESULTS.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
