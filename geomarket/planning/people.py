"""The people stage: what customers are worth, whom to talk to, whom not to hurt, and where more of them live.

Everything a :class:`People` holds is fit to publish: figures about few people are hidden when it is made.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from geomarket import engine
from geomarket.assortment import RangePlan
from geomarket.catchments import Catchments
from geomarket.customers import (
    CustomerValue,
    LifetimeValue,
    Penetration,
    basket_associations,
    channel_preference,
    channel_response,
    check_lifetime,
    index_interval,
    lifetime_value,
    place_customers,
    quadrants,
    relationship_value,
    score_prospects,
    value_customers,
    worth_contacting,
)
from geomarket.errors import FitWarning, NotSupportedError, SolverError, TableError
from geomarket.hexes import Hexes
from geomarket.market import Market, PlanSettings
from geomarket.neighbourhoods import Neighbourhoods
from geomarket.planning.people_result import COLUMNS, People, empty_part, people_tables
from geomarket.safeguards import contact_list, suppress
from geomarket.safeguards.published import COUNT

__all__ = ["People", "describe_people", "people_tables", "try_people"]

ALL = "all"
NO_TYPE = "none"
# only sums and calibration are published, never one customer's interval: few draws do
DRAWS = 50
RELIES = 0.5
MIN_WEEKS = 12
ITEMS = ("category", "subcategory", "sku")


@dataclass
class _Work:
    """What the parts share, and what they say."""

    market: Market
    settings: PlanSettings
    totals: pd.DataFrame
    n_people: int
    placed: pd.DataFrame
    types: pd.Series
    shown: Penetration
    parts: dict[str, pd.DataFrame] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def k(self) -> int:
        """The privacy threshold."""
        return self.settings.privacy.k

    @cached_property
    def by_category(self) -> pd.DataFrame:
        """What each customer bought by category, counted once for all parts."""
        assert self.market.baskets is not None
        return engine.customer_category(
            self.market.baskets, self.market.products, figures=[self.measure, "units"], coded=True
        )

    @property
    def measure(self) -> str:
        """What value is counted in: margin, or revenue where no cost is known."""
        return "margin" if self.totals["margin"].notna().any() else "revenue"

    @property
    def shown_types(self) -> pd.DataFrame:
        """Types whose count of customers is published."""
        return self.shown.table.dropna(subset=[COUNT])

    def part(self, name: str, work: Callable[[], None]) -> None:
        """Do one part; what the data can't support is told."""
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", FitWarning)
                work()
            told = [str(w.message) for w in caught if issubclass(w.category, FitWarning)]
            self.notes += [f"{name[:1].upper()}{name[1:]}: {text}" for text in told]
        except (NotSupportedError, SolverError, TableError) as reason:
            self.skipped[name] = str(reason)


