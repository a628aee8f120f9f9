/** The report's map: hexagons, stores and competitors over a MapView, what is chosen, and what is pointed at. */

import { chooseLevel, classOf, hatch, paintHexes } from "./hexpainter.js";
import { addressOf, showAddress } from "./mapaddress.js";
import { storeCard, typeCard } from "./mapcards.js";
import { buildControls, buildLayers, buildLegend } from "./mapcontrols.js";
import { decodeMap, inkOf, rivalsOf } from "./mapdata.js";
import { paintFrames, paintGraticule, paintLines, paintMarkers, paintNames, paintRing, paintSegments, scaleBars } from "./maplayers.js";
import { boundsAround, catchmentOutline, typeOutline } from "./mapoutlines.js";
import { TileLayer } from "./maptiles.js";
import { hexLines, hexTip, markerLines, markerTip, showTip } from "./maptip.js";
import { MapView } from "./mapview.js";
import { make } from "./mapwords.js";

const HIT_PIXELS = 11;
const FEW_COMPETITORS = 90;
const DISC_PIXELS = 17 ** 2;
const LABELLED_SCALE = 5;
const ADDRESS_REST_MS = 400;
const CARD_GAP = 40;
const MANY_IN_TRIAL = 20;

export class MapApp {
  static async start(root, data) {
    const app = new MapApp(root, data);
    Object.assign(app, await decodeMap(data));
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
    /* the marks of a large trial would hide the hexagons: they wait until they are asked for */
    const inTrial = data.stores.filter(({ arm }) => arm).length;
    const arms = new Set(inTrial <= MANY_IN_TRIAL ? ["test", "control"] : []);
    Object.assign(this.shown, { arms, modelled: true, observed: true });
    if ((data.competitors?.x.length ?? 0) <= FEW_COMPETITORS) data.chains.forEach((_, k) => this.shown.rivals.add(k));
    this.store = null;
    this.type = null;
    this.outline = null;
    this.stores = data.stores.map((store) => ({ ...store, shape: "circle" }));
    this.rivals = rivalsOf(data);
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
    this.view.on("leave", () => this.leave());
    this.view.on("click", (at) => this.#click(at));
    this.view.on("paint", (view) => this.#afterPaint(view));
    this.view.on("keymove", (at) => this.#keyMoved(at));
    buildControls(this);
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
    buildLayers(this);
    this.#showView();
  }

  #addTiles() {
    const note = make("p", { className: "map-credit", hidden: true }, this.data.tiles.attribution);
    this.box.append(note);
    this.showTiles = (on) => {
      this.shown.tiles = on;
      note.hidden = !on;
      this.root.classList.toggle("has-tiles", on);
      this.view.paint();
    };
    this.tiles = new TileLayer(this.data.tiles, {
      arrived: () => this.shown.tiles && this.view.paint("tiles"),
      failed: () => {
        this.showTiles(false);
        buildLayers(this);
        this.say("The online map can't be reached.");
      },
    });
    this.view.addLayer("tiles", (context, view) => {
      if (this.shown.tiles) this.tiles.paint(context, view);
    });
  }

  /** Tells readers who can't see the map. */
  say(words) {
    this.find("status").textContent = words;
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

  /** A function from a cell of a level to its place among the legend's colours; -1 where it is hidden. */
  styleOf(level) {
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

  /** A sample of one of the legend's colours; beyond the last: of no data. */
  swatch(style) {
    const { colours } = this.current;
    const swatch = make("i", { className: style < colours.length ? "swatch" : "swatch swatch-none" });
    if (style < colours.length) swatch.style.background = colours[style];
    return swatch;
  }

  #paintHexes(context, view) {
    this.level = chooseLevel(this.levels, view.scale);
    if (!this.shown.hexes) return;
    const styles = this.current.colours.map((colour) => ({ fill: colour, stroke: colour }));
    styles.push({ fill: hatch(context, this.ink.noData, this.ink.noDataLine), stroke: this.ink.noData });
    const began = performance.now();
    const drawn = paintHexes(context, this.level, view, this.styleOf(this.level), styles, {
      separator: this.ink.separator,
    });
    this.paintedIn = { milliseconds: performance.now() - began, drawn, resolution: this.level.resolution };
  }

  #paintMarks(context, view) {
    const { ink, shown } = this;
    if (shown.lines) paintLines(context, view, this.lines, ink.line, ink.casing);
    this.outline?.forEach(({ source, segments, ...look }) => {
      if (shown[source] !== false) paintSegments(context, view, segments, this.lineLook(source, look));
    });
    const closeness = view.scale / this.fitScale();
    const few = this.data.competitors?.x.length <= FEW_COMPETITORS;
    if (shown.names) {
      const rivals = few ? [...shown.rivals].flatMap((chain) => this.rivals[chain]) : [];
      paintNames(context, view, this.data.names, ink.line, ink.casing, [...(shown.stores ? this.stores : []), ...rivals]);
    }
    const radius = Math.max(few ? 4.5 : 2.4, Math.min(6, 2 * closeness ** 0.5));
    shown.rivals.forEach((chain) =>
      paintMarkers(context, view, this.rivals[chain], { radius, fill: ink.rival, ring: ink.rivalRing, ink: ink.rivalRing }),
    );
    if (!shown.stores) return;
    /* numbered discs where they leave room for the hexagons, dots elsewhere */
    const covered = (this.stores.length * DISC_PIXELS) / (this.view.width * this.view.height);
    const labelled = covered < 0.05 || closeness > LABELLED_SCALE;
    const look = { radius: labelled ? 8.5 : 5, fill: ink.store, ring: ink.storeRing, ink: ink.storeRing };
    /* of a chosen store in the trial, its partner shows in any case */
    const isChosen = ({ id, arm, partner }) => arm && this.store && (this.store.id === id || this.store.id === partner);
    const framed = this.stores.filter((store) => shown.arms.has(store.arm) || isChosen(store));
    paintFrames(context, view, framed, { radius: look.radius, ink: ink.select, casing: ink.casing });
    paintMarkers(context, view, this.stores, look);
    if (this.store) paintMarkers(context, view, [this.store], { radius: 11, fill: ink.select, ring: ink.selectRing, ink: ink.selectRing });
  }

  /** How an edge is drawn: known customers' trips as a double line in a colour of their own. */
  lineLook(source, { dash, width }) {
    const { select, observed, casing } = this.ink;
    const seen = source === "observed";
    return { ink: seen ? observed : select, casing, dash, width, double: seen };
  }

  #paintHover(context, view) {
    if (!this.hovered) return;
    const { level, i } = this.hovered;
    paintRing(context, view, level, i, { ink: this.ink.select, casing: this.ink.casing });
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
    if (i < 0 || this.styleOf(this.level)(i) < 0) return null;
    return { level: this.level, i };
  }

  #hover({ px, py }) {
    const marker = this.#markerAt(px, py);
    this.box.classList.toggle("is-pointing", marker?.kind === "store");
    const hex = marker ? null : this.#hexAt(px, py);
    const changed = hex?.i !== this.hovered?.i || hex?.level !== this.hovered?.level;
    this.hovered = hex;
    if (changed) this.view.paint("hover");
    if (marker) showTip(this, markerTip(this, marker), px, py);
    else if (hex) showTip(this, hexTip(this, hex), px, py);
    else this.find("tip").hidden = true;
  }

