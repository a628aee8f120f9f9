"""The contract as pandera schemas, and what they find, row by row."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from geomarket.market.contract import Column, TableContract

with warnings.catch_warnings():
    # pandera imports PySpark where it is installed, and PySpark then warns of pandas 3.
    warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")
    import pandera.pandas as pa
    from pandera.errors import SchemaErrors

__all__ = ["MISSING", "RowCheck", "duplicates", "failures", "limit_reason", "schema_of"]

MISSING = "missing"
"""Reason of a row without a value where one is needed."""

_LIMITED = ("number", "whole", "money", "lon", "lat")


@dataclass(frozen=True)
class RowCheck:
    """A check that needs more than the table: other tables, the map, the calendar.

    Parameters
    ----------
    column : str
        The column it is about.
    reason : str
        What is wrong with a row that fails.
    passed : Series of bool
        On the table's index.
    softens : bool
        Whether failing only costs the value, where the column may be missing; otherwise it costs the row.
    """

    column: str
    reason: str
    passed: pd.Series
    softens: bool = False


def limit_reason(column: Column) -> str:
    """Return the reason given where a value can't be read or is past its limits."""
    return f"not {column.expected}"


def schema_of(contract: TableContract, checks: Sequence[RowCheck] = ()) -> pa.DataFrameSchema:
    """Build the pandera schema of a table.

    Parameters
    ----------
    contract : TableContract
        The table.
    checks : sequence of RowCheck
        Checks besides the contract's own.

    Returns
    -------
    pandera.DataFrameSchema
        Columns that are not required may be absent; further columns are let through.
    """
    columns = {}
    for column in contract.columns:
        own = [pa.Check(_within(column), error=limit_reason(column))] if _has_limits(column) else []
        extra = [_from_outside(check) for check in checks if check.column == column.name]
        nullable = column.nullable or column.default is not None
        columns[column.name] = pa.Column(
            checks=[*own, *extra], nullable=nullable, required=column.required, coerce=False
        )
    return pa.DataFrameSchema(columns, strict=False)


def failures(frame: pd.DataFrame, contract: TableContract, checks: Sequence[RowCheck] = ()) -> pd.DataFrame:
    """Check a table lazily and return everything that failed.

    Returns
    -------
    DataFrame
        row (index label of the frame), column, reason; in order of columns, then checks, then rows.
    """
    try:
        _validate(schema_of(contract, checks), frame)
    except SchemaErrors as err:
        found = err.failure_cases
        failed = pd.DataFrame(
            {
                "row": found["index"].to_numpy(),
                "column": found["column"].to_numpy(),
                "reason": found["check"].replace({"not_nullable": MISSING}).to_numpy(),
            }
        )
        place = {name: i for i, name in enumerate(contract.names)}
        rank = {
            reason: i
            for i, reason in enumerate([MISSING, *_own_reasons(contract), *(c.reason for c in checks)])
        }
        order = np.lexsort((failed["row"], failed["reason"].map(rank), failed["column"].map(place)))
        return failed.iloc[order].reset_index(drop=True)
    return pd.DataFrame({"row": [], "column": [], "reason": []})


def duplicates(frame: pd.DataFrame, key: Sequence[str]) -> pd.Index:
    """Return the index labels of rows whose key came before; the first of each key is not among them."""
    schema = pa.DataFrameSchema(
        {name: pa.Column(nullable=True) for name in key}, unique=list(key), report_duplicates="exclude_first"
    )
    try:
        _validate(schema, frame[list(key)])
    except SchemaErrors as err:
        return pd.Index(err.failure_cases["index"].unique()).sort_values()
    return pd.Index([])


def _validate(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")
        schema.validate(frame, lazy=True)


def _has_limits(column: Column) -> bool:
    given = (column.minimum, column.maximum, column.above)
    return column.kind in _LIMITED and any(limit is not None for limit in given)


def _within(column: Column) -> Callable[[pd.Series], pd.Series]:
    def check(values: pd.Series) -> pd.Series:
        passed = pd.Series(True, index=values.index)
        if column.minimum is not None:
            passed &= values >= column.minimum
        if column.maximum is not None:
            passed &= values <= column.maximum
        if column.above is not None:
            passed &= values > column.above
        return passed

    return check


def _from_outside(check: RowCheck) -> pa.Check:
    return pa.Check(lambda values: check.passed.reindex(values.index), error=check.reason)


def _own_reasons(contract: TableContract) -> list[str]:
    return [limit_reason(column) for column in contract.columns]
