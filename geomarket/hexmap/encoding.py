"""Hexagons and their figures as a few bytes each, for a painter that knows no H3.

A browser gets polygons, not cell ids. Cells are sorted by H3 index, so neighbours in the list are neighbours on
the ground, and children of one parent stand together. The centre is stored as its step from the previous cell, less
the same step seven cells before; the six corners, seen from the centre, as differences to the previous cell's. The
unit is 2\\ :sup:`-24` of the world's width in Web Mercator at resolution 8 (about 1.8 m at 42° north), finer and
coarser with the cells; a corner lies within one unit of its place. What is left are small integers: zigzag, split
into byte planes and gzipped, less than two bytes a cell.

Figures are integers, one or two bytes each, 0 where missing. Hexagons smaller than the areas their figures come
from repeat whole rows of figures, so such columns are stored row by row, where gzip finds the repeats; others column
by column.

Of coarser levels only the shapes are sent, and how many of the finest cells each sums up: children of a parent stand
together, so the browser can sum up their figures itself. It does so from the finest level, never from another summary:
the majority of majorities is not the majority.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from geomarket.errors import TableError
from geomarket.hexes.cells import cell_boundaries, cell_centres, parents

__all__ = [
    "MAX_CLASSES",
    "MISSING",
    "WEIGHT",
    "WORLD",
    "HexColumn",
    "as_script_json",
    "central_meridian",
    "encode_hexes",
    "encode_json",
    "encode_lines",
    "encode_members",
    "level_world",
    "project",
]

WORLD = 1 << 24
"""Width of the world in the units of stores and lines, and of hexagons of resolution 8."""
MISSING = 0
"""Code of a missing number or class."""
MAX_CLASSES = 254
WEIGHT = "weight:"
"""Name of the column that coarser levels are weighted by, where no other column holds the same figures."""
_MERCATOR_LIMIT = 85.05112877980659
_CORNER_NUMBERS = 12
_COARSEST_CELLS = 400
_LEVEL, _QUICK = 9, 1
# steps over a column's range: at least, at most, and how many all cells together may have in between
_STEPS = {"mean": (50, 200, 12e6), "sum": (200, 4000, 48e6)}
_MOST_CODES = 65_534
_PROBE_CELLS = 40_000
_CENTRE_REFINEMENT = 4
_CHILDREN = 7
_LARGEST_WORLD = 1 << 30

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HexColumn:
    """One figure per cell.

    Parameters
    ----------
    name : str
        Key of the column in the browser.
    values : ndarray of shape (n_cells,)
        Numbers (NaN where missing), or for ``kind="class"`` integer codes from 0 to 253 (-1 where missing).
    kind : {"mean", "sum", "class"}
        How a coarser level is made: ``mean`` averages by ``weight``; ``sum`` adds up and is shown per finest
        cell, so that one legend fits every level; ``class`` takes the class with most ``weight``.
    step : float or None
        Rounding step, of a sum's square root: amounts range from a hamlet's to a city centre's, and small ones are
        kept as well as large ones. None: the range is cut into at least 200 steps of 1, 2 or 5 times a power of ten,
        that of a sum's square roots into 4,000: finer than a colour, about as fine as a tooltip shows. Beyond 60,000
        cells (of a sum 12,000) fewer steps are kept, in proportion, but never fewer than 50 (200): a page has to stay
        small enough to mail.
    """

    name: str
    values: npt.NDArray[Any]
    kind: Literal["mean", "sum", "class"] = "mean"
    step: float | None = None


@dataclass
class _Stream:
    """Collects byte planes of one blob."""

    parts: list[bytes] = field(default_factory=list)

    def add_signed(self, values: IntArray) -> int:
        """Append integers as zigzag byte planes; return the number of planes."""
        return self.add_unsigned(np.where(values >= 0, values * 2, -values * 2 - 1))

    def add_unsigned(self, values: IntArray) -> int:
        top = int(values.max(initial=0))
        planes = max(1, (top.bit_length() + 7) // 8)
        for plane in range(planes):
            self.parts.append(((values >> (8 * plane)) & 0xFF).astype(np.uint8).tobytes())
        return planes

    def blob(self) -> str:
        return base64.b64encode(gzip.compress(b"".join(self.parts), _LEVEL, mtime=0)).decode("ascii")


def central_meridian(lon: npt.NDArray[np.float64]) -> float:
    """Return the longitude in the middle of the points, with the widest empty gap behind it.

    A market on both sides of the antimeridian is then drawn in one piece.

    Examples
    --------
    >>> central_meridian(np.array([178.0, -178.0]))
    180.0
    >>> central_meridian(np.array([4.0, 5.0]))
    4.5
    """
    ring = np.unique(np.mod(np.asarray(lon, dtype=float), 360.0))
    if ring.size == 0:
        return 0.0
    gaps = np.diff(np.append(ring, ring[0] + 360.0))
    widest = int(np.argmax(gaps))
    first = ring[(widest + 1) % ring.size]
    middle = first + (360.0 - gaps[widest]) / 2
    return float((middle + 180.0) % 360.0 - 180.0) if middle % 360.0 != 180.0 else 180.0


def level_world(resolution: int) -> int:
    """Return the width of the world in units of a resolution's cells: an edge is a few hundred units long.

    Examples
    --------
    >>> level_world(8) == WORLD, level_world(6) < WORLD < level_world(10)
    (True, True)
    """
    # an edge shrinks by the square root of 7 a resolution; browsers hold positions in 32 bits
    return 1 << int(np.clip(np.ceil(24 + (resolution - 8) * np.log2(7) / 2), 16, 30))


def project(lon: Any, lat: Any, meridian: float = 0.0, world: int = WORLD) -> tuple[IntArray, IntArray]:
    """Return Web-Mercator units (integers, x to the east, y to the south).

    Parameters
    ----------
    lon, lat : array-like of float
        Degrees.
    meridian : float
        Longitudes are taken within 180° of it, so x may lie outside 0..world near the antimeridian.
    world : int
        Width of the world in units.

    Examples
    --------
    >>> project([0.0], [0.0])
    (array([8388608]), array([8388608]))
    """
    x, y = _mercator(np.asarray(lon, dtype=float), np.asarray(lat, dtype=float), meridian)
    return np.rint(x * world).astype(np.int64), np.rint(y * world).astype(np.int64)


def _mercator(lon: FloatArray, lat: FloatArray, meridian: float) -> tuple[FloatArray, FloatArray]:
    """Return the position in Web Mercator as shares of the world's width."""
    lon = np.mod(lon - meridian + 180.0, 360.0) - 180.0 + meridian
    sine = np.sin(np.radians(np.clip(lat, -_MERCATOR_LIMIT, _MERCATOR_LIMIT)))
    return lon / 360.0 + 0.5, 0.5 - np.log((1 + sine) / (1 - sine)) / (4 * np.pi)