  /** Forgets what was pointed at. */
  leave() {
    this.find("tip").hidden = true;
    if (!this.hovered) return;
    this.hovered = null;
    this.view.paint("hover");
  }

  #click({ px, py, touch }) {
    const marker = this.#markerAt(px, py);
    const hex = marker ? null : this.#hexAt(px, py);
    /* the first tap of a finger points, the second one on the same hexagon clicks */
    const again = hex && !this.find("tip").hidden && hex.i === this.hovered?.i && hex.level === this.hovered.level;
    if (marker?.kind === "store") this.selectStore(marker.marker.id);
    else if (touch && !again) this.#hover({ px, py });
    else if (hex) this.selectType(hex.level.values[this.data.views[0].column][hex.i]);
    else this.selectStore(null);
  }

  #keyMoved({ px, py, key }) {
    this.#hover({ px, py });
    if (key === "Enter") {
      this.#click({ px, py, touch: false });
      return;
    }
    const marker = this.#markerAt(px, py);
    const hex = this.#hexAt(px, py);
    if (marker) this.say(markerLines(this, marker).join("; "));
    else this.say(hex ? hexLines(this, hex).map((line) => line.join(": ")).join("; ") : "No hexagon here");
  }

  // ------------------------------------------------------------------ choosing

  /** Shows a store's catchment and card; no store: closes what is open. */
  selectStore(id, { move = false } = {}) {
    this.store = this.stores.find((store) => store.id === id) ?? null;
    this.type = null;
    this.outline = this.store && catchmentOutline(this, id);
    this.#showCard(this.store && storeCard(this, this.store));
    if (this.store) {
      if (move) this.#moveTo(this.store);
      this.#uncover(this.store);
      this.say(`${this.store.name}, ${this.store.clusterName}`);
    }
    this.view.paint(move ? null : "marks");
  }

  /** Shows the whole of a store's catchment, or the store's surroundings where none is known. */
  #moveTo(store) {
    if (this.outline?.length) this.view.fit(boundsAround(store, this.outline), { padding: 40, left: this.#covered() });
    else this.view.centreOn(store.x, store.y, this.fitScale() * 3);
  }

  /** How much of the map's left side the open card covers; on a phone it stands below. */
  #covered() {
    const card = this.find("card");
    if (card.hidden || getComputedStyle(card).position !== "absolute") return 0;
    return card.offsetLeft + card.offsetWidth;
  }

  /** Moves a chosen store out from under the card. */
  #uncover({ x, y }) {
    const card = this.find("card");
    const [px, py] = this.view.toPixel(x, y);
    const gap = this.#covered() + CARD_GAP - px;
    if (this.#covered() && gap > 0 && py < card.offsetTop + card.offsetHeight + CARD_GAP) this.view.panBy(-gap, 0);
  }

  /** Outlines all hexagons of a neighbourhood type and shows its portrait; the second time, closes it. */
  selectType(index) {
    const type = this.type === index ? undefined : this.data.types[index];
    this.store = null;
    this.type = type ? index : null;
    this.outline = type ? typeOutline(this, index) : null;
    this.#showCard(type && typeCard(this, type));
    if (type) this.say(`${type.label}: ${type.portrait}`);
    this.view.paint("marks");
  }

  #showCard(parts) {
    const card = this.find("card");
    card.hidden = !parts;
    card.replaceChildren(...(parts ?? []));
  }

  /** Colours the hexagons by another view. */
  showColour(key) {
    this.current = this.data.views.find((view) => view.key === key) ?? this.data.views[0];
    this.find("colour").value = this.current.key;
    this.#showView();
  }

  /** Marks the stores of the trial. */
  showTrial() {
    this.shown.arms = new Set(["test", "control"]);
    this.shown.stores = true;
    buildLayers(this);
    this.view.paint();
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

  #showView() {
    buildLegend(this);
    this.say(`Coloured by ${this.current.label}`);
    this.leave();
    this.view.paint();
  }
}
