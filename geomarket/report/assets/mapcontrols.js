/** The controls beside the map: colour, legend, search, layers, zoom buttons. */

import { CHAIN_SHAPES, framePicture, markerPicture } from "./maplayers.js";
import { make } from "./mapwords.js";

const BUTTON_ZOOM = 1.6;
const ARMS = { test: "Test stores: change first", control: "Control stores: wait" };

export function buildControls(app) {
  buildColours(app);
  buildSearch(app);
  buildLayers(app);
  const { view, data } = app;
  const acts = {
    in: () => view.zoomBy(BUTTON_ZOOM),
    out: () => view.zoomBy(1 / BUTTON_ZOOM),
    fit: () => view.fit(data.bounds),
  };
  Object.entries(acts).forEach(([name, act]) => app.find(name).addEventListener("click", act));
  [app.box, app.find("card")].forEach((element) =>
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      app.selectStore(null);
      app.box.focus();
    }),
  );
}

function buildColours(app) {
  const choice = app.find("colour");
  const groups = new Map();
  app.data.views.forEach((view) => {
    if (!groups.has(view.group)) {
      groups.set(view.group, make("optgroup", { label: view.group }));
      choice.append(groups.get(view.group));
    }
    groups.get(view.group).append(make("option", { value: view.key }, view.label));
  });
  choice.addEventListener("change", () => app.showColour(choice.value));
}

function buildSearch(app) {
  const search = app.find("search");
  const full = (store) => `${store.name} (${store.id})`;
  app.find("stores").append(...app.stores.map((store) => make("option", { value: full(store) })));
  search.addEventListener("change", () => {
    const wanted = search.value.trim().toLowerCase();
    if (!wanted) return;
    const found =
      app.stores.find((store) => full(store).toLowerCase() === wanted || store.id.toLowerCase() === wanted) ??
      app.stores.find((store) => store.name.toLowerCase().includes(wanted));
    if (found) app.selectStore(found.id, { move: true });
    else app.say(`No store matches ${search.value}`);
  });
}

/** Lists what can be shown or hidden; built anew when colours change. */
export function buildLayers(app) {
  const { data, shown, ink } = app;
  const entries = [];
  const add = (...entry) => entries.push(checkbox(app, ...entry));
  const own = markerPicture("circle", { fill: ink.store, ring: ink.storeRing });
  add("Hexagons", shown.hexes, (on) => (shown.hexes = on));
  add(`${data.ownName} stores (${app.stores.length})`, shown.stores, (on) => (shown.stores = on), own);
  Object.entries(ARMS).forEach(([arm, label]) => {
    const count = app.stores.filter((store) => store.arm === arm).length;
    const change = (on) => (on ? shown.arms.add(arm) : shown.arms.delete(arm));
    if (count) add(`${label} (${count})`, shown.arms.has(arm), change, framePicture(arm, ink));
  });
  data.chains.forEach((chain, k) => {
    const shape = CHAIN_SHAPES[Math.min(k, CHAIN_SHAPES.length - 1)];
    const picture = markerPicture(shape, { fill: ink.rival, ring: ink.rivalRing });
    const change = (on) => (on ? shown.rivals.add(k) : shown.rivals.delete(k));
    add(`${chain} (${app.rivals[k].length})`, shown.rivals.has(k), change, picture);
  });
  if (app.lines.length) add("Boundaries", shown.lines, (on) => (shown.lines = on));
  if (data.names.length) add("Place names", shown.names, (on) => (shown.names = on));
  add("Graticule", shown.grid, (on) => (shown.grid = on));
  if (data.tiles) add("Online map (asks its server for tiles)", shown.tiles, (on) => app.showTiles(on));
  app.find("layers").replaceChildren(...entries);
}

function checkbox(app, label, on, change, picture = null) {
  const box = make("input", { type: "checkbox", checked: on });
  box.addEventListener("change", () => {
    change(box.checked);
    app.view.paint();
  });
  return make("label", {}, box, picture, label);
}

/** Writes the legend of what colours the map; each entry hides or shows its hexagons. */
export function buildLegend(app) {
  const { current } = app;
  const hidden = app.hidden.get(current.key);
  const entry = (label, style) => {
    const button = make(
      "button",
      { type: "button", ariaPressed: String(!hidden.has(style)), title: "Show or hide" },
      app.swatch(style),
      make("span", {}, label),
    );
    button.addEventListener("click", () => {
      if (hidden.has(style)) hidden.delete(style);
      else hidden.add(style);
      button.ariaPressed = String(!hidden.has(style));
      app.leave();
      app.view.paint("hexes");
    });
    return button;
  };
  const names = current.kind === "class" ? current.names : current.classLabels;
  const buttons = names.map(entry);
  if (current.kind !== "class") buttons.reverse();
  if (current.missing > 0) buttons.push(entry(current.missingLabel, current.colours.length));
  app.find("legend").replaceChildren(...buttons);
  app.find("legend-title").textContent = current.unit ? `${current.label}, ${current.unit}` : current.label;
  app.find("legend-note").textContent = current.note ?? "";
}
