"""Poisson regression with two sets of effects absorbed: SKU and period."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import linalg

from geomarket.errors import FitWarning

__all__ = ["Block", "PoissonFit", "clustered_covariance", "fit_poisson", "project_out"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Rows that share a set of SKU effects and a set of period effects (one store cluster's).

    ``sku`` and ``period`` are numbers from 0; ``group`` is what standard errors are clustered by.
    """

    units: Floats
    offset: Floats
    terms: Floats
    sku: Ints
    period: Ints
    group: Ints

    def informative(self) -> Block:
        """Leave out SKUs and periods without any unit: their effect runs to minus infinity."""
        block = self
        while True:
            keep = np.ones(block.units.size, dtype=bool)
            for code in (block.sku, block.period):
                keep &= np.bincount(code, block.units)[code] > 0
            if keep.all():
                return block
            block = Block(
                block.units[keep],
                block.offset[keep],
                block.terms[keep],
                np.unique(block.sku[keep], return_inverse=True)[1],
                np.unique(block.period[keep], return_inverse=True)[1],
                block.group[keep],
            )


@dataclass(frozen=True)
class PoissonFit:
    """Estimates of the terms.

    Attributes
    ----------
    estimate : ndarray of shape (n_terms,)
    covariance : ndarray of shape (n_terms, n_terms)
        Sandwich, clustered by ``Block.group``.
    n_groups : int
        Groups behind it: their number less one are its degrees of freedom.
    own_variation : ndarray of shape (n_terms,)
        Share of each term's variation within SKUs that is left once period effects and the other terms are out:
        near 0, the term can't be told from the season or from another term.
    converged : bool
    deviance : float
    effective_groups : ndarray of shape (n_terms,)
        How many groups of equal weight would carry as much: 1 over the sum of squared shares of the information
        (Carter, Schnepel and Steigerwald, 2017). Far below ``n_groups`` where few of them tell nearly everything.
    top_group, top_share : ndarray of shape (n_terms,)
        The group that tells most about a term (-1 where none does), and its share of the information.
    """

    estimate: Floats
    covariance: Floats
    own_variation: Floats
    converged: bool
    deviance: float
    n_groups: int = 0
    effective_groups: Floats = field(default_factory=lambda: np.zeros(0))
    top_group: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    top_share: Floats = field(default_factory=lambda: np.zeros(0))


def fit_poisson(
    blocks: Sequence[Block], max_iterations: int = 50, tolerance: float = 1e-10, min_variation: float = 1e-8
) -> PoissonFit:
    """Fit common terms over blocks, each with its own SKU and period effects.

    Iteratively reweighted least squares in which both sets of effects are projected out exactly at each step
    (the period effects by the Schur complement of the SKU effects), as in Correia, Guimarães and Zylkin (2020), Fast
    Poisson estimation with high-dimensional fixed effects. A Poisson fit with effects is consistent for the
    conditional mean whatever the variance; the covariance is the sandwich, clustered.

    Parameters
    ----------
    blocks : sequence of Block
        All with the same terms.
    max_iterations : int
        Steps before giving up.
    tolerance : float
        Relative change of the deviance at which to stop.
    min_variation : float
        Terms with a smaller share of variation of their own come back as NaN.

    Returns
    -------
    PoissonFit
    """
    kept = [block for block in (b.informative() for b in blocks) if block.units.size]
    n_terms = blocks[0].terms.shape[1]
    if not kept:
        return no_fit(n_terms)
    usable = own_variation(kept, [block.units for block in kept]) > min_variation
    blocks = [Block(b.units, b.offset, b.terms[:, usable], b.sku, b.period, b.group) for b in kept]
    linear = [_start(block) for block in blocks]
    deviance, converged = np.inf, False
    estimate = np.zeros(int(usable.sum()))
    bread = np.zeros((estimate.size, estimate.size))
    projected: list[Floats] = []
    for _ in range(max_iterations):
        means = [np.exp(eta) for eta in linear]
        working = [eta - b.offset + (b.units - mu) / mu for eta, b, mu in zip(linear, blocks, means)]
        columns = [
            project_out(np.column_stack([b.terms, z]), mu, b.sku, b.period)
            for b, z, mu in zip(blocks, working, means)
        ]
        projected = [c[:, :-1] for c in columns]
        bread = np.sum([(p.T * mu) @ p for p, mu in zip(projected, means)], axis=0)
        moment = np.sum([(p.T * mu) @ c[:, -1] for p, c, mu in zip(projected, columns, means)], axis=0)
        estimate = np.asarray(np.linalg.lstsq(bread, moment, rcond=1e-12)[0], dtype=float)
        target = [
            b.offset + z - (c[:, -1] - p @ estimate)
            for b, z, c, p in zip(blocks, working, columns, projected)
        ]
        linear, new = _damped(blocks, linear, target, deviance)
        if abs(deviance - new) <= tolerance * (abs(new) + 0.1):
            converged, deviance = True, new
            break
        deviance = new
    if not converged:
        warnings.warn(
            "the promotion response did not converge; its intervals can't be relied on", FitWarning, 2
        )
    means = [np.exp(eta) for eta in linear]
    residuals = [block.units - mean for block, mean in zip(blocks, means)]
    scores, information, groups = group_sums(blocks, projected, means, residuals)
    covariance = clustered_covariance(scores, information, bread)
    return finished(
        estimate,
        covariance,
        information,
        groups,
        usable,
        own_variation(kept, means),
        converged,
        float(deviance),
    )