def encode_hexes(
    cells: npt.NDArray[np.int64],
    columns: Sequence[HexColumn],
    *,
    weight: npt.NDArray[np.float64] | None = None,
    meridian: float | None = None,
    coarsest_cells: int = _COARSEST_CELLS,
) -> dict[str, Any]:
    """Pack cells and their figures, with coarser levels, for ``hexpainter.js``.

    Parameters
    ----------
    cells : ndarray of int64, shape (n_cells,)
        H3 indices of one resolution, each once, in any order.
    columns : sequence of HexColumn
        Aligned with ``cells``.
    weight : ndarray of shape (n_cells,) or None
        What means and majorities of coarser levels are weighted by (population). None: every cell counts once.
    meridian : float or None
        Middle longitude of the map; None: :func:`central_meridian` of the cells.
    coarsest_cells : int
        Levels are added until one has at most so many cells.

    Returns
    -------
    dict
        JSON-able: ``levels``, ``columns``, ``weight`` (name of the weighing column), ``meridian`` and the base64
        ``blob``. Level 0 is the finest and holds the cells sorted by index: see :func:`encode_members`.

    Raises
    ------
    TableError
        If cells repeat or mix resolutions, or a column has another length. Aggregate to one row per cell first.
    """
    cells = np.asarray(cells, dtype=np.int64)
    resolution = _one_resolution(cells)
    for column in columns:
        if len(column.values) != len(cells):
            raise TableError(
                f"hexes: column '{column.name}' has {len(column.values):,} values for {len(cells):,} cells. "
                "Give one value per cell."
            )
    order = np.argsort(cells)
    cells = cells[order]
    if (np.diff(cells) == 0).any():
        twice = cells[1:][np.diff(cells) == 0]
        raise TableError(
            f"hexes: {len(twice):,} cells occur more than once ({', '.join(f'{c:x}' for c in twice[:3])}). "
            "Aggregate to one row per cell."
        )
    if meridian is None:
        meridian = central_meridian(cell_centres(cells)[0])
    columns, weighing = _with_weight(columns, weight)
    scales = [_scale(column, len(cells)) for column in columns]

    stream = _Stream()
    levels = []
    for level_resolution in range(resolution, -1, -1):
        if level_resolution == resolution:
            level_cells, children = cells, np.ones(len(cells), dtype=np.int64)
        else:
            level_cells, children = np.unique(parents(cells, level_resolution), return_counts=True)
        head = _add_geometry(stream, level_cells, meridian, level_world(level_resolution))
        head["resolution"] = level_resolution
        head["children"] = stream.add_unsigned(children)
        levels.append(head)
        if len(level_cells) <= coarsest_cells:
            break
    codes = [_codes(column, scale)[order] for column, scale in zip(columns, scales)]
    heads = _add_columns(stream, codes)
    return {
        "world": WORLD,
        "meridian": round(meridian, 6),
        "levels": levels,
        "weight": weighing,
        "columns": [
            {"name": column.name, "kind": column.kind, "step": step, "offset": offset, **head}
            for column, (step, offset), head in zip(columns, scales, heads)
        ],
        "blob": stream.blob(),
    }


