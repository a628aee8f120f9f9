"""Which channel reaches whom: preferences and response, shrunk where little is known, and only with consent."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import digamma, gammaln

from geomarket.customers.place import wilson_interval
from geomarket.errors import FitWarning, SettingsError, TableError
from geomarket.results import Result

__all__ = ["ChannelPreference", "channel_preference", "channel_response"]

Floats = NDArray[np.float64]
_ALIKE = 1e6


@dataclass(frozen=True)
class ChannelPreference(Result):
    """Shares of the channels per unit, each shrunk towards everybody's by how little is known of it.

    Attributes
    ----------
    table : DataFrame
        unit (customer_id, neighbourhood …), channel, n, share (observed; NaN without any), preference (shrunk; sums to
        1 over the channels of a unit), sd (of the preference). One row per person where the unit is the customer.
    prior : DataFrame
        channel, alpha, share: what an unknown unit is taken to prefer.
    strength : float
        How many observations of a unit weigh as much as everybody's habit; large where all are alike.
    """

    table: pd.DataFrame
    prior: pd.DataFrame
    strength: float

    def summary(self) -> list[str]:
        """Return what is preferred and how much units differ."""
        top = self.prior.sort_values(["share", "channel"], ascending=[False, True]).iloc[0]
        lines = [
            f"{top['channel']} is preferred overall ({top['share']:.0%}); a unit's own record outweighs "
            f"the common habit from about {self.strength:,.0f} observations on."
        ]
        if self.strength >= _ALIKE / 2:
            lines = [
                f"{top['channel']} is preferred overall ({top['share']:.0%}), and units do not differ beyond chance."
            ]
        return lines

    def plot(self, ax: Any = None) -> Any:
        """Draw how widely the preferences of the units are spread, by channel."""
        import matplotlib.pyplot as plt

        axes = plt.subplots(figsize=(5, 3))[1] if ax is None else ax
        channels = self.prior["channel"].tolist()
        axes.boxplot([self.table.loc[self.table["channel"] == c, "preference"] for c in channels])
        axes.set_xticks(range(1, len(channels) + 1), channels)
        axes.set_ylabel("Preference")
        return axes


def channel_preference(
    counts: pd.DataFrame, unit: str = "customer_id", n: str = "trips"
) -> ChannelPreference:
    """Estimate which share of its trips each unit makes by each channel.

    Parameters
    ----------
    counts : DataFrame
        ``unit``, channel, ``n`` (whole numbers ≥ 0); pairs not listed are 0.
    unit : str
        Who prefers: customer_id, or neighbourhood.
    n : str
        Column to count.

    Returns
    -------
    ChannelPreference

    Raises
    ------
    TableError
        A column is missing, a count is negative or not whole, or there are fewer than two channels.

    Warns
    -----
    FitWarning
        Units do not differ more than chance: everybody gets the common shares.

    Notes
    -----
    Dirichlet-multinomial by maximum likelihood (Mosimann 1962): preference = (n + α) / Σ(n + α).

    Examples
    --------
    >>> counts = pd.DataFrame({"customer_id": list("aabbccdd"), "channel": ["store", "online"] * 4,
    ...     "trips": [9, 0, 0, 8, 10, 1, 1, 0]})
    >>> table = channel_preference(counts).table.set_index(["customer_id", "channel"])["preference"]
    >>> bool(0.5 < table["d", "store"] < table["a", "store"] < 1)
    True
    """
    wide = _wide(counts, unit, n)
    values = wide.to_numpy()
    alpha = fit_dirichlet(values[values.sum(axis=1) > 0])
    strength = float(alpha.sum())
    if strength >= _ALIKE / 2:
        warnings.warn(
            f"counts: {unit}s do not differ in their channels beyond chance; all get the common shares.",
            FitWarning,
            stacklevel=2,
        )
    posterior = values + alpha
    total = posterior.sum(axis=1, keepdims=True)
    preference = posterior / total
    seen = values.sum(axis=1, keepdims=True)
    table = pd.DataFrame(
        {
            unit: np.repeat(wide.index.to_numpy(), wide.shape[1]),
            "channel": np.tile(wide.columns.to_numpy(), len(wide)),
            "n": values.ravel(),
            "share": (values / np.where(seen > 0, seen, np.nan)).ravel(),
            "preference": preference.ravel(),
            "sd": np.sqrt(preference * (1 - preference) / (total + 1)).ravel(),
        }
    )
    prior = pd.DataFrame({"channel": wide.columns, "alpha": alpha, "share": alpha / strength})
    return ChannelPreference(table=table, prior=prior, strength=strength)


def fit_dirichlet(counts: Floats) -> Floats:
    """Return the parameters of a Dirichlet-multinomial by maximum likelihood; their sum is at most a million."""
    counts = counts.astype(float)
    # equal rows count once, with their number: units have few trips
    rows, weight = np.unique(counts, axis=0, return_counts=True)
    total = rows.sum(axis=1)

    def loss(logs: Floats) -> tuple[float, Floats]:
        alpha = np.exp(logs)
        whole = alpha.sum()
        value = gammaln(whole) - gammaln(whole + total) + (gammaln(rows + alpha) - gammaln(alpha)).sum(axis=1)
        slope = digamma(whole) - digamma(whole + total)
        by = slope[:, None] + digamma(rows + alpha) - digamma(alpha)
        return -float(weight @ value) / len(counts), -(weight @ by) * alpha / len(counts)

    share = (weight @ rows + 0.5) / (weight @ rows + 0.5).sum()
    bounds = [(np.log(1e-6), np.log(_ALIKE * s)) for s in share]
    start = np.clip(np.log(share * 2), *np.array(bounds).T)
    result = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9}
    )
    alpha = np.exp(result.x)
    # near the bound the likelihood is flat and the search may stop short of it: units that far apart are alike
    return np.asarray(share * _ALIKE if alpha.sum() > 0.01 * _ALIKE else alpha, dtype=float)


def channel_response(contacts: pd.DataFrame, by: str | None = None, confidence: float = 0.9) -> pd.DataFrame:
    """Count how often each channel was answered, by group, shrunk towards the channel's own rate.

    Parameters
    ----------
    contacts : DataFrame
        channel, responded (bool), and ``by``: one row per contact.
    by : str or None
        Column of groups (neighbourhood, segment); None for channels as a whole.
    confidence : float
        Level of the Wilson interval.

    Returns
    -------
    DataFrame
        channel[, group], contacts, responses, rate, low, high, expected (the rate shrunk towards the channel's; equal
        to it without ``by``).

    Raises
    ------
    TableError
        A column is missing, or there are no contacts.

    Notes
    -----
    A response is not an effect: those who get a mailing may have come anyway. Only a test with a control group
    tells what a channel adds. Shrinkage by a beta-binomial per channel.

    Examples
    --------
    >>> contacts = pd.DataFrame({"channel": ["mail"] * 4, "responded": [True, False, False, False]})
    >>> channel_response(contacts)[["channel", "contacts", "rate"]].values.tolist()
    [['mail', 4, 0.25]]
    """
    needed = ["channel", "responded", *([by] if by else [])]
    missing = [c for c in needed if c not in contacts.columns]
    if missing:
        raise TableError(f"contacts: column(s) {', '.join(missing)} missing; {', '.join(needed)} are needed.")
    if contacts.empty:
        raise TableError("contacts: no rows; leave this out where no contacts are known.")
    keys = ["channel", *([by] if by else [])]
    grouped = contacts.assign(responded=contacts["responded"].astype(float)).groupby(keys)["responded"]
    table = grouped.agg(contacts="size", responses="sum").reset_index()
    table["rate"] = table["responses"] / table["contacts"]
    table["low"], table["high"] = wilson_interval(table["responses"], table["contacts"], confidence)
    table["expected"] = table["rate"]
    for _, rows in table.groupby("channel") if by else ():
        if len(rows) > 1:
            answered = np.column_stack([rows["responses"], rows["contacts"] - rows["responses"]]).astype(
                float
            )
            alpha = fit_dirichlet(answered)
            table.loc[rows.index, "expected"] = (answered[:, 0] + alpha[0]) / (
                answered.sum(axis=1) + alpha.sum()
            )
    return table


def _wide(counts: pd.DataFrame, unit: str, n: str) -> pd.DataFrame:
    missing = [c for c in (unit, "channel", n) if c not in counts.columns]
    if missing:
        raise TableError(
            f"counts: column(s) {', '.join(missing)} missing; {unit}, channel and {n} are needed."
        )
    values = counts[n].to_numpy(dtype=float, na_value=np.nan)
    bad = ~((values >= 0) & (values == np.round(values)))
    if bad.any():
        raise TableError(
            f"counts: {int(bad.sum()):,} of {len(counts):,} rows have {n} negative, missing or not whole; count trips, "
            "not money."
        )
    wide = counts.pivot_table(index=unit, columns="channel", values=n, aggfunc="sum", fill_value=0).astype(
        float
    )
    if wide.shape[1] < 2:
        raise TableError(f"counts: only {wide.shape[1]} channel; at least two are needed to prefer one.")
    if not wide.to_numpy().any():
        raise SettingsError(f"counts: every {n} is 0; there is nothing to learn a preference from.")
    return wide
