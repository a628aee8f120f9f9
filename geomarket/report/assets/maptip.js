/** What the map says about the hexagon or marker under the pointer. */

import { make, pairs, writeNumber } from "./mapwords.js";

/** Label and figure of everything known about a hexagon: its type, its group, people, and what colours it. */
export function hexLines(app, { level, i }) {
  const { data, current } = app;
  const written = ({ column, label, format, kind, classes, perHexagon }) => {
    const value = level.values[column][i];
    if (kind === "class") return [label, value < 0 ? data.noClass : classes[value]];
    const average = perHexagon && level.children[i] > 1 ? " a hexagon" : "";
    return [label, `${writeNumber(value, format)}${value === value ? average : ""}`];
  };
  const lines = data.tooltip.map(written);
  const told = data.tooltip.some((line) => line.column === current.column);
  return told ? lines : [...lines, written({ ...current, classes: current.names })];
}

export function hexTip(app, hex) {
  const [[, title], ...rest] = hexLines(app, hex);
  const count = hex.level.children[hex.i];
  const swatch = app.swatch(app.styleOf(hex.level)(hex.i));
  const note = count > 1 ? make("small", {}, `Summary of ${count} hexagons`) : null;
  return make("div", {}, make("b", {}, swatch, title), pairs(rest), note);
}

export function markerTip(app, { kind, marker, chain }) {
  const [name, ...lines] = markerLines(app, { kind, marker, chain });
  if (kind === "store") lines.push("Click for its catchment");
  return make("div", {}, make("b", {}, name), ...lines.map((line) => make("small", {}, line)));
}

/** Name of a marker and what is to be said about it at a glance. */
export function markerLines(app, { kind, marker, chain }) {
  if (kind !== "store") return [marker.name, `Competitor · ${app.data.chains[chain]}`];
  return [marker.name, `${marker.id} · ${marker.clusterName}`, ...(marker.trial ? [`Trial: ${marker.trial}`] : [])];
}

/** Shows the tooltip beside a point of the map, inside the map. */
export function showTip(app, content, px, py) {
  const tip = app.find("tip");
  tip.replaceChildren(content);
  tip.hidden = false;
  const right = px + 18 + tip.offsetWidth > app.view.width;
  const low = py + 18 + tip.offsetHeight > app.view.height;
  tip.style.left = `${Math.max(4, right ? px - 14 - tip.offsetWidth : px + 16)}px`;
  tip.style.top = `${Math.max(4, low ? py - 10 - tip.offsetHeight : py + 16)}px`;
}
