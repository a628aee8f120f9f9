"""Store clusters of one category: stores alike in what they sell of it, whatever they sell of the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pandas as pd

from geomarket.errors import NotSupportedError, TableError
from geomarket.store_clusters.features import StoreFeatures, category_mix, store_features

__all__ = ["category_features"]


def category_features(
    sales: pd.DataFrame,
    products: pd.DataFrame,
    stores: pd.DataFrame,
    profile: pd.DataFrame | None = None,
    *,
    kind: str = "subcategory",
    competition: pd.Series | pd.DataFrame | None = None,
    extra: pd.DataFrame | None = None,
    labels: Mapping[str, str] | None = None,
    composition: Literal["hellinger", "clr"] = "hellinger",
) -> dict[str, StoreFeatures]:
    """Describe every store once for each category, by the mix within that category.

    Parameters
    ----------
    sales : DataFrame
        store_id, sku, revenue (any grain; summed).
    products : DataFrame
        sku, category and ``kind``.
    stores : DataFrame
        As of :func:`store_features`.
    profile : DataFrame, optional
        Neighbourhood mix of each store's catchment.
    kind : str
        Column of ``products`` whose mix within a category tells its stores apart; SKUs without one count together.
    competition, extra, labels, composition
        As of :func:`store_features`.

    Returns
    -------
    dict of str to StoreFeatures
        By category, in the order of its name; each may go to :func:`cluster_range`. A category of one kind is
        described by catchment, size and format alone; one that nothing tells apart is left out.

    Raises
    ------
    TableError
        If ``kind`` is no column of products.

    Examples
    --------
    >>> sales = pd.DataFrame({"store_id": list("aabb"), "sku": ["t1", "t2", "t1", "t2"], "revenue": [9.0, 1, 1, 9]})
    >>> products = pd.DataFrame({"sku": ["t1", "t2"], "category": "tea", "subcategory": ["green", "black"]})
    >>> found = category_features(sales, products, pd.DataFrame({"store_id": ["a", "b"]}))
    >>> found["tea"].table["mix:green"].tolist()
    [0.9, 0.1]
    """
    if kind not in products.columns:
        raise TableError(
            f"products: column '{kind}' is missing. Name the column whose mix within a category counts."
        )
    within = products.assign(category=products[kind].astype("str").fillna("other"))
    of_sku = products.drop_duplicates("sku").set_index("sku")["category"]
    category = sales["sku"].map(of_sku)
    found = {}
    for name in sorted(category.dropna().unique()):
        mix = category_mix(sales[category == name], within)
        try:
            found[str(name)] = store_features(
                profile,
                mix,
                stores,
                competition=competition,
                extra=extra,
                labels=labels,
                composition=composition,
            )
        except NotSupportedError:
            continue
    return found
