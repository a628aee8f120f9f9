"""Which offers to run, where and when, within a budget."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.amounts import as_money
from geomarket.assortment.milp import LinearProgram, ProgramBuilder
from geomarket.assortment.solving import SolverOptions, SolverResult, clashing_groups
from geomarket.assortment.worker import solve
from geomarket.errors import InfeasibleError, SolverError, TableError
from geomarket.promotions.checks import check_promotions
from geomarket.promotions.economics import MONEY_COLUMNS, money, offer_options
from geomarket.promotions.plan import PromotionPlan
from geomarket.promotions.response import PromotionResponse
from geomarket.promotions.rules import PromotionRules
from geomarket.promotions.search import OfferSearch

__all__ = ["PromotionPlan", "plan_promotions"]

_PLACE = ("store_cluster", "sku", "t", "channel")

_log = logging.getLogger(__name__)

PLAN_COLUMNS = [
    "store_cluster",
    "sku",
    "name",
    "category",
    "period",
    "depth",
    "mechanic",
    "channel",
    "stores",
    "uplift_units",
    "baseline_units",
    *MONEY_COLUMNS,
    "cost",
    "net",
    "net_low",
    "chance",
    "promised",
    "offer_price",
    "reason",
]
#: Draws of the response behind the plan's total.
DRAWS = 400
#: Draws worked out at a time.
CHUNK = 50


def plan_promotions(
    response: PromotionResponse,
    demand: pd.DataFrame,
    products: pd.DataFrame,
    clusters: pd.DataFrame,
    rules: PromotionRules | None = None,
    *,
    periods: Sequence[Any],
    season: pd.DataFrame | None = None,
    listings: pd.DataFrame | None = None,
    solver: SolverOptions | None = None,
    random_state: int = 0,
    currency: str = "",
) -> PromotionPlan:
    """Choose offers (SKU, store cluster, period, depth, mechanic, channel) that bring the most net margin.

    Net is the margin of extra units, less the price cut on units that would have sold anyway, the margin taken from
    other SKUs of the category, and the dip afterwards, plus what other categories gain, the supplier's funding, less
    contact cost. An offer whose chance to bring something net is below ``rules.confidence`` is never planned, so
    the plan may be empty; only offers promised to vendors are planned whatever they bring. Depths are only planned
    between the shallowest and the deepest price cut seen in the category.

    Parameters
    ----------
    response : PromotionResponse
        Effects by store cluster and category, from :func:`fit_response`.
    demand : DataFrame
        store_id, sku, category, units, margin (per period), and listed (bool) unless ``listings`` is given.
    products : DataFrame
        sku, name, price; category, the vendors' column and the attributes of bans where rules name them.
    clusters : DataFrame
        store_id, store_cluster.
    rules : PromotionRules, optional
        What may be promoted, how often, for how much.
    periods : sequence of dates
        Periods to plan, in order.
    season : DataFrame, optional
        category, period, index: multiplier of the mean units; 1 where not given.
    listings : DataFrame, optional
        store_id, sku: the ranges on the shelf in the horizon (the planned ones, for example).
    solver : SolverOptions, optional
        Gap, time limit, seed.
    random_state : int
        Seed of the draws behind the plan's interval.
    currency : str
        Sign written before amounts in reasons and summary.

    Returns
    -------
    PromotionPlan

    Raises
    ------
    TableError
        If a table lacks a column.
    SettingsError
        If a rule names what does not exist.
    InfeasibleError
        If no plan keeps every rule (only promises to vendors can make it so); the message names those that clash.
    SolverError
        If no plan was found in time or the one found breaks a rule.

    Notes
    -----
    Promotion planning as an integer program: Cohen, Leung, Panchamgam, Perakis and Smith (2017), The impact of
    linear optimization on promotion planning.
    """
    rules = rules or PromotionRules()
    options = solver or SolverOptions()
    calendar = [pd.Timestamp(period) for period in periods]
    if not calendar or len(set(calendar)) < len(calendar):
        raise TableError("periods: give at least one period to plan, each once.")
    if "category" not in products:
        products = products.merge(demand[["sku", "category"]].drop_duplicates("sku"), on="sku", how="left")
    rules.check_names(products, sorted({response.base, *response.mechanics["mechanic"].astype(str)}))
    base, earned, refusals = _baseline(response, demand, products, clusters, listings, rules)
    rise = _season_table(season, earned["category"], calendar)
    gains = _gains(response, earned) if rules.halo else None
    offers = _options(base, response, rules, calendar, rise, gains, products, refusals)
    program, columns = promotion_program(offers, rules, len(calendar))
    result = solve(program, options, OfferSearch.of(offers, rules))
    if result.x is None:
        raise _no_plan(program, result, rules, options)
    chosen = offers[result.x[columns] > 0.5] if len(offers) else offers
    checks = check_promotions(chosen, rules, result.objective, calendar, products, response.base)
    broken = checks[checks["worst_violation"] > 1e-6]
    if len(broken):
        raise SolverError(
            f"promotions: the solver's plan breaks {', '.join(broken['rule'])}; it is not used."
        )
    table = chosen.sort_values(["store_cluster", "t", "category", "sku"], kind="stable", ignore_index=True)
    priced = np.where(table["mechanic"] == response.base, table["price"] * (1 - table["depth"]), np.nan)
    table = table.assign(offer_price=priced, reason=_reasons(table, response, currency))
    related = response.relationship
    estimated = set() if related is None else set(related.cannibalisation["category"])
    mine = set(base["category"])
    return PromotionPlan(
        table=table[PLAN_COLUMNS],
        solver=_solver_frame(result, checks),
        checks=checks,
        refusals=pd.DataFrame(refusals, columns=["scope", "reason"]),
        rules=rules,
        risk=_plan_risk(table, response, rules, gains, rise, random_state),
        sources={
            "cannibalisation": tuple(sorted(estimated & mine)),
            "categories": len(mine),
            "halo": 0 if gains is None else len(gains[["category", "gains"]].drop_duplicates()),
        },
        currency=currency,
    )


def _no_plan(
    program: LinearProgram, result: SolverResult, rules: PromotionRules, options: SolverOptions
) -> SolverError:
    """Say why there is no plan: rules that clash, or too little time."""
    if result.status != "infeasible" and not rules.vendor_minimums:
        return SolverError(f"promotions: no plan found in {options.time_limit:.0f} s. Raise the time limit.")
    clash = clashing_groups(program, options)
    if not clash:
        return SolverError(f"promotions: no plan found in {options.time_limit:.0f} s. Raise the time limit.")
    words = ", ".join(dict.fromkeys(f"{rule} {scope}".strip() for rule, scope in clash))
    return InfeasibleError(
        f"promotions: no plan keeps these rules together: {words}. Promise fewer offers, or loosen one of the others."
    )


def _gains(response: PromotionResponse, earned: pd.DataFrame) -> pd.DataFrame | None:
    """Known effects on other categories with what those earn in a usual period of each store cluster."""
    if response.relationship is None:
        return None
    known = response.relationship.table
    known = known[known["known"]]
    if known.empty:
        return None
    wide = known.pivot(index=["category", "gains"], columns="kind", values="estimate")
    wide = wide.reindex(columns=["units", "mailer"]).fillna(0.0).reset_index()
    margin = earned.rename(columns={"category": "gains"})[["store_cluster", "gains", "margin"]]
    return wide.merge(margin, on="gains").sort_values(
        ["store_cluster", "category", "gains"], ignore_index=True
    )


def _plan_risk(
    table: pd.DataFrame,
    response: PromotionResponse,
    rules: PromotionRules,
    gains: pd.DataFrame | None,
    season: pd.DataFrame,
    random_state: int,
) -> dict[str, float]:
    """Net of the plan over draws of the response."""
    if table.empty:
        return {}
    rng = np.random.default_rng(random_state)
    keys = pd.MultiIndex.from_frame(table[["store_cluster", "category"]])
    errors = response.errors().reindex(keys)
    category = pd.factorize(table["category"], sort=True)[0]
    dip_error = errors["dip"].fillna(0.0).to_numpy()
    cut = np.log1p(-table["depth"].to_numpy(dtype=float))
    dip_error = dip_error if response.dip_form == "after" else -dip_error * cut
    lift, spread = table["log_lift"].to_numpy(), table["log_error"].to_numpy()
    nets = []
    for _ in range(DRAWS // CHUNK):
        draws = rng.normal(size=(CHUNK, 2, int(category.max()) + 1))
        drawn = money(
            table,
            lift + draws[:, 0][:, category] * spread,
            np.minimum(table["log_dip"].to_numpy() + draws[:, 1][:, category] * dip_error, 0.0),
            rules,
            gains,
            season,
        )
        nets.append(drawn["net"].sum(axis=1))
    net = np.concatenate(nets)
    low, median, high = np.quantile(net, [0.05, 0.5, 0.95])
    return {
        "low": float(low),
        "median": float(median),
        "high": float(high),
        "chance": float((net > 0).mean()),
    }


def _baseline(
    response: PromotionResponse,
    demand: pd.DataFrame,
    products: pd.DataFrame,
    clusters: pd.DataFrame,
    listings: pd.DataFrame | None,
    rules: PromotionRules,
) -> tuple[pd.DataFrame, pd.DataFrame, list[tuple[str, str]]]:
    """Units a period, unit margin and stores of each SKU listed in each cluster, and what each category earns."""
    listed = [] if listings is not None else ["listed"]
    for table, frame, needed in (
        ("demand", demand, ["store_id", "sku", "category", "units", "margin", *listed]),
        ("products", products, ["sku", "name", "price"]),
        ("clusters", clusters, ["store_id", "store_cluster"]),
    ):
        missing = [column for column in needed if column not in frame]
        if missing:
            raise TableError(
                f"{table}: no column {', '.join(missing)}. Its columns are {', '.join(map(str, frame.columns))}."
            )
    if listings is not None:
        on_shelf = demand.merge(listings[["store_id", "sku"]].drop_duplicates(), on=["store_id", "sku"])
    else:
        on_shelf = demand[demand["listed"].astype(bool)]
    on_shelf = on_shelf.merge(clusters[["store_id", "store_cluster"]], on="store_id").dropna(
        subset=["units", "margin"]
    )
    base = on_shelf.groupby(["store_cluster", "category", "sku"], as_index=False).agg(
        baseline=("units", "sum"), margin=("margin", "sum"), stores=("store_id", "nunique")
    )
    earned = base.groupby(["store_cluster", "category"], as_index=False)[["baseline", "margin"]].sum()
    more = [rules.vendor_column] if rules.vendor_minimums else []
    base = base.merge(products[["sku", "name", "price", *more]], on="sku", how="left")
    refusals: list[tuple[str, str]] = []
    unpriced = ~(base["price"] > 0)
    for sku in sorted(base.loc[unpriced, "sku"].unique()):
        refusals.append((str(sku), "no price above 0"))
    base = base[~unpriced & (base["baseline"] > 0)].copy()
    base["unit_margin"] = base["margin"] / base["baseline"]
    sums = base.groupby(["store_cluster", "category"])[["margin", "baseline"]].transform("sum")
    others = sums["baseline"] - base["baseline"]
    base["others_margin"] = np.where(
        others > 0, (sums["margin"] - base["margin"]) / others.where(others > 0), 0.0
    )
    base["category_units"] = sums["baseline"]
    base["cannibalisation"] = rules.cannibalisation
    if response.relationship is not None:
        share = response.relationship.cannibalisation.set_index("category")["share"]
        base["cannibalisation"] = base["category"].map(share).fillna(rules.cannibalisation)
    base["vendor"] = base[rules.vendor_column].astype(str) if rules.vendor_minimums else ""
    known = set(zip(response.table["store_cluster"], response.table["category"]))
    mine = list(zip(base["store_cluster"], base["category"]))
    for cluster, category in sorted(set(mine) - known):
        refusals.append((f"{category} in {cluster}", "no response could be estimated"))
    return base[[pair in known for pair in mine]].reset_index(drop=True), earned, refusals


def _season_table(season: pd.DataFrame | None, category: pd.Series, calendar: list[Any]) -> pd.DataFrame:
    """Multipliers by category; the period after the horizon is taken as the last one."""
    categories = sorted(category.unique())
    table = pd.DataFrame(1.0, index=categories, columns=range(len(calendar) + 1))
    if season is not None:
        dated = season.assign(period=pd.to_datetime(season["period"]))
        wide = dated.pivot(index="category", columns="period", values="index")
        wide = wide.reindex(index=categories, columns=calendar)
        table.iloc[:, :-1] = wide.fillna(1.0).to_numpy()
        table.iloc[:, -1] = table.iloc[:, -2]
    return table


def _options(
    base: pd.DataFrame,
    response: PromotionResponse,
    rules: PromotionRules,
    calendar: list[Any],
    season: pd.DataFrame,
    gains: pd.DataFrame | None,
    products: pd.DataFrame,
    refusals: list[tuple[str, str]],
) -> pd.DataFrame:
    """Options that are allowed and pay (or were promised), none beaten outright by another on its channel.

    Made category by category: a large chain has tens of millions, of which few are left.
    """
    kept, tally = [], _Tally(rules, refusals)
    for _, mine in base.groupby("category", sort=True) if len(base) else [("", base)]:
        offers = offer_options(mine, response, rules, calendar, season, gains)
        gone = _not_allowed(offers, response, rules, calendar, products, refusals)
        allowed = ~np.logical_or.reduce(list(gone.values()))
        tally.add(offers, allowed, gone)
        promised = offers["vendor"].astype(str).isin(tally.vendors).to_numpy()
        pays = (
            (offers["net"] > 0) & (offers["uplift_units"] > 0) & (offers["chance"] >= rules.confidence)
        ).to_numpy()
        kept.append(_undominated(offers.assign(promised=~pays)[allowed & (pays | promised)]))
    tally.tell()
    offers = pd.concat(kept, ignore_index=True)
    return offers.sort_values([*_PLACE, "depth", "mechanic"], ignore_index=True)


def _not_allowed(
    offers: pd.DataFrame,
    response: PromotionResponse,
    rules: PromotionRules,
    calendar: list[Any],
    products: pd.DataFrame,
    refusals: list[tuple[str, str]],
) -> dict[str, npt.NDArray[np.bool_]]:
    """Say of each option of a category which rules it breaks."""
    seen = response.depths.assign(category=response.depths["category"].astype(str)).set_index("category")
    outside = ~offers["seen"].to_numpy(dtype=bool)
    usual = outside & (offers["mechanic"] == response.base).to_numpy()
    # With price endings single SKUs may miss a depth that others of the category have.
    usual &= pd.Series(outside).groupby([offers["category"], offers["target"]]).transform("all").to_numpy()
    for category, depth in sorted(set(zip(offers.loc[usual, "category"], offers.loc[usual, "target"]))):
        seen_words = f"{seen['shallowest'][category]:.0%} to {seen['deepest'][category]:.0%}"
        refusals.append((f"{category} at {depth:.0%} off", f"outside the price cuts seen ({seen_words})"))
    gone = {
        "depths never seen": outside,
        "the deepest price cut allowed": (
            offers["depth"] > rules.deepest(offers["category"]) + 1e-9
        ).to_numpy(),
        "blackouts": rules.blacked_out(offers, calendar),
    }
    return gone | {f"the ban {ban.name!r}": ban.hits(offers, products) for ban in rules.bans}


def _undominated(offers: pd.DataFrame) -> pd.DataFrame:
    """Leave out options that a cheaper one on the same channel beats."""
    place = list(_PLACE)
    order = offers.sort_values(["cost", "net"], ascending=[True, False], kind="stable")
    best_cheaper = order.groupby(place)["net"].cummax()
    before = best_cheaper.groupby([order[c] for c in place]).shift()
    return order[~(before >= order["net"])]


class _Tally:
    """Counts, over the categories, what bans take out and what is left of each promise to a vendor."""

    def __init__(self, rules: PromotionRules, refusals: list[tuple[str, str]]) -> None:
        self.rules, self.refusals = rules, refusals
        self.vendors = [vendor for vendor, least in rules.vendor_minimums.items() if least > 0]
        self.banned = {f"the ban {ban.name!r}": 0 for ban in rules.bans}
        self.left = dict.fromkeys(rules.vendor_minimums, 0)
        self.causes: dict[str, dict[str, int]] = {vendor: {} for vendor in rules.vendor_minimums}

    def add(
        self, offers: pd.DataFrame, allowed: npt.NDArray[np.bool_], gone: dict[str, npt.NDArray[np.bool_]]
    ) -> None:
        """Count one category's options."""
        for name in self.banned:
            self.banned[name] += int(gone[name].sum())
        for vendor in self.left:
            mine = (offers["vendor"] == vendor).to_numpy()
            self.left[vendor] += len(
                offers.loc[mine & allowed, ["store_cluster", "sku", "t"]].drop_duplicates()
            )
            for name, hit in gone.items():
                self.causes[vendor][name] = self.causes[vendor].get(name, 0) + int((hit & mine).sum())

    def tell(self) -> None:
        """Note the bans; raise where fewer offers of a vendor are left than it was promised."""
        self.refusals += [(name, f"{n:,} possible offers left out") for name, n in self.banned.items() if n]
        for vendor, promised in self.rules.vendor_minimums.items():
            if self.left[vendor] >= promised:
                continue
            causes = [f"{name} ({n:,})" for name, n in self.causes[vendor].items() if n]
            why = (
                f"; possible offers taken out by {', '.join(causes)}"
                if causes
                else "; it has no SKU with a response"
            )
            raise InfeasibleError(
                f"promotions: vendor {vendor} was promised {promised} offers, but only {self.left[vendor]} can be "
                f"made{why}. Promise fewer, or loosen one of these rules."
            )


