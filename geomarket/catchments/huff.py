"""Huff's model of store choice, fitted to flows or to store totals."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from geomarket.catchments.attraction import AttractionEncoder
from geomarket.catchments.choice import ChoiceSets, fit_conditional_logit
from geomarket.catchments.totals import fit_store_totals
from geomarket.errors import SettingsError, TableError

__all__ = ["Decay", "Huff"]

_log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Decay = Literal["power", "exponential", "combined", "none"]
DECAYS = ("power", "exponential", "combined", "none")
_OUTSIDE_ROUNDS = 50
PARAM_COLUMNS = ["term", "estimate", "se", "robust_se", "clustered_se", "low", "high"]


class Huff(BaseEstimator):
    """Share of each cell's custom that each store draws: attraction^b × distance^−l, over the sum of all stores.

    Parameters
    ----------
    attraction : sequence of str
        Columns of the stores frame (numbers, booleans or text), or ``log_<column>`` for a Huff exponent.
    decay : {"power", "exponential", "combined", "none"}
        Distance enters as log distance, as distance, as both (Tanner's function), or not at all.
    distance : str
        Column of the pairs: "km" or "minutes".
    min_stores, max_levels : int
        How text columns are coded, see :class:`AttractionEncoder`.
    outside_share : float
        Share of the whole market spent at none of the stores (elsewhere, online, not at all); more in cells
        far from all of them. It must be known: nothing here can tell it. 0: stores share a fixed market.
    confidence : float
        Level of the intervals in ``params_``.
    max_iterations : int
        Newton steps before a fit gives up.

    Attributes
    ----------
    params_ : DataFrame
        term, estimate, se (model-based), robust_se (sandwich over pairs, or over stores for totals),
        clustered_se (over cells; flows only), low, high (from the most cautious of those that apply). NaN
        where the data cannot tell the term; it then counts as 0 in predictions.
    notes_ : list of str
        What a planner must know about this fit.
    source_ : {"flows", "totals", "given"}
    outside_ : float
        Utility of the outside option; minus infinity without one.
    log_likelihood_, n_iterations_, n_observations_ : float, int, int
        Of the last fit; observations are cells with flows, or stores with totals.

    Notes
    -----
    Huff (1964); as a conditional logit McFadden (1974); multiplicative competitive interaction Nakanishi &
    Cooper (1974). Independence of irrelevant alternatives is assumed: a new store draws from all others in
    proportion to their shares. Without ``outside_share`` stores share a fixed market, which a new store cannot
    make grow.

    Examples
    --------
    >>> pairs = pd.DataFrame({"cell": [1, 1, 2, 2], "store_id": ["A", "B", "A", "B"], "km": [1.0, 2.0, 4.0, 1.0]})
    >>> stores = pd.DataFrame({"store_id": ["A", "B"], "size_m2": [1000.0, 500.0]})
    >>> huff = Huff(attraction=["log_size_m2"]).fix(stores, {"log_size_m2": 1.0, "log_km": -2.0})
    >>> huff.predict(pairs, stores)["probability"].round(3).tolist()
    [0.889, 0.111, 0.111, 0.889]
    """

    def __init__(
        self,
        attraction: Sequence[str] = (),
        decay: Decay = "power",
        distance: str = "km",
        min_stores: int = 5,
        max_levels: int = 12,
        outside_share: float = 0.0,
        confidence: float = 0.9,
        max_iterations: int = 200,
    ) -> None:
        self.attraction = attraction
        self.decay = decay
        self.distance = distance
        self.min_stores = min_stores
        self.max_levels = max_levels
        self.outside_share = outside_share
        self.confidence = confidence
        self.max_iterations = max_iterations

    def fit(
        self, pairs: pd.DataFrame, stores: pd.DataFrame, flows: pd.DataFrame, value: str = "trips"
    ) -> Huff:
        """Fit by maximum likelihood to flows from cells to stores.

        Where only one's own stores' customers are known, give ``pairs`` of own stores only: the model is then
        fitted to the choice among them, which under independence of irrelevant alternatives has the same
        coefficients. What sets own stores as such apart from competitors is then not identified.

        Parameters
        ----------
        pairs : DataFrame
            cell, store_id and the distance column: everything each cell chooses among.
        stores : DataFrame
            store_id and the attraction columns; may hold more stores than ``pairs`` (they fix the coding).
        flows : DataFrame
            cell, store_id and ``value``; a pair not listed had none.
        value : str
            Column of ``flows``: trips, customers or money.

        Returns
        -------
        Huff
            self.

        Raises
        ------
        TableError
            A column is missing or a flow is negative.
        NotSupportedError, SolverError
            See :func:`fit_conditional_logit`.
        """
        sets = self._sets(pairs, self._encode(stores))
        trips, lost = match_flows(pairs, flows, value)
        fit = fit_conditional_logit(sets, trips[sets.order], max_iterations=self.max_iterations)
        self.source_ = "flows"
        # the choice among stores, given that one is chosen, has the same coefficients with an outside option
        self.outside_ = -np.inf
        self.beta_ = np.where(fit.identified, fit.beta, 0.0)
        self.log_likelihood_, self.n_iterations_ = fit.log_likelihood, fit.n_iterations
        self.n_observations_ = fit.n_clusters
        self.params_ = self._params(
            fit.beta,
            {
                "se": fit.covariance,
                "robust_se": fit.robust_covariance,
                "clustered_se": fit.clustered_covariance,
            },
            freedom=max(fit.n_clusters - 1, 1),
        )
        self.notes_ = self._identification_notes()
        if lost > 0:
            total = float(flows[value].sum())
            self.notes_.append(
                f"{lost / total:.1%} of all {value} go to stores outside the cell's choice set (beyond the "
                "nearest kept per cell, or in a cell without stores) and were not used in the fit."
            )
        return self

    def fit_totals(
        self,
        pairs: pd.DataFrame,
        stores: pd.DataFrame,
        totals: pd.DataFrame,
        market: pd.Series,
        value: str = "revenue",
        loss: Literal["log", "poisson"] = "log",
        start: Floats | None = None,
    ) -> Huff:
        """Fit to the totals of stores, where nobody knows who shops where.

        Parameters
        ----------
        pairs, stores : DataFrame
            As in :meth:`fit`, competitors included.
        totals : DataFrame
            store_id and ``value``, one row per store; stores without a row compete but are not fitted to.
        market : Series
            Market size by cell (its index), in any unit; cells missing or NaN count as empty.
        value : str
            Column of ``totals``.
        loss : {"log", "poisson"}
            See :func:`fit_store_totals`.
        start : ndarray or None
            Coefficients to start the search from (``beta_`` of a similar fit).

        Returns
        -------
        Huff
            self.
        """
        stores = stores.reset_index(drop=True)
        sets = self._sets(pairs, self._encode(stores))
        size = market_of(sets.cells, market)
        observed = totals_of(stores, totals, value)
        if start is None:
            start = np.zeros(sets.n_terms)
            if self.decay in ("power", "combined"):
                # people do prefer near stores: starting there spares the search a flat region
                start[sets.by_store.shape[1]] = -1.0
        self._check_outside()
        fit = fit_store_totals(sets, observed, size, loss, start, self.max_iterations)
        self.outside_ = -np.inf
        for _ in range(_OUTSIDE_ROUNDS if self.outside_share > 0 else 0):
            # coefficients given the pull of the outside, then that pull given the coefficients
            last = self.outside_
            self.outside_ = outside_utility(sets, np.nan_to_num(fit.beta), size, self.outside_share)
            if abs(self.outside_ - last) < 1e-6:
                break
            open_sets = sets.with_outside(self.outside_)
            fit = fit_store_totals(open_sets, observed, size, loss, fit.beta, self.max_iterations)
        self.source_ = "totals"
        self.beta_ = np.nan_to_num(fit.beta)
        self.log_likelihood_, self.n_iterations_, self.n_observations_ = (
            np.nan,
            fit.n_iterations,
            fit.n_stores,
        )
        self.money_per_market_unit_ = fit.scale
        self.params_ = self._params(
            fit.beta,
            {"se": fit.covariance, "robust_se": fit.robust_covariance},
            freedom=max(fit.n_stores - int(np.isfinite(fit.beta).sum()) - 1, 1),
        )
        self.notes_ = [*self._identification_notes(), *self._totals_notes(fit.n_stores)]
        return self

    def fix(self, stores: pd.DataFrame, parameters: Mapping[str, float]) -> Huff:
        """Take given coefficients instead of fitting, e.g. from the literature; terms not named count 0.

        ``distance`` is short for the first distance term (``log_km``, ``km``, ``log_minutes``, ``minutes``).
        """
        self._encode(stores)
        terms = [*self.encoder_.terms_, *self._distance_terms()]
        if "distance" in parameters and self._distance_terms():
            parameters = {
                (self._distance_terms()[0] if k == "distance" else k): v for k, v in parameters.items()
            }
        unknown = [name for name in parameters if name not in terms]
        if unknown:
            raise SettingsError(
                f"parameters {', '.join(unknown)}: not terms of this model ({', '.join(terms)})."
            )
        self.beta_ = np.array([float(parameters.get(term, 0.0)) for term in terms])
        self.outside_ = -np.inf
        self.params_ = self._params(self.beta_, {}, freedom=1)
        self.source_, self.notes_ = "given", ["Coefficients were given, not fitted."]
        return self

    def set_outside(self, pairs: pd.DataFrame, stores: pd.DataFrame, market: pd.Series) -> Huff:
        """Solve for the pull of the outside so that ``outside_share`` of the market goes there, and return self.

        Parameters
        ----------
        pairs, stores : DataFrame
            As in :meth:`predict`: all stores, competitors too.
        market : Series
            Market size by cell.

        Returns
        -------
        Huff
            self.
        """
        check_is_fitted(self, "beta_")
        self._check_outside()
        self.outside_ = -np.inf
        if self.outside_share > 0:
            sets = self._sets(pairs, stores)
            size = market_of(sets.cells, market)
            self.outside_ = outside_utility(sets, self.beta_, size, self.outside_share)
        return self

    def predict(self, pairs: pd.DataFrame, stores: pd.DataFrame) -> pd.DataFrame:
        """Return the pairs with a column ``probability``, in the order given.

        It sums to 1 over each cell, less what goes outside.
        """
        check_is_fitted(self, "beta_")
        sets = self.choice_sets(pairs, stores)
        probability = np.empty(len(pairs))
        probability[sets.order] = sets.probabilities(self.beta_)
        return pairs.assign(probability=probability)

    def choice_sets(self, pairs: pd.DataFrame, stores: pd.DataFrame) -> ChoiceSets:
        """Return the choice sets of these pairs under the coding learnt when fitting."""
        check_is_fitted(self, "beta_")
        return self._sets(pairs, stores).with_outside(self.outside_)

    def _check_outside(self) -> None:
        if not 0 <= self.outside_share < 1:
            raise SettingsError(
                f"outside_share = {self.outside_share}: a share from 0 to below 1 is expected."
            )

    def _encode(self, stores: pd.DataFrame) -> pd.DataFrame:
        self.encoder_ = AttractionEncoder(self.attraction, self.min_stores, self.max_levels).fit(stores)
        return stores

    def _sets(self, pairs: pd.DataFrame, stores: pd.DataFrame) -> ChoiceSets:
        _require(pairs, "pairs", ["cell", "store_id"])
        _require(stores, "stores", ["store_id"])
        return ChoiceSets.from_frame(
            pairs,
            pd.Index(stores["store_id"]),
            self.encoder_.transform(stores),
            self.distance_columns(pairs),
        )

    def _distance_terms(self) -> list[str]:
        if self.decay not in DECAYS:
            raise SettingsError(f"decay '{self.decay}' is not supported. Use one of {', '.join(DECAYS)}.")
        named = {"power": [f"log_{self.distance}"], "exponential": [self.distance], "none": []}
        return named.get(self.decay, [f"log_{self.distance}", self.distance])

    def distance_columns(self, pairs: pd.DataFrame) -> Floats:
        """Return the distance terms of a frame of pairs: shape (n_pairs, n_distance_terms)."""
        terms = self._distance_terms()
        if not terms:
            return np.zeros((len(pairs), 0))
        _require(pairs, "pairs", [self.distance])
        distance = pairs[self.distance].to_numpy(dtype=float)
        bad = ~(distance > 0)
        if bad.any():
            raise TableError(
                f"pairs: {int(bad.sum()):,} of {len(pairs):,} rows have {self.distance} missing or not positive. "
                "Use distance_pairs, which floors distances and fills times."
            )
        return np.column_stack([np.log(distance) if term.startswith("log_") else distance for term in terms])

    def _params(self, beta: Floats, covariances: Mapping[str, Floats], freedom: int) -> pd.DataFrame:
        table = pd.DataFrame({"term": [*self.encoder_.terms_, *self._distance_terms()], "estimate": beta})
        for name in ("se", "robust_se", "clustered_se"):
            variance = np.diag(covariances[name]) if name in covariances else np.full(len(beta), np.nan)
            table[name] = np.sqrt(np.clip(variance, 0.0, None))
        cautious = table[["robust_se", "clustered_se"]].max(axis=1)
        half = float(stats.t.ppf(0.5 + self.confidence / 2, freedom)) * cautious
        return table.assign(low=table["estimate"] - half, high=table["estimate"] + half)[PARAM_COLUMNS]

    def _identification_notes(self) -> list[str]:
        missing = self.params_.loc[self.params_["estimate"].isna(), "term"].tolist()
        if not missing:
            return []
        return [
            f"Not identified by the data and taken as 0 (as the reference level): {', '.join(missing)}. "
            "No store a cell chooses among differs in them, or they repeat other columns."
        ]

    def _totals_notes(self, n_stores: int) -> list[str]:
        return [
            f"Fitted to the totals of {n_stores:,} stores, not to known customers. Totals tell which formats "
            "and sizes draw more than their surroundings explain; the reach of a store (distance decay) is told "
            "only by how totals vary with the people and rivals around, so it rests on the assumption that every "
            "person spends alike and that nobody shops across the region's border."
        ]


def outside_utility(sets: ChoiceSets, beta: Floats, market: Floats, share: float) -> float:
    """Return the utility of the outside option at which it takes ``share`` of the market."""
    utility = sets.utilities(beta)
    top = np.maximum.reduceat(utility, sets.start[:-1])
    inclusive = top + np.log(np.add.reduceat(np.exp(utility - sets.per_pair(top)), sets.start[:-1]))

    def excess(pull: float) -> float:
        return float(market @ expit(pull - inclusive)) / float(market.sum()) - share

    return float(brentq(excess, inclusive.min() - 40.0, inclusive.max() + 40.0, xtol=1e-12))


def match_flows(pairs: pd.DataFrame, flows: pd.DataFrame, value: str) -> tuple[Floats, float]:
    """Return the flow of every pair (0 where none is listed), and the sum of flows that match no pair."""
    _require(flows, "flows", ["cell", "store_id", value])
    amount = flows[value].to_numpy(dtype=float)
    bad = ~(amount >= 0)
    if bad.any():
        raise TableError(
            f"flows: {int(bad.sum()):,} of {len(flows):,} rows have {value} negative or missing; net returns "
            "against purchases first, and leave out pairs without trade."
        )
    summed = flows.groupby(["cell", "store_id"], sort=False)[value].sum()
    position = pd.MultiIndex.from_frame(pairs[["cell", "store_id"]]).get_indexer(summed.index)
    trips = np.zeros(len(pairs))
    found = position >= 0
    trips[position[found]] = summed.to_numpy(dtype=float)[found]
    return trips, float(summed.to_numpy(dtype=float)[~found].sum())


def market_of(cells: NDArray[np.int64], market: pd.Series) -> Floats:
    """Return the market of each cell from a Series indexed by cell; missing counts as empty."""
    size = market.reindex(cells).to_numpy(dtype=float, na_value=np.nan)
    if (size < 0).any():
        raise TableError(
            f"market: {int((size < 0).sum()):,} cells have a negative market size; 0 or more is expected."
        )
    size = np.nan_to_num(size)
    if not size.sum() > 0:
        raise TableError(
            "market: no cell of the pairs has a positive market size. Its index must be cell ids (H3, int64)."
        )
    return size


def totals_of(stores: pd.DataFrame, totals: pd.DataFrame, value: str) -> Floats:
    """Return the total of each store in the order of ``stores``; NaN where unknown."""
    _require(totals, "totals", ["store_id", value])
    repeated = totals["store_id"].duplicated()
    if repeated.any():
        first = ", ".join(totals.loc[repeated, "store_id"].head(3))
        raise TableError(
            f"totals: {int(repeated.sum())} of {len(totals):,} rows repeat a store_id ({first}); give one year."
        )
    by_store = totals.set_index("store_id")[value].astype(float)
    return np.asarray(by_store.reindex(stores["store_id"]), dtype=float)


def _require(frame: pd.DataFrame, table: str, columns: Sequence[str]) -> None:
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise TableError(
            f"{table}: column(s) {', '.join(missing)} missing (it has {', '.join(map(str, frame.columns))}). "
            "Name or compute them before calling."
        )
