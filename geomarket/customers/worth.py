"""What customers will be worth: expected trips, money and margin, with intervals and a check against the future."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, spearmanr

from geomarket.customers.lifetime import BgNbd, GammaGamma, alive_probability, conditional_trips, history_of
from geomarket.errors import SettingsError, TableError
from geomarket.results import Result

__all__ = [
    "LifetimeCheck",
    "LifetimeValue",
    "check_lifetime",
    "lifetime_value",
    "value_deciles",
    "worth_contacting",
]

Floats = NDArray[np.float64]
_WEEKS_PER_MONTH = 365.2425 / 12 / 7
_PARAMETER_DRAWS = 200
_SUBSAMPLE = 5_000
_CHUNK = 4_000


@dataclass(frozen=True)
class LifetimeValue(Result):
    """Expected future of every customer.

    Attributes
    ----------
    table : DataFrame
        customer_id, alive (probability), trips (expected over the horizon), value_per_trip, revenue (expected),
        lifetime_value (expected, discounted; margin where costs are known, revenue otherwise), low, high (interval of
        what one such customer may bring, chance included). One row per person: never publish it as it is.
    totals : DataFrame
        measure ("trips", "revenue", "lifetime_value"), expected, low, high: of all customers together; the interval
        holds the uncertainty of the parameters and of chance, not that the model may be wrong.
    deciles : DataFrame
        decile (1 = best), customers, value, share, cumulative.
    trips_model : BgNbd
    money_model : GammaGamma
    margin_rate : float
        Margin per money of revenue that was used; NaN where costs are unknown.
    horizon_months : int
    notes : tuple of str
    """

    table: pd.DataFrame
    totals: pd.DataFrame
    deciles: pd.DataFrame
    trips_model: BgNbd
    money_model: GammaGamma
    margin_rate: float
    horizon_months: int
    confidence: float
    notes: tuple[str, ...] = ()

    def summary(self) -> list[str]:
        """Return what the customers are expected to bring, and how unequally."""
        whole = self.totals.set_index("measure").loc["lifetime_value"]
        kind = "revenue" if np.isnan(self.margin_rate) else "margin"
        return [
            f"Over the next {self.horizon_months} months these {len(self.table):,} customers are expected to bring "
            f"{whole['expected']:,.0f} of {kind} ({self.confidence:.0%} interval {whole['low']:,.0f} to "
            f"{whole['high']:,.0f}), discounted; the best tenth {self.deciles['share'].iloc[0]:.0%} of it.",
            f"{self.table['alive'].mean():.0%} of them are still active.",
            *self.notes,
        ]

    def plot(self, ax: Any = None) -> Any:
        """Draw the share of value by decile."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(5, 3))[1] if ax is None else ax
        axes.bar(self.deciles["decile"], self.deciles["share"])
        axes.set_xlabel("Customers in tenths, best first")
        axes.set_ylabel("Share of expected value")
        return axes


