"""Log-linear regression with SKU and period effects absorbed: for sales dense enough to take logs of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from geomarket.promotions.poisson import (
    Block,
    PoissonFit,
    clustered_covariance,
    finished,
    group_sums,
    no_fit,
    own_variation,
    project_out,
)

__all__ = ["fit_loglinear"]

Floats = npt.NDArray[np.float64]

#: Rounds of weights: rows of few units have the larger error.
ROUNDS = 3


def fit_loglinear(blocks: Sequence[Block], min_variation: float = 1e-8) -> PoissonFit:
    """Fit common terms to log units over blocks, each with its own SKU and period effects.

    Weighted least squares. A row's error variance is that of a count's logarithm (1 over its mean) plus a common
    spread, estimated from the residuals: sales that vary by more than chance, as most do, are then used more
    efficiently than by a Poisson fit, whose weights follow the mean alone. The logarithm of a count lies below that of
    its mean by half its variance to first order, which is added back. Rows without a sale have no logarithm and
    are left out, so this is for sales in which they are rare.

    Estimates are effects on the typical (geometric mean) sales; where the spread is the same on offer and off,
    the retransformation factor exp(variance / 2) cancels and they are effects on the mean too.

    Parameters
    ----------
    blocks : sequence of Block
        All with the same terms.
    min_variation : float
        Terms with a smaller share of variation of their own come back as NaN.

    Returns
    -------
    PoissonFit
        ``deviance`` is the weighted sum of squares.
    """
    kept = [block for block in (_positive(b).informative() for b in blocks) if block.units.size]
    n_terms = blocks[0].terms.shape[1]
    if not kept:
        return no_fit(n_terms)
    means = [block.units for block in kept]
    usable = own_variation(kept, means) > min_variation
    kept = [Block(b.units, b.offset, b.terms[:, usable], b.sku, b.period, b.group) for b in kept]
    spread = 0.05
    projected: list[Floats] = []
    weights: list[Floats] = []
    for _ in range(ROUNDS):
        weights = [1 / (1 / np.maximum(mean, 0.5) + spread) for mean in means]
        logs = [np.log(b.units) + 0.5 / np.maximum(m, 1.0) for b, m in zip(kept, means)]
        columns = [
            project_out(np.column_stack([b.terms, y - b.offset]), w, b.sku, b.period)
            for b, y, w in zip(kept, logs, weights)
        ]
        projected = [c[:, :-1] for c in columns]
        bread = np.sum([(p.T * w) @ p for p, w in zip(projected, weights)], axis=0)
        moment = np.sum([(p.T * w) @ c[:, -1] for p, c, w in zip(projected, columns, weights)], axis=0)
        estimate = np.asarray(np.linalg.lstsq(bread, moment, rcond=1e-12)[0], dtype=float)
        residuals = [c[:, -1] - p @ estimate for c, p in zip(columns, projected)]
        means = [np.exp(y - r) for y, r in zip(logs, residuals)]
        spread = _spread(kept, residuals, means)
    scaled = [w * r for w, r in zip(weights, residuals)]
    scores, information, groups = group_sums(kept, projected, weights, scaled)
    return finished(
        estimate,
        clustered_covariance(scores, information, bread),
        information,
        groups,
        usable,
        _all_terms(own_variation(kept, weights), usable),
        True,
        float(sum((r * s).sum() for r, s in zip(residuals, scaled))),
    )


def _positive(block: Block) -> Block:
    on = block.units > 0
    return Block(
        block.units[on],
        block.offset[on],
        block.terms[on],
        np.unique(block.sku[on], return_inverse=True)[1],
        np.unique(block.period[on], return_inverse=True)[1],
        block.group[on],
    )


def _spread(blocks: Sequence[Block], residuals: Sequence[Floats], means: Sequence[Floats]) -> float:
    """Variance of the log errors beyond what counting gives, with the effects' degrees of freedom taken off."""
    rows = sum(b.units.size for b in blocks)
    effects = sum(int(b.sku.max()) + int(b.period.max()) + 1 for b in blocks)
    squares = sum(float((r**2).sum()) for r in residuals) * rows / max(rows - effects, 1)
    counting = sum(float((1 / np.maximum(m, 0.5)).sum()) for m in means)
    return max((squares - counting) / rows, 1e-4)


def _all_terms(values: Floats, usable: npt.NDArray[np.bool_]) -> Floats:
    full = np.zeros(usable.size)
    full[usable] = values
    return full