def describe_people(
    market: Market,
    hexes: Hexes,
    neighbourhoods: Neighbourhoods,
    shown: Penetration,
    catchments: Catchments | None,
    ranges: RangePlan | None,
    settings: PlanSettings,
) -> People:
    """Work out what customers are worth, by whom they are reached, and where more of them live.

    Parameters
    ----------
    market : Market
        With customers and baskets.
    hexes, neighbourhoods, catchments, ranges
        The stages' results.
    shown : Penetration
        Already suppressed: types it hides are hidden here too.
    settings : PlanSettings
        Sections customers, privacy and targeting (costs of a contact).

    Returns
    -------
    People

    Raises
    ------
    NotSupportedError
        No customers, or no baskets.
    """
    if market.customers is None:
        raise NotSupportedError("no table of customers was given")
    if market.baskets is None:
        raise NotSupportedError("no baskets were given: what customers are worth is not known")
    placed = place_customers(market.customers, hexes.resolution, hexes.table["cell"]).table
    types = placed.set_index("customer_id")["cell"].map(
        neighbourhoods.table.set_index("cell")["neighbourhood"]
    )
    totals = engine.customer_totals(market.baskets, market.products)
    if totals.empty:
        raise NotSupportedError("no customer has a basket")
    idle = len(market.customers) - len(totals)
    # how many have no basket must not be the difference of two published totals
    n_people = len(market.customers) if 0 < idle < settings.privacy.k else len(totals)
    work = _Work(market, settings, totals, n_people, placed, types, shown)
    if n_people > len(totals):
        work.notes.append("A few customers without a basket count among the light ones.")
    chosen = settings.customers
    value = value_customers(totals, chosen.as_of, chosen.heavy_share, chosen.medium_share)
    _segments(work, value)
    measure = work.measure
    lifetimes: list[LifetimeValue] = []
    work.part("lifetime value", lambda: lifetimes.append(_lifetime(work)))
    work.part("calibration of lifetime value", lambda: _calibration(work))
    if lifetimes:
        work.part("who is worth contacting", lambda: _worth(work, lifetimes[0]))
    work.part("whole relationship", lambda: _relationship(work, ranges, measure))
    work.part("channels", lambda: _channels(work))
    work.part("consent", lambda: _consent(work))
    if market.contacts is not None and len(market.contacts):
        work.part("answers to contacts", lambda: _response(work))
    work.part("quadrants", lambda: _quadrants(work))
    if chosen.prospects:
        work.part("prospects", lambda: _prospects(work, hexes, neighbourhoods, catchments, value))
    if chosen.associations:
        work.part("what goes together", lambda: _associations(work))
    return People(
        **{name: work.parts.get(name, empty_part(name)) for name in COLUMNS},
        k=work.k,
        measure=measure,
        horizon_months=chosen.horizon_months,
        with_baskets=n_people,
        words=tuple(work.words),
        notes=tuple(work.notes),
        skipped=work.skipped,
    )


def _blank(frame: pd.DataFrame, columns: Sequence[str], rows: ArrayLike) -> pd.DataFrame:
    """Return a copy with some columns missing in some rows."""
    gone = np.asarray(rows, dtype=bool)
    return frame.assign(**{c: frame[c].astype(float).mask(gone) for c in columns})


def _segments(work: _Work, value: CustomerValue) -> None:
    dependent = ["customer_share", "revenue", "revenue_share", "trips_per_customer"]
    table = value.segments.copy()
    trips = table[COUNT] * table["trips_per_customer"]
    table.loc[table["segment"] == "light", COUNT] += work.n_people - len(work.totals)
    table["customer_share"] = table[COUNT] / work.n_people
    table["trips_per_customer"] = trips / table[COUNT].where(table[COUNT] > 0)
    hidden = suppress(table, COUNT, work.k, dependent=dependent).table
    work.parts["segments"] = hidden.drop(columns="suppressed")
    if hidden[COUNT].notna().all():
        heavy = hidden.set_index("segment").loc["heavy"]
        work.words.append(
            f"{work.n_people:,} customers up to {value.as_of:%d %b %Y}: {heavy['customer_share']:.0%} of them are "
            f"heavy and bring {heavy['revenue_share']:.0%} of the revenue."
        )


def _lifetime(work: _Work) -> LifetimeValue:
    chosen = work.settings.customers
    found = lifetime_value(
        work.totals,
        chosen.as_of,
        chosen.horizon_months,
        chosen.discount_rate,
        chosen.confidence,
        DRAWS,
        work.settings.plan.seed,
    )
    tenths = found.deciles.copy()
    tenths.loc[tenths.index[-1], COUNT] += work.n_people - len(work.totals)
    hidden = suppress(tenths, COUNT, work.k, dependent=["value", "share", "cumulative"]).table
    work.parts["deciles"] = hidden.drop(columns="suppressed")
    if work.n_people >= work.k:
        work.parts["lifetime"] = found.totals
        whole = found.totals.set_index("measure").loc["lifetime_value"]
        expected, low, high = (f"{work.market.currency}{whole[c]:,.0f}" for c in ("expected", "low", "high"))
        kind = "revenue" if np.isnan(found.margin_rate) else "margin"
        top = hidden["share"].iloc[0]
        best = f"; the best tenth {top:.0%} of it" if pd.notna(top) else ""
        work.words.append(
            f"Over the next {chosen.horizon_months} months they are expected to bring {expected} of {kind} "
            f"({chosen.confidence:.0%} interval {low} to {high}), discounted{best}."
        )
    work.notes += found.notes
    return found


