"""Promotions: what real trade says, how well offers are forecast, how fast it fits and plans.

Usage: python benchmarks/promotions.py [--write] [--only journey|week|month|stores|planner]

* journey: a year of a grocer's panel with displays and leaflets by store and week (needs GEOMARKET_DATA);
* week: spirits orders of central Iowa, store x item x week, against the state's temporary price cuts (the same);
* month: the whole state, store x item x month (the same);
* stores: 83 stores x 11 brands x 121 weeks, simulated: accuracy and coverage over worlds, and time;
* planner: 58,500 options to 0.1%.

Every measurement runs in a process of its own. With --write the tables go to benchmarks/results/promotions.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _machine import machine_lines

RESULTS = Path(__file__).parent / "results" / "promotions.md"


class Watch:
    """Wall and processor time since it was made; on a busy machine the second is the one to compare."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def words(self) -> str:
        return (
            f"{time.perf_counter() - self.wall:.1f} s ({time.process_time() - self.cpu:.1f} s of processor)"
        )


def table(frame: pd.DataFrame) -> list[str]:
    """Return a frame as a Markdown table."""
    lines = ["| " + " | ".join(map(str, frame.columns)) + " |", "|" + "---|" * len(frame.columns)]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in frame.itertuples(index=False)]


def report(response: Any, panel: pd.DataFrame, holdout: pd.DataFrame, watch: str) -> list[str]:
    """Estimates over categories, refusals, cautions, and error out of sample."""
    means = response.means
    cuts = panel[panel["depth"] > 0]
    rows = []
    for term, mine in means.groupby("term"):
        value = mine["estimate"]
        clear = (value.abs() > 1.645 * mine["se"]).mean()
        quartiles = f"{value.quantile(0.25):.2f} to {value.quantile(0.75):.2f}"
        rows.append(
            (
                term,
                len(mine),
                f"{value.median():.2f}",
                quartiles,
                f"{mine['se'].median():.2f}",
                f"{clear:.0%}",
            )
        )
    names = [
        "term",
        "categories",
        "median",
        "middle half",
        "median standard error",
        "told from nothing (90%)",
    ]
    lines = [
        f"{len(panel):,} rows of the panel, {len(cuts[['sku', 'period']].drop_duplicates()):,} price cuts (SKU and "
        f"period); fitted in {watch}.",
        "",
        *table(pd.DataFrame(rows, columns=names)),
        "",
    ]
    lines += [f"* {line}" for line in response.summary()]
    kinds = response.refusals["reason"].str.replace(r"[\d.,+%-]+", "#", regex=True)
    kinds = kinds.str.replace(r"(rests on one SKU).*", r"\1", regex=True).str.slice(0, 60)
    shown = response.refusals[
        response.refusals["scope"].str.contains(": price") | ~response.refusals["scope"].str.contains(":")
    ]
    lines += [
        "",
        f"Refused: {len(response.refusals)} ({len(shown)} of a whole category or its price), most often:",
    ]
    lines += [f"* {reason} … ({n})" for reason, n in kinds.value_counts().head(6).items()]
    whole = holdout[holdout["category"] == "all"]
    errors = whole.assign(
        wmape=whole["wmape"].map("{:.3f}".format),
        poisson_deviance=whole["poisson_deviance"].map("{:.2f}".format),
        bias=whole["bias"].map("{:+.1%}".format),
    )[["model", "wmape", "poisson_deviance", "bias"]]
    lines += [
        "",
        f"Out of sample ({int(whole['rows'].iloc[0]):,} offers, four folds of blocks of periods):",
        "",
    ]
    return [*lines, *table(errors)]


