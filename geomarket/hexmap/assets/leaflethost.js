/** Hosts the hexagon painter in a Leaflet map (Leaflet comes from the page, here: folium's). */

import { chooseLevel, classOf, decodeHexes, hatch, paintHexes } from "./hexpainter.js";

function writeFigure(value, view) {
  if (view.kind === "class") return value < 0 ? view.missingLabel : view.names[value];
  if (!(value === value)) return "no data";
  const { style, digits, unit } = view.format;
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  if (style === "percent") return `${(value * 100).toLocaleString("en-GB", options)}%`;
  const text = value.toLocaleString("en-GB", options);
  if (style === "money") return `${unit}${text}`;
  return unit ? `${text} ${unit}` : text;
}

/** Adds packed hexagons to a Leaflet map; the first of the views gives the colour, all stand in the tooltip. */
export function addHexLayer(map, packed, views, opacity) {
  const view = views[0];
  const Hexes = L.Renderer.extend({
    options: { padding: 0.25 },

    _initContainer() {
      this._container = document.createElement("canvas");
      this._container.style.pointerEvents = "none";
      this._container.style.opacity = opacity;
      this._pen = this._container.getContext("2d");
    },

    _destroyContainer() {
      this._container.remove();
      delete this._pen;
    },

    _styleOf(level) {
      const values = level.values[view.column];
      const missing = view.colours.length;
      const found = view.kind === "class" ? (i) => values[i] : (i) => classOf(values[i], view.breaks);
      return (i) => (found(i) < 0 ? missing : found(i));
    },

    _update() {
      if (this._map._animatingZoom && this._bounds) return;
      L.Renderer.prototype._update.call(this);
      if (!this.levels) return;
      const corner = this._bounds.min;
      const size = this._bounds.getSize();
      const ratio = Math.min(2, window.devicePixelRatio || 1);
      L.DomUtil.setPosition(this._container, corner);
      this._container.width = size.x * ratio;
      this._container.height = size.y * ratio;
      this._container.style.width = `${size.x}px`;
      this._container.style.height = `${size.y}px`;
      this._pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      const origin = this._map.getPixelOrigin();
      const scale = 256 * 2 ** this._map.getZoom();
      this.level = chooseLevel(this.levels, scale);
      const styles = view.colours.map((colour) => ({ fill: colour, stroke: colour }));
      styles.push({ fill: hatch(this._pen, "#ececea", "#b9b9b4"), stroke: "#ececea" });
      const window_ = { scale, left: origin.x + corner.x, top: origin.y + corner.y, width: size.x, height: size.y };
      paintHexes(this._pen, this.level, window_, this._styleOf(this.level), styles, { separator: "#ffffffaa" });
      this.fire("update");
    },
  });

  const layer = new Hexes().addTo(map);
  const tip = L.tooltip({ sticky: true, direction: "right", offset: [14, 0] });
  map.on("mousemove", (event) => {
    if (!layer.level) return;
    const scale = 256 * 2 ** map.getZoom();
    const point = map.project(event.latlng, map.getZoom());
    const i = layer.level.at(point.x / scale, point.y / scale);
    if (i < 0) {
      tip.remove();
      return;
    }
    const content = document.createElement("div");
    views.forEach((line, k) => {
      const row = document.createElement(k ? "div" : "b");
      row.textContent = `${line.label}: ${writeFigure(layer.level.values[line.column][i], line)}`;
      content.append(row);
    });
    const count = layer.level.children[i];
    if (count > 1) {
      const note = document.createElement("small");
      note.textContent = `Summary of ${count} hexagons`;
      content.append(note);
    }
    tip.setContent(content).setLatLng(event.latlng).addTo(map);
  });
  map.on("mouseout zoomstart", () => tip.remove());
  addLegend(map, view);
  decodeHexes(packed).then((levels) => {
    layer.levels = levels;
    layer._update();
    map.getContainer().dataset.hexes = String(levels[0].count);
  });
  return layer;
}

function addLegend(map, view) {
  const legend = L.control({ position: "bottomright" });
  legend.onAdd = () => {
    const box = L.DomUtil.create("div", "leaflet-bar");
    Object.assign(box.style, { background: "#fff", color: "#222", padding: "8px 10px", font: "12px/1.5 Arial, sans-serif" });
    const title = document.createElement("b");
    title.textContent = view.unit ? `${view.label}, ${view.unit}` : view.label;
    box.append(title);
    const names = view.kind === "class" ? view.names : view.classLabels;
    const rows = names.map((name, k) => [name, view.colours[k]]);
    if (view.kind !== "class") rows.reverse();
    if (view.missing) rows.push([view.missingLabel, "#ececea"]);
    rows.forEach(([name, colour]) => {
      const row = document.createElement("div");
      const swatch = document.createElement("span");
      Object.assign(swatch.style, {
        background: colour,
        display: "inline-block",
        width: "12px",
        height: "12px",
        marginRight: "6px",
        border: "1px solid #0003",
        verticalAlign: "-2px",
      });
      row.append(swatch, name);
      box.append(row);
    });
    return box;
  };
  legend.addTo(map);
}
