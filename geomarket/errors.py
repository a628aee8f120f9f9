"""The few exception and warning types geomarket raises.

Every error is also the standard exception a caller would expect, so ``except ValueError`` keeps working.
Messages name the table, the column, the first few rows, what was expected and what to do about it.
"""

from __future__ import annotations

__all__ = [
    "CoverageWarning",
    "FitWarning",
    "GeomarketError",
    "GeomarketWarning",
    "InfeasibleError",
    "MissingDataError",
    "NotSupportedError",
    "SettingsError",
    "SolverError",
    "TableError",
]


class GeomarketError(Exception):
    """Base class of all errors raised on purpose by geomarket."""


class TableError(GeomarketError, ValueError):
    """A table given by the user can't be used as it is."""


class SettingsError(GeomarketError, ValueError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class MissingDataError(GeomarketError, FileNotFoundError):
    """A file or folder that was asked for is not there."""


class NotSupportedError(GeomarketError, ValueError):
    """The data can't support what was asked (too few rows, no variation, not identified)."""


class SolverError(GeomarketError, RuntimeError):
    """An optimiser or an iterative fit did not end in a usable state."""


class InfeasibleError(SolverError):
    """No plan satisfies the rules; the message names rules that clash."""


class GeomarketWarning(UserWarning):
    """Base class of all warnings."""


class FitWarning(GeomarketWarning):
    """A fit converged poorly or rests on thin evidence."""


class CoverageWarning(GeomarketWarning):
    """Part of the input lies outside what the other tables cover."""
