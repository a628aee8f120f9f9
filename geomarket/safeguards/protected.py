"""Protected traits steer nothing unless they are switched on by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from geomarket.errors import SettingsError
from geomarket.market.model import Variable

__all__ = ["protected_inputs", "refuse_protected"]


def protected_inputs(variables: Iterable[Variable], used: Collection[str]) -> list[str]:
    """Return which of the variables used are protected traits.

    Examples
    --------
    >>> variables = [Variable("income_low", "low incomes", "rate", "n", "households"),
    ...     Variable("born_abroad", "born abroad", "rate", "n", "population", protected=True)]
    >>> protected_inputs(variables, ["income_low", "born_abroad"])
    ['born_abroad']
    """
    return sorted(variable.name for variable in variables if variable.protected and variable.name in used)


def refuse_protected(
    variables: Iterable[Variable], used: Collection[str], allowed: Collection[str], setting: str
) -> None:
    """Stop where a protected trait would steer who is reached.

    Parameters
    ----------
    variables : iterable of Variable
        Census variables, which say of themselves whether they are protected.
    used : collection of str
        Names of the variables that steer.
    allowed : collection of str
        Protected traits that were switched on by name.
    setting : str
        Where they were named, for the message.

    Raises
    ------
    SettingsError
        A protected trait is used that was not switched on.

    Examples
    --------
    >>> variables = [Variable("born_abroad", "born abroad", "rate", "n", "population", protected=True)]
    >>> refuse_protected(variables, ["born_abroad"], ["born_abroad"], "[targeting] only_where")
    >>> refuse_protected(variables, ["born_abroad"], [], "[targeting] only_where")
    Traceback (most recent call last):
        ...
    geomarket.errors.SettingsError: [targeting] only_where: born_abroad is a protected trait and may not steer who is \
reached. Leave it out, or switch it on by name with allow_protected = ["born_abroad"].
    """
    refused = [name for name in protected_inputs(variables, used) if name not in allowed]
    if refused:
        named = ", ".join(f'"{name}"' for name in refused)
        words = "is a protected trait" if len(refused) == 1 else "are protected traits"
        raise SettingsError(
            f"{setting}: {', '.join(refused)} {words} and may not steer who is reached. Leave it out, or switch it on "
            f"by name with allow_protected = [{named}]."
        )