def promotion_program(
    offers: pd.DataFrame, rules: PromotionRules, n_periods: int
) -> tuple[LinearProgram, npt.NDArray[np.int64]]:
    """Write the choice of offers as a mixed-integer program, one binary per option."""
    builder = ProgramBuilder()
    x = builder.columns(offers["net"].to_numpy(dtype=float))
    sku = np.asarray(offers.groupby(["store_cluster", "sku"], sort=False).ngroup(), dtype=np.int64)
    t = offers["t"].to_numpy(dtype=np.int64)
    builder.group_rows(x, sku * n_periods + t, 1, rule="one offer")
    for start in range(n_periods if rules.spacing > 1 else 0):
        window = (t >= start) & (t < start + rules.spacing)
        builder.group_rows(x[window], sku[window], 1, rule="spacing")
    builder.group_rows(x, sku, rules.max_per_sku, rule="max_per_sku")
    slot = np.asarray(offers.groupby(["store_cluster", "category", "t"], sort=False).ngroup(), dtype=np.int64)
    builder.group_rows(x, slot, rules.max_per_category_period, rule="max_per_category_period")
    channel = offers["channel"].to_numpy()
    for name, most in rules.channel_slots.items():
        on = channel == name
        builder.group_rows(x[on], slot[on], most, rule=f"slots on {name}")
    cost = offers["cost"].to_numpy(dtype=float)
    if math.isfinite(rules.budget) and len(offers):
        builder.rows(x, cost, rule="budget", upper=rules.budget)
    for name, money_left in rules.channel_budgets.items():
        on = channel == name
        if math.isfinite(money_left) and on.any():
            builder.rows(x[on], cost[on], rule="budget of the channel", scope=name, upper=money_left)
    for vendor, least in rules.vendor_minimums.items():
        mine = (offers["vendor"] == vendor).to_numpy()
        if least > 0 and mine.any():
            builder.rows(x[mine], 1.0, rule="promise to vendor", scope=vendor, lower=least)
        # Offers that would not be planned for their own sake serve the promise and no more.
        forced = mine & offers["promised"].to_numpy(dtype=bool) if "promised" in offers else mine & False
        if forced.any():
            builder.rows(x[forced], 1.0, rule="no more than promised to vendor", scope=vendor, upper=least)
    return builder.compile(), x


