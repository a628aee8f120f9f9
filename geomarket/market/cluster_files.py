"""The small files of ``[store_clusters]``: a clustering frozen by an earlier plan, and the planner's overrides."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from geomarket.errors import TableError
from geomarket.market.corrections import refuse_twice, single_source, table_as_text
from geomarket.market.files import Source, require_text
from geomarket.market.settings import PlanSettings

__all__ = ["ClusterFiles", "read_cluster_files"]

_OVERRIDES = ("store_id", "store_cluster", "reason")


@dataclass(frozen=True)
class ClusterFiles:
    """What the files of ``[store_clusters]`` hold.

    Attributes
    ----------
    frozen : str or None
        JSON text of a clustering, unread.
    overrides : DataFrame or None
        store_id, store_cluster, reason.
    sources : tuple of Source
        The files.
    """

    frozen: str | None = None
    overrides: pd.DataFrame | None = None
    sources: tuple[Source, ...] = ()

    @property
    def hashes(self) -> dict[str, str]:
        """File name -> SHA-256 of its bytes."""
        return {source.name: source.sha256 for source in self.sources}


def read_cluster_files(settings: PlanSettings) -> ClusterFiles:
    """Read the files that ``[store_clusters]`` names: ``frozen`` and ``overrides``.

    Parameters
    ----------
    settings : PlanSettings
        Relative names start from its folder.

    Returns
    -------
    ClusterFiles
        None for a file the settings don't name.

    Raises
    ------
    MissingDataError
        If a file isn't there.
    TableError
        If one can't be read, lacks a column or a value, or names a store twice.

    Examples
    --------
    >>> read_cluster_files(PlanSettings()).sources
    ()
    """
    chosen = settings.store_clusters
    sources: list[Source] = []
    frozen = overrides = None
    if chosen.frozen is not None:
        what = "store_clusters frozen"
        source = single_source(what, chosen.frozen, settings)
        if source.suffix != ".json":
            raise TableError(
                f"{what}: {source.name} is no .json file; expected the store_clusters.json that a plan wrote."
            )
        require_text(what, source, "utf-8")
        frozen = source.path.read_text(encoding="utf-8-sig")
        sources.append(source)
    if chosen.overrides is not None:
        what = "store_clusters overrides"
        source = single_source(what, chosen.overrides, settings)
        overrides = table_as_text(what, source, _OVERRIDES)
        refuse_twice(what, source, overrides["store_id"], str)
        sources.append(source)
    return ClusterFiles(frozen, overrides, tuple(sources))