def _with_weight(
    columns: Sequence[HexColumn], weight: npt.NDArray[np.float64] | None
) -> tuple[list[HexColumn], str | None]:
    """Return the columns with the weights among them, and the name of the column that holds the weights."""
    columns = list(columns)
    if weight is None:
        return columns, None
    weight = np.nan_to_num(np.asarray(weight, dtype=float))
    for column in columns:
        if column.kind == "sum" and np.array_equal(np.nan_to_num(np.asarray(column.values, float)), weight):
            return columns, column.name
    return [*columns, HexColumn(WEIGHT, weight, "sum")], WEIGHT


def encode_members(groups: Sequence[npt.NDArray[np.int64]]) -> dict[str, Any]:
    """Pack lists of positions (sorted cells of level 0), one list per group.

    Examples
    --------
    >>> packed = encode_members([np.array([3, 1]), np.array([], dtype=int)])
    >>> packed["groups"], packed["members"]
    (2, 2)
    """
    ordered = [np.sort(np.asarray(group, dtype=np.int64)) for group in groups]
    stream = _Stream()
    sizes = stream.add_unsigned(np.array([len(group) for group in ordered], dtype=np.int64))
    steps = [np.diff(group, prepend=0) for group in ordered]
    members = np.concatenate(steps) if steps else np.array([], dtype=np.int64)
    return {
        "groups": len(ordered),
        "members": int(members.size),
        "sizePlanes": sizes,
        "memberPlanes": stream.add_unsigned(members),
        "blob": stream.blob(),
    }


def encode_lines(lines: Sequence[npt.NDArray[np.float64]], meridian: float = 0.0) -> dict[str, Any]:
    """Pack lines of longitude and latitude (each an array of shape (n_points, 2)).

    Examples
    --------
    >>> packed = encode_lines([np.array([[4.0, 51.0], [4.1, 51.1]])])
    >>> packed["lines"], packed["points"]
    (1, 2)
    """
    stream = _Stream()
    sizes = stream.add_unsigned(np.array([len(line) for line in lines], dtype=np.int64))
    points = np.concatenate(lines) if lines else np.empty((0, 2))
    x, y = project(points[:, 0], points[:, 1], meridian)
    planes = [stream.add_signed(np.diff(axis, prepend=0)) for axis in (x, y)]
    return {
        "lines": len(lines),
        "points": len(points),
        "sizePlanes": sizes,
        "planes": planes,
        "blob": stream.blob(),
    }