def _calibration(work: _Work) -> None:
    """Fit on the first half of the window and judge on the second."""
    assert work.market.baskets is not None
    first, last = work.totals["first_date"].min(), work.totals["last_date"].max()
    weeks = (last - first).days / 7
    if weeks < 2 * MIN_WEEKS:
        raise NotSupportedError(
            f"baskets: {weeks:.0f} weeks are too few to hold half of them out ({2 * MIN_WEEKS} are needed)."
        )
    cut = (first + (last - first) / 2).normalize()
    before, after = (
        engine.customer_totals(work.market.baskets, work.market.products, window)
        for window in ((None, cut), (cut, None))
    )
    found = check_lifetime(
        before, after, cut, last + pd.Timedelta(days=1), work.settings.customers.confidence
    )
    table = found.table.rename(columns={"decile": "forecast_decile"})
    hidden = suppress(table, COUNT, work.k, dependent=["predicted", "actual", "low", "high"]).table
    work.parts["calibration"] = hidden.drop(columns="suppressed")
    if hidden[COUNT].notna().all():
        work.words += found.summary()[:1]


def _worth(work: _Work, value: LifetimeValue) -> None:
    """Per channel, with consent only: whom a contact repays, by the whole of what they bring."""
    chosen, customers = work.settings.customers, work.market.customers
    assert customers is not None
    known = customers[customers["customer_id"].isin(value.table["customer_id"])]
    rows = []
    for channel, cost in _contact_costs(work.settings).items():
        if f"consent_{channel}" not in customers:
            continue
        agreed = contact_list(customers, channel, known["customer_id"].tolist())["customer_id"]
        found = worth_contacting(value, cost, chosen.contact_lift, chosen.contact_weeks)
        mine = found[found["customer_id"].isin(agreed)]
        for worth, group in ((True, mine[mine["contact"]]), (False, mine[~mine["contact"]])):
            saved = float(-group["net"].sum())
            rows.append(
                (
                    channel,
                    "worth it" if worth else "not worth it",
                    len(group),
                    cost,
                    group["gain"].sum(),
                    saved,
                )
            )
    if not rows:
        raise NotSupportedError("customers: no consent is known for any channel of [targeting] channels")
    table = pd.DataFrame(rows, columns=list(COLUMNS["worth"]))
    table["saved"] = table["saved"].where(table["contact"] == "not worth it")
    hidden = suppress(table, COUNT, work.k, margins=[("channel",)], dependent=["gain", "saved"]).table.drop(
        columns="suppressed"
    )
    work.parts["worth"] = hidden
    idle = hidden[(hidden["contact"] == "not worth it") & hidden[COUNT].gt(0)]
    currency = work.market.currency
    for row in idle.to_dict("records"):
        work.words.append(
            f"By {row['channel']}, {row[COUNT]:,.0f} customers who agreed are not worth a contact of "
            f"{currency}{row['cost']:.2f}: leaving them out saves {currency}{row['saved']:,.0f} each time."
        )
    work.notes.append(
        f"Worth contacting assumes that a contact raises what a customer buys, all categories together, by "
        f"{chosen.contact_lift:.0%} for {chosen.contact_weeks:g} weeks; only a test with a control group tells."
    )


def _contact_costs(settings: PlanSettings) -> dict[str, float]:
    chosen = settings.targeting
    costs = {"mail": chosen.cost_per_mail, "mobile": chosen.cost_per_mobile, "email": chosen.cost_per_email}
    return {channel: costs[channel] for channel in chosen.channels}


