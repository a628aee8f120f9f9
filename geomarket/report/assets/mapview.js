/**
 * A small map: an element with stacked canvases that can be dragged, zoomed and walked over by keyboard.
 * Positions are in world coordinates (Web Mercator, 0..1). Layers are functions that paint on a canvas.
 *
 * While the map moves, the canvases are only shifted and scaled; they are painted anew when the movement rests
 * or when the painted margin runs out.
 */

const MARGIN = 0.3;
const REST_MS = 110;
const KEY_STEP = 90;
const ZOOM_STEP = 1.6;
const SCROLL_PAUSE_MS = 350;

export class MapView {
  /**
   * @param {HTMLElement} element
   * @param {{bounds: number[], maxScale: number}} options  bounds: [west, north, east, south] in world units.
   */
  constructor(element, options) {
    this.element = element;
    this.bounds = options.bounds;
    this.maxScale = options.maxScale;
    this.layers = [];
    this.listeners = { hover: [], leave: [], click: [], paint: [], keymove: [] };
    this.stack = document.createElement("div");
    this.stack.className = "map-stack";
    element.append(this.stack);
    this.painted = null;
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    this.lastPageScroll = 0;
    this.#measure();
    this.fit(this.bounds);
    this.#listen();
  }

  on(event, listener) {
    this.listeners[event].push(listener);
  }

