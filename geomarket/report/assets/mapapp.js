/** The report's map: hexagons, stores, competitors, legends, tooltip, store card and search over a MapView. */

import {
  PlaneReader,
  chooseLevel,
  classOf,
  decodeHexes,
  decodeMembers,
  hatch,
  paintHexes,
  unpack,
} from "./hexpainter.js";
import { addressOf, showAddress } from "./mapaddress.js";
import { MapView } from "./mapview.js";
import { TileLayer } from "./maptiles.js";
import {
  CHAIN_SHAPES,
  markerPicture,
  paintGraticule,
  paintLines,
  paintMarkers,
  paintNames,
  paintSegments,
  scaleBars,
} from "./maplayers.js";

const HIT_PIXELS = 11;
const FEW_COMPETITORS = 90;
const DISC_PIXELS = 17 ** 2;
const LABELLED_SCALE = 5;
const ADDRESS_REST_MS = 400;

/** Creates an element with properties and children; text is always text, never markup. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Writes a number the way the legend says: {style, digits, unit}. */
export function writeNumber(value, format) {
  if (!(value === value)) return "no data";
  const digits = format.digits ?? 0;
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  if (format.style === "percent") return `${(value * 100).toLocaleString("en-GB", options)}%`;
  const text = Math.abs(value).toLocaleString("en-GB", options);
  const sign = value < 0 && Number(Math.abs(value).toFixed(digits)) > 0 ? "−" : "";
  if (format.style === "money") return `${sign}${format.unit}${text}`;
  return format.unit ? `${sign}${text} ${format.unit}` : `${sign}${text}`;
}

