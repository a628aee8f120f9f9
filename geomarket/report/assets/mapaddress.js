/** What the map shows, written into the page's address and read from it: place, zoom, colour, store or type. */

import { project } from "./hexpainter.js";
import { latitudeOf, longitudeOf } from "./maplayers.js";

const PLACES = 5;
const TILE_PIXELS = 256;

/** The part of an address behind the #. */
export function addressOf({ view, current, data, store, type }) {
  const [lon, lat] = [longitudeOf(view.x), latitudeOf(view.y)].map((degrees) => degrees.toFixed(PLACES));
  const zoom = Math.log2(view.scale / TILE_PIXELS).toFixed(2);
  const parts = [`map=${lat},${lon},${zoom}`];
  if (current !== data.views[0]) parts.push(`by=${encodeURIComponent(current.key)}`);
  if (store) parts.push(`store=${encodeURIComponent(store.id)}`);
  else if (type !== null) parts.push(`type=${encodeURIComponent(data.types[type].code)}`);
  return parts.join("&");
}

/** Shows what an address says; returns whether it was one of the map's. */
export function showAddress(app, address) {
  const parts = new URLSearchParams(address);
  const [lat, lon, zoom] = (parts.get("map") ?? "").split(",").map(Number);
  if (![lat, lon, zoom].every(Number.isFinite)) return false;
  if (parts.has("by")) app.showColour(parts.get("by"));
  const type = app.data.types.findIndex(({ code }) => code === parts.get("type"));
  if (parts.has("store")) app.selectStore(parts.get("store"));
  else if (type >= 0 && app.type !== type) app.selectType(type);
  const [x, y] = project(lon, lat, app.data.hexes.meridian);
  app.view.show(x, y, TILE_PIXELS * 2 ** zoom);
  app.view.paint();
  return true;
}
