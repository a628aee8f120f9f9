/** Online map tiles under the hexagons: only where the plan's settings name a host, and only when the reader asks. */

const TILE = 256;
const MAX_KEPT = 400;
const PATIENCE = 3;

export class TileLayer {
  /**
   * @param {{url: string, attribution: string, maxZoom: number}} source  url with {z}, {x} and {y}.
   * @param {{arrived: () => void, failed: () => void}} told
   */
  constructor(source, told) {
    this.source = source;
    this.told = told;
    this.tiles = new Map();
    this.loaded = 0;
    this.failures = 0;
  }

  /** Paints the tiles that have come and asks for the others. */
  paint(context, view) {
    const zoom = Math.max(0, Math.min(this.source.maxZoom, Math.round(Math.log2(view.scale / TILE))));
    const across = 2 ** zoom;
    const size = view.scale / across;
    const [west, east] = [Math.floor(view.left / size), Math.floor((view.left + view.width) / size)];
    const north = Math.max(0, Math.floor(view.top / size));
    const south = Math.min(across - 1, Math.floor((view.top + view.height) / size));
    for (let x = west; x <= east; x += 1) {
      for (let y = north; y <= south; y += 1) {
        const image = this.#tile(zoom, ((x % across) + across) % across, y);
        if (!image) continue;
        const left = Math.round(x * size - view.left);
        const top = Math.round(y * size - view.top);
        const right = Math.round((x + 1) * size - view.left);
        const bottom = Math.round((y + 1) * size - view.top);
        context.drawImage(image, left, top, right - left, bottom - top);
      }
    }
  }

  #tile(z, x, y) {
    const key = `${z}/${x}/${y}`;
    const known = this.tiles.get(key);
    if (known) return known.complete && known.naturalWidth ? known : null;
    if (this.tiles.size >= MAX_KEPT) this.tiles.delete(this.tiles.keys().next().value);
    const image = new Image();
    image.referrerPolicy = "no-referrer";
    image.addEventListener("load", () => {
      this.loaded += 1;
      this.told.arrived();
    });
    image.addEventListener("error", () => {
      this.failures += 1;
      if (this.loaded || this.failures < PATIENCE) return;
      /* without a network the map goes back to what it was; a reader who asks again gets another try */
      this.tiles.clear();
      this.failures = 0;
      this.told.failed();
    });
    image.src = this.source.url.replace("{z}", z).replace("{x}", x).replace("{y}", y);
    this.tiles.set(key, image);
    return null;
  }
}
