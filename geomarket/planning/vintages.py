"""What the neighbourhood types of an earlier plan became."""

from __future__ import annotations

import pandas as pd

from geomarket.errors import NotSupportedError, TableError
from geomarket.hexes import Hexes
from geomarket.neighbourhoods import Neighbourhoods, VintageComparison, compare_vintages

__all__ = ["compare_with_earlier"]


def compare_with_earlier(
    earlier: pd.DataFrame, hexes: Hexes, neighbourhoods: Neighbourhoods
) -> VintageComparison:
    """Compare a plan's neighbourhood types with those of an earlier one, hexagon by hexagon.

    Both vintages are measured in the space of this plan's classification: with the scheme of the earlier plan
    (``[neighbourhoods] scheme``) that is its own.

    Parameters
    ----------
    earlier : DataFrame
        Table ``hexes`` of the earlier plan: cell (int64), supergroup, and the variables the types are described by.
    hexes : Hexes
        This plan's grid.
    neighbourhoods : Neighbourhoods
        Its types.

    Returns
    -------
    VintageComparison

    Raises
    ------
    TableError
        If the earlier table lacks a variable. Compare plans with the same census figures.
    NotSupportedError
        If the two plans have no hexagon with a type in common. Plan at the same resolution.
    """
    preparation = neighbourhoods.classifier.preparation_
    lost = [name for name in preparation.variables if name not in earlier]
    if lost:
        raise TableError(
            f"neighbourhoods earlier: no column {', '.join(lost[:3])}, which the types are described by. "
            "Compare plans with the same census figures."
        )
    before = earlier.drop_duplicates("cell").set_index("cell")
    now = hexes.table.set_index("cell")
    types = neighbourhoods.table.set_index("cell")["supergroup"]
    if not before.index.intersection(now.index).size:
        raise NotSupportedError(
            "neighbourhoods earlier: the two plans have no hexagon in common. Plan at the earlier plan's resolution "
            "([hexes] resolution)."
        )
    return compare_vintages(
        before["supergroup"],
        types,
        before[list(preparation.variables)].astype(float),
        now[list(preparation.variables)].astype(float),
        preparation,
        now["population"],
    )
