/**
 * Decodes packed hexagons and paints them on a canvas. Knows no map library and no H3:
 * a host gives a view (scale and origin) and a colour for every cell.
 *
 * World coordinates: Web Mercator, 0..1 over the width of the world, y to the south.
 */

const MISSING = 0;
const CHILDREN = 7;
/* one canvas path with thousands of hexagons is slower than many small paths, by far */
const HEXAGONS_PER_PATH = 48;

/** Unpacks base64 + gzip. Works from file:// under a strict content-security policy, where fetch() does not. */
export async function unpack(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Reads byte planes in the order in which they were written. */
export class PlaneReader {
  constructor(bytes) {
    this.bytes = bytes;
    this.position = 0;
  }

  unsigned(count, planes) {
    const values = new Uint32Array(count);
    for (let plane = 0; plane < planes; plane += 1) {
      const base = this.position + plane * count;
      const shift = 8 * plane;
      for (let i = 0; i < count; i += 1) values[i] |= this.bytes[base + i] << shift;
    }
    this.position += planes * count;
    return values;
  }

  signed(count, planes) {
    const zigzag = this.unsigned(count, planes);
    const values = new Int32Array(count);
    for (let i = 0; i < count; i += 1) values[i] = (zigzag[i] >>> 1) ^ -(zigzag[i] & 1);
    return values;
  }

  /** Positions stored as steps, each less the step seven cells before. */
  centres(count, planes) {
    const values = this.signed(count, planes);
    for (let i = CHILDREN; i < count; i += 1) values[i] += values[i - CHILDREN];
    for (let i = 1; i < count; i += 1) values[i] += values[i - 1];
    return values;
  }

  /** Byte columns stored row by row: one array per column. */
  rows(count, columns) {
    const { bytes, position } = this;
    this.position += count * columns;
    return Array.from({ length: columns }, (_, k) =>
      Uint32Array.from({ length: count }, (_, i) => bytes[position + i * columns + k]),
    );
  }

  /** Values stored as differences to their predecessor. */
  running(count, planes) {
    const values = this.signed(count, planes);
    for (let i = 1; i < count; i += 1) values[i] += values[i - 1];
    return values;
  }
}

/** One resolution: centres, corners and figures of its cells. */
export class HexLevel {
  constructor(head, reader) {
    this.resolution = head.resolution;
    this.count = head.count;
    this.world = head.world;
    const { count } = head;
    const refinement = head.centreWorld / head.world;
    [this.x, this.y] = head.centrePlanes.map((planes) =>
      Float64Array.from(reader.centres(count, planes), (value) => value / refinement),
    );
    this.corners = new Int32Array(count * 12);
    for (let k = 0; k < 12; k += 1) {
      const offsets = reader.running(count, head.cornerPlanes[k]);
      for (let i = 0; i < count; i += 1) this.corners[i * 12 + k] = offsets[i];
    }
    this.odd = new Map(Object.entries(head.odd).map(([i, ring]) => [Number(i), ring]));
    /* how many of the finest cells each cell sums up */
    this.children = reader.unsigned(count, head.children);
    this.reach = this.#longestReach();
    this.buckets = null;
  }

  /** Corner offsets of a cell from its centre, [dx, dy, dx, dy, ...] in units of this level. */
  ring(i) {
    return this.odd.get(i) ?? this.corners.subarray(i * 12, i * 12 + 12);
  }

  /** Centre-to-corner distance of a usual cell as a share of the world's width. */
  get radius() {
    return this.reach / this.world;
  }

  /** The cell at a point of the world (0..1), or -1. */
  at(x, y) {
    if (!this.buckets) this.#fillBuckets();
    const { size, left, top, columns, start, items } = this.buckets;
    const px = x * this.world;
    const py = y * this.world;
    const column = Math.floor((px - left) / size);
    const row = Math.floor((py - top) / size);
    let best = -1;
    let bestDistance = Infinity;
    for (let r = row - 1; r <= row + 1; r += 1) {
      for (let c = column - 1; c <= column + 1; c += 1) {
        if (c < 0 || r < 0 || c >= columns) continue;
        const bucket = r * columns + c;
        if (bucket >= start.length - 1) continue;
        for (let k = start[bucket]; k < start[bucket + 1]; k += 1) {
          const i = items[k];
          const distance = (this.x[i] - px) ** 2 + (this.y[i] - py) ** 2;
          if (distance < bestDistance) {
            best = i;
            bestDistance = distance;
          }
        }
      }
    }
    return best >= 0 && insideRing(this.ring(best), px - this.x[best], py - this.y[best]) ? best : -1;
  }

  /** Segments [x1, y1, x2, y2, ...] (0..1) around a set of cells, without the edges inside it. */
  outline(members) {
    const inside = new Set(members);
    const segments = [];
    for (const i of members) {
      const ring = this.ring(i);
      for (let k = 0; k < ring.length; k += 2) {
        if (inside.has(this.#beyond(i, ring, k))) continue;
        const next = (k + 2) % ring.length;
        segments.push(this.x[i] + ring[k], this.y[i] + ring[k + 1], this.x[i] + ring[next], this.y[i] + ring[next + 1]);
      }
    }
    return Float64Array.from(segments, (value) => value / this.world);
  }

  /** The cells that share an edge with a cell. */
  neighbours(i) {
    const ring = this.ring(i);
    const found = new Set();
    for (let k = 0; k < ring.length; k += 2) found.add(this.#beyond(i, ring, k));
    found.delete(-1);
    return [...found];
  }

  /** The cell behind the edge that begins at corner k of a cell's ring, or -1. */
  #beyond(i, ring, k) {
    const next = (k + 2) % ring.length;
    const middleX = (ring[k] + ring[next]) / 2;
    const middleY = (ring[k + 1] + ring[next + 1]) / 2;
    /* the neighbour's centre lies mirrored behind the edge; a little short of it is still inside */
    return this.at((this.x[i] + 1.6 * middleX) / this.world, (this.y[i] + 1.6 * middleY) / this.world);
  }

  #longestReach() {
    /* the widest cell of a sample: Mercator makes cells larger toward the poles */
    let longest = 1;
    const step = Math.max(1, Math.floor(this.count / 500));
    for (let i = 0; i < this.count; i += step) {
      const ring = this.ring(i);
      for (let k = 0; k < ring.length; k += 2) longest = Math.max(longest, Math.hypot(ring[k], ring[k + 1]));
    }
    return longest;
  }

  #fillBuckets() {
    const size = this.reach * 2.2;
    const left = minimum(this.x) - size;
    const top = minimum(this.y) - size;
    const columns = Math.ceil((maximum(this.x) - left) / size) + 2;
    const rows = Math.ceil((maximum(this.y) - top) / size) + 2;
    const home = new Uint32Array(this.count);
    const start = new Uint32Array(columns * rows + 1);
    for (let i = 0; i < this.count; i += 1) {
      home[i] = Math.floor((this.y[i] - top) / size) * columns + Math.floor((this.x[i] - left) / size);
      start[home[i] + 1] += 1;
    }
    for (let b = 0; b < columns * rows; b += 1) start[b + 1] += start[b];
    const next = start.slice();
    const items = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i += 1) {
      items[next[home[i]]] = i;
      next[home[i]] += 1;
    }
    this.buckets = { size, left, top, columns, start, items };
  }
}