def journey() -> list[str]:
    from geomarket.customers import channel_response
    from geomarket.datasets import load_complete_journey, load_journey_promotions
    from geomarket.errors import NotSupportedError
    from geomarket.promotions import fit_relationship, fit_response, promotion_panel, response_holdout
    from geomarket.store_clusters import category_mix, cluster_stores, store_features

    data = load_complete_journey()
    history = load_journey_promotions(data)
    stores = pd.DataFrame({"store_id": sorted(history.listings["store_id"].unique())})
    money = history.sales.merge(history.products[["sku", "price"]], on="sku")
    money = (
        money.assign(revenue=money["units"] * money["price"])
        .groupby(["store_id", "sku"], as_index=False)["revenue"]
        .sum()
    )
    mix = category_mix(money, history.products[["sku", "category"]])
    clusters = cluster_stores(store_features(None, mix, stores), 3).table[["store_id", "store_cluster"]]
    parts = (history.sales, history.promotions, history.listings, clusters, history.products)
    watch = Watch()
    panel = promotion_panel(*parts)
    response = fit_response(panel)
    taken = watch.words()
    lines = [
        "84.51°/dunnhumby The Complete Journey, 2017: units are those of 2,469 households, not of whole stores.",
        "",
    ]
    lines += (
        [f"* {line}" for line in history.summary()]
        + [f"* {line}" for line in history.quality["message"]]
        + [""]
    )
    lines += report(response, panel, response_holdout(panel), taken)
    try:
        related = fit_relationship(response, *parts)
        lines += ["", "Beyond the SKU:", *(f"* {line}" for line in related.summary())]
        lines += [f"* {len(related.refusals)} of the possible effects are not identified."]
    except NotSupportedError as reason:
        lines += ["", f"Beyond the SKU: refused. {reason}"]
    largest = response.means[response.means["term"] == "price"].nlargest(8, "n")[
        ["category", "estimate", "se", "n"]
    ]
    largest = largest.assign(
        estimate=largest["estimate"].map("{:.2f}".format), se=largest["se"].map("{:.2f}".format)
    )
    lines += ["", "Price elasticity of the categories with most price cuts:", "", *table(largest)]
    redeemed = data.redemptions[["campaign_id", "customer_id"]].drop_duplicates().assign(responded=True)
    contacts = data.contacts.merge(data.campaigns[["campaign_id", "type"]], on="campaign_id")
    contacts = contacts.merge(redeemed, on=["campaign_id", "customer_id"], how="left")
    contacts = contacts.assign(
        responded=contacts["responded"].fillna(False).astype(bool), channel=contacts["type"]
    )
    contacts = contacts.merge(data.customers[["customer_id", "household_size"]], on="customer_id", how="left")
    contacts["household_size"] = contacts["household_size"].fillna("unknown")
    rates = channel_response(contacts, by="household_size")
    shown = rates.assign(
        rate=rates["rate"].map("{:.1%}".format),
        interval=[f"{a:.1%} to {b:.1%}" for a, b in zip(rates["low"], rates["high"])],
        expected=rates["expected"].map("{:.1%}".format),
    )[["channel", "household_size", "contacts", "rate", "interval", "expected"]]
    lines += [
        "",
        "Households that redeemed a coupon of a campaign, by type of campaign and size of household (an answer,",
    ]
    lines += ["not an effect; expected: shrunk towards the type's own rate):", "", *table(shown)]
    return lines


def iowa_week() -> list[str]:
    from geomarket.promotions import fit_response, promotion_panel, response_holdout

    folder = Path(os.environ["GEOMARKET_DATA"]) / "iowa"
    raw = pd.read_parquet(folder / "sales_store_item_day_central_2021.parquet")
    day = pd.to_datetime(raw["date"])
    raw = raw.assign(period=day - pd.to_timedelta(day.dt.weekday, unit="D"))
    raw = raw[raw["period"].between("2021-01-04", "2021-12-20")]
    return _iowa(raw, folder, lambda week: week, "after", fit_response, promotion_panel, response_holdout)


def iowa_month() -> list[str]:
    from geomarket.promotions import fit_response, promotion_panel, response_holdout

    folder = Path(os.environ["GEOMARKET_DATA"]) / "iowa"
    raw = pd.concat(
        [pd.read_parquet(folder / f"sales_store_item_month_{year}.parquet") for year in (2020, 2021)]
    )
    raw = raw.assign(period=pd.to_datetime(raw["month"]))
    month = lambda week: (week + pd.Timedelta(days=3)).dt.to_period("M").dt.to_timestamp()  # noqa: E731
    return _iowa(raw, folder, month, "depth", fit_response, promotion_panel, response_holdout)