def no_fit(n_terms: int) -> PoissonFit:
    """Return a fit that knows nothing."""
    nothing = np.full(n_terms, np.nan)
    return PoissonFit(
        nothing,
        np.full((n_terms, n_terms), np.nan),
        np.zeros(n_terms),
        False,
        np.nan,
        0,
        np.zeros(n_terms),
        np.full(n_terms, -1),
        np.zeros(n_terms),
    )


def finished(
    estimate: Floats,
    covariance: Floats,
    information: Floats,
    groups: Ints,
    usable: npt.NDArray[np.bool_],
    variation: Floats,
    converged: bool,
    deviance: float,
) -> PoissonFit:
    """Spread estimates of the usable terms over all terms, with each one's influential groups."""
    n_terms = usable.size
    fit = no_fit(n_terms)
    fit.estimate[usable] = estimate
    fit.covariance[np.ix_(usable, usable)] = covariance
    own = np.maximum(np.diagonal(information, axis1=1, axis2=2), 0.0)
    total = np.maximum(own.sum(axis=0), 1e-300)
    share = own / total
    fit.effective_groups[usable] = 1 / np.maximum((share**2).sum(axis=0), 1e-300)
    fit.top_group[usable] = groups[share.argmax(axis=0)]
    fit.top_share[usable] = share.max(axis=0)
    return replace(fit, own_variation=variation, converged=converged, deviance=deviance, n_groups=groups.size)


def _start(block: Block) -> Floats:
    """Linear predictor to begin with: units pulled half way to their SKU's rate."""
    rate = np.bincount(block.sku, block.units) / np.bincount(block.sku, np.exp(block.offset))
    return np.log(0.5 * block.units + 0.5 * rate[block.sku] * np.exp(block.offset) + 1e-12)


def _damped(
    blocks: Sequence[Block], old: list[Floats], new: list[Floats], deviance: float
) -> tuple[list[Floats], float]:
    """Halve a step that makes the fit worse, at most ten times."""
    share = 1.0
    for _ in range(10):
        trial = [o + share * (n - o) for o, n in zip(old, new)]
        value = sum(_deviance(b.units, eta) for b, eta in zip(blocks, trial))
        if np.isfinite(value) and value <= deviance * (1 + 1e-8) + 1e-12:
            break
        share /= 2
    return trial, float(value)


def _deviance(units: Floats, linear: Floats) -> float:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        log_units = np.where(units > 0, np.log(np.where(units > 0, units, 1.0)), 0.0)
        return float(2 * (units * (log_units - linear) - units + np.exp(linear)).sum())


def project_out(columns: Floats, weights: Floats, sku: Ints, period: Ints) -> Floats:
    """Residuals of weighted least squares of each column on SKU and period effects."""
    n_skus, n_periods = int(sku.max()) + 1, int(period.max()) + 1
    cell = np.bincount(sku * n_periods + period, weights, n_skus * n_periods).reshape(n_skus, n_periods)
    by_sku, by_period = cell.sum(axis=1), cell.sum(axis=0)
    schur = np.diag(by_period) - cell.T @ (cell / by_sku[:, None])
    inverse = _inverse(schur)
    result = np.empty_like(columns)
    for j in range(columns.shape[1]):
        weighted = weights * columns[:, j]
        sums = np.bincount(sku, weighted, n_skus)
        effect = inverse @ (np.bincount(period, weighted, n_periods) - cell.T @ (sums / by_sku))
        level = (sums - cell @ effect) / by_sku
        result[:, j] = columns[:, j] - level[sku] - effect[period]
    return result