function minimum(values) {
  let least = Infinity;
  for (const value of values) if (value < least) least = value;
  return least;
}

function maximum(values) {
  let most = -Infinity;
  for (const value of values) if (value > most) most = value;
  return most;
}

function insideRing(ring, x, y) {
  let inside = false;
  for (let a = 0, b = ring.length - 2; a < ring.length; b = a, a += 2) {
    const crosses = ring[a + 1] > y !== ring[b + 1] > y;
    if (crosses && x < ((ring[b] - ring[a]) * (y - ring[a + 1])) / (ring[b + 1] - ring[a + 1]) + ring[a]) {
      inside = !inside;
    }
  }
  return inside;
}

/** Codes of every column of the finest level, 0 where missing. */
function readCodes(columns, count, reader) {
  const plain = columns.map(({ row, same, planes, delta }) => {
    if (row !== undefined || same !== undefined) return null;
    const codes = reader.unsigned(count, planes);
    const largest = 256 ** planes - 1;
    if (delta) for (let i = 1; i < count; i += 1) codes[i] = (codes[i] + codes[i - 1]) & largest;
    return codes;
  });
  const inRows = reader.rows(count, columns.filter(({ row }) => row !== undefined).length);
  const own = plain.map((codes, k) => codes ?? inRows[columns[k].row] ?? null);
  /* a column with the same codes as an earlier one is sent once */
  return own.map((codes, k) => codes ?? own[columns[k].same]);
}