def _iowa(
    raw: pd.DataFrame, folder: Path, period_of: Any, dip: str, fit: Any, build: Any, holdout: Any
) -> list[str]:
    products = pd.read_parquet(folder / "products.parquet").rename(columns={"item_id": "sku"})
    products = (
        products.assign(sku=products["sku"].astype(str)).drop_duplicates("sku")[["sku", "category"]].dropna()
    )
    stores = pd.read_parquet(folder / "stores.parquet").assign(store_id=lambda f: f["store_id"].astype(str))
    large = stores["chain"].value_counts().head(4).index
    clusters = stores.assign(store_cluster=stores["chain"].where(stores["chain"].isin(large), "other"))
    raw = raw.assign(store_id=raw["store_id"].astype(str), sku=raw["item_id"].astype(str))
    sales = (
        raw.groupby(["store_id", "sku", "period"], as_index=False)["bottles"]
        .sum()
        .rename(columns={"bottles": "units"})
    )
    pairs = sales.groupby(["store_id", "sku"])["period"].agg(first_period="min", last_period="max", n="size")
    listings = pairs[pairs["n"] >= 4].reset_index()
    weekly = pd.read_parquet(folder / "item_price_week_2019_2021.parquet")
    weekly = weekly[weekly["promo"] & (weekly["discount"] < 0.5)]
    weekly = weekly.assign(
        sku=weekly["item_id"].astype(str), period=period_of(pd.to_datetime(weekly["week"]))
    )
    cuts = weekly.groupby(["sku", "period"], as_index=False)["discount"].agg(["sum", "max"]).reset_index()
    weeks = weekly.groupby("period")["week"].nunique()
    depth = cuts["sum"] / cuts["period"].map(weeks) if dip == "depth" else cuts["max"]
    offers = cuts.assign(store_id=None, depth=depth.round(2), display=False, mailer=False)
    offers = offers[offers["depth"] >= 0.02]
    watch = Watch()
    panel = build(sales, offers, listings, clusters[["store_id", "store_cluster"]], products)
    response = fit(panel, dip_form=dip)
    taken = watch.words()
    lines = [
        "State of Iowa open data: orders by retailers from the state, not till sales; price cuts are the state's,",
        "",
    ]
    lines[0] += " the same in every store."
    lines += report(response, panel, holdout(panel, dip_form=dip), taken)
    after = response.means[response.means["term"] == "dip"]
    if dip == "depth" and len(after):
        lines += [
            "",
            f"Forward buying: the month after a cut of 10%, orders change by "
            f"{np.expm1(-after['estimate'].median() * np.log(0.9)):+.1%} in the median category.",
        ]
    return lines


def stores() -> list[str]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "truth"))
    from test_promotions_beyond_truth import juice

    from geomarket.promotions import fit_store_response

    rows = []
    for seed in range(12):
        tables, truth = juice(seed)
        watch = Watch()
        response = fit_store_response(*tables)
        seconds = watch.words()
        price = response.table[response.table["term"] == "price"]
        real = np.array([truth.loc[store, sku] for store, sku in zip(price["store_id"], price["sku"])])
        common = price["store_cluster"].map(
            response.means[response.means["term"] == "price"].set_index("store_cluster")["estimate"]
        )
        error = [
            float(np.sqrt(np.nanmean((v - real) ** 2))) for v in (price["raw"], common, price["estimate"])
        ]
        means = response.means.groupby("term")["estimate"].mean()
        covered = ((price["low"] <= real) & (real <= price["high"])).mean()
        rows.append(
            (*error, covered, means["display"], means["mailer"], means["dip"], means.get("cross", np.nan))
        )
    names = ["own", "pooled", "shrunk", "coverage of 90%", "display", "leaflet", "dip", "cross-price"]
    frame = pd.DataFrame(rows, columns=names)
    mean = pd.DataFrame([frame.mean().round(3), frame.std().round(3)]).round(3)
    mean.insert(0, "12 worlds", ["mean", "standard deviation"])
    return [
        "83 stores x 11 brands x 121 weeks, elasticities of stores spread by 0.5 around their SKU's mean in the cluster",
        "(true: display 0.35, leaflet 0.60, dip -0.15, cross-price 0). Error: root mean square of the price elasticity.",
        "",
        *table(mean),
        "",
        f"One fit: {seconds}.",
    ]


