"""Reading ``plan.toml``: every mistake in it becomes one message that names the key and the cure."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from geomarket.errors import MissingDataError, SettingsError
from geomarket.market.settings import PlanSettings
from geomarket.market.spelling import did_you_mean

__all__ = ["parse_settings", "read_settings"]

_MAX_LISTED = 8


def read_settings(path: str | Path) -> PlanSettings:
    """Read a plan.toml.

    Parameters
    ----------
    path : path
        The file. Paths inside it are relative to its folder.

    Returns
    -------
    PlanSettings

    Raises
    ------
    MissingDataError
        If there is no such file; ``geomarket new DIR`` writes one.
    SettingsError
        If it isn't TOML, has an unknown key (the message suggests the nearest known one), a value of the
        wrong type, or settings that contradict each other.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as err:
        raise MissingDataError(
            f"{path}: no such file. `geomarket new DIR` writes a plan.toml to start from."
        ) from err
    except UnicodeDecodeError as err:
        raise SettingsError(f"{path}: byte {err.start} is not UTF-8. Save the file as UTF-8.") from err
    except (OSError, ValueError) as err:
        raise MissingDataError(f"{path}: can't be read ({err}).") from err
    return parse_settings(text, path)


def parse_settings(text: str, path: str | Path = "plan.toml") -> PlanSettings:
    """Read settings from the text of a plan.toml.

    Parameters
    ----------
    text : str
        TOML.
    path : path
        The file the text is from; relative paths start from its folder, messages name it.

    Returns
    -------
    PlanSettings

    Raises
    ------
    SettingsError
        As :func:`read_settings`.

    Examples
    --------
    >>> parse_settings("[privacy]\\nk = 20").privacy.k
    20
    >>> parse_settings("[privacy]\\nkk = 20")
    Traceback (most recent call last):
        ...
    geomarket.errors.SettingsError: plan.toml, [privacy]: unknown key 'kk'; did you mean 'k'?
    """
    path = Path(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise SettingsError(
            f"{path.name}: not TOML: {err}. Text values need quotes; lists need commas."
        ) from err
    except (RecursionError, ValueError) as err:
        raise SettingsError(f"{path.name}: can't be read as TOML ({type(err).__name__}).") from err
    try:
        settings = PlanSettings.model_validate_json(json.dumps(data, default=_plain))
    except ValidationError as err:
        raise SettingsError(_explain(err, data, path.name)) from err
    except (RecursionError, ValueError) as err:
        raise SettingsError(f"{path.name}: can't be read ({err}).") from err
    settings._folder = path.parent
    settings._file = path
    return settings


def _plain(value: Any) -> str:
    """Dates and times, the only TOML values JSON lacks, as ISO text."""
    return value.isoformat()


def _explain(err: ValidationError, data: dict[str, Any], file: str) -> str:
    """Put pydantic's findings into words, one line for each key."""
    wrong: dict[tuple[str | int, ...], list[dict[str, Any]]] = {}
    for finding in err.errors(include_url=False):
        key = _path_in(data, finding["loc"], finding["type"])
        wrong.setdefault(key, []).append(dict(finding))
    lines = [_line(key, findings, data, file) for key, findings in wrong.items()]
    more = len(lines) - _MAX_LISTED
    return "\n".join(lines[:_MAX_LISTED] + ([f"{file}: and {more} more."] if more > 0 else []))


def _path_in(data: Any, loc: tuple[str | int, ...], kind: str) -> tuple[str | int, ...]:
    """Keep the parts of a pydantic location that are keys of the file (not the names of a union's members)."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        inside = (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if inside:
            data = data[part]
            path.append(part)
        elif kind == "missing" and i == len(loc) - 1:
            path.append(part)
    return tuple(path)


def _line(key: tuple[str | int, ...], findings: list[dict[str, Any]], data: Any, file: str) -> str:
    parent = key[:-2] if key and isinstance(key[-1], int) else key[:-1]
    where = f"{file}, {_section(parent)}" if parent else file
    kinds = {finding["type"] for finding in findings}
    if "value_error" in kinds:
        message = next(str(f["ctx"]["error"]) for f in findings if f["type"] == "value_error")
        at = f"{file}, {_section(key)}" if isinstance(_value(data, key), dict) and key else where
        return f"{at}: {message}" if at != where or not key else f"{where}: {key[-1]}: {message}"
    if kinds == {"extra_forbidden"}:
        known = _known_keys(key[:-1])
        cure = did_you_mean(str(key[-1]), known, f"; known are {', '.join(sorted(known))}.")
        what = "section" if isinstance(_value(data, key), dict) and len(key) == 1 else "key"
        return f"{where}: unknown {what} {str(key[-1])!r}{cure}"
    if kinds == {"missing"}:
        return f"{where}: {key[-1]} is missing. {_doc(key)}".rstrip()
    expected = " or ".join(dict.fromkeys(_expected(finding) for finding in findings))
    return f"{where}: {_name(key)} is {_shown(_value(data, key))}; expected {expected}. {_doc(key)}".rstrip()


def _section(path: tuple[str | int, ...]) -> str:
    """Write a path the way TOML does: [tables.sales], or [[areas]] number 2, rates number 1."""
    if not any(isinstance(part, int) for part in path):
        return f"[{'.'.join(map(str, path))}]"
    first = next(i for i, part in enumerate(path) if isinstance(part, int))
    words: list[str] = []
    for part in (".".join(map(str, path[:first])), *path[first:]):
        if isinstance(part, int):
            words[-1] += f" number {part + 1}"
        else:
            words.append(part if words else f"[[{part}]]")
    return ", ".join(words)


def _name(path: tuple[str | int, ...]) -> str:
    last = path[-1] if path else "the file"
    return f"item {last + 1} of {path[-2]}" if isinstance(last, int) and len(path) > 1 else str(last)


def _value(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=_plain, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _expected(finding: dict[str, Any]) -> str:
    """Say in words what pydantic wanted."""
    context = finding.get("ctx", {})
    plain = {
        "int": "a whole number",
        "float": "a number",
        "finite": "a number",
        "bool": "true or false",
        "string": "text in quotes",
        "tuple": "a list",
        "list": "a list",
        "dict": "a table",
        "model": "a section with keys of its own",
        "date": "a date such as 2024-01-31",
    }
    limits = {
        "greater_than": f"more than {context.get('gt')}",
        "greater_than_equal": f"at least {context.get('ge')}",
        "less_than": f"less than {context.get('lt')}",
        "less_than_equal": f"at most {context.get('le')}",
        "literal_error": str(context.get("expected", "")).replace("'", '"'),
        "too_short": f"at least {context.get('min_length')} items",
        "too_long": f"at most {context.get('max_length')} items",
        "string_too_short": "text that isn't empty",
        "string_too_long": f"at most {context.get('max_length')} characters",
        "string_pattern_mismatch": 'a number and a unit, such as "2GB"',
        "int_from_float": "a whole number",
    }
    if finding["type"] in limits:
        return limits[finding["type"]]
    return plain.get(finding["type"].split("_")[0], finding["msg"])


def _model_at(path: tuple[str | int, ...]) -> type[BaseModel] | None:
    """Find the model whose keys stand at a path."""
    model: type[BaseModel] | None = PlanSettings
    for part in path:
        if model is None:
            return None
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)


def _known_keys(path: tuple[str | int, ...]) -> list[str]:
    model = _model_at(path)
    return list(model.model_fields) if model else []


def _doc(path: tuple[str | int, ...]) -> str:
    names = [part for part in path if isinstance(part, str)]
    for end in range(len(names), 0, -1):
        model = _model_at(tuple(names[: end - 1]))
        if model is not None and names[end - 1] in model.model_fields:
            text = model.model_fields[names[end - 1]].description or ""
            return " ".join(text.split())
    return ""
