"""A classification scheme as JSON text: written once, read back to the same types, changes noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from geomarket.errors import TableError
from geomarket.neighbourhoods.preparation import DROPPED_COLUMNS, Preparation, Shrinkage

if TYPE_CHECKING:
    from geomarket.neighbourhoods.classifier import NeighbourhoodClassifier

__all__ = ["read_scheme", "records", "restore_scheme", "write_scheme"]

FORMAT = "geomarket-neighbourhoods"
FORMAT_VERSION = 1


def write_scheme(scheme: NeighbourhoodClassifier) -> str:
    """Return a fitted scheme as JSON text with a checksum of its content."""
    shrinkage = scheme.shrinkage_
    body = {
        "version": scheme.version,
        "frozen": scheme.frozen_,
        "settings": {k: _plain(v) for k, v in scheme.get_params(deep=False).items()},
        "preparation": scheme.preparation_.to_dict(),
        "shrinkage": None
        if shrinkage is None
        else {"mean": shrinkage.mean.to_dict(), "strength": shrinkage.strength.to_dict()},
        "features": [str(name) for name in scheme.feature_names_in_],
        "dropped": records(scheme.dropped_),
        "types": records(scheme.types_),
        "centroids": scheme.centroids_.to_numpy().tolist(),
        "names": scheme.names_,
        "edits": scheme.edits_,
        "notes": scheme.notes_,
    }
    head = {"format": FORMAT, "format_version": FORMAT_VERSION, "sha256": _digest(body)}
    return json.dumps({**head, **body}, ensure_ascii=False, indent=1, allow_nan=False)


def read_scheme(text: str) -> dict[str, Any]:
    """Parse and check JSON text written by :func:`write_scheme`."""
    try:
        stored = json.loads(text)
    except json.JSONDecodeError as error:
        raise TableError(
            f"neighbourhood scheme: not JSON ({error}). Give the text that to_json returned."
        ) from error
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise TableError(
            f"neighbourhood scheme: the JSON has no format '{FORMAT}'. Give the text of to_json."
        )
    written = stored.get("format_version")
    if isinstance(written, int) and written > FORMAT_VERSION:
        raise TableError(
            f"neighbourhood scheme: format version {written} is newer than this geomarket reads "
            f"({FORMAT_VERSION}). Update geomarket."
        )
    body = {k: v for k, v in stored.items() if k not in ("format", "format_version", "sha256")}
    if _digest(body) != stored.get("sha256"):
        raise TableError(
            "neighbourhood scheme: the content doesn't match its checksum, so it was changed after it was written. "
            "Use the original, or make the change in geomarket (rename, override) and write it again."
        )
    return body


def restore_scheme(kind: type[NeighbourhoodClassifier], stored: Mapping[str, Any]) -> NeighbourhoodClassifier:
    """Build the fitted scheme from its parsed JSON; ``labels_`` of the areas it was fitted on aren't kept."""
    scheme = kind(**stored["settings"])
    scheme.frozen_ = stored["frozen"]
    scheme.preparation_ = Preparation.from_dict(stored["preparation"])
    shrinkage = stored["shrinkage"]
    scheme.shrinkage_ = None
    if shrinkage is not None:
        scheme.shrinkage_ = Shrinkage(
            pd.Series(shrinkage["mean"], dtype=float), pd.Series(shrinkage["strength"], dtype=float)
        )
    scheme.feature_names_in_ = np.array(stored["features"], dtype=object)
    scheme.dropped_ = pd.DataFrame(stored["dropped"], columns=DROPPED_COLUMNS)
    scheme.types_ = pd.DataFrame(stored["types"])
    scheme.centroids_ = pd.DataFrame(
        stored["centroids"], index=pd.Index(scheme.types_["code"]), columns=scheme.preparation_.variables
    )
    scheme.names_ = dict(stored["names"])
    scheme.edits_ = list(stored["edits"])
    scheme.notes_ = list(stored["notes"])
    scheme.wcss_ = scheme.types_.groupby("level", sort=False)["wcss"].sum().to_dict()
    return scheme


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a frame as plain dicts, ready for JSON."""
    return [{str(k): _plain(v) for k, v in row.items()} for row in table.to_dict("records")]


def _digest(body: Mapping[str, Any]) -> str:
    content = json.dumps(body, ensure_ascii=False, sort_keys=True, allow_nan=False)
    return hashlib.sha256(content.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value
