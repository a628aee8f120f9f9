"""Card customers: where they live, how loyal they are, which store they go to, and how they answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely

from geomarket.simulate.geography import City, points_to_cells
from geomarket.simulate.network import Network
from geomarket.simulate.settings import SimulationSettings
from geomarket.simulate.types import (
    CARD_INDEX,
    CHANNEL_TASTES,
    CONSENT,
    CONTACT_CHANNELS,
    CONTACT_RESPONSE,
    SPEND_INDEX,
)

__all__ = ["LOYALTY", "SPEND", "Customers", "Trips", "build_contacts", "build_customers", "build_trips"]

# BG/NBD (Fader, Hardie and Lee 2005), time in weeks, and Gamma-Gamma (Fader and Hardie 2013), money in €.
LOYALTY = {"r": 0.85, "alpha": 4.0, "a": 0.60, "b": 3.0}
SPEND = {"p": 6.0, "q": 4.0, "gamma": 8.0}
_CAMPAIGN_EVERY = 6
_CAMPAIGN_SHARE = 0.35


@dataclass(frozen=True)
class Customers:
    """Card customers.

    Attributes
    ----------
    table : DataFrame
        The market's ``customers`` table.
    type : ndarray of int
        Latent type of each customer.
    place : ndarray of int
        Row of ``city.cells`` each customer lives in.
    joined_day : ndarray of int
        Day of the first trip, counted from the first day of the window.
    """

    table: pd.DataFrame
    type: np.ndarray
    place: np.ndarray
    joined_day: np.ndarray


@dataclass(frozen=True)
class Trips:
    """Card trips in order of day: customer and store (rows), day of the window, money meant to be spent, channel."""

    customer: np.ndarray
    store: np.ndarray
    day: np.ndarray
    cents: np.ndarray
    online: np.ndarray


def build_customers(
    settings: SimulationSettings, city: City, network: Network, start: np.datetime64
) -> Customers:
    """Return card holders: more of them where the chain's stores pull and among the types that like cards."""
    n = settings.n_customers
    draw = settings.stream("customers").random((n, 9))
    points = city.points
    place = city.cells["cell"].searchsorted(points["cell"])
    own_share = network.probability[:, : len(network.stores)].sum(axis=1)[place]
    area = points["area"].to_numpy()
    inclined = city.area_types[area] * CARD_INDEX
    weight = points["weight"].to_numpy() * own_share * inclined.sum(axis=1)
    chosen = np.searchsorted(np.cumsum(weight), draw[:, 0] * weight.sum()).clip(0, len(weight) - 1)
    kind = _pick(np.cumsum(inclined[chosen], axis=1), draw[:, 1])
    lon, lat = _addresses(settings, city, chosen)
    # The card was launched in the first week; most joined soon, the rest trickled in over four fifths of the window.
    days = settings.weeks * 7
    early = draw[:, 2] < 0.55
    joined = np.floor(np.where(early, draw[:, 3] ** 1.5 * 0.25, draw[:, 3] * 0.8) * days).astype(int)
    table = pd.DataFrame(
        {
            "customer_id": [f"C{i:07d}" for i in range(1, n + 1)],
            "lon": lon,
            "lat": lat,
            "joined": (start + joined.astype("timedelta64[D]")).astype("datetime64[ns]"),
            "consent_mail": draw[:, 4] < CONSENT[kind, 0],
            "consent_mobile": draw[:, 5] < CONSENT[kind, 1],
            "consent_email": draw[:, 6] < CONSENT[kind, 2],
        }
    )
    return Customers(table, kind, city.cells["cell"].searchsorted(points_to_cells(lon, lat)), joined)