/** Figures from codes: NaN, or class -1, where missing. A sum was rounded as a signed square root. */
function figuresOf({ kind, step, offset }, codes) {
  if (kind === "class") return Int16Array.from(codes, (code) => code - 1);
  return Float32Array.from(codes, (code) => {
    if (code === MISSING) return NaN;
    const figure = (code - 1) * step + offset;
    return kind === "sum" ? figure * Math.abs(figure) : figure;
  });
}

/**
 * Figures of coarser cells, each from the finest cells it sums up: the mean by weight (of a sum: per finest cell), or
 * the class with most weight. Ties, and cells without any weight, go by the number of cells and then to the lower
 * code.
 */
export function summarise(kind, figures, weights, children) {
  return kind === "class" ? majorities(figures, weights, children) : means(figures, kind === "sum" ? null : weights, children);
}

function means(figures, weights, children) {
  const result = new Float32Array(children.length);
  let from = 0;
  for (let parent = 0; parent < children.length; parent += 1) {
    const to = from + children[parent];
    let [total, mass, plainTotal, known] = [0, 0, 0, 0];
    for (let i = from; i < to; i += 1) {
      if (!(figures[i] === figures[i])) continue;
      known += 1;
      plainTotal += figures[i];
      if (!weights) continue;
      mass += weights[i];
      total += figures[i] * weights[i];
    }
    result[parent] = mass > 0 ? total / mass : plainTotal / known;
    from = to;
  }
  return result;
}

function majorities(codes, weights, children) {
  const result = new Int16Array(children.length);
  const classes = codes.reduce((most, code) => Math.max(most, code), -1) + 1;
  let from = 0;
  for (let parent = 0; parent < children.length; parent += 1) {
    const to = from + children[parent];
    const mass = new Float64Array(classes);
    const cells = new Uint32Array(classes);
    for (let i = from; i < to; i += 1) {
      if (codes[i] < 0) continue;
      mass[codes[i]] += weights ? weights[i] : 1;
      cells[codes[i]] += 1;
    }
    let best = -1;
    for (let code = 0; code < classes; code += 1) {
      if (!cells[code]) continue;
      if (best < 0 || mass[code] > mass[best] || (mass[code] === mass[best] && cells[code] > cells[best])) best = code;
    }
    result[parent] = best;
    from = to;
  }
  return result;
}

/** An object with a property per column that is made when it is first read. */
function lazily(columns, make) {
  const values = {};
  columns.forEach((column, k) => {
    Object.defineProperty(values, column.name, {
      configurable: true,
      enumerable: true,
      get() {
        const made = make(column, k);
        Object.defineProperty(values, column.name, { value: made, enumerable: true });
        return made;
      },
    });
  });
  return values;
}

/** Decodes what Python's encode_hexes packed: levels from fine to coarse. */
export async function decodeHexes({ blob, levels: heads, columns, weight }) {
  const reader = new PlaneReader(await unpack(blob));
  const levels = heads.map((head) => new HexLevel(head, reader));
  const [finest, ...coarser] = levels;
  const codes = readCodes(columns, finest.count, reader);
  finest.values = lazily(columns, (column, k) => figuresOf(column, codes[k]));
  const figures = finest.values;
  coarser.forEach((level) => {
    level.values = lazily(columns, ({ name, kind }) =>
      summarise(kind, figures[name], weight === null ? null : figures[weight], level.children),
    );
  });
  return levels;
}

/** Decodes what Python's encode_members packed: one array of positions per group. */
export async function decodeMembers(packed) {
  const reader = new PlaneReader(await unpack(packed.blob));
  const sizes = reader.unsigned(packed.groups, packed.sizePlanes);
  const steps = reader.unsigned(packed.members, packed.memberPlanes);
  let position = 0;
  return Array.from(sizes, (size) => {
    const members = steps.slice(position, position + size);
    for (let i = 1; i < size; i += 1) members[i] += members[i - 1];
    position += size;
    return members;
  });
}

/** The finest level whose cells are still at least minPixels from centre to corner. */
export function chooseLevel(levels, scale, minPixels = 1.6) {
  return levels.find((level) => level.radius * scale >= minPixels) ?? levels[levels.length - 1];
}