  #tell(event, detail) {
    this.listeners[event].forEach((listener) => listener(detail));
  }

  /** Adds a layer painted by paint(context, view); layers added later lie above. */
  addLayer(name, paint) {
    const canvas = document.createElement("canvas");
    canvas.className = `map-canvas map-${name}`;
    canvas.setAttribute("aria-hidden", "true");
    this.stack.append(canvas);
    this.layers.push({ name, paint, canvas, context: canvas.getContext("2d") });
  }

  /** Shows the whole of some bounds, beside a strip at the left that something else covers. */
  fit([west, north, east, south], { padding = 18, left = 0 } = {}) {
    const across = Math.max(east - west, 1e-9);
    const down = Math.max(south - north, 1e-9);
    const scale = Math.min((this.width - left - 2 * padding) / across, (this.height - 2 * padding) / down);
    this.scale = Math.min(scale, this.maxScale);
    this.minScale = Math.min(this.minScale ?? Infinity, this.scale * 0.6);
    this.x = (west + east - left / this.scale) / 2;
    this.y = (north + south) / 2;
    this.#moved();
  }

  /** Shows a point of the world in the middle, at a scale. */
  show(x, y, scale) {
    this.x = x;
    this.y = y;
    this.scale = Math.min(this.maxScale, Math.max(this.minScale, scale));
    this.#moved();
  }

  /** Moves the centre to a point of the world, at least as close as minScale. */
  centreOn(x, y, minScale = 0) {
    this.x = x;
    this.y = y;
    this.scale = Math.min(this.maxScale, Math.max(this.scale, minScale));
    this.#moved();
  }

  panBy(dx, dy) {
    this.x += dx / this.scale;
    this.y += dy / this.scale;
    this.#moved();
  }

  /** Zooms so that the point under (px, py) stays where it is. */
  zoomBy(factor, px = this.width / 2, py = this.height / 2) {
    const [wx, wy] = this.toWorld(px, py);
    this.scale = Math.min(this.maxScale, Math.max(this.minScale, this.scale * factor));
    this.x = wx - (px - this.width / 2) / this.scale;
    this.y = wy - (py - this.height / 2) / this.scale;
    this.#moved();
  }

  toWorld(px, py) {
    return [this.x + (px - this.width / 2) / this.scale, this.y + (py - this.height / 2) / this.scale];
  }

  toPixel(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
  }

  /** Paints every layer now, or one by name. */
  paint(only = null) {
    const marginX = this.printing ? 0 : Math.round(this.width * MARGIN);
    const marginY = this.printing ? 0 : Math.round(this.height * MARGIN);
    const moved =
      !this.painted || this.painted.x !== this.x || this.painted.y !== this.y || this.painted.scale !== this.scale;
    const view = {
      scale: this.scale,
      width: this.width + 2 * marginX,
      height: this.height + 2 * marginY,
      left: this.x * this.scale - this.width / 2 - marginX,
      top: this.y * this.scale - this.height / 2 - marginY,
    };
    for (const layer of this.layers) {
      if (only && layer.name !== only && !moved) continue;
      const { canvas, context } = layer;
      const width = Math.round(view.width * this.ratio);
      const height = Math.round(view.height * this.ratio);
      if (this.printing || canvas.width !== width || canvas.height !== height) {
        /* a new size empties the canvas; on paper clearRect would be a recorded stroke that wipes the page, too */
        canvas.width = width;
        canvas.height = height;
        canvas.style.width = `${view.width}px`;
        canvas.style.height = `${view.height}px`;
      } else {
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.clearRect(0, 0, width, height);
      }
      context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
      layer.paint(context, view);
    }
    this.stack.style.width = `${view.width}px`;
    this.stack.style.height = `${view.height}px`;
    this.stack.style.left = `${-marginX}px`;
    this.stack.style.top = `${-marginY}px`;
    this.stack.style.transform = "";
    this.painted = { x: this.x, y: this.y, scale: this.scale, marginX, marginY };
    this.#tell("paint", view);
  }

  #measure() {
    this.width = Math.max(this.element.clientWidth, 50);
    this.height = Math.max(this.element.clientHeight, 50);
  }

  resize() {
    const { width, height } = this;
    this.#measure();
    if (width === this.width && height === this.height) return;
    this.painted = null;
    this.fit(this.bounds);
    this.paint();
  }

  #moved() {
    const [west, north, east, south] = this.bounds;
    this.x = Math.min(east, Math.max(west, this.x));
    this.y = Math.min(south, Math.max(north, this.y));
    if (!this.painted) return;
    const { painted } = this;
    const zoom = this.scale / painted.scale;
    const dx = (painted.x - this.x) * this.scale;
    const dy = (painted.y - this.y) * this.scale;
    /* the stack is larger than the window by the margins, so it is scaled about its own middle */
    this.stack.style.transform = `translate(${dx}px, ${dy}px) scale(${zoom})`;
    this.#tell("leave");
    const runsOut =
      Math.abs(dx) > painted.marginX * zoom + ((zoom - 1) * this.width) / 2 ||
      Math.abs(dy) > painted.marginY * zoom + ((zoom - 1) * this.height) / 2;
    clearTimeout(this.resting);
    if (runsOut && zoom >= 1) this.#paintNextFrame();
    else this.resting = setTimeout(() => this.#paintNextFrame(), REST_MS);
  }

  #paintNextFrame() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
    });
  }

  #position(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left - this.element.clientLeft, event.clientY - box.top - this.element.clientTop];
  }

  #listen() {
    const { element } = this;
    window.addEventListener("scroll", () => (this.lastPageScroll = performance.now()), { passive: true });
    element.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    element.addEventListener("pointerdown", (event) => this.#onPointerDown(event));
    element.addEventListener("pointermove", (event) => this.#onPointerMove(event));
    element.addEventListener("pointerup", (event) => this.#onPointerUp(event));
    element.addEventListener("pointercancel", () => (this.drag = null));
    element.addEventListener("pointerleave", (event) => {
      /* a finger always leaves; its tooltip stays until the next tap */
      if (event.pointerType !== "touch") this.#tell("leave");
    });
    element.addEventListener("dblclick", (event) => {
      if (this.#isControl(event)) return;
      this.zoomBy(event.shiftKey ? 1 / ZOOM_STEP : ZOOM_STEP, ...this.#position(event));
    });
    element.addEventListener("touchstart", (event) => this.#onTouch(event), { passive: false });
    element.addEventListener("touchmove", (event) => this.#onTouch(event), { passive: false });
    element.addEventListener("touchend", () => (this.pinch = null));
    element.addEventListener("keydown", (event) => this.#onKey(event));
    new ResizeObserver(() => this.printing || this.resize()).observe(element);
  }

  /* buttons and cards lie inside the map's element and keep their own events */
  #isControl(event) {
    return event.target.closest?.("[data-map-control]") !== null;
  }

  #onWheel(event) {
    if (this.#isControl(event)) return;
    /* a reader who scrolls past the map isn't stopped by it */
    if (!event.ctrlKey && performance.now() - this.lastPageScroll < SCROLL_PAUSE_MS) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 24 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0022;
    const change = Math.max(-160, Math.min(160, event.deltaY * lines));
    this.zoomBy(Math.exp(-change * speed), ...this.#position(event));
  }

  #onPointerDown(event) {
    if (event.button !== 0 || this.#isControl(event)) return;
    const [px, py] = this.#position(event);
    this.drag = { px, py, moved: 0, touch: event.pointerType === "touch" };
    if (!this.drag.touch) this.element.setPointerCapture(event.pointerId);
  }

  #onPointerMove(event) {
    const [px, py] = this.#position(event);
    if (!this.drag) {
      if (event.pointerType !== "touch" && !this.#isControl(event)) this.#tell("hover", { px, py });
      return;
    }
    const dx = px - this.drag.px;
    const dy = py - this.drag.py;
    this.drag.moved += Math.abs(dx) + Math.abs(dy);
    /* one finger scrolls the page; two move the map */
    if (this.drag.touch || this.drag.moved < 4) return;
    this.drag.px = px;
    this.drag.py = py;
    this.element.classList.add("is-dragging");
    this.panBy(-dx, -dy);
  }

  #onPointerUp(event) {
    const { drag } = this;
    this.drag = null;
    this.element.classList.remove("is-dragging");
    if (!drag || drag.moved >= 8 || this.#isControl(event)) return;
    const [px, py] = this.#position(event);
    this.#tell("click", { px, py, touch: drag.touch });
  }

  #onTouch(event) {
    if (event.touches.length !== 2) return;
    event.preventDefault();
    this.drag = null;
    const [a, b] = [...event.touches].map((touch) => this.#position(touch));
    const now = { px: (a[0] + b[0]) / 2, py: (a[1] + b[1]) / 2, span: Math.hypot(a[0] - b[0], a[1] - b[1]) };
    if (this.pinch && event.type === "touchmove") {
      this.panBy(this.pinch.px - now.px, this.pinch.py - now.py);
      this.zoomBy(now.span / Math.max(this.pinch.span, 1), now.px, now.py);
    }
    this.pinch = now;
  }

  #onKey(event) {
    if (event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = {
      ArrowLeft: () => this.panBy(-KEY_STEP, 0),
      ArrowRight: () => this.panBy(KEY_STEP, 0),
      ArrowUp: () => this.panBy(0, -KEY_STEP),
      ArrowDown: () => this.panBy(0, KEY_STEP),
      "+": () => this.zoomBy(ZOOM_STEP),
      "=": () => this.zoomBy(ZOOM_STEP),
      "-": () => this.zoomBy(1 / ZOOM_STEP),
      0: () => this.fit(this.bounds),
      Home: () => this.fit(this.bounds),
    };
    const move = moves[event.key];
    if (move) {
      move();
      event.preventDefault();
    }
    if (move || event.key === "Enter") this.#tell("keymove", { px: this.width / 2, py: this.height / 2, key: event.key });
  }

  /** Lays the map out at a fixed size for paper; end with restore(). */
  preparePrint(width, height) {
    this.beforePrint = { x: this.x, y: this.y, scale: this.scale, width: this.width, height: this.height };
    this.printing = true;
    const shrink = Math.min(width / this.width, height / this.height);
    Object.assign(this, { width, height, scale: this.scale * shrink, painted: null });
    this.ratio = 2;
    this.paint();
  }

  restore() {
    if (!this.printing) return;
    this.printing = false;
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    Object.assign(this, this.beforePrint, { painted: null });
    this.paint();
  }
}
