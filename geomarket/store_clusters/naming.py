"""Names for store clusters, made from what sets each apart. Neutral by construction: no grades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from geomarket.store_clusters.features import DEFAULT_WEIGHTS, StoreFeatures

__all__ = ["cluster_names"]

_STANDS_OUT = 0.35
"""Standard deviations (over stores) a cluster's mean must lie from the chain's to be named after a feature."""


def cluster_names(
    features: StoreFeatures, labels: pd.Series, order: Sequence[str], weights: Mapping[str, float] | None
) -> dict[str, str]:
    """Name each cluster after what sets it apart; add phrases until all names differ."""
    if len(order) == 1:
        return {order[0]: "All stores"}
    phrases = {code: _phrases(features, labels == code, weights) for code in order}
    used = dict.fromkeys(order, 1)
    names = {code: _join(phrases[code], 1) for code in order}
    for _ in range(3):
        taken = pd.Series(names).value_counts()
        for code in order:
            if taken[names[code]] > 1 and used[code] < len(phrases[code]):
                used[code] += 1
        names = {code: _join(phrases[code], used[code]) for code in order}
    taken = pd.Series(names).value_counts()
    return {code: name if taken[name] == 1 else f"{name} ({code})" for code, name in names.items()}


def _phrases(features: StoreFeatures, inside: pd.Series, weights: Mapping[str, float] | None) -> list[str]:
    use = {**DEFAULT_WEIGHTS, **dict(weights or {})}
    raw = features.table.set_index("store_id").astype(float)
    spread = raw.std(ddof=0)
    apart = (raw[inside].mean() - raw.mean()) / spread.where(spread > 0)
    found: list[tuple[float, str, str]] = []
    described = features.features[["feature", "block", "label"]].astype(object).to_numpy()
    for feature, block, label in described:
        z = float(apart[feature])
        strength = abs(z) * float(np.sqrt(use.get(block, 1.0)))
        if not np.isfinite(z) or abs(z) < _STANDS_OUT or strength == 0:
            continue
        if block == "size":
            found.append((strength, block, "large stores" if z > 0 else "small stores"))
        elif block in ("competition", feature):
            found.append((strength, block, f"{'high' if z > 0 else 'low'} {label}"))
        elif z > 0 and block not in DEFAULT_WEIGHTS:
            found.append((strength, block, str(label)))
        elif z > 0:
            phrase = {"catchment": label, "format": label}.get(block, f"strong in {label}")
            found.append((strength, block, str(phrase)))
    # who shops there says more to a planner than what they buy, which follows from it
    found.sort(key=lambda item: (item[1] == "mix", -round(item[0], 9), item[2]))
    kept: list[str] = []
    per_block: dict[str, int] = {}
    for _, block, phrase in found:
        per_block[block] = per_block.get(block, 0) + 1
        if per_block[block] <= 2:
            kept.append(phrase)
    return kept[:4]


def _join(phrases: Sequence[str], count: int) -> str:
    if not phrases:
        return "Close to the chain average"
    text = ", ".join(phrases[:count])
    return text[:1].upper() + text[1:]
