"""The geodemographic classifier: top-down k-means in two or three levels, with codes that stay put."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from geomarket.errors import NotSupportedError, SettingsError
from geomarket.neighbourhoods.checks import (
    canonical_order,
    check_rates,
    checked_denominators,
    checked_population,
    status_notes,
)
from geomarket.neighbourhoods.hierarchy import LEVELS, grow
from geomarket.neighbourhoods.kmeans import nearest
from geomarket.neighbourhoods.preparation import (
    DROPPED_COLUMNS,
    SCALINGS,
    TRANSFORMS,
    Preparation,
    Scaling,
    Shrinkage,
    Transform,
    check_choice,
    correlation_screen,
    prepare,
    shrink_rates,
)
from geomarket.neighbourhoods.scheme import read_scheme, restore_scheme, write_scheme

__all__ = ["NeighbourhoodClassifier"]


_log = logging.getLogger(__name__)


class NeighbourhoodClassifier(BaseEstimator):
    """Sort areas into neighbourhood types by their census profile.

    Rates are transformed and scaled, variables that repeat another one are left out, and weighted k-means
    splits the areas into supergroups, each of them into groups, and each of these into subgroups. Codes are
    ``B``, ``B2``, ``B2a``: letters and numbers follow population, largest first, so a refit that finds the same
    types gives them the same codes whatever the seed or the order of rows.

    Parameters
    ----------
    levels : sequence of int, or of sequences
        One entry per level. The first is the number of supergroups. A later entry is the number of types each
        parent is split into (or, with ``counts="total"``, how many types the level has in all), or a sequence
        with one number per parent in code order.
    counts : {"each", "total"}
        What the numbers of the second and third level mean. With "total", every parent gets one or two types
        and the rest go where they lower the within-cluster sum of squares most, up to ``max_children``.
    max_children : int
        Most types a parent is split into with ``counts="total"``.
    transform : {"asinh", "log", "yeo-johnson", "none"}
        Applied to the value times ``multiplier``.
    scaling : {"range", "z", "inter-decile"}
        How transformed variables are made comparable.
    max_correlation : float or None
        Of two variables that correlate more than this, one is left out; None keeps all.
    weights : mapping of str to float, optional
        Weight of a variable in the squared distance; 0 leaves it out.
    min_population : float
        Areas with fewer people are left without a type ("unpopulated").
    max_missing : float
        A variable missing in a larger share of populated areas is left out; an area missing a larger share of
        the variables stays without a type. Areas missing fewer are typed by the variables they have.
    shrink : bool
        Pull rates of small bases towards the average (empirical Bayes) before anything else.
    area_weights : {"population", "equal"}
        Whether an area counts by its population. Census areas are drawn to hold like numbers of people and are
        usually taken as equal; hexagons hold from none to thousands. Without a population all count the same.
    multiplier : float or mapping of str to float
        Values are multiplied by this before the transform: 100 turns shares into percentages.
    n_init : int
        Starts of k-means at each split.
    min_areas : int
        A parent is split only so far that its types could have this many areas each.
    version : str
        Name of the scheme, kept in the JSON.
    random_state : int
        Seed.

    Attributes
    ----------
    labels_ : DataFrame
        On the index of X: code, supergroup, group (subgroup), distance and second_distance (to the nearest and
        second-nearest supergroup centroid), second (that supergroup), uncertainty (their ratio, 0 clear to 1
        undecided), one ``<level>_uncertainty`` for each lower level, own_distance (to the centroid of the finest
        code), n_missing, status.
    centroids_ : DataFrame
        One row per code; columns are the prepared variables.
    types_ : DataFrame
        code, level, parent, areas, mass (people, or areas where no population was given), wcss.
    dropped_ : DataFrame
        variable, reason.
    notes_ : list of str
        What a reader must know of the fit: small types, fallbacks (areas without a type: see the status).
    preparation_ : Preparation
    names_ : dict
        Name of each code, once named.
    wcss_ : dict
        Within-cluster sum of squares of each level (weighted by area).
    feature_names_in_ : ndarray of str

    Notes
    -----
    Method of the UK output area classifications: Vickers and Rees (2007), Gale, Singleton, Bates and Longley
    (2016). Missing coordinates: Dixon (1979).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> low, high = rng.normal(0.2, 0.02, (40, 2)), rng.normal(0.6, 0.02, (20, 2))
    >>> rates = pd.DataFrame(np.vstack([low, high]), columns=["renting", "aged_20_29"])
    >>> classifier = NeighbourhoodClassifier(levels=(2,), max_correlation=None).fit(rates)
    >>> classifier.labels_["code"].value_counts().to_dict()
    {'A': 40, 'B': 20}
    >>> str(classifier.predict(pd.DataFrame({"renting": [0.7], "aged_20_29": [0.5]}))[0])
    'B'
    """

    def __init__(
        self,
        levels: Sequence[Any] = (6, 3),
        *,
        counts: Literal["each", "total"] = "each",
        max_children: int = 4,
        transform: Transform = "asinh",
        scaling: Scaling = "range",
        max_correlation: float | None = 0.9,
        weights: Mapping[str, float] | None = None,
        min_population: float = 1.0,
        max_missing: float = 0.25,
        shrink: bool = False,
        area_weights: Literal["population", "equal"] = "population",
        multiplier: float | Mapping[str, float] = 100.0,
        n_init: int = 100,
        min_areas: int = 5,
        version: str = "draft",
        random_state: int = 0,
    ) -> None:
        self.levels = levels
        self.counts = counts
        self.max_children = max_children
        self.transform = transform
        self.scaling = scaling
        self.max_correlation = max_correlation
        self.weights = weights
        self.min_population = min_population
        self.max_missing = max_missing
        self.shrink = shrink
        self.area_weights = area_weights
        self.multiplier = multiplier
        self.n_init = n_init
        self.min_areas = min_areas
        self.version = version
        self.random_state = random_state

    def fit(
        self,
        X: pd.DataFrame,
        population: pd.Series | None = None,
        denominators: pd.DataFrame | None = None,
    ) -> NeighbourhoodClassifier:
        """Learn the types.

        Parameters
        ----------
        X : DataFrame of shape (n_areas, n_variables)
            Shares 0..1 and other rates; missing is NaN. The index is kept.
        population : Series, optional
            People in each area, on the same index.
        denominators : DataFrame, optional
            The count each rate is a share of; needed by ``shrink=True`` only.

        Returns
        -------
        NeighbourhoodClassifier
            Itself.

        Raises
        ------
        TableError
            Columns that aren't numbers, infinite values, repeated index or columns, another index.
        NotSupportedError
            Too few populated areas or variables for the types asked for.
        SettingsError
            An unknown word or a number out of range; or the scheme is frozen.

        Examples
        --------
        >>> rates = pd.DataFrame({"renting": [0.1, 0.1, 0.8, 0.9], "owning": [0.9, 0.8, 0.2, 0.2]})
        >>> NeighbourhoodClassifier(levels=(2,), min_areas=1).fit(rates).labels_["code"].tolist()
        ['A', 'A', 'B', 'B']
        """
        points, weights, mass = self.learn_preparation(X, population, denominators)
        grown = grow(
            points,
            weights,
            mass,
            self.levels,
            counts=self.counts,
            max_children=self.max_children,
            min_areas=self.min_areas,
            n_init=self.n_init,
            random_state=self.random_state,
        )
        self.types_ = grown.types
        self.centroids_ = pd.DataFrame(
            grown.centroids, index=pd.Index(grown.types["code"]), columns=self.preparation_.variables
        )
        self.wcss_ = grown.types.groupby("level", sort=False)["wcss"].sum().to_dict()
        self.notes_ += grown.notes
        if self.shrinkage_ is not None:
            self.notes_.append(
                f"Rates of small bases were pulled towards the average ({len(self.shrinkage_.mean)} variables shrunk)."
            )
        self.labels_ = self.assign(X, population, denominators)
        self.notes_ += self._small_types() + self.preparation_.notes()
        for line in self.notes_ + status_notes(self.labels_, self.min_population):
            _log.info("%s", line)
        return self

    def learn_preparation(
        self,
        X: pd.DataFrame,
        population: pd.Series | None = None,
        denominators: pd.DataFrame | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Choose the variables and learn their transform, without forming types.

        Parameters
        ----------
        X, population, denominators
            As in :meth:`fit`.

        Returns
        -------
        points : ndarray of shape (n_fit, n_variables)
            Prepared coordinates of the populated areas with complete data, in an order that hangs on their
            content only, so that shuffled tables are fitted alike.
        weights : ndarray of shape (n_fit,)
            What each counts in the fit.
        mass : ndarray of shape (n_fit,)
            People in each, or 1.

        Examples
        --------
        >>> rates = pd.DataFrame({"renting": [0.1, 0.1, 0.8, 0.9], "owning": [0.9, 0.8, 0.2, 0.2]})
        >>> scheme = NeighbourhoodClassifier(levels=(2,), max_correlation=None)
        >>> points, weights, mass = scheme.learn_preparation(rates)
        >>> points.shape, float(points.min()), float(points.max().round(6))
        ((4, 2), 0.0, 1.0)
        """
        self._check_settings()
        check_rates(X)
        mass = checked_population(population, X.index)
        populated = self._populated(mass, X.index)
        self.notes_: list[str] = []
        self.names_: dict[str, str] = {}
        self.edits_: list[dict[str, str]] = []
        self.feature_names_in_ = X.columns.to_numpy(dtype=object)
        order = canonical_order(X, mass)
        order = order[populated[order]]
        used = self._select_variables(X.iloc[order])
        rates = self._fit_shrinkage(X, used, denominators, order)
        complete = rates.notna().all(axis=1).to_numpy()
        rates, order = self._without_constants(rates[complete]), order[complete]
        weights = self._weights_of(mass, order)
        self._check_enough(rates, populated)
        self._prepare(rates, weights)
        return self.preparation_.apply(rates), weights, _mass_of(mass, order)

    def predict(
        self,
        X: pd.DataFrame,
        population: pd.Series | None = None,
        denominators: pd.DataFrame | None = None,
    ) -> np.ndarray:
        """Return the finest code of each area, with the stored transform; None where it has no type.

        Parameters
        ----------
        X : DataFrame of shape (n_areas, n_variables)
            Needs the variables of the scheme; others are ignored.
        population, denominators
            As in :meth:`fit`.

        Returns
        -------
        ndarray of object

        Examples
        --------
        >>> rates = pd.DataFrame({"renting": [0.1, 0.1, 0.8, 0.9], "owning": [0.9, 0.8, 0.2, 0.2]})
        >>> scheme = NeighbourhoodClassifier(levels=(2,), min_areas=1, max_correlation=None).fit(rates)
        >>> scheme.predict(pd.DataFrame({"renting": [0.7, np.nan], "owning": [0.3, np.nan]})).tolist()
        ['B', None]
        """
        codes = self.assign(X, population, denominators)["code"].astype(object)
        return codes.where(codes.notna(), None).to_numpy(dtype=object)

    def assign(
        self,
        X: pd.DataFrame,
        population: pd.Series | None = None,
        denominators: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Return codes, runner-up and uncertainty of areas (columns as ``labels_``).

        Parameters
        ----------
        X : DataFrame of shape (n_areas, n_variables)
            Needs the variables of the scheme; others are ignored.
        population, denominators
            As in :meth:`fit`.

        Returns
        -------
        DataFrame
            On the index of X.

        Examples
        --------
        >>> rates = pd.DataFrame({"renting": [0.1, 0.1, 0.8, 0.9], "owning": [0.9, 0.8, 0.2, 0.2]})
        >>> scheme = NeighbourhoodClassifier(levels=(2,), min_areas=1, max_correlation=None).fit(rates)
        >>> found = scheme.assign(pd.DataFrame({"renting": [0.7, 0.3], "owning": [0.3, 0.6]}))
        >>> found[["code", "second", "status"]].values.tolist()
        [['B', 'A', 'complete'], ['A', 'B', 'complete']]
        >>> bool(found["uncertainty"].between(0, 1).all())
        True
        """
        mass = checked_population(population, X.index)
        points = self.transform_rates(X, denominators).to_numpy()
        missing = np.isnan(points).sum(axis=1)
        populated = self._populated(mass, X.index)
        typed = populated & (missing <= self.max_missing * points.shape[1])
        out = self._descend(points, typed)
        out.insert(len(out.columns), "n_missing", missing)
        status = np.select(
            [~populated, ~typed, missing > 0], ["unpopulated", "too little data", "partial data"], "complete"
        )
        out["status"] = status
        return out.set_index(X.index)

    def transform_rates(self, X: pd.DataFrame, denominators: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return areas in the space distances are measured in: shrunk if asked for, transformed, scaled, weighted.

        Parameters
        ----------
        X : DataFrame of shape (n_areas, n_variables)
            Needs the variables of the scheme; others are ignored.
        denominators : DataFrame, optional
            As in :meth:`fit`.

        Returns
        -------
        DataFrame
            On the index of X; a column for each prepared variable.

        Examples
        --------
        >>> rates = pd.DataFrame({"renting": [0.1, 0.1, 0.8, 0.9], "owning": [0.9, 0.8, 0.2, 0.2]})
        >>> scheme = NeighbourhoodClassifier(levels=(2,), min_areas=1, max_correlation=None).fit(rates)
        >>> scheme.transform_rates(rates).max().round(6).to_dict()
        {'renting': 1.0, 'owning': 1.0}
        """
        self._check_fitted()
        rates = (
            X[[name for name in self.preparation_.variables if name in X]]
            if isinstance(X, pd.DataFrame)
            else X
        )
        check_rates(rates)
        if self.shrinkage_ is not None:
            needed = self.shrinkage_.mean.index.intersection(rates.columns)
            rates = self.shrinkage_.only(needed).apply(
                rates, checked_denominators(denominators, rates, needed)
            )
        return pd.DataFrame(
            self.preparation_.apply(rates), index=X.index, columns=self.preparation_.variables
        )

    def freeze(self, version: str) -> NeighbourhoodClassifier:
        """Return a copy of the fitted scheme under a version name; a frozen scheme can't be fitted again.

        Examples
        --------
        >>> rates = pd.DataFrame({"renting": [0.1, 0.1, 0.8, 0.9], "owning": [0.9, 0.8, 0.2, 0.2]})
        >>> scheme = NeighbourhoodClassifier(levels=(2,), min_areas=1).fit(rates).freeze("2021.1")
        >>> scheme.version
        '2021.1'
        """
        copy = type(self).from_json(self.to_json())
        copy.version = version
        copy.frozen_ = True
        return copy

    def to_json(self) -> str:
        """Return the scheme as JSON text: settings, stored transform, centroids, names, edits. No areas.

        A SHA-256 of the content is part of it, so a scheme changed by hand is noticed.

        Examples
        --------
        >>> rates = pd.DataFrame({"renting": [0.1, 0.1, 0.8, 0.9], "owning": [0.9, 0.8, 0.2, 0.2]})
        >>> scheme = NeighbourhoodClassifier(levels=(2,), min_areas=1, max_correlation=None).fit(rates)
        >>> import json
        >>> stored = json.loads(scheme.to_json())
        >>> stored["format"], stored["settings"]["transform"], len(stored["sha256"])
        ('geomarket-neighbourhoods', 'asinh', 64)
        """
        self._check_fitted()
        return write_scheme(self)

    @classmethod
    def from_json(cls, text: str) -> NeighbourhoodClassifier:
        """Read a scheme written by :meth:`to_json`; it types areas exactly as the one that was written.

        Raises
        ------
        TableError
            If the text isn't such a scheme, is of a newer format, or was changed after it was written.

        Examples
        --------
        >>> rates = pd.DataFrame({"renting": [0.1, 0.1, 0.8, 0.9], "owning": [0.9, 0.8, 0.2, 0.2]})
        >>> first = NeighbourhoodClassifier(levels=(2,), min_areas=1).fit(rates)
        >>> again = NeighbourhoodClassifier.from_json(first.to_json())
        >>> bool((again.predict(rates) == first.predict(rates)).all())
        True
        """
        return restore_scheme(cls, read_scheme(text))

    # -- fitting ------------------------------------------------------------------------------------------

    def _check_settings(self) -> None:
        if getattr(self, "frozen_", False):
            raise SettingsError(
                f"The neighbourhood scheme '{self.version}' is frozen. Use predict or assign; to fit a new one, "
                "clone it first (sklearn.base.clone)."
            )
        self.frozen_ = False
        check_choice(self.transform, TRANSFORMS, "transform")
        check_choice(self.scaling, SCALINGS, "scaling")
        check_choice(self.area_weights, ("population", "equal"), "area_weights")
        check_choice(self.counts, ("each", "total"), "counts")
        if not isinstance(self.levels, Sequence | np.ndarray) or isinstance(self.levels, str):
            raise SettingsError(f"levels is {self.levels!r}; give a list with one number for each level.")
        if not 1 <= len(self.levels) <= 3:
            raise SettingsError(
                f"levels has {len(self.levels)} entries; give the numbers of one, two or three levels."
            )
        first = self.levels[0]
        if not isinstance(first, (int, np.integer)) or not 2 <= first <= 26:
            raise SettingsError(f"levels starts with {first!r}; the number of supergroups must be 2 to 26.")
        if self.max_correlation is not None and not 0 < self.max_correlation <= 1:
            raise SettingsError(
                f"max_correlation {self.max_correlation} must be above 0 and at most 1, or None."
            )

    def _check_fitted(self) -> None:
        if not hasattr(self, "centroids_"):
            raise NotSupportedError(
                "This NeighbourhoodClassifier has no types yet. Call fit, or read one by from_json."
            )

    def _populated(self, mass: pd.Series | None, index: pd.Index) -> np.ndarray:
        if mass is None:
            return np.ones(len(index), dtype=bool)
        return (mass >= self.min_population).to_numpy()

    def _weights_of(self, mass: pd.Series | None, order: np.ndarray) -> np.ndarray:
        if mass is None or self.area_weights == "equal":
            return np.ones(len(order))
        people = mass.to_numpy(dtype=float)[order]
        return people / people.mean()

    def _select_variables(self, rates: pd.DataFrame) -> list[str]:
        weights = dict(self.weights or {})
        unknown = [name for name in weights if name not in rates.columns]
        if unknown:
            raise SettingsError(
                f"weights name {len(unknown)} variables that aren't columns: {', '.join(unknown[:5])}. "
                f"Columns are {', '.join(map(str, rates.columns[:8]))} …"
            )
        negative = [name for name, weight in weights.items() if not weight >= 0]
        if negative:
            raise SettingsError(
                f"weights of {', '.join(negative[:5])} are negative or missing; give 0 or more."
            )
        dropped, kept = [], []
        absent = rates.isna().mean()
        for name in rates.columns:
            if weights.get(name, 1.0) == 0:
                dropped.append((name, "weight 0"))
            elif absent[name] > self.max_missing:
                dropped.append(
                    (
                        name,
                        f"missing in {absent[name]:.0%} of the populated areas (limit {self.max_missing:.0%})",
                    )
                )
            elif rates[name].nunique() < 2:
                dropped.append((name, "the same in every populated area"))
            else:
                kept.append(name)
        self.dropped_ = pd.DataFrame(dropped, columns=DROPPED_COLUMNS)
        if not kept:
            raise NotSupportedError(
                f"neighbourhoods: none of the {len(rates.columns)} variables can be used ("
                + "; ".join(f"{name}: {reason}" for name, reason in dropped[:5])
                + "). Give at least one rate that varies between populated areas."
            )
        return kept

    def _without_constants(self, rates: pd.DataFrame) -> pd.DataFrame:
        same = [name for name in rates.columns if rates[name].nunique() < 2] if len(rates) > 1 else []
        if same:
            reason = "the same in every area with complete data"
            gone = pd.DataFrame([(name, reason) for name in same], columns=DROPPED_COLUMNS)
            self.dropped_ = (
                pd.concat([self.dropped_, gone], ignore_index=True) if len(self.dropped_) else gone
            )
        return rates.drop(columns=same)

    def _fit_shrinkage(
        self, X: pd.DataFrame, used: list[str], denominators: pd.DataFrame | None, order: np.ndarray
    ) -> pd.DataFrame:
        rates = X[used].iloc[order]
        self.shrinkage_: Shrinkage | None = None
        if not self.shrink:
            return rates
        if denominators is None:
            raise SettingsError("shrink=True needs denominators: the count each rate is a share of.")
        base = checked_denominators(denominators, X, pd.Index([])).iloc[order]
        self.shrinkage_ = shrink_rates(rates, base)
        return self.shrinkage_.apply(rates, base)

    def _check_enough(self, rates: pd.DataFrame, populated: np.ndarray) -> None:
        wanted = int(self.levels[0])
        if len(rates) < wanted:
            raise NotSupportedError(
                f"neighbourhoods: {wanted} supergroups were asked for, but only {len(rates):,} of "
                f"{len(populated):,} areas have {self.min_population:g} or more people and every variable. "
                "Ask for fewer, lower min_population, or leave out variables with many missing values "
                f"(most missing: {', '.join(rates.isna().mean().nlargest(3).index.astype(str))})."
            )

    def _prepare(self, rates: pd.DataFrame, weights: np.ndarray) -> None:
        def learn(columns: list[str]) -> Preparation:
            return prepare(
                rates[columns],
                weights,
                self.transform,
                self.scaling,
                self.multiplier,
                dict(self.weights or {}),
            )

        full = learn(list(rates.columns))
        screened = correlation_screen(full.apply(rates), full.variables, weights, self.max_correlation)
        gone = set(screened["variable"])
        kept = [name for name in rates.columns if name not in gone]
        parts = [part for part in (self.dropped_, screened) if len(part)]
        self.dropped_ = pd.concat(parts, ignore_index=True) if parts else self.dropped_
        self.preparation_ = learn(kept)

    def _small_types(self) -> list[str]:
        top = self.types_[self.types_["level"] == LEVELS[0]]
        share = top["mass"] if self.area_weights == "population" else top["areas"]
        small = top.loc[share < 0.01 * share.sum(), "code"]
        if small.empty:
            return []
        return [
            f"{', '.join(small)}: fewer than 1% of the total; often outliers rather than a type. "
            "Consider fewer supergroups or another transform."
        ]

    # -- assigning ----------------------------------------------------------------------------------------

    def _descend(self, points: np.ndarray, typed: np.ndarray) -> pd.DataFrame:
        """Walk every typed row down the tree, nearest centroid at each level."""
        n = len(points)
        current = np.full(n, "", dtype=object)
        columns: dict[str, np.ndarray] = {}
        tail: dict[str, np.ndarray] = {}
        own = np.full(n, np.nan)
        for level in dict.fromkeys(self.types_["level"]):
            labels = np.full(n, None, dtype=object)
            second = np.full(n, None, dtype=object)
            near, far = np.full(n, np.nan), np.full(n, np.nan)
            here = self.types_[self.types_["level"] == level]
            for parent, part in here.groupby("parent", sort=False):
                rows = np.flatnonzero(typed & (current == parent))
                if len(rows) == 0:
                    continue
                codes = part["code"].to_numpy(dtype=object)
                first, other, d1, d2 = nearest(points[rows], self.centroids_.loc[codes].to_numpy())
                labels[rows], near[rows], far[rows], own[rows] = codes[first], d1, d2, d1
                second[rows] = np.where(other < 0, None, codes[other])
            columns[level] = labels
            ratio = np.divide(near, far, out=np.where(near == far, 1.0, 0.0), where=far > 0)
            ratio[np.isnan(near)] = np.nan
            if level == LEVELS[0]:
                tail = {"distance": near, "second_distance": far, "second": second, "uncertainty": ratio}
            else:
                tail[f"{level}_uncertainty"] = np.where(np.isnan(far), np.nan, ratio)
            current = np.where(typed, labels, "")
        finest = columns[list(columns)[-1]]
        tail["own_distance"] = own
        return pd.DataFrame({"code": finest.tolist(), **{k: v.tolist() for k, v in (columns | tail).items()}})


def _mass_of(mass: pd.Series | None, order: np.ndarray) -> np.ndarray:
    return np.ones(len(order)) if mass is None else mass.to_numpy(dtype=float)[order]