def _pick(cumulative: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Pick a column per row in proportion to the steps of the row's cumulative weights."""
    picked = (cumulative < draw[:, None] * cumulative[:, -1:]).sum(axis=1)
    return np.minimum(picked, cumulative.shape[1] - 1)


def _addresses(settings: SimulationSettings, city: City, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scatter addresses around population points, never across the limits of their area."""
    shift = settings.stream("customers", 1).normal(size=(len(chosen), 2)) * np.array([0.0019, 0.0013])
    points = city.points.iloc[chosen]
    lon = (points["lon"].to_numpy() + shift[:, 0]).round(5)
    lat = (points["lat"].to_numpy() + shift[:, 1]).round(5)
    geometry = city.areas.geometry.to_numpy()
    shapely.prepare(geometry)
    inside = shapely.contains_xy(geometry[points["area"].to_numpy()], lon, lat)
    return np.where(inside, lon, points["lon"]), np.where(inside, lat, points["lat"])


def build_trips(settings: SimulationSettings, network: Network, customers: Customers) -> Trips:
    """Return every card trip: BG/NBD visits, Gamma-Gamma money, the store by Huff among the chain's own."""
    rng = settings.stream("trips")
    n, days = settings.n_customers, settings.weeks * 7
    rate = rng.gamma(LOYALTY["r"], 1 / LOYALTY["alpha"], n)
    lapse = rng.beta(LOYALTY["a"], LOYALTY["b"], n)
    span = (days - customers.joined_day) / 7
    # Poisson visits in the time left are uniform over it; the customer lapses after a geometric number of them.
    visits = rng.poisson(rate * span)
    lasting = rng.geometric(lapse.clip(1e-6))
    who = np.repeat(np.arange(n), visits)
    when = customers.joined_day[who] + rng.random(len(who)) * (span * 7)[who]
    order = np.lexsort((when, who))
    who, when = who[order], when[order]
    rank = np.arange(len(who)) - np.repeat(np.cumsum(visits) - visits, visits)
    kept = rank < lasting[who]
    customer = np.concatenate([np.arange(n), who[kept]])
    day = np.concatenate([customers.joined_day, np.floor(when[kept]).astype(int)]).clip(0, days - 1)
    order = np.lexsort((customer, day))
    customer, day = customer[order], day[order]

    scale = rng.gamma(SPEND["q"], 1 / SPEND["gamma"], n) / SPEND_INDEX[customers.type]
    cents = np.maximum(40, np.rint(100 * rng.gamma(SPEND["p"], 1.0, len(customer)) / scale[customer])).astype(
        np.int64
    )
    own = np.cumsum(network.probability[:, : len(network.stores)], axis=1)
    store = np.empty(len(customer), dtype=np.int64)
    draw = rng.random(len(customer))
    for part in np.array_split(np.arange(len(customer)), max(1, len(customer) // 100_000)):
        store[part] = _pick(own[customers.place[customer[part]]], draw[part])
    online = rng.random(len(customer)) < CHANNEL_TASTES[customers.type[customer]]
    return Trips(customer, store, day, cents, online)


def build_contacts(settings: SimulationSettings, customers: Customers, start: np.datetime64) -> pd.DataFrame:
    """Return campaign contacts: every sixth week a share of customers, each by one channel they allow."""
    allowed = np.ones((settings.n_customers, len(CONTACT_CHANNELS)))
    for column, name in ((0, "consent_mail"), (2, "consent_mobile"), (3, "consent_email")):
        allowed[:, column] = customers.table[name]
    parts = []
    for campaign, week in enumerate(range(4, settings.weeks, _CAMPAIGN_EVERY)):
        draw = settings.stream("contacts", campaign).random((settings.n_customers, 3))
        who = np.flatnonzero((draw[:, 0] < _CAMPAIGN_SHARE) & (customers.joined_day < week * 7))
        channel = _pick(np.cumsum(allowed[who], axis=1), 1 - draw[who, 1])
        responded = draw[who, 2] < CONTACT_RESPONSE[customers.type[who], channel]
        parts.append((who, np.full(len(who), week * 7 + 2), channel, responded))
    who, day, channel, responded = (np.concatenate(column) for column in zip(*parts))
    return pd.DataFrame(
        {
            "customer_id": customers.table["customer_id"].to_numpy()[who],
            "date": (start + day.astype("timedelta64[D]")).astype("datetime64[ns]"),
            "channel": np.array(CONTACT_CHANNELS)[channel],
            "responded": responded,
        }
    )
