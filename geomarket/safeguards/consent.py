"""Contact lists: only people who agreed to be reached that way."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from geomarket.errors import SettingsError, TableError

__all__ = ["CONSENT_COLUMNS", "contact_list"]

CONSENT_COLUMNS = {"mail": "consent_mail", "mobile": "consent_mobile", "email": "consent_email"}


def contact_list(customers: pd.DataFrame, channel: str, customer_ids: Sequence[str]) -> pd.DataFrame:
    """Return those of the chosen customers who consented to a channel.

    Parameters
    ----------
    customers : DataFrame
        customer_id and the channel's consent column (bool; missing counts as no).
    channel : {"mail", "mobile", "email"}
        Door drops go to areas, not to people: they need no list.
    customer_ids : sequence of str
        Whom one would like to reach.

    Returns
    -------
    DataFrame
        customer_id, in the order given; ``attrs["without_consent"]`` counts those left out.

    Raises
    ------
    SettingsError
        The channel is not one of those.
    TableError
        The consent column is missing, or a customer is unknown.

    Examples
    --------
    >>> customers = pd.DataFrame({"customer_id": ["a", "b"], "consent_mail": [True, None]})
    >>> contact_list(customers, "mail", ["b", "a"])["customer_id"].tolist()
    ['a']
    """
    if channel not in CONSENT_COLUMNS:
        raise SettingsError(f"channel '{channel}' is not supported. Use one of {', '.join(CONSENT_COLUMNS)}.")
    column = CONSENT_COLUMNS[channel]
    if column not in customers.columns:
        raise TableError(f"customers: no column {column}; without it nobody may be contacted by {channel}.")
    agreed = customers.set_index("customer_id")[column]
    asked = pd.Index(list(customer_ids), dtype=object)
    unknown = asked[~asked.isin(agreed.index)].astype(str)
    if len(unknown):
        raise TableError(f"customers: {len(unknown):,} of the chosen are unknown ({', '.join(unknown[:3])}).")
    # anything but a clear yes is a no
    chosen = pd.Series(list(customer_ids), dtype=str).drop_duplicates()
    yes = chosen.map(agreed).astype(object).isin([True])
    out = pd.DataFrame({"customer_id": chosen[yes]}).reset_index(drop=True)
    out.attrs["without_consent"] = int((~yes).sum())
    return out