function inkOf(element) {
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

export class MapApp {
  static async start(root, data) {
    const app = new MapApp(root, data);
    app.levels = await decodeHexes(data.hexes);
    app.lines = data.lines ? await decodeLines(data.lines, data.hexes.world) : [];
    app.catchments = data.catchments ? await decodeMembers(data.catchments.members) : [];
    app.#begin();
    return app;
  }

  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.find = (name) => root.querySelector(`[data-map="${name}"]`);
    this.box = this.find("box");
    this.current = data.views[0];
    this.hidden = new Map(data.views.map((view) => [view.key, new Set()]));
    this.shown = { hexes: true, stores: true, rivals: new Set(), lines: true, names: true, grid: true, tiles: false };
    if ((data.competitors?.x.length ?? 0) <= FEW_COMPETITORS) data.chains.forEach((_, k) => this.shown.rivals.add(k));
    this.store = null;
    this.type = null;
    this.stores = data.stores.map((store) => ({ ...store, shape: "circle" }));
    this.rivals = data.chains.map(() => []);
    (data.competitors?.x ?? []).forEach((x, k) => {
      const chain = data.competitors.chain[k];
      const shape = CHAIN_SHAPES[Math.min(chain, CHAIN_SHAPES.length - 1)];
      this.rivals[chain].push({ x, y: data.competitors.y[k], name: data.competitors.name[k], shape });
    });
  }

  #begin() {
    const finest = this.levels[0];
    this.view = new MapView(this.box, { bounds: this.data.bounds, maxScale: 130 / finest.radius });
    this.ink = inkOf(this.root);
    if (this.data.tiles) this.#addTiles();
    this.view.addLayer("grid", (context, view) => {
      if (this.shown.grid) paintGraticule(context, view, this.ink.grid);
    });
    this.view.addLayer("hexes", (context, view) => this.#paintHexes(context, view));
    this.view.addLayer("marks", (context, view) => this.#paintMarks(context, view));
    this.view.addLayer("hover", (context, view) => this.#paintHover(context, view));
    this.view.on("hover", (at) => this.#hover(at));
    this.view.on("leave", () => this.#leave());
    this.view.on("click", (at) => this.#click(at));
    this.view.on("paint", (view) => this.#afterPaint(view));
    this.view.on("keymove", (at) => this.#keyMoved(at));
    this.#buildControls();
    this.#showView();
    /* the address follows what the reader does, not what the page does by itself */
    ["pointerdown", "keydown", "wheel", "change"].forEach((name) =>
      this.root.addEventListener(name, () => (this.touched = true), { passive: true }),
    );
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint());
    this.root.dataset.ready = "true";
  }

  repaint() {
    this.ink = inkOf(this.root);
    this.#buildLayers();
    this.#showView();
  }

  #addTiles() {
    const note = make("p", { className: "map-credit", hidden: true }, this.data.tiles.attribution);
    this.box.append(note);
    const show = (on) => {
      this.shown.tiles = on;
      note.hidden = !on;
      this.root.classList.toggle("has-tiles", on);
      this.view.paint();
    };
    this.tiles = new TileLayer(this.data.tiles, {
      arrived: () => this.shown.tiles && this.view.paint("tiles"),
      failed: () => {
        show(false);
        this.#buildLayers();
        this.find("status").textContent = "The online map can't be reached.";
      },
    });
    this.showTiles = show;
    this.view.addLayer("tiles", (context, view) => {
      if (this.shown.tiles) this.tiles.paint(context, view);
    });
  }

  // ------------------------------------------------------------------ address

  /** What the map shows, as the part of an address behind the #. */
  get address() {
    return addressOf(this);
  }

  /** Shows what an address says; returns whether it was one of the map's. */
  go(address) {
    return showAddress(this, address);
  }

  #writeAddress() {
    if (!this.touched) return;
    clearTimeout(this.writing);
    this.writing = setTimeout(() => history.replaceState(null, "", `#${this.address}`), ADDRESS_REST_MS);
  }

  // ------------------------------------------------------------------ painting

  #styleOf(level) {
    const { column, kind, breaks } = this.current;
    const values = level.values[column];
    const hidden = this.hidden.get(this.current.key);
    const missing = this.current.colours.length;
    const classify = kind === "class" ? (i) => values[i] : (i) => classOf(values[i], breaks);
    return (i) => {
      const found = classify(i);
      const style = found < 0 ? missing : found;
      return hidden.has(style) ? -1 : style;
    };
  }

  #paintHexes(context, view) {
    this.level = chooseLevel(this.levels, view.scale);
    if (!this.shown.hexes) return;
    const styles = this.current.colours.map((colour) => ({ fill: colour, stroke: colour }));
    styles.push({ fill: hatch(context, this.ink.noData, this.ink.noDataLine), stroke: this.ink.noData });
    const began = performance.now();
    const drawn = paintHexes(context, this.level, view, this.#styleOf(this.level), styles, {
      separator: this.ink.separator,
    });
    this.paintedIn = { milliseconds: performance.now() - began, drawn, resolution: this.level.resolution };
  }

  #paintMarks(context, view) {
    const { ink, shown } = this;
    if (shown.lines) paintLines(context, view, this.lines, ink.line, ink.casing);
    if (this.outline) {
      this.outline.forEach(({ segments, dash, width }) =>
        paintSegments(context, view, segments, { ink: ink.select, casing: ink.casing, dash, width }),
      );
    }
    if (shown.names) paintNames(context, view, this.data.names, ink.line, ink.casing, shown.stores ? this.stores : []);
    const closeness = view.scale / this.fitScale();
    const few = this.data.competitors?.x.length <= FEW_COMPETITORS;
    const radius = Math.max(few ? 4.5 : 2.4, Math.min(6, 2 * closeness ** 0.5));
    shown.rivals.forEach((chain) =>
      paintMarkers(context, view, this.rivals[chain], { radius, fill: ink.rival, ring: ink.rivalRing, ink: ink.rivalRing }),
    );
    if (!shown.stores) return;
    /* numbered discs where they leave room for the hexagons, dots elsewhere */
    const covered = (this.stores.length * DISC_PIXELS) / (this.view.width * this.view.height);
    const labelled = covered < 0.05 || closeness > LABELLED_SCALE;
    const look = { radius: labelled ? 8.5 : 5, fill: ink.store, ring: ink.storeRing, ink: ink.storeRing };
    paintMarkers(context, view, this.stores, look);
    if (this.store) paintMarkers(context, view, [this.store], { radius: 11, fill: ink.select, ring: ink.selectRing, ink: ink.selectRing });
  }

  #paintHover(context, view) {
    if (!this.hovered) return;
    const { level, i } = this.hovered;
    const ring = level.ring(i);
    context.beginPath();
    for (let k = 0; k < ring.length; k += 2) {
      const px = ((level.x[i] + ring[k]) / level.world) * view.scale - view.left;
      const py = ((level.y[i] + ring[k + 1]) / level.world) * view.scale - view.top;
      if (k) context.lineTo(px, py);
      else context.moveTo(px, py);
    }
    context.closePath();
    context.strokeStyle = this.ink.casing;
    context.lineWidth = 4;
    context.stroke();
    context.strokeStyle = this.ink.select;
    context.lineWidth = 2;
    context.stroke();
  }

  /** The scale at which the whole market just fits. */
  fitScale() {
    const [west, north, east, south] = this.data.bounds;
    return Math.min(this.view.width / (east - west), this.view.height / (south - north));
  }

  #afterPaint(view) {
    this.#writeAddress();
    const bars = scaleBars(view, 110);
    this.find("scale").replaceChildren(
      ...bars.map(({ label, pixels }) => {
        const bar = make("span", { className: "scale-bar" }, label);
        bar.style.width = `${pixels}px`;
        return bar;
      }),
    );
    const summary = this.level !== this.levels[0];
    const note = this.find("summary");
    note.hidden = !summary || !this.shown.hexes;
    note.textContent = summary
      ? `Each hexagon shown sums up about ${7 ** (this.levels[0].resolution - this.level.resolution)} smaller ones. Zoom in to see them.`
      : "";
  }

  // ------------------------------------------------------------------ pointing

  #markerAt(px, py) {
    const nearest = (markers, kind) => {
      let best = null;
      let bestDistance = HIT_PIXELS;
      for (const marker of markers) {
        const [x, y] = this.view.toPixel(marker.x, marker.y);
        const distance = Math.hypot(x - px, y - py);
        if (distance <= bestDistance) {
          best = { kind, marker };
          bestDistance = distance;
        }
      }
      return best;
    };
    const own = this.shown.stores ? nearest(this.stores, "store") : null;
    if (own) return own;
    for (const chain of this.shown.rivals) {
      const found = nearest(this.rivals[chain], "rival");
      if (found) return { ...found, chain };
    }
    return null;
  }

  #hexAt(px, py) {
    if (!this.shown.hexes || !this.level) return null;
    const i = this.level.at(...this.view.toWorld(px, py));
    if (i < 0 || this.#styleOf(this.level)(i) < 0) return null;
    return { level: this.level, i };
  }

  #hover({ px, py }) {
    const marker = this.#markerAt(px, py);
    this.box.classList.toggle("is-pointing", marker?.kind === "store");
    const hex = marker ? null : this.#hexAt(px, py);
    const changed = hex?.i !== this.hovered?.i || hex?.level !== this.hovered?.level;
    this.hovered = hex;
    if (changed) this.view.paint("hover");
    if (marker) this.#showTip(this.#markerTip(marker), px, py);
    else if (hex) this.#showTip(this.#hexTip(hex), px, py);
    else this.find("tip").hidden = true;
  }

  #leave() {
    this.find("tip").hidden = true;
    if (!this.hovered) return;
    this.hovered = null;
    this.view.paint("hover");
  }

  #click({ px, py, touch }) {
    const marker = this.#markerAt(px, py);
    const hex = marker ? null : this.#hexAt(px, py);
    if (marker?.kind === "store") this.selectStore(marker.marker.id);
    else if (touch) this.#hover({ px, py });
    else if (hex) this.selectType(hex.level.values[this.data.views[0].column][hex.i]);
    else this.selectStore(null);
  }

  #keyMoved({ px, py, key }) {
    const hex = this.#hexAt(px, py);
    this.#hover({ px, py });
    if (key === "Enter") this.#click({ px, py, touch: false });
    this.find("status").textContent = hex ? this.#hexLines(hex).map((line) => line.join(": ")).join("; ") : "No hexagon here";
  }

  #markerTip({ kind, marker, chain }) {
    if (kind === "store") {
      const tip = make("div", {}, make("b", {}, marker.name), make("small", {}, `${marker.id} · ${marker.clusterName}`));
      tip.append(make("small", { className: "hint" }, "Click for its catchment"));
      return tip;
    }
    return make("div", {}, make("b", {}, marker.name), make("small", {}, `Competitor · ${this.data.chains[chain]}`));
  }

  #hexLines({ level, i }) {
    const { data } = this;
    const lines = [];
    const write = ({ column, label, format, kind, classes, perHexagon }) => {
      const value = level.values[column][i];
      if (kind === "class") {
        lines.push([label, value < 0 ? data.noClass : classes[value]]);
        return;
      }
      const average = perHexagon && level.children[i] > 1 ? " a hexagon" : "";
      lines.push([label, `${writeNumber(value, format)}${value === value ? average : ""}`]);
    };
    data.tooltip.forEach(write);
    if (!data.tooltip.some((line) => line.column === this.current.column)) write({ ...this.current, classes: this.current.names });
    return lines;
  }

  #hexTip(hex) {
    const [[, title], ...rest] = this.#hexLines(hex);
    const count = hex.level.children[hex.i];
    const swatch = this.#swatch(this.#styleOf(hex.level)(hex.i));
    const table = make("dl", {});
    rest.forEach(([label, value]) => table.append(make("dt", {}, label), make("dd", {}, value)));
    const note = count > 1 ? make("small", {}, `Summary of ${count} hexagons`) : null;
    return make("div", {}, make("b", {}, swatch, title), table, note);
  }

  #showTip(content, px, py) {
    const tip = this.find("tip");
    tip.replaceChildren(content);
    tip.hidden = false;
    const right = px + 18 + tip.offsetWidth > this.view.width;
    const low = py + 18 + tip.offsetHeight > this.view.height;
    tip.style.left = `${Math.max(4, right ? px - 14 - tip.offsetWidth : px + 16)}px`;
    tip.style.top = `${Math.max(4, low ? py - 10 - tip.offsetHeight : py + 16)}px`;
  }

  // ------------------------------------------------------------------ stores

  selectStore(id, { move = false } = {}) {
    this.store = this.stores.find((store) => store.id === id) ?? null;
    this.outline = null;
    if (this.store && this.data.catchments) {
      const { bands, stores } = this.data.catchments;
      const row = stores.indexOf(id);
      if (row >= 0) {
        let members = [];
        this.outline = bands.flatMap((band, k) => {
          members = members.concat([...this.catchments[row * bands.length + k]]);
          if (!members.length) return [];
          return [{ segments: this.levels[0].outline(members), dash: k ? [2, 4] : [], width: k ? 1.6 : 2.4 }];
        });
      }
    }
    this.type = null;
    if (this.store && move) this.#moveTo(this.store);
    this.#showCard();
    this.view.paint(move ? null : "marks");
  }

  /** Shows the whole of a store's catchment, or the store's surroundings where none is known. */
  #moveTo(store) {
    const widest = this.outline?.at(-1)?.segments;
    if (!widest?.length) {
      this.view.centreOn(store.x, store.y, this.fitScale() * 3);
      return;
    }
    const bounds = [store.x, store.y, store.x, store.y];
    for (let k = 0; k < widest.length; k += 2) {
      bounds[0] = Math.min(bounds[0], widest[k]);
      bounds[1] = Math.min(bounds[1], widest[k + 1]);
      bounds[2] = Math.max(bounds[2], widest[k]);
      bounds[3] = Math.max(bounds[3], widest[k + 1]);
    }
    this.view.fit(bounds, 40);
  }

  /** Outlines all hexagons of a neighbourhood type and shows its portrait. */
  selectType(index) {
    this.store = null;
    const type = this.data.types[index];
    const again = !type || this.type === index;
    this.type = again ? null : index;
    const finest = this.levels[0];
    const values = finest.values[this.data.views[0].column];
    const members = [];
    for (let i = 0; !again && i < finest.count; i += 1) if (values[i] === index) members.push(i);
    this.outline = again ? null : [{ segments: finest.outline(members), dash: [], width: 1.4 }];
    const card = this.find("card");
    card.hidden = again;
    if (!again) {
      card.replaceChildren(
        this.#closeButton("Close the neighbourhood's card"),
        make("h3", {}, type.label),
        make("p", { className: "card-sub" }, `${type.share} of residents`),
        make("p", {}, type.portrait),
        make("a", { href: type.href }, "Its traits in figures"),
      );
      this.find("status").textContent = `${type.label}: ${type.portrait}`;
    }
    this.view.paint("marks");
  }

  #closeButton(label) {
    const close = make("button", { type: "button", className: "card-close", ariaLabel: label }, "×");
    close.addEventListener("click", () => this.selectStore(null));
    return close;
  }

  #showCard() {
    const card = this.find("card");
    card.hidden = !this.store;
    if (!this.store) return;
    const { store, data } = this;
    const close = this.#closeButton("Close the store's card");
    const facts = make("dl", {});
    store.facts.forEach(([label, value]) => facts.append(make("dt", {}, label), make("dd", {}, value)));
    const parts = [close, make("h3", {}, store.name), make("p", { className: "card-sub" }, `${store.id} · ${store.clusterName}`), facts];
    if (store.shares.length) parts.push(...this.#shareBar(store.shares));
    if (this.outline?.length) {
      const [core, ...rest] = data.catchments.bands;
      const written = (band) => `${Math.round(band * 100)}%`;
      const outer = rest.length ? `; dotted: ${rest.map(written).join(" and ")}` : "";
      parts.push(make("p", { className: "card-note" }, `Outline: the core where ${written(core)} of its trade comes from${outer}.`));
    } else if (data.catchments) {
      parts.push(make("p", { className: "card-note" }, "No catchment was estimated for this store."));
    }
    if (store.href) parts.push(make("a", { href: store.href }, "Its range and promotions"));
    card.replaceChildren(...parts);
    this.find("status").textContent = `${store.name}, ${store.clusterName}`;
  }

  #shareBar(shares) {
    const bar = make("div", { className: "share-bar", role: "img", ariaLabel: shares.map(([k, s]) => `${this.data.types[k].label} ${Math.round(s * 100)}%`).join(", ") });
    shares.forEach(([k, share]) => {
      const piece = make("span", { title: `${this.data.types[k].label}: ${Math.round(share * 100)}%` });
      piece.style.width = `${share * 100}%`;
      piece.style.background = this.data.types[k].colour;
      bar.append(piece);
    });
    const [top, share] = shares.reduce((a, b) => (b[1] > a[1] ? b : a));
    const text = `Catchment: ${Math.round(share * 100)}% ${this.data.types[top].label}`;
    return [bar, make("p", { className: "card-note" }, text)];
  }

  // ------------------------------------------------------------------ controls

  #buildControls() {
    const { data } = this;
    const choice = this.find("colour");
    const groups = new Map();
    data.views.forEach((view) => {
      if (!groups.has(view.group)) {
        groups.set(view.group, make("optgroup", { label: view.group }));
        choice.append(groups.get(view.group));
      }
      groups.get(view.group).append(make("option", { value: view.key }, view.label));
    });
    choice.addEventListener("change", () => this.showColour(choice.value));
    const controls = { in: () => this.view.zoomBy(1.6), out: () => this.view.zoomBy(1 / 1.6), fit: () => this.view.fit(data.bounds) };
    Object.entries(controls).forEach(([name, act]) => this.find(name).addEventListener("click", act));
    this.box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.selectStore(null);
    });
    this.#buildSearch();
    this.#buildLayers();
  }

  #buildSearch() {
    const search = this.find("search");
    const list = this.find("stores");
    this.stores.forEach((store) => list.append(make("option", { value: `${store.name} (${store.id})` })));
    const look = () => {
      const wanted = search.value.trim().toLowerCase();
      if (!wanted) return;
      const found =
        this.stores.find((store) => `${store.name} (${store.id})`.toLowerCase() === wanted || store.id.toLowerCase() === wanted) ??
        this.stores.find((store) => store.name.toLowerCase().includes(wanted));
      if (found) this.selectStore(found.id, { move: true });
      else this.find("status").textContent = `No store matches ${search.value}`;
    };
    search.addEventListener("change", look);
  }

  #buildLayers() {
    const { data, shown, ink } = this;
    const entries = [];
    const add = (label, on, change, picture = null) => {
      const box = make("input", { type: "checkbox", checked: on });
      box.addEventListener("change", () => {
        change(box.checked);
        this.view.paint();
      });
      entries.push(make("label", {}, box, picture, label));
    };
    const own = markerPicture("circle", { fill: ink.store, ring: ink.storeRing });
    add("Hexagons", shown.hexes, (on) => (shown.hexes = on));
    add(`${data.ownName} stores (${this.stores.length})`, shown.stores, (on) => (shown.stores = on), own);
    data.chains.forEach((chain, k) => {
      const shape = CHAIN_SHAPES[Math.min(k, CHAIN_SHAPES.length - 1)];
      const picture = markerPicture(shape, { fill: ink.rival, ring: ink.rivalRing });
      const change = (on) => (on ? shown.rivals.add(k) : shown.rivals.delete(k));
      add(`${chain} (${this.rivals[k].length})`, shown.rivals.has(k), change, picture);
    });
    if (this.lines.length) add("Boundaries", shown.lines, (on) => (shown.lines = on));
    if (data.names.length) add("Place names", shown.names, (on) => (shown.names = on));
    add("Graticule", shown.grid, (on) => (shown.grid = on));
    if (data.tiles) add("Online map (asks its server for tiles)", shown.tiles, (on) => this.showTiles(on));
    this.find("layers").replaceChildren(...entries);
  }

  /** Colours the hexagons by another view. */
  showColour(key) {
    this.current = this.data.views.find((view) => view.key === key) ?? this.data.views[0];
    this.find("colour").value = this.current.key;
    this.#showView();
  }

  /** Shows one class of the first view alone, or all of them again. */
  showOnly(index) {
    const view = this.data.views[0];
    const hidden = this.hidden.get(view.key);
    hidden.clear();
    if (index !== null) view.colours.forEach((_, k) => k !== index && hidden.add(k));
    if (index !== null) hidden.add(view.colours.length);
    this.showColour(view.key);
  }

  #swatch(style) {
    const { colours } = this.current;
    const swatch = make("i", { className: style < colours.length ? "swatch" : "swatch swatch-none" });
    if (style < colours.length) swatch.style.background = colours[style];
    return swatch;
  }

  #showView() {
    const { current } = this;
    const hidden = this.hidden.get(current.key);
    const entry = (label, style) => {
      const button = make("button", { type: "button", ariaPressed: String(!hidden.has(style)), title: "Show or hide" }, this.#swatch(style), make("span", {}, label));
      button.addEventListener("click", () => {
        if (hidden.has(style)) hidden.delete(style);
        else hidden.add(style);
        button.ariaPressed = String(!hidden.has(style));
        this.#leave();
        this.view.paint("hexes");
      });
      return button;
    };
    const names = current.kind === "class" ? current.names : current.classLabels;
    const buttons = names.map((name, k) => entry(name, k));
    if (current.kind !== "class") buttons.reverse();
    if (current.missing > 0) buttons.push(entry(current.missingLabel, current.colours.length));
    this.find("legend").replaceChildren(...buttons);
    this.find("legend-title").textContent = current.unit ? `${current.label}, ${current.unit}` : current.label;
    this.find("legend-note").textContent = current.note ?? "";
    this.find("status").textContent = `Coloured by ${current.label}`;
    this.#leave();
    this.view.paint();
  }
}