def _relationship(work: _Work, ranges: RangePlan | None, measure: str) -> None:
    """Flag customers small in a category and big overall; say of whom the range plan takes half away."""
    assert work.market.baskets is not None
    found = relationship_value(work.by_category, measure)
    table = found.table.assign(hit=0, value_hit=0.0)
    if ranges is not None and len(found.flags):
        going = ranges.changes.loc[ranges.changes["action"] == "delist", ["store_id", "sku"]]
        lost = engine.trade_on_pairs(work.market.baskets, work.market.products, found.flags, going)
        hit = lost[(lost["on_pairs"] >= RELIES * lost["revenue"]) & (lost["on_pairs"] > 0)]
        hit = hit.merge(found.flags, on=["customer_id", "category"])
        by = hit.groupby("category").agg(hit=("customer_id", "size"), value_hit=("overall", "sum"))
        table["hit"] = table["category"].map(by["hit"]).fillna(0).astype(int)
        table["value_hit"] = table["category"].map(by["value_hit"]).fillna(0.0)
    few = (work.n_people - table[COUNT]).between(1, work.k - 1)
    # those of the flagged whom the plan leaves alone are a group too
    table["hit"] = table["hit"].mask((table["flagged"] - table["hit"]).between(1, work.k - 1)).astype(float)
    parts = {"flagged": ("value_here", "value_overall", "share_overall"), "hit": ("value_hit",)}
    known = table.assign(hit=table["hit"].fillna(0))
    hidden = suppress(known, COUNT, work.k, margins=(), parts=parts).table.drop(columns="suppressed")
    gone = table["hit"].isna() | hidden["flagged"].isna()
    for column in ("hit", "value_hit"):
        hidden[column] = hidden[column].mask(gone)
    columns = [COUNT, *parts, *(c for cs in parts.values() for c in cs)]
    hidden = work.parts["relationship"] = _blank(hidden, columns, few)
    _say_relationship(work, hidden, measure, planned=ranges is not None)


def _say_relationship(work: _Work, table: pd.DataFrame, measure: str, planned: bool) -> None:
    shown = table.dropna(subset=["flagged"])
    if shown.empty or not shown["flagged"].gt(0).any():
        return
    top = shown.sort_values(["value_overall", "category"], ascending=[False, True]).iloc[0]
    currency = work.market.currency
    work.words.append(
        f"Small here, big overall: in {top['category']}, {top['flagged']:,.0f} of {top[COUNT]:,.0f} customers buy "
        f"little but bring {currency}{top['value_overall']:,.0f} of {measure} in all ({top['share_overall']:.1%})."
    )
    if not planned:
        return
    hit, brings = float(shown["hit"].sum()), f"{currency}{shown['value_hit'].sum():,.0f}"
    work.words.append(
        f"{shown['flagged'].sum():,.0f} times a customer is small in a category and big overall. For at least "
        f"{hit:,.0f} of them (who bring {brings} in all) the planned ranges take at least half of what they buy "
        "there out of their stores: they may take something else, or go."
    )


def _channels(work: _Work) -> None:
    """Estimate by what channel each type shops, for types whose count is shown."""
    assert work.market.baskets is not None
    trips = engine.customer_channel_trips(work.market.baskets)
    trips["neighbourhood"] = trips["customer_id"].map(work.types)
    by = trips.groupby(["neighbourhood", "channel"], as_index=False)["trips"].sum()
    by = by[by["neighbourhood"].isin(work.shown_types["neighbourhood"])]
    found = channel_preference(by, unit="neighbourhood")
    table = found.table[["neighbourhood", "channel", "preference"]].copy()
    spread = 1.645 * found.table["sd"]
    table["low"], table["high"] = (
        (table["preference"] - spread).clip(0),
        (table["preference"] + spread).clip(upper=1),
    )
    work.parts["channels"] = table
    top = found.prior.sort_values(["share", "channel"], ascending=[False, True]).iloc[0]
    spread = table.loc[table["channel"] == top["channel"], "preference"]
    work.words.append(
        f"{top['share']:.0%} of trips go by the channel “{top['channel']}”: {spread.min():.0%} to {spread.max():.0%} "
        "from one neighbourhood type to another."
    )