def lifetime_value(
    totals: pd.DataFrame,
    as_of: dt.date | str | pd.Timestamp | None = None,
    horizon_months: int = 12,
    discount_rate: float = 0.1,
    confidence: float = 0.9,
    n_draws: int = 200,
    random_state: int = 0,
) -> LifetimeValue:
    """Estimate what every customer will bring over the next months.

    Parameters
    ----------
    totals : DataFrame
        customer_id, trips, first_date, last_date, revenue, and optionally margin and costed_revenue: one row per
        customer (:func:`geomarket.engine.customer_totals`).
    as_of : date or None
        End of the data; by default the day after the last trip of anyone.
    horizon_months : int
        How far ahead.
    discount_rate : float
        A year; the value is discounted month by month.
    confidence : float
        Level of the intervals.
    n_draws : int
        Simulated futures per customer for ``low`` and ``high``.
    random_state : int
        Seed of those draws.

    Returns
    -------
    LifetimeValue

    Raises
    ------
    TableError
        A column is missing, a customer repeats or shopped after ``as_of``.
    NotSupportedError, SolverError
        See :class:`BgNbd` and :class:`GammaGamma`.

    Notes
    -----
    BG/NBD × Gamma-Gamma (Fader, Hardie & Lee 2005). Customers who never came back count in the first model
    and not in the second. Margin is one rate of revenue for all: what a customer's basket is made of does not enter.
    """
    _check(totals, horizon_months, discount_rate)
    # sorted, so that the draws do not hang on row order
    ordered = totals.sort_values("customer_id", kind="stable").reset_index(drop=True)
    end = (
        pd.to_datetime(ordered["last_date"]).max() + pd.Timedelta(days=1)
        if as_of is None
        else pd.Timestamp(as_of)
    )
    history = history_of(ordered, end)
    trips_model = BgNbd().fit(history["frequency"], history["recency"], history["age"])
    n = ordered["trips"].to_numpy(dtype=float)
    mean = np.maximum(ordered["revenue"].to_numpy(dtype=float) / n, 0.0)
    known = (n >= 2) & (mean > 0)
    money_model = GammaGamma().fit(n[known], mean[known])
    margin_rate = _margin_rate(ordered)
    factor = 1.0 if np.isnan(margin_rate) else margin_rate
    states = _states(history)
    months = np.arange(1, horizon_months + 1)
    cumulative = np.column_stack(
        [conditional_trips(trips_model.params, m * _WEEKS_PER_MONTH, *states) for m in months]
    )
    discount = (1 + discount_rate) ** (-months / 12)
    present_trips = np.diff(cumulative, prepend=0.0, axis=1) @ discount
    value = money_model.expected_value(n, mean)
    rng = np.random.default_rng(random_state)
    low, high, variance = _futures(
        trips_model, money_model, states, n, mean, horizon_months * _WEEKS_PER_MONTH, n_draws, confidence, rng
    )
    trips = cumulative[:, -1]
    # the interval is of undiscounted money; the same share of it is taken as of the expectation
    present = factor * np.where(trips > 0, present_trips / np.maximum(trips, 1e-300), 1.0)
    table = pd.DataFrame(
        {
            "customer_id": ordered["customer_id"],
            "alive": alive_probability(trips_model.params, *states),
            "trips": trips,
            "value_per_trip": value,
            "revenue": trips * value,
            "lifetime_value": present_trips * value * factor,
            "low": low * present,
            "high": high * present,
        }
    )
    back = totals[["customer_id"]].merge(table, on="customer_id", how="left", validate="one_to_one")
    back.index = totals.index
    sums = _total_intervals(
        trips_model, money_model, states, n, mean, table, variance, horizon_months, present, confidence, rng
    )
    notes = _notes(n[known], mean[known], ordered, margin_rate, money_model)
    deciles = value_deciles(table["lifetime_value"])
    return LifetimeValue(
        back, sums, deciles, trips_model, money_model, margin_rate, horizon_months, confidence, notes
    )


