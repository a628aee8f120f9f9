/** What the map was sent, unpacked; and the colours the page's style gives it. */

import { PlaneReader, decodeHexes, decodeMembers, unpack } from "./hexpainter.js";
import { CHAIN_SHAPES } from "./maplayers.js";

/** Unpacks hexagons, boundary lines and trade areas. */
export async function decodeMap(data) {
  return {
    levels: await decodeHexes(data.hexes),
    lines: data.lines ? await decodeLines(data.lines, data.hexes.world) : [],
    areas: {
      modelled: data.catchments ? await decodeMembers(data.catchments.members) : [],
      observed: data.catchments?.observed ? await decodeMembers(data.catchments.observed.members) : [],
    },
  };
}

async function decodeLines(packed, world) {
  const reader = new PlaneReader(await unpack(packed.blob));
  const sizes = reader.unsigned(packed.lines, packed.sizePlanes);
  const x = reader.running(packed.points, packed.planes[0]);
  const y = reader.running(packed.points, packed.planes[1]);
  let position = 0;
  return Array.from(sizes, (size) => {
    const line = new Float64Array(size * 2);
    for (let k = 0; k < size; k += 1) {
      line[2 * k] = x[position + k] / world;
      line[2 * k + 1] = y[position + k] / world;
    }
    position += size;
    return line;
  });
}

/** Competitors as markers, one list per chain. */
export function rivalsOf({ chains, competitors }) {
  const rivals = chains.map(() => []);
  (competitors?.x ?? []).forEach((x, k) => {
    const chain = competitors.chain[k];
    const shape = CHAIN_SHAPES[Math.min(chain, CHAIN_SHAPES.length - 1)];
    rivals[chain].push({ x, y: competitors.y[k], name: competitors.name[k], shape });
  });
  return rivals;
}

/** The colours of lines and markers, from the page's style. */
export function inkOf(element) {
  const style = getComputedStyle(element);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    ground: read("--map-ground"),
    grid: read("--map-grid"),
    line: read("--map-line"),
    casing: read("--map-casing"),
    separator: read("--map-separator"),
    noData: read("--map-nodata"),
    noDataLine: read("--map-nodata-line"),
    store: read("--map-store"),
    storeRing: read("--map-store-ring"),
    rival: read("--map-rival"),
    rivalRing: read("--map-rival-ring"),
    select: read("--map-select"),
    selectRing: read("--map-select-ring"),
    observed: read("--map-observed"),
  };
}