/** Number classes: how many breaks lie at or below the value; -1 where the value is missing. */
export function classOf(value, breaks) {
  if (!(value === value)) return -1;
  let low = 0;
  let high = breaks.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value >= breaks[middle]) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Paints a level.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {HexLevel} level
 * @param {{scale: number, left: number, top: number, width: number, height: number}} view
 *   scale: pixels over the width of the world; left, top: pixel position of the canvas' corner in that world.
 * @param {(i: number) => number} styleOf  index into styles, or -1 for a cell that is not drawn.
 * @param {Array<{fill: string|CanvasPattern, stroke: string}>} styles
 * @param {{separator?: string}} options  separator: colour between large hexagons.
 * @returns {number} cells drawn
 */
export function paintHexes(context, level, view, styleOf, styles, options = {}) {
  const { x, y, world, corners, odd } = level;
  const factor = view.scale / world;
  const margin = level.reach * 1.05;
  const west = view.left / factor - margin;
  const east = (view.left + view.width) / factor + margin;
  const north = view.top / factor - margin;
  const south = (view.top + view.height) / factor + margin;

  const byStyle = styles.map(() => []);
  let drawn = 0;
  for (let i = 0; i < level.count; i += 1) {
    if (x[i] < west || x[i] > east || y[i] < north || y[i] > south) continue;
    const style = styleOf(i);
    if (style < 0) continue;
    byStyle[style].push(i);
    drawn += 1;
  }

  const radius = level.reach * factor;
  const separated = options.separator && radius > 9;
  byStyle.forEach((cells, style) => {
    context.fillStyle = styles[style].fill;
    /* a stroke in the hexagon's own colour hides the seams between small hexagons */
    context.strokeStyle = separated ? options.separator : styles[style].stroke;
    context.lineWidth = separated ? Math.min(1, radius / 18) : 0.7;
    for (let from = 0; from < cells.length; from += HEXAGONS_PER_PATH) {
      const to = Math.min(from + HEXAGONS_PER_PATH, cells.length);
      context.beginPath();
      for (let c = from; c < to; c += 1) {
        const i = cells[c];
        if (odd.has(i)) traceRing(context, odd.get(i), x[i], y[i], factor, view);
        else traceHexagon(context, corners, i * 12, x[i], y[i], factor, view);
      }
      context.fill();
      context.stroke();
    }
  });
  return drawn;
}

function traceHexagon(context, corners, k, x, y, factor, view) {
  const left = x * factor - view.left;
  const top = y * factor - view.top;
  context.moveTo(left + corners[k] * factor, top + corners[k + 1] * factor);
  context.lineTo(left + corners[k + 2] * factor, top + corners[k + 3] * factor);
  context.lineTo(left + corners[k + 4] * factor, top + corners[k + 5] * factor);
  context.lineTo(left + corners[k + 6] * factor, top + corners[k + 7] * factor);
  context.lineTo(left + corners[k + 8] * factor, top + corners[k + 9] * factor);
  context.lineTo(left + corners[k + 10] * factor, top + corners[k + 11] * factor);
  context.closePath();
}

export function traceRing(context, ring, x, y, factor, view) {
  const left = x * factor - view.left;
  const top = y * factor - view.top;
  context.moveTo(left + ring[0] * factor, top + ring[1] * factor);
  for (let k = 2; k < ring.length; k += 2) context.lineTo(left + ring[k] * factor, top + ring[k + 1] * factor);
  context.closePath();
}

/** A diagonal hatch: "no data" must not look like a value. */
export function hatch(context, ground, line) {
  const tile = document.createElement("canvas");
  tile.width = 6;
  tile.height = 6;
  const pen = tile.getContext("2d");
  pen.fillStyle = ground;
  pen.fillRect(0, 0, 6, 6);
  pen.strokeStyle = line;
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(-1, 7);
  pen.lineTo(7, -1);
  pen.moveTo(-1, 1);
  pen.lineTo(1, -1);
  pen.moveTo(5, 7);
  pen.lineTo(7, 5);
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

/** The world position of a longitude and latitude, within half a world of the given meridian. */
export function project(lon, lat, meridian) {
  const near = ((((lon - meridian + 180) % 360) + 360) % 360) - 180 + meridian;
  const sine = Math.sin((lat * Math.PI) / 180);
  return [near / 360 + 0.5, 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI)];
}