def _solver_frame(result: SolverResult, checks: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "status": result.status,
                "objective": result.objective,
                "bound": result.bound,
                "lp_bound": result.lp_bound,
                "gap": result.gap,
                "seconds": result.seconds,
                "columns": result.n_columns,
                "rows": result.n_rows,
                "constraints_checked": int(checks["checked"].sum()),
                "worst_violation": float(checks["worst_violation"].max()),
            }
        ]
    )


def _reasons(table: pd.DataFrame, response: PromotionResponse, currency: str) -> list[str]:
    price = response.table[response.table["term"] == "price"]
    here = price.set_index(["store_cluster", "category"])["estimate"].to_dict()
    usual = price.groupby("category")["estimate"].median().to_dict()
    shown = {"shelf": "", "display": " with a display", "mailer": " with the leaflet"}
    columns = ["store_cluster", "category", "depth", "mechanic", "channel", "uplift_units", "baseline_units"]
    columns += ["incremental_margin", "subsidised", "net", "chance", "promised"]
    reasons = []
    for (
        cluster,
        category,
        depth,
        mechanic,
        channel,
        uplift,
        baseline,
        earned,
        subsidised,
        net,
        chance,
        promised,
    ) in zip(*(table[column].tolist() for column in columns)):
        own, median = here[cluster, category], usual[category]
        if median < 0 and abs(own / median - 1) > 0.1:
            degree = "more" if own < median else "less"
            tone = f"{degree} price-sensitive than the median cluster ({own:.1f} against {median:.1f})"
        else:
            tone = f"price elasticity {own:.1f}, about the median cluster's"
        risk = f"; {chance:.0%} sure to pay" if chance < 0.95 else ""
        risk = "; planned because its vendor was promised it" if promised else risk
        kind = "" if mechanic == response.base else f" as {mechanic}"
        reasons.append(
            f"{depth:.0%} off{kind}{shown[channel]} lifts units by {uplift / baseline:.0%}; {tone}; extra units earn "
            f"{as_money(earned, currency)}, price cuts on sales it would have made anyway cost "
            f"{as_money(subsidised, currency)}; net {as_money(net, currency)}{risk}"
        )
    return reasons