def _inverse(schur: Floats) -> Floats:
    """Inverse of a matrix whose null space holds the constants: any generalised one does for residuals."""
    scale = np.trace(schur) / len(schur)
    if scale > 0:
        try:
            root = np.linalg.cholesky(schur + scale / len(schur))
            if root.diagonal().min() ** 2 > 1e-9 * scale:
                return np.asarray(linalg.cho_solve((root, True), np.eye(len(schur))), dtype=float)
        except np.linalg.LinAlgError:
            pass
    # Periods that share no SKU with the others have a level of their own.
    return np.asarray(np.linalg.pinv(schur, hermitian=True, rcond=1e-11), dtype=float)


def own_variation(blocks: Sequence[Block], weights: Sequence[Floats]) -> Floats:
    """Share of each term's within-SKU variation left after period effects and the other terms."""
    n_terms = blocks[0].terms.shape[1]
    within = np.zeros(n_terms)
    left = np.zeros((n_terms, n_terms))
    for block, weight in zip(blocks, weights):
        w = weight + 1e-9
        total = np.bincount(block.sku, w)
        for j in range(n_terms):
            mean = np.bincount(block.sku, w * block.terms[:, j]) / total
            within[j] += float((w * (block.terms[:, j] - mean[block.sku]) ** 2).sum())
        projected = project_out(block.terms, w, block.sku, block.period)
        left += (projected.T * w) @ projected
    share = np.zeros(n_terms)
    for j in range(n_terms):
        if within[j] <= 0:
            continue
        others = np.delete(np.arange(n_terms), j)
        cross = left[np.ix_(others, others)]
        explained = left[j, others] @ np.linalg.pinv(cross, hermitian=True, rcond=1e-10) @ left[others, j]
        share[j] = max(0.0, (left[j, j] - explained) / within[j])
    return share


def group_sums(
    blocks: Sequence[Block],
    projected: Sequence[Floats],
    weights: Sequence[Floats],
    residuals: Sequence[Floats],
) -> tuple[Floats, Floats, Ints]:
    """Score and information of each group, and the groups' numbers.

    ``residuals`` are those of the score: units less mean for counts, weight times the log residual for logs.
    """
    n_terms = projected[0].shape[1]
    n_groups = 1 + max(int(b.group.max()) for b in blocks)
    scores, information = np.zeros((n_groups, n_terms)), np.zeros((n_groups, n_terms, n_terms))
    for block, columns, weight, residual in zip(blocks, projected, weights, residuals):
        order = np.argsort(block.group, kind="stable")
        present, first = np.unique(block.group[order], return_index=True)
        for group, rows in zip(present, np.split(order, first[1:])):
            mine = columns[rows]
            scores[group] += mine.T @ residual[rows]
            information[group] += (mine.T * weight[rows]) @ mine
    used = np.unique(np.concatenate([b.group for b in blocks]))
    return scores[used], information[used], used


def clustered_covariance(scores: Floats, information: Floats, bread: Floats, leverage: bool = True) -> Floats:
    """Return the sandwich covariance of estimates from each group's score and information.

    With ``leverage``, the estimator CV3 of MacKinnon, Nielsen and Webb (2023), Cluster-robust inference: a guide to
    empirical practice, applied to the terms once effects are projected out: it understates the error less where groups
    are few. Without, the plain sandwich.

    Parameters
    ----------
    scores : ndarray of shape (n_groups, n_terms)
        Score of each group at the estimates.
    information : ndarray of shape (n_groups, n_terms, n_terms)
        Information of each group.
    bread : ndarray of shape (n_terms, n_terms)
        Sum of the information over groups.
    leverage : bool
        Whether to take out each group's leverage.
    """
    inverse = np.linalg.pinv(bread, hermitian=True)
    if not leverage:
        return inverse @ (scores.T @ scores) @ inverse
    n_groups, n_terms = scores.shape
    left = np.eye(n_terms)[None] - information @ inverse
    # A group that alone identifies a term can't be left out; its leverage is capped.
    adjusted = (np.linalg.pinv(left, rcond=1e-3) @ scores[:, :, None])[:, :, 0]
    return inverse @ (adjusted.T @ adjusted) @ inverse * max(n_groups - 1, 1) / n_groups