def encode_json(value: Any) -> str:
    """Return JSON gzipped, as base64: names and facts pack to a fifth.

    Examples
    --------
    >>> len(encode_json([{"name": "Mill Lane", "format": "city"}] * 100)) < 200
    True
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)
    return base64.b64encode(gzip.compress(text.encode("utf-8"), _LEVEL, mtime=0)).decode("ascii")


def as_script_json(value: Any) -> str:
    """Return JSON that is safe inside a ``<script>`` element, whatever text the user's tables hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _one_resolution(cells: IntArray) -> int:
    if cells.size == 0:
        raise TableError("hexes: the table is empty. A map needs at least one cell.")
    resolutions = np.unique((cells >> 52) & 0xF)
    if resolutions.size > 1:
        raise TableError(
            f"hexes: cells of resolutions {', '.join(map(str, resolutions))} are mixed. Give cells of one resolution."
        )
    return int(resolutions[0])


def _add_geometry(stream: _Stream, cells: IntArray, meridian: float, world: int) -> dict[str, Any]:
    """Append centres and corners; cells that aren't plain hexagons go to a side list."""
    lon, lat = cell_centres(cells)
    exact_x, exact_y = _mercator(lon, lat, meridian)
    corners, hexagon, others = cell_boundaries(cells)
    x, y = _mercator(np.nan_to_num(corners[..., 0]), np.nan_to_num(corners[..., 1]), meridian)
    # from the exact centre: an offset then changes only with the cells' shape, not with the centre's rounding
    offsets = np.empty((len(cells), _CORNER_NUMBERS), dtype=np.int64)
    offsets[:, 0::2] = np.rint(_within_half_world(x - exact_x[:, None]) * world)
    offsets[:, 1::2] = np.rint((y - exact_y[:, None]) * world)
    # an odd cell repeats its predecessor, so that its difference costs nothing
    previous = np.maximum.accumulate(np.where(hexagon, np.arange(len(cells)), -1))
    offsets = np.where((previous >= 0)[:, None], offsets[previous], 0)

    fine = min(world * _CENTRE_REFINEMENT, _LARGEST_WORLD)
    centres = (np.rint(axis * fine).astype(np.int64) for axis in (exact_x, exact_y))
    centre_planes = [stream.add_signed(_centre_steps(axis)) for axis in centres]
    steps = np.diff(offsets, axis=0, prepend=np.zeros((1, _CORNER_NUMBERS), dtype=np.int64))
    corner_planes = [stream.add_signed(steps[:, k]) for k in range(_CORNER_NUMBERS)]
    odd = {}
    for i, ring in zip(np.flatnonzero(~hexagon), others, strict=True):
        ring_x, ring_y = _mercator(ring[:, 0], ring[:, 1], meridian)
        pairs = np.column_stack([_within_half_world(ring_x - exact_x[i]), ring_y - exact_y[i]])
        odd[str(i)] = np.rint(pairs * world).astype(np.int64).ravel().tolist()
    return {
        "count": len(cells),
        "world": world,
        "centreWorld": fine,
        "centrePlanes": centre_planes,
        "cornerPlanes": corner_planes,
        "odd": odd,
    }


def _centre_steps(axis: IntArray) -> IntArray:
    """Return differences of differences: the seven children of one parent step like those of the one before."""
    steps = np.diff(axis, prepend=0)
    steps[_CHILDREN:] -= steps[:-_CHILDREN].copy()
    return steps


def _within_half_world(dx: FloatArray) -> FloatArray:
    return np.mod(dx + 0.5, 1.0) - 0.5


def _scale(column: HexColumn, n_cells: int) -> tuple[float, float]:
    """Return (step, offset) of a numeric column, a sum's in square roots; classes need none."""
    if column.kind == "class":
        if column.values.size and int(np.max(column.values)) >= MAX_CLASSES:
            raise TableError(
                f"hexes: column '{column.name}' has more than {MAX_CLASSES} classes. Show a coarser classification."
            )
        return 1.0, 0.0
    known = _stored(column)
    known = known[np.isfinite(known)]
    if known.size == 0:
        return 1.0, 0.0
    low, high = float(known.min()), float(known.max())
    span = high - low
    step = column.step
    if step is None:
        least, most, together = _STEPS[column.kind]
        steps = float(np.clip(together / n_cells, least, most))
        # nobody reads a square root: its steps need not be round
        fine = span / steps if column.kind == "sum" else _round_down(span / steps) if span > 0 else 1.0
        step = fine or 1.0
    if span / step > _MOST_CODES - 1:
        step = span / (_MOST_CODES - 1)
    # zero stays exactly zero
    return float(step), float(np.floor(low / step) * step)