def value_deciles(values: pd.Series, n: int = 10) -> pd.DataFrame:
    """Split value over tenths of the customers, best first.

    Parameters
    ----------
    values : Series
        Value per customer; missing counts as 0.
    n : int
        Parts.

    Returns
    -------
    DataFrame
        decile (1 = best), customers, value, share, cumulative; shares are NaN where the sum is not positive.

    Examples
    --------
    >>> value_deciles(pd.Series([6.0, 3.0, 1.0, 0.0]), n=2)[["decile", "share"]].values.tolist()
    [[1.0, 0.9], [2.0, 0.1]]
    """
    ordered = np.sort(values.fillna(0.0).to_numpy(dtype=float))[::-1]
    part = np.minimum(np.arange(len(ordered)) * n // max(len(ordered), 1), n - 1)
    value = np.bincount(part, weights=ordered, minlength=n)
    total = value.sum()
    share = value / total if total > 0 else np.full(n, np.nan)
    return pd.DataFrame(
        {
            "decile": np.arange(1, n + 1),
            "customers": np.bincount(part, minlength=n),
            "value": value,
            "share": share,
            "cumulative": np.cumsum(share),
        }
    )


def worth_contacting(value: LifetimeValue, cost: float, lift: float, weeks: float = 4.0) -> pd.DataFrame:
    """Say whom a contact would repay, given what a contact is known to do.

    Parameters
    ----------
    value : LifetimeValue
        Of the customers in question.
    cost : float
        Money per contact.
    lift : float
        Share by which a contact raises a customer's trips while it works (0.05 = 5%), as measured in a test: nothing
        here can tell it.
    weeks : float
        How long it works.

    Returns
    -------
    DataFrame
        customer_id, gain (expected extra margin; revenue where costs are unknown), net (gain − cost), contact (bool).
    """
    if cost < 0 or weeks <= 0:
        raise SettingsError(
            f"cost = {cost}, weeks = {weeks}: a cost of at least 0 and a positive time are expected."
        )
    factor = 1.0 if np.isnan(value.margin_rate) else value.margin_rate
    per_week = value.table["revenue"] * factor / (value.horizon_months * _WEEKS_PER_MONTH)
    gain = lift * weeks * per_week
    return pd.DataFrame(
        {"customer_id": value.table["customer_id"], "gain": gain, "net": gain - cost, "contact": gain > cost}
    )


@dataclass(frozen=True)
class LifetimeCheck(Result):
    """What the model foretold against what came.

    Attributes
    ----------
    table : DataFrame
        decile (1 = most trips foretold), customers, predicted, actual (mean trips per customer), low, high (interval
        of the actual mean).
    by_frequency : DataFrame
        frequency (repeat trips before; the last class holds all above), customers, predicted, actual.
    ratio : float
        Trips foretold over trips made, all customers.
    spearman : float
        Rank correlation over customers.
    weeks : float
        Length of the period foretold.
    """

    table: pd.DataFrame
    by_frequency: pd.DataFrame
    ratio: float
    spearman: float
    weeks: float

    def summary(self) -> list[str]:
        """Return how far off the forecast was."""
        top = self.table.iloc[0]
        share = top["actual"] * top["customers"] / (self.table["actual"] * self.table["customers"]).sum()
        off = f"{abs(self.ratio - 1):.1%} {'more' if self.ratio > 1 else 'fewer'} trips than were made"
        return [
            f"On {self.weeks:.0f} weeks it had not seen, the model foretold {off}; "
            f"rank correlation over customers {self.spearman:.2f}; the tenth it ranked first made {share:.0%} of all."
        ]

    def plot(self, ax: Any = None) -> Any:
        """Draw predicted against actual trips by decile; on the line the forecast was right."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(4, 4))[1] if ax is None else ax
        rows = self.table
        spread = np.vstack((rows["actual"] - rows["low"], rows["high"] - rows["actual"]))
        axes.errorbar(rows["predicted"], rows["actual"], yerr=np.clip(spread, 0, None), fmt="o")
        top = float(max(rows["predicted"].max(), rows["actual"].max()))
        axes.plot([0, top], [0, top], color="0.6", linewidth=0.8)
        axes.set_xlabel("Trips foretold per customer")
        axes.set_ylabel("Trips made")
        return axes


def check_lifetime(
    before: pd.DataFrame,
    after: pd.DataFrame,
    cut: dt.date | str | pd.Timestamp,
    end: dt.date | str | pd.Timestamp,
    confidence: float = 0.9,
    max_frequency: int = 7,
) -> LifetimeCheck:
    """Fit on the trips before a day and judge on those after it.

    Parameters
    ----------
    before : DataFrame
        Customer totals up to ``cut`` (customer_id, trips, first_date, last_date).
    after : DataFrame
        Customer totals from ``cut`` to ``end`` (customer_id, trips); customers first seen then are left out, since
        nothing was known of them.
    cut, end : date
        The day the model may know up to, and the end of the period it is judged on.
    confidence : float
        Level of the intervals.
    max_frequency : int
        Last class of ``by_frequency``.

    Returns
    -------
    LifetimeCheck
    """
    cut, end = pd.Timestamp(cut), pd.Timestamp(end)
    if end <= cut:
        raise SettingsError(f"end = {end:%Y-%m-%d} is not after cut = {cut:%Y-%m-%d}.")
    history = history_of(before, cut)
    weeks = (end - cut).days / 7
    model = BgNbd().fit(history["frequency"], history["recency"], history["age"])
    predicted = conditional_trips(model.params, weeks, *_states(history))
    later = after.set_index("customer_id")["trips"]
    actual = before["customer_id"].map(later).fillna(0.0).to_numpy(dtype=float)
    rank = np.lexsort((before["customer_id"].to_numpy(dtype=object), -predicted))
    decile = np.empty(len(rank), dtype=int)
    decile[rank] = np.minimum(np.arange(len(rank)) * 10 // len(rank), 9) + 1
    frame = pd.DataFrame({"decile": decile, "predicted": predicted, "actual": actual})
    frame["frequency"] = np.minimum(history["frequency"].to_numpy(), max_frequency).astype(int)
    table = frame.groupby("decile").agg(
        customers=("actual", "size"),
        predicted=("predicted", "mean"),
        actual=("actual", "mean"),
        sd=("actual", "std"),
    )
    half = float(norm.ppf(0.5 + confidence / 2)) * table.pop("sd") / np.sqrt(table["customers"])
    table["low"], table["high"] = (table["actual"] - half).clip(lower=0), table["actual"] + half
    by_frequency = frame.groupby("frequency").agg(
        customers=("actual", "size"), predicted=("predicted", "mean"), actual=("actual", "mean")
    )
    return LifetimeCheck(
        table=table.reset_index(),
        by_frequency=by_frequency.reset_index(),
        ratio=float(predicted.sum() / actual.sum()) if actual.sum() > 0 else np.nan,
        spearman=float(spearmanr(predicted, actual)[0])
        if np.ptp(actual) > 0 and np.ptp(predicted) > 0
        else np.nan,
        weeks=weeks,
    )


def _states(history: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    x, tx, t = (history[c].to_numpy(dtype=float) for c in ("frequency", "recency", "age"))
    return x, tx, t


def _margin_rate(totals: pd.DataFrame) -> float:
    if "margin" not in totals.columns or totals["margin"].isna().all():
        return np.nan
    costed = totals["costed_revenue"] if "costed_revenue" in totals.columns else totals["revenue"]
    revenue = float(costed[totals["margin"].notna()].sum())
    return float(totals["margin"].sum()) / revenue if revenue > 0 else np.nan


def _futures(
    trips_model: BgNbd,
    money_model: GammaGamma,
    states: tuple[Floats, Floats, Floats],
    n: Floats,
    mean: Floats,
    horizon: float,
    n_draws: int,
    confidence: float,
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats]:
    """Simulate each customer's money over the horizon: interval and variance, undiscounted."""
    r, alpha, a, b = trips_model.params
    p, q, v = money_model.params
    alive = alive_probability(trips_model.params, *states)
    low, high, variance = np.empty(len(n)), np.empty(len(n)), np.empty(len(n))
    for begin in range(0, len(n), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        x, _, t = (s[part, None] for s in states)
        shape = (x.shape[0], n_draws)
        # given that a customer is active, her rate and her chance to leave are independent of each other
        rate = rng.gamma(r + x, 1 / (alpha + t), shape)
        leave = np.clip(rng.beta(a, b + x, shape), 1e-12, 1.0)
        trips = np.minimum(rng.poisson(rate * horizon), rng.geometric(leave))
        trips = np.where(rng.random(shape) < alive[part, None], trips, 0)
        scale = rng.gamma(q + p * n[part, None], 1 / (v + n[part, None] * mean[part, None]), shape)
        money = np.where(trips > 0, rng.gamma(np.maximum(p * trips, 1e-9), 1 / scale), 0.0)
        low[part], high[part] = np.quantile(money, [0.5 - confidence / 2, 0.5 + confidence / 2], axis=1)
        variance[part] = money.var(axis=1)
    return low, high, variance


def _total_intervals(
    trips_model: BgNbd,
    money_model: GammaGamma,
    states: tuple[Floats, Floats, Floats],
    n: Floats,
    mean: Floats,
    table: pd.DataFrame,
    variance: Floats,
    horizon_months: int,
    present: Floats,
    confidence: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Intervals of the sums over customers: parameters drawn from their sampling distribution, plus chance."""
    pick = np.sort(rng.permutation(len(n))[:_SUBSAMPLE])
    some = tuple(s[pick] for s in states)
    horizon = horizon_months * _WEEKS_PER_MONTH
    trips, revenue, value = [], [], []
    for _ in range(_PARAMETER_DRAWS):
        shift = rng.multivariate_normal(np.zeros(4), trips_model.covariance_, method="eigh")
        drawn = conditional_trips(trips_model.params * np.exp(shift), horizon, *some)
        p, q, v = money_model.params * np.exp(
            rng.multivariate_normal(np.zeros(3), money_model.covariance_, method="eigh")
        )
        per_trip = p * (v + n[pick] * mean[pick]) / (p * n[pick] + q - 1)
        trips.append(drawn.sum())
        revenue.append((drawn * per_trip).sum())
        value.append((drawn * per_trip * present[pick]).sum())
    chance = {
        "trips": float(np.sqrt((variance / np.maximum(table["value_per_trip"].to_numpy(), 1e-9) ** 2).sum())),
        "revenue": float(np.sqrt(variance.sum())),
        "lifetime_value": float(np.sqrt((variance * present**2).sum())),
    }
    z = float(norm.ppf(0.5 + confidence / 2))
    rows = []
    for measure, draws in (("trips", trips), ("revenue", revenue), ("lifetime_value", value)):
        expected = float(table[measure].sum())
        relative = float(np.std(draws) / np.mean(draws))
        half = z * np.hypot(relative * expected, chance[measure])
        rows.append(
            {"measure": measure, "expected": expected, "low": expected - half, "high": expected + half}
        )
    return pd.DataFrame(rows)


def _check(totals: pd.DataFrame, horizon_months: int, discount_rate: float) -> None:
    missing = [
        c for c in ("customer_id", "trips", "first_date", "last_date", "revenue") if c not in totals.columns
    ]
    if missing:
        raise TableError(
            f"totals: column(s) {', '.join(missing)} missing; geomarket.engine.customer_totals makes such a table."
        )
    repeated = totals["customer_id"].duplicated()
    if repeated.any():
        first = ", ".join(totals.loc[repeated, "customer_id"].astype(str).head(3))
        raise TableError(
            f"totals: {int(repeated.sum()):,} rows repeat a customer_id ({first}); keep one of each."
        )
    if horizon_months < 1 or discount_rate <= -1:
        raise SettingsError(
            f"horizon_months = {horizon_months}, discount_rate = {discount_rate}: at least one month and a rate above "
            "−100% are expected."
        )


def _notes(
    n: Floats, mean: Floats, totals: pd.DataFrame, margin_rate: float, money_model: GammaGamma
) -> tuple[str, ...]:
    notes = []
    related = float(spearmanr(n, mean)[0]) if len(n) > 2 else 0.0
    if abs(related) > 0.3:
        notes.append(
            f"How often and how much are related (rank correlation {related:+.2f}); the model takes them as unrelated, "
            f"so values of frequent customers are {'under' if related > 0 else 'over'}stated."
        )
    if np.isnan(margin_rate):
        notes.append("Costs are unknown: values are revenue, not margin.")
    if not np.isfinite(money_model.mean_):
        notes.append(
            "Spend per trip is so unequal that its mean is not told by the data; judge values by rank only."
        )
    returned = int((totals["revenue"] <= 0).sum())
    if returned:
        notes.append(f"{returned:,} customers returned as much as they bought; their spend counts as 0.")
    return tuple(notes)