def _consent(work: _Work) -> None:
    """Count who may be reached by which channel, type by type."""
    customers = work.market.customers
    assert customers is not None
    channels = [c for c in ("mail", "mobile", "email") if f"consent_{c}" in customers]
    if not channels:
        raise NotSupportedError(
            "customers: no column of consent (consent_mail, consent_mobile, consent_email)"
        )
    home = customers["customer_id"].map(work.types)
    rows = []
    for channel in channels:
        agreed = contact_list(customers, channel, customers["customer_id"].tolist())["customer_id"]
        yes = customers["customer_id"].isin(agreed)
        by = pd.DataFrame({"neighbourhood": home, COUNT: 1, "reachable": yes.astype(int)})
        rows.append(by.groupby("neighbourhood", as_index=False).sum().assign(consent_channel=channel))
    table = pd.concat(rows, ignore_index=True)
    table = table[table["neighbourhood"].isin(work.shown_types["neighbourhood"])].reset_index(drop=True)
    table["reachable_share"] = table["reachable"] / table[COUNT]
    hidden = suppress(
        table[list(COLUMNS["consent"])],
        COUNT,
        work.k,
        margins=[("consent_channel",)],
        parts={"reachable": ("reachable_share",)},
    ).table
    work.parts["consent"] = hidden.drop(columns="suppressed")


def _response(work: _Work) -> None:
    """Count how contacts were answered; an answer is not an effect."""
    contacts = work.market.contacts
    assert contacts is not None
    rates = channel_response(contacts, confidence=work.settings.customers.confidence).set_index("channel")
    people = contacts.groupby("channel")["customer_id"].nunique()
    answered = contacts[contacts["responded"].astype(bool)].groupby("channel")["customer_id"].nunique()
    table = pd.DataFrame({COUNT: people, "responders": answered.reindex(people.index).fillna(0).astype(int)})
    table = table.join(rates[["contacts", "rate", "low", "high"]]).reset_index(names="contact_channel")
    told = ("rate", "low", "high")
    hidden = suppress(
        table, COUNT, work.k, margins=(), dependent=["contacts", *told], parts={"responders": told}
    ).table
    work.parts["response"] = hidden.drop(columns="suppressed")
    work.notes.append("Answers to contacts are not effects: those who answered may have come anyway.")


def _quadrants(work: _Work) -> None:
    """Place every type by how many of a category's customers it holds, and how well it is penetrated."""
    bought = work.by_category
    customers, categories = bought["customer_id"].cat, bought["category"].cat
    buys = (bought["units"] > 0).to_numpy() & (categories.codes >= 0).to_numpy()
    lives, types = pd.factorize(work.types.reindex(customers.categories).fillna(NO_TYPE))
    shape = (len(types), len(categories.categories))
    place = (lives[customers.codes[buys]], categories.codes[buys])
    counted = np.bincount(np.ravel_multi_index(place, shape), minlength=shape[0] * shape[1]).reshape(shape)
    by = pd.DataFrame(counted, index=pd.Index(types, dtype=object), columns=categories.categories)
    population = work.shown.table.set_index("neighbourhood")["population"]
    wide = by.loc[:, by.any()].reindex([*population.index, NO_TYPE], fill_value=0)
    parts = []
    for category in wide.columns:
        counts = wide[category].to_numpy(dtype=float)
        index, low, high = index_interval(
            counts[:-1], population.to_numpy(), work.settings.customers.confidence
        )
        rows = pd.DataFrame({"neighbourhood": wide.index, "category": category, COUNT: counts})
        rows["customer_share"] = counts / max(counts[:-1].sum(), 1.0)
        for name, values in (("index", index), ("index_low", low), ("index_high", high)):
            rows[name] = np.append(values, np.nan)
        parts.append(rows)
    table = pd.concat(parts, ignore_index=True)
    dependent = ["customer_share", "index", "index_low", "index_high"]
    gone = set(work.shown.table.loc[work.shown.table[COUNT].isna(), "neighbourhood"])
    hidden = suppress(table, COUNT, work.k, margins=[("category",)], dependent=dependent).table
    # a type that is hidden as a whole shows no part of it; its categories hide together, so each is at least two
    also = hidden["neighbourhood"].isin(gone)
    hidden = _blank(hidden, [COUNT, *dependent], also)
    named = [_placed(rows) for _, rows in hidden.drop(columns="suppressed").groupby("category", sort=True)]
    everybody = work.shown.table.assign(category=ALL)[["neighbourhood", "category", COUNT, *dependent]]
    work.parts["quadrants"] = pd.concat([_placed(everybody), *named], ignore_index=True)


