"""SQL that turns a column as it was read into the type the contract wants, or NULL where it can't be.

All text of the user's (column names, formats) enters SQL through :func:`identifier` and :func:`literal` only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geomarket.market.contract import Column

__all__ = ["Caster", "comma_number", "identifier", "literal", "typed_select", "zone_of"]

_NULL_WORDS = ("", "na", "n/a", "nan", "null", "none")
_COMMA_NUMBER = r"[+-]?([0-9]+(\.[0-9]{3})*)?,[0-9]+"
_CLOCK = r"([T ][0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?)"
_ZONE = r"(Z|z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)"
_ISO_DAY = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
_TRUE = ("true", "t", "yes", "y", "1", "1.0")
_FALSE = ("false", "f", "no", "n", "0", "0.0")
_WHOLE_LIMIT = 2**53


def identifier(name: str) -> str:
    """Quote a name for SQL.

    Examples
    --------
    >>> identifier('units"; DROP TABLE sales; --')
    '"units""; DROP TABLE sales; --"'
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text value for SQL.

    Examples
    --------
    >>> literal("O'Brien")
    "'O''Brien'"
    """
    return "'" + text.replace("'", "''") + "'"


def comma_number(raw: str) -> str:
    """Return SQL that is true where a text is a number with a decimal comma."""
    return f"regexp_full_match(trim(CAST({raw} AS VARCHAR)), {literal(_COMMA_NUMBER)})"


def zone_of(raw: str) -> str:
    """Return SQL for the time zone a text date carries: 'Z', '+01:00', or '' for none."""
    pattern = literal(_CLOCK + " ?" + _ZONE + "$")
    return f"CASE WHEN length(trim({raw})) > 10 THEN regexp_extract(trim({raw}), {pattern}, 4) ELSE '' END"


def typed_select(
    caster: Caster, columns: Mapping[str, tuple[Column, str, str]], relation: str, further: Sequence[str] = ()
) -> str:
    """Return SQL that selects every column as it was read, as text, and typed.

    The columns of the result are ``raw <name>``, ``text <name>`` and ``value <name>``: made names, so that whatever
    a file's own columns are called can't clash with them.

    Parameters
    ----------
    caster : Caster
        How to cast.
    columns : mapping
        Name -> (column of the contract, SQL of the column as read, its SQL type).
    relation : str
        SQL of the relation as read.
    further : sequence of str
        More to select from it, each with an alias.
    """
    texts, values = [*further], []
    for name, (column, raw, kind) in columns.items():
        texts += [
            f"{raw} AS {identifier(f'raw {name}')}",
            f"{caster.text(column, raw, kind)} AS {identifier(f'text {name}')}",
        ]
        value = caster.value(column, identifier(f"raw {name}"), kind, identifier(f"text {name}"))
        values.append(f"{value} AS {identifier(f'value {name}')}")
    return f"SELECT *, {', '.join(values)} FROM (SELECT {', '.join(texts)} FROM {relation})"


@dataclass(frozen=True)
class Caster:
    """How the columns of one table are cast.

    Parameters
    ----------
    decimal : str
        Decimal mark of numbers written as text.
    date_format : str or None
        How dates are written, besides ISO.
    timezone : str or None
        Zone whose calendar days count.
    """

    decimal: str = "."
    date_format: str | None = None
    timezone: str | None = None

    def text(self, column: Column, raw: str, kind: str) -> str:
        """Return SQL for the value as text, NULL where the file means "no value".

        Parameters
        ----------
        column : Column
            What it will be. In identifiers and names only the empty text means no value ("NA" may be a
            store).
        raw : str
            SQL of the column as read.
        kind : str
            SQL type of the column as read.
        """
        if kind in ("DOUBLE", "FLOAT"):
            whole = f"{raw} = floor({raw}) AND abs({raw}) < {_WHOLE_LIMIT}"
            as_text = f"CASE WHEN {whole} THEN CAST(CAST({raw} AS BIGINT) AS VARCHAR) ELSE CAST({raw} AS VARCHAR) END"
            return f"CASE WHEN isnan({raw}) THEN NULL ELSE {as_text} END"
        trimmed = f"trim(CAST({raw} AS VARCHAR))"
        if column.kind in ("id", "text"):
            return f"nullif({trimmed}, '')"
        words = ", ".join(literal(word) for word in _NULL_WORDS)
        longest = max(map(len, _NULL_WORDS))
        absent = f"length({trimmed}) <= {longest} AND lower({trimmed}) IN ({words})"
        return f"CASE WHEN {absent} THEN NULL ELSE {trimmed} END"

    def value(self, column: Column, raw: str, kind: str, text: str) -> str:
        """Return SQL for the typed value: NULL where there is none or it can't be read.

        Types are VARCHAR (id, text), DOUBLE (number, lon, lat), BIGINT (whole, cell), DECIMAL(18, 2)
        (money), DATE and BOOLEAN.

        Parameters
        ----------
        column, raw, kind
            As in :meth:`text`.
        text : str
            SQL of what :meth:`text` made of the column; best a column of a subquery, for it is used often.
        """
        native = kind in _NUMBERS
        if column.kind in ("id", "text"):
            return text
        if column.kind in ("number", "lon", "lat"):
            return self._number(raw, text, native)
        if column.kind == "whole":
            number = self._number(raw, text, native)
            fits = f"{number} = floor({number}) AND abs({number}) < {_WHOLE_LIMIT}"
            return f"CASE WHEN {fits} THEN CAST({number} AS BIGINT) END"
        if column.kind == "money":
            source = f"CASE WHEN isfinite({raw}) THEN {raw} END" if kind in ("DOUBLE", "FLOAT") else raw
            return f"TRY_CAST({source if native else self._digits(text)} AS DECIMAL(18, 2))"
        if column.kind == "flag":
            return raw if kind == "BOOLEAN" else _flag(text)
        if column.kind == "cell":
            return raw if kind in ("BIGINT", "UBIGINT") else _cell(text)
        return self._day(raw, text, kind)

    def _digits(self, text: str) -> str:
        """SQL for the text with a decimal point, NULL where it holds a mark that is not the decimal mark.

        DuckDB would read "1_0" as ten.
        """
        if self.decimal == ",":
            odd = f"contains({text}, '.') OR contains({text}, '_')"
            return f"CASE WHEN {odd} THEN NULL ELSE replace({text}, ',', '.') END"
        return f"CASE WHEN contains({text}, '_') THEN NULL ELSE {text} END"

    def _number(self, raw: str, text: str, native: bool) -> str:
        number = f"CAST({raw} AS DOUBLE)" if native else f"TRY_CAST({self._digits(text)} AS DOUBLE)"
        return f"(CASE WHEN isfinite({number}) THEN {number} END)"

    def _day(self, raw: str, text: str, kind: str) -> str:
        if kind == "DATE":
            return raw
        if kind.startswith("TIMESTAMP WITH TIME ZONE"):
            return f"CAST(timezone({literal(self.timezone or 'UTC')}, {raw}) AS DATE)"
        if kind.startswith("TIMESTAMP"):
            return f"CAST({raw} AS DATE)"
        iso = f"regexp_full_match({text}, {literal(f'{_ISO_DAY}({_CLOCK} ?{_ZONE}?)?')})"
        written = f"TRY_CAST(regexp_extract({text}, {literal('^' + _ISO_DAY)}) AS DATE)"
        if self.timezone:
            instant = f"TRY_CAST(replace({text}, ',', '.') AS TIMESTAMPTZ)"
            local = f"CAST(timezone({literal(self.timezone)}, {instant}) AS DATE)"
            written = f"CASE WHEN {zone_of(text)} <> '' THEN {local} ELSE {written} END"
        month = f"regexp_full_match({text}, '[0-9]{{4}}-[0-9]{{2}}')"
        # The common case first: the patterns after it are slow.
        plain = (
            f"length({text}) = 10 AND {text}[1] BETWEEN '0' AND '9' AND {text}[5] = '-' AND {text}[8] = '-'"
        )
        branches = [
            f"WHEN {plain} THEN TRY_CAST({text} AS DATE)",
            f"WHEN {iso} THEN {written}",
            f"WHEN {month} THEN TRY_CAST({text} || '-01' AS DATE)",
        ]
        if self.date_format:
            parsed = f"CAST(try_strptime({text}, {literal(self.date_format)}) AS DATE)"
            if self.date_format.startswith("%Y-%d"):
                return parsed
            branches.append(f"ELSE {parsed}")
        return f"(CASE {' '.join(branches)} END)"


_NUMBERS = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DOUBLE", "FLOAT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "DECIMAL"),
}


def _flag(text: str) -> str:
    yes, no = (", ".join(literal(word) for word in words) for words in (_TRUE, _FALSE))
    return f"CASE WHEN lower({text}) IN ({yes}) THEN true WHEN lower({text}) IN ({no}) THEN false END"


def _cell(text: str) -> str:
    # An H3 index is 15 hexadecimal digits, or 18 to 19 decimal ones.
    hexadecimal = f"length({text}) <= 16 AND regexp_full_match({text}, '[0-9a-fA-F]+')"
    value = f"CASE WHEN {hexadecimal} THEN TRY_CAST('0x' || {text} AS UBIGINT) ELSE TRY_CAST({text} AS UBIGINT) END"
    return f"TRY_CAST({value} AS BIGINT)"
