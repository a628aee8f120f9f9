"""Polygons as flat arrays in the equal-area plane: what the compiled kernel reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

__all__ = ["Pieces", "halved", "ranges"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_FEW_CORNERS = 32
_LARGE_TASK = 100_000


@dataclass(frozen=True)
class Pieces:
    """Single polygons (with holes) in the equal-area plane, as flat arrays.

    Attributes
    ----------
    coords : ndarray of shape (n_points, 2)
        x, y in metres; every ring closed.
    rings : ndarray of shape (n_rings + 1,)
        Where each ring starts in ``coords``.
    polygons : ndarray of shape (n_pieces + 1,)
        Where each piece starts in ``rings``; its first ring is the outer one.
    owner : ndarray of shape (n_pieces,)
        Position of the area the piece belongs to.
    """

    coords: FloatArray
    rings: IntArray
    polygons: IntArray
    owner: IntArray

    def __len__(self) -> int:
        return len(self.owner)

    @classmethod
    def of(cls, polygons: npt.NDArray[np.object_], owner: IntArray) -> Pieces:
        """Pieces of an array of shapely polygons (no multipolygons, none empty)."""
        if not len(polygons):
            zero = np.zeros(1, dtype=np.int64)
            return cls(np.empty((0, 2)), zero, zero, np.empty(0, dtype=np.int64))
        _, coords, (rings, starts) = shapely.to_ragged_array(polygons)
        return cls(coords, rings.astype(np.int64), starts.astype(np.int64), owner.astype(np.int64))

    def shapes(self) -> npt.NDArray[np.object_]:
        """The pieces as shapely polygons."""
        if not len(self):
            return np.empty(0, dtype=object)
        return shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, self.coords, (self.rings, self.polygons)
        )

    def bounds(self) -> FloatArray:
        """Bounding box of each piece: xmin, ymin, xmax, ymax."""
        if not len(self):
            return np.empty((0, 4))
        starts = self.rings[self.polygons[:-1]]
        low = np.minimum.reduceat(self.coords, starts, axis=0)
        return np.hstack([low, np.maximum.reduceat(self.coords, starts, axis=0)])

    def ring_areas(self) -> FloatArray:
        """Signed area of each ring, m², taken about its first corner."""
        if not len(self):
            return np.empty(0)
        starts = self.rings[:-1]
        local = self.coords - np.repeat(self.coords[starts], np.diff(self.rings), axis=0)
        following = np.roll(local, -1, axis=0)
        following[self.rings[1:] - 1] = 0.0
        cross = local[:, 0] * following[:, 1] - following[:, 0] * local[:, 1]
        return 0.5 * np.add.reduceat(cross, starts)

    def areas(self) -> FloatArray:
        """Area of each piece, m²: outer ring less holes."""
        if not len(self):
            return np.empty(0)
        signed = -np.abs(self.ring_areas())
        signed[self.polygons[:-1]] *= -1
        return np.add.reduceat(signed, self.polygons[:-1])

    def moved(self, which: npt.NDArray[np.bool_], shift: float) -> Pieces:
        """Copies of some pieces, moved along x."""
        picked = self.take(np.flatnonzero(which))
        return Pieces(picked.coords + np.array([shift, 0.0]), picked.rings, picked.polygons, picked.owner)

    def take(self, index: IntArray) -> Pieces:
        """Some of the pieces, in the order asked for."""
        n_rings = np.diff(self.polygons)[index]
        ring_index = ranges(self.polygons[:-1][index], n_rings)
        n_points = np.diff(self.rings)[ring_index]
        return Pieces(
            self.coords[ranges(self.rings[:-1][ring_index], n_points)],
            np.concatenate([[0], np.cumsum(n_points)]).astype(np.int64),
            np.concatenate([[0], np.cumsum(n_rings)]).astype(np.int64),
            self.owner[index],
        )

    def joined(self, other: Pieces) -> Pieces:
        """These pieces followed by others."""
        return Pieces(
            np.vstack([self.coords, other.coords]),
            np.concatenate([self.rings, other.rings[1:] + self.rings[-1]]),
            np.concatenate([self.polygons, other.polygons[1:] + self.polygons[-1]]),
            np.concatenate([self.owner, other.owner]),
        )


def ranges(starts: IntArray, lengths: IntArray) -> IntArray:
    """The whole numbers of several ranges, one range after another."""
    if not len(lengths):
        return np.empty(0, dtype=np.int64)
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths) + np.repeat(starts, lengths)


def halved(pieces: Pieces, cell_area: float) -> Pieces:
    """Large intricate pieces cut in halves until corners × cells is small for each.

    Every cell that a piece's box meets is clipped against all its corners; halving turns the product into
    little more than a sum. Areas stay what they are.

    Parameters
    ----------
    pieces : Pieces
        Pieces of any size.
    cell_area : float
        Typical area of a cell, m².
    """
    done: list[Pieces] = []
    while len(pieces):
        bounds = pieces.bounds()
        width, height = bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1]
        corners = np.diff(pieces.rings[pieces.polygons])
        large = (corners > _FEW_CORNERS) & (corners * (width * height / cell_area) > _LARGE_TASK)
        if not (large.any() or done):
            return pieces
        done.append(pieces.take(np.flatnonzero(~large)))
        pieces = _cut_in_two(pieces.take(np.flatnonzero(large)))
    out = done[0] if done else pieces
    for more in done[1:]:
        out = out.joined(more)
    return out


def _cut_in_two(pieces: Pieces) -> Pieces:
    if not len(pieces):
        return pieces
    xmin, ymin, xmax, ymax = pieces.bounds().T
    wide = xmax - xmin > ymax - ymin
    x, y = np.where(wide, (xmin + xmax) / 2, xmax), np.where(wide, ymax, (ymin + ymax) / 2)
    polygons = pieces.shapes()
    first = shapely.intersection(polygons, shapely.box(xmin, ymin, x, y))
    rest = shapely.box(np.where(wide, x, xmin), np.where(wide, ymin, y), xmax, ymax)
    second = shapely.intersection(polygons, rest)
    parts, index = shapely.get_parts(np.concatenate([first, second]), return_index=True)
    solid = (shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)
    return Pieces.of(parts[solid], np.tile(pieces.owner, 2)[index[solid]])