def _placed(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the quadrant; a row without a type has none, and does not count as one."""
    rows = rows.reset_index(drop=True)
    typed = rows[rows["neighbourhood"] != NO_TYPE]
    found = quadrants(typed)
    rows["quadrant"] = found["quadrant"].reindex(rows.index)
    rows["certain"] = found["certain"].reindex(rows.index).fillna(False).astype(bool)
    rows.loc[rows["neighbourhood"] == NO_TYPE, "customer_share"] = np.nan
    return rows[list(COLUMNS["quadrants"])]


def _prospects(
    work: _Work,
    hexes: Hexes,
    neighbourhoods: Neighbourhoods,
    catchments: Catchments | None,
    value: CustomerValue,
) -> None:
    """Score hexagons by how many heavy customers live in places like them."""
    cells = hexes.table[["cell", "population"]].merge(
        neighbourhoods.table[["cell", "neighbourhood"]], on="cell", how="left"
    )
    features = ["neighbourhood"]
    if catchments is not None and "nearest_own_km" in catchments.cells:
        cells = cells.merge(catchments.cells[["cell", "nearest_own_km"]], on="cell", how="left")
        features.append("nearest_own_km")
    heavy = value.table.loc[value.table["segment"] == "heavy", ["customer_id"]]
    best = work.placed.merge(heavy, on="customer_id")
    found = score_prospects(
        best,
        cells,
        features,
        confidence=work.settings.customers.confidence,
        random_state=work.settings.plan.seed,
    )
    table = found.table[["cell", "score"]].copy()
    table["expected"] = found.table["population"] * found.table["rate"]
    # the score of a type is near its share of best customers: hidden with it
    told = work.shown.table.dropna(subset=[COUNT, "heavy"])["neighbourhood"]
    hidden = ~cells.set_index("cell")["neighbourhood"].isin(told).reindex(table["cell"]).to_numpy()
    work.parts["prospects"] = _blank(table, ["score", "expected"], hidden)
    work.parts["lift"] = found.lift
    work.words += [f"Prospect score, from where heavy customers live: {found.summary()[0]}"]


def _associations(work: _Work) -> None:
    assert work.market.baskets is not None
    chosen = work.settings.customers
    trips = work.totals.set_index("customer_id")["trips"]
    parts = []
    for items in ITEMS:
        if items not in work.market.products:
            continue
        bought = _most_bought(work, items, chosen.association_items)
        try:
            found = basket_associations(bought, work.n_people, trips, work.k, chosen.confidence)
        except NotSupportedError as reason:
            work.notes.append(f"What goes together, by {items}: {reason}")
            continue
        parts.append(found.table.assign(items=items))
        if items == "subcategory" or (items == "category" and "subcategory" not in work.market.products):
            work.words += found.summary()[:1]
    if not parts:
        raise NotSupportedError("too few customers buy any two items")
    work.parts["associations"] = pd.concat(parts, ignore_index=True)[list(COLUMNS["associations"])]
    work.notes.append(
        "What goes together is bought by the same customers, which is not bought because of each other."
    )


def _most_bought(work: _Work, items: str, top: int) -> pd.DataFrame:
    """Return who buys which of the items most customers buy."""
    assert work.market.baskets is not None
    if items != "category":
        return engine.customer_items(work.market.baskets, work.market.products, items, top)
    bought = work.by_category[work.by_category["units"] > 0].rename(columns={"category": "item"})
    reach = bought["item"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return bought.loc[bought["item"].isin(reach.index[:top]), ["customer_id", "item"]]


def try_people(
    market: Market,
    hexes: Hexes,
    neighbourhoods: Neighbourhoods,
    shown: Penetration | None,
    catchments: Catchments | None,
    ranges: RangePlan | None,
    settings: PlanSettings,
    skipped: dict[str, str],
) -> People | None:
    """Describe the customers, or return None and say in ``skipped`` why not."""
    if shown is None:
        return None
    try:
        return describe_people(market, hexes, neighbourhoods, shown, catchments, ranges, settings)
    except NotSupportedError as reason:
        skipped["customer value"] = str(reason)
        return None