def _stored(column: HexColumn) -> npt.NDArray[np.float64]:
    """Return the figures as they are rounded: a sum's signed square roots."""
    values = np.asarray(column.values, dtype=float)
    return np.sign(values) * np.sqrt(np.abs(values)) if column.kind == "sum" else values


def _round_down(step: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that isn't above the step."""
    power = float(10.0 ** np.floor(np.log10(step)))
    return max(k * power for k in (1.0, 2.0, 5.0) if k * power <= step * (1 + 1e-9))


def _codes(column: HexColumn, scale: tuple[float, float]) -> IntArray:
    """Return a column's figures as integers from 1, 0 where missing."""
    if column.kind == "class":
        return np.maximum(np.asarray(column.values, dtype=np.int64), -1) + 1
    step, offset = scale
    values = _stored(column)
    codes = np.full(len(values), MISSING, dtype=np.int64)
    known = np.isfinite(values)
    codes[known] = 1 + np.clip(np.rint((values[known] - offset) / step), 0, _MOST_CODES).astype(np.int64)
    return codes


def _add_columns(stream: _Stream, codes: Sequence[IntArray]) -> list[dict[str, Any]]:
    """Append the finest level's figures, each column as it packs best; return how to read them."""
    # a market of so much a head is the population once more
    twins = {
        k: j
        for k, column in enumerate(codes)
        if (j := next(j for j, other in enumerate(codes) if np.array_equal(other, column))) != k
    }
    in_rows = _packed_in_rows(codes, [k for k in range(len(codes)) if k not in twins])
    heads: list[dict[str, Any]] = []
    for k, column in enumerate(codes):
        if k in twins:
            heads.append({"same": twins[k]})
            continue
        if k in in_rows:
            heads.append({"row": in_rows.index(k)})
            continue
        planes = 1 if column.max(initial=0) < 256 else 2
        # smooth fields pack better as differences, noisy ones as they are: take the shorter
        delta = np.diff(column, prepend=0) % 256**planes
        use_delta = _packed_size(_planes(delta, planes)) < _packed_size(_planes(column, planes))
        stream.parts.append(_planes(delta if use_delta else column, planes))
        heads.append({"planes": planes, "delta": bool(use_delta)})
    if in_rows:
        stream.parts.append(_rows([codes[k] for k in in_rows]))
    return heads


def _packed_in_rows(codes: Sequence[IntArray], candidates: Sequence[int]) -> list[int]:
    """Return which of the one-byte columns to store row by row, judged by a part of the cells.

    Begins with all of them; beginning with the one that repeats least, a column leaves if it takes less on its own
    than it adds to the rows.
    """
    narrow = [k for k in candidates if codes[k].max(initial=0) < 256]
    if not narrow:
        return []
    middle = len(codes[0]) // 2
    part = slice(max(0, middle - _PROBE_CELLS // 2), middle + _PROBE_CELLS // 2)
    probe = {k: codes[k][part] for k in narrow}
    repeats = {k: np.count_nonzero(np.diff(column) == 0) for k, column in probe.items()}
    alone = {k: _packed_size(_planes(column, 1)) for k, column in probe.items()}
    rows = narrow
    packed = _packed_size(_rows([probe[k] for k in rows]))
    for k in sorted(narrow, key=lambda k: (repeats[k], k)):
        without = [j for j in rows if j != k]
        smaller = _packed_size(_rows([probe[j] for j in without])) if without else 0
        if smaller + alone[k] <= packed:
            rows, packed = without, smaller
    return rows if len(rows) > 1 else []


def _planes(codes: IntArray, planes: int) -> bytes:
    return b"".join(((codes >> (8 * plane)) & 0xFF).astype(np.uint8).tobytes() for plane in range(planes))


def _rows(columns: Sequence[IntArray]) -> bytes:
    return np.column_stack(columns).astype(np.uint8).tobytes()


def _packed_size(content: bytes) -> int:
    return len(gzip.compress(content, _QUICK, mtime=0))
