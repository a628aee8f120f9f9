/** Edges drawn around hexagons: a store's catchment, all hexagons of a neighbourhood type. */

/* a place without residents joins with three members beside it, any other with five */
const OPEN_GAP = 3;
const CLOSED_GAP = 5;
const GAP_ROUNDS = 2;

/** How a band is drawn: the core solid, the next dashed, those farther out dotted. */
export const bandLook = (k) => [{ dash: [], width: 2.4 }, { dash: [7, 4], width: 2 }][k] ?? { dash: [1, 4], width: 1.8 };

/**
 * The bands of a store's catchment from the core outwards, each with the ones inside it: as modelled, then as seen in
 * known customers' trips. Null where none is known.
 */
export function catchmentOutline(app, id) {
  const { catchments } = app.data;
  const row = catchments?.stores.indexOf(id) ?? -1;
  if (row < 0) return null;
  return ["modelled", "observed"].flatMap((source) => {
    let members = [];
    return bandsShown(catchments, source, row).flatMap((band, k) => {
      members = members.concat([...app.areas[source][row * catchments.bands.length + k]]);
      if (!members.length) return [];
      return [{ source, band, segments: app.levels[0].outline(readable(app, members)), ...bandLook(k) }];
    });
  });
}

/**
 * Members to draw an edge around: gaps of one or two hexagons and places without residents between members are taken
 * in, members with at most one other beside them are left out. Hundreds of small rings would hide the shape.
 */
function readable(app, members) {
  const [finest] = app.levels;
  const type = finest.values[app.data.views[0].column];
  const around = new Map();
  const beside = (i) => {
    if (!around.has(i)) around.set(i, finest.neighbours(i));
    return around.get(i);
  };
  const inside = new Set(members);
  const touching = (i) => beside(i).filter((j) => inside.has(j)).length;
  for (let round = 0; round < GAP_ROUNDS; round += 1) {
    const edge = new Set([...inside].flatMap(beside).filter((i) => !inside.has(i)));
    const gaps = [...edge].filter((i) => touching(i) >= (type[i] < 0 ? OPEN_GAP : CLOSED_GAP));
    gaps.forEach((i) => inside.add(i));
  }
  const lonely = (i) => {
    const others = beside(i).filter((j) => inside.has(j));
    return !others.length || (others.length === 1 && touching(others[0]) === 1);
  };
  const kept = [...inside].filter((i) => !lonely(i));
  return kept.length ? kept : [...inside];
}

/** The bands that are drawn: trips from places with too few known customers leave the widest ones open. */
export function bandsShown({ bands, observed }, source, row) {
  if (source === "modelled") return bands;
  return bands.filter((band) => band <= (observed?.shown[row] ?? 0));
}

/** All hexagons of a neighbourhood type. */
export function typeOutline(app, index) {
  const [finest] = app.levels;
  const values = finest.values[app.data.views[0].column];
  const members = [];
  for (let i = 0; i < finest.count; i += 1) if (values[i] === index) members.push(i);
  return [{ source: "type", segments: finest.outline(members), dash: [], width: 1.4 }];
}

/** West, north, east and south of a point and some outlines. */
export function boundsAround({ x, y }, outlines) {
  const bounds = [x, y, x, y];
  const segments = outlines.flatMap((outline) => [...outline.segments]);
  for (let k = 0; k < segments.length; k += 2) {
    bounds[0] = Math.min(bounds[0], segments[k]);
    bounds[1] = Math.min(bounds[1], segments[k + 1]);
    bounds[2] = Math.max(bounds[2], segments[k]);
    bounds[3] = Math.max(bounds[3], segments[k + 1]);
  }
  return bounds;
}
