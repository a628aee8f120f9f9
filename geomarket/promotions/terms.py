"""The terms of a response fit: what an offer can do to sales, as columns."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from geomarket.promotions.poisson import Block

__all__ = ["BEFORE", "MECHANIC", "TERMS", "block_of", "design", "mechanic_term", "term_names"]

#: Terms every fit has, in order.
TERMS = ("price", "display", "mailer", "dip")
#: The placebo: the period before an offer, on which the offer can have had no effect yet.
BEFORE = "before"
#: Beginning of the names of mechanics' terms: log units on top of what the commonest mechanic of that depth does.
MECHANIC = "mechanic: "


def mechanic_term(mechanic: str) -> str:
    """Return the name of a mechanic's term."""
    return f"{MECHANIC}{mechanic}"


def term_names(panel: pd.DataFrame) -> tuple[str, ...]:
    """Return the terms a panel asks for: the usual ones, each mechanic but the commonest, the period before."""
    names = list(TERMS)
    if "mechanic" in panel:
        seen = panel.loc[panel["depth"] > 0, "mechanic"].astype(str).value_counts()
        usual = base_mechanic(panel)
        names += [mechanic_term(name) for name in sorted(seen.index) if name != usual and seen[name]]
    if "lead" in panel and panel["lead"].any():
        names.append(BEFORE)
    return tuple(names)


def base_mechanic(panel: pd.DataFrame) -> str:
    """Return the mechanic that the price term stands for: the first category, else the commonest."""
    if "mechanic" not in panel:
        return "price cut"
    if isinstance(panel["mechanic"].dtype, pd.CategoricalDtype):
        return str(panel["mechanic"].cat.categories[0])
    counts = panel.loc[panel["depth"] > 0, "mechanic"].astype(str).value_counts()
    return (
        sorted(counts.index, key=lambda name: (-int(counts[name]), name))[0] if len(counts) else "price cut"
    )


def design(
    panel: pd.DataFrame, names: tuple[str, ...], dip_form: Literal["after", "depth"]
) -> npt.NDArray[np.float64]:
    """Return the terms as an array of shape (n_rows, n_terms)."""
    depth, lag = panel["depth"].to_numpy(dtype=float), panel["lag_depth"].to_numpy(dtype=float)
    mechanic = panel["mechanic"].astype(str).to_numpy() if "mechanic" in panel else np.zeros(len(panel))
    columns = []
    for name in names:
        if name == "price":
            values = np.log1p(-depth)
        elif name == "dip":
            values = ((lag > 0) & (depth == 0)) * 1.0 if dip_form == "after" else -np.log1p(-lag)
        elif name == BEFORE:
            values = panel["lead"].to_numpy(dtype=float)
        elif name.startswith(MECHANIC):
            values = ((depth > 0) & (mechanic == name.removeprefix(MECHANIC))) * 1.0
        else:
            values = panel[name].to_numpy(dtype=float)
        columns.append(values)
    return np.column_stack(columns)


def block_of(
    panel: pd.DataFrame, skus: pd.Index, names: tuple[str, ...], dip_form: Literal["after", "depth"]
) -> Block:
    """Return one store cluster's rows as a block of a fit; ``skus`` number what errors are clustered by."""
    group = skus.get_indexer(pd.Index(panel["sku"].astype(object)))
    return Block(
        panel["units"].to_numpy(dtype=float),
        np.log(panel["exposure"].to_numpy(dtype=float)),
        design(panel, names, dip_form),
        np.unique(group, return_inverse=True)[1],
        np.unique(panel["period"], return_inverse=True)[1],
        group.astype(np.int64),
    )