def planner() -> list[str]:
    from geomarket.assortment import SolverOptions
    from geomarket.promotions import PromotionResponse, PromotionRules, plan_promotions

    rows = []
    sizes = ((5, (0.2,)), (6, (0.1, 0.15, 0.2, 0.3)))
    for (categories, depth), seed, budget in itertools.product(sizes, (1, 2), (float("inf"), 20_000.0)):
        rng = np.random.default_rng(seed)
        clusters, skus_each, n_periods = 10, 15, 26
        skus = [f"c{c}k{k}" for c in range(categories) for k in range(skus_each)]
        effects = {"price": -3.5, "display": 0.3, "mailer": 0.4, "dip": -0.1}
        lines = [
            (f"C{g}", f"c{c}", term, value * rng.uniform(0.7, 1.3), 0.1)
            for g in range(clusters)
            for c in range(categories)
            for term, value in effects.items()
        ]
        found = pd.DataFrame(lines, columns=["store_cluster", "category", "term", "estimate", "se"])
        depths = pd.DataFrame(
            {"category": [f"c{c}" for c in range(categories)], "shallowest": 0.05, "deepest": 0.4}
        )
        response = PromotionResponse(found, pd.DataFrame(), pd.DataFrame(), (), depths)
        price, share = rng.uniform(2, 9, len(skus)), rng.uniform(0.35, 0.6, len(skus))
        demand = pd.DataFrame(
            [
                (f"s{g}", s, s[:2], u)
                for g in range(clusters)
                for s, u in zip(skus, rng.lognormal(3, 1, len(skus)))
            ],
            columns=["store_id", "sku", "category", "units"],
        )
        demand["margin"] = demand["units"] * demand["sku"].map(dict(zip(skus, price * share)))
        demand["listed"] = True
        products = pd.DataFrame({"sku": skus, "name": skus, "price": price})
        stores_of = pd.DataFrame({"store_id": [f"s{g}" for g in range(clusters)]})
        stores_of["store_cluster"] = [f"C{g}" for g in range(clusters)]
        watch = Watch()
        plan = plan_promotions(
            response,
            demand,
            products,
            stores_of,
            PromotionRules(
                depths=depth,
                budget=budget,
                channel_budgets={} if np.isinf(budget) else {"mailer": 0.3 * budget},
                funding_share=0.6,
                confidence=0.5,
            ),
            periods=pd.date_range("2025-01-06", periods=n_periods, freq="7D"),
            solver=SolverOptions(gap=1e-3, time_limit=120),
        )
        line = plan.solver.iloc[0]
        rows.append(
            (
                f"{clusters * len(skus) * n_periods * len(depth) * 3:,}",
                seed,
                "none" if np.isinf(budget) else f"{budget:,.0f}, 30% of it for leaflets",
                f"{int(line['columns']):,}",
                f"{line['gap']:.3%}",
                line["status"],
                f"{line['worst_violation']:.1e}",
                watch.words(),
            )
        )
    names = ["options", "seed", "budget", "options left", "gap", "status", "worst violation", "time"]
    return [
        "10 clusters x 75 SKUs x 26 weeks x 1 depth x 3 channels, and x 90 SKUs and 4 depths: every option is valued, "
        "those that don't pay or are beaten outright are left out, the rest are binaries. Gap asked for: 0.1%.",
        "",
        *table(pd.DataFrame(rows, columns=names)),
    ]


PARTS = {
    "journey": ("A grocer's panel: The Complete Journey", journey, True),
    "week": ("Spirits in central Iowa by the week", iowa_week, True),
    "month": ("Spirits in the whole state by the month", iowa_month, True),
    "stores": ("Store by store: accuracy, coverage, time", stores, False),
    "planner": ("The planner at scale", planner, False),
}


def run(part: str) -> list[str]:
    command = [sys.executable, "-W", "ignore", __file__, "--child", part]
    child = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    if child.returncode:
        raise SystemExit(f"{part}: {child.stderr[-3000:]}")
    return list(json.loads(child.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables to benchmarks/results")
    parser.add_argument("--only", choices=list(PARTS), action="append")
    parser.add_argument("--child", choices=list(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        warnings.simplefilter("ignore")
        print(json.dumps(PARTS[options.child][1]()))
        return
    sections = _kept() if options.only else {}
    for part in options.only or PARTS:
        title, _, needs_data = PARTS[part]
        if needs_data and not os.environ.get("GEOMARKET_DATA"):
            sections.setdefault(title, ["Not run: GEOMARKET_DATA is not set."])
            continue
        sections[title] = run(part)
        print("\n".join([f"## {title}", "", *sections[title], ""]), flush=True)
        if options.write:
            lines = ["# Promotions", "", *machine_lines(), ""]
            for name in (known for known, _, _ in PARTS.values()):
                lines += [f"## {name}", "", *sections[name], ""] if name in sections else []
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _kept() -> dict[str, list[str]]:
    """Sections of the last results, to which single parts are added."""
    if not RESULTS.exists():
        return {}
    sections: dict[str, list[str]] = {}
    for block in RESULTS.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, body = block.partition("\n")
        sections[title] = body.strip().split("\n")
    return sections


if __name__ == "__main__":
    main()
