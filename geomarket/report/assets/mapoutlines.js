/** Edges drawn around hexagons: a store's catchment, all hexagons of a neighbourhood type. */

/** The bands of a store's catchment from the core outwards, each with the ones inside it; null where none is known. */
export function catchmentOutline(app, id) {
  if (!app.data.catchments) return null;
  const { bands, stores } = app.data.catchments;
  const row = stores.indexOf(id);
  if (row < 0) return null;
  let members = [];
  return bands.flatMap((band, k) => {
    members = members.concat([...app.catchments[row * bands.length + k]]);
    if (!members.length) return [];
    return [{ segments: app.levels[0].outline(members), dash: k ? [2, 4] : [], width: k ? 1.6 : 2.4 }];
  });
}

/** All hexagons of a neighbourhood type. */
export function typeOutline(app, index) {
  const [finest] = app.levels;
  const values = finest.values[app.data.views[0].column];
  const members = [];
  for (let i = 0; i < finest.count; i += 1) if (values[i] === index) members.push(i);
  return [{ segments: finest.outline(members), dash: [], width: 1.4 }];
}

/** West, north, east and south of a point and some segments. */
export function boundsAround({ x, y }, segments) {
  const bounds = [x, y, x, y];
  for (let k = 0; k < segments.length; k += 2) {
    bounds[0] = Math.min(bounds[0], segments[k]);
    bounds[1] = Math.min(bounds[1], segments[k + 1]);
    bounds[2] = Math.max(bounds[2], segments[k]);
    bounds[3] = Math.max(bounds[3], segments[k + 1]);
  }
  return bounds;
}
