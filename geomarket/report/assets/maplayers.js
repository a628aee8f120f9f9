/** What lies over and under the hexagons: graticule, boundaries, outlines, place names, markers, scale bar. */

import { traceRing } from "./hexpainter.js";

const GRATICULE_STEPS = [30, 10, 5, 2, 1, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01];
const EARTH_KM = 40075.017;

export const longitudeOf = (x) => (x - 0.5) * 360;
export const latitudeOf = (y) => (Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180) / Math.PI;
const worldY = (lat) => 0.5 - Math.asinh(Math.tan((lat * Math.PI) / 180)) / (2 * Math.PI);

export function paintGraticule(context, view, ink) {
  const west = longitudeOf(view.left / view.scale);
  const east = longitudeOf((view.left + view.width) / view.scale);
  const north = latitudeOf(view.top / view.scale);
  const south = latitudeOf((view.top + view.height) / view.scale);
  const step = GRATICULE_STEPS.find((s) => (east - west) / s >= 5) ?? 0.01;
  context.strokeStyle = ink;
  context.lineWidth = 1;
  context.beginPath();
  for (let k = Math.ceil(west / step); k * step <= east; k += 1) {
    const px = Math.round(((k * step) / 360 + 0.5) * view.scale - view.left) + 0.5;
    context.moveTo(px, 0);
    context.lineTo(px, view.height);
  }
  for (let k = Math.ceil(south / step); k * step <= north; k += 1) {
    const py = Math.round(worldY(k * step) * view.scale - view.top) + 0.5;
    context.moveTo(0, py);
    context.lineTo(view.width, py);
  }
  context.stroke();
}

/** Lines as arrays of world coordinates [x, y, x, y, ...]: a pale casing under a dark dashed line. */
export function paintLines(context, view, lines, ink, casing) {
  const trace = (line) => {
    context.beginPath();
    for (let k = 0; k < line.length; k += 2) {
      const px = line[k] * view.scale - view.left;
      const py = line[k + 1] * view.scale - view.top;
      if (k) context.lineTo(px, py);
      else context.moveTo(px, py);
    }
    context.stroke();
  };
  context.lineJoin = "round";
  context.strokeStyle = casing;
  context.lineWidth = 2.6;
  lines.forEach(trace);
  context.strokeStyle = ink;
  context.lineWidth = 0.9;
  context.setLineDash([5, 3]);
  lines.forEach(trace);
  context.setLineDash([]);
}

/**
 * Separate segments [x1, y1, x2, y2, ...] in world coordinates, e.g. the edge of a catchment; a double line tells one
 * kind of edge from another without its colour.
 */
export function paintSegments(context, view, segments, { ink, casing, width = 2, dash = [], double = false }) {
  context.lineCap = "round";
  context.beginPath();
  for (let k = 0; k < segments.length; k += 4) {
    context.moveTo(segments[k] * view.scale - view.left, segments[k + 1] * view.scale - view.top);
    context.lineTo(segments[k + 2] * view.scale - view.left, segments[k + 3] * view.scale - view.top);
  }
  context.strokeStyle = casing;
  context.lineWidth = width + (double ? 4.5 : 2.5);
  context.stroke();
  context.setLineDash(dash);
  context.strokeStyle = ink;
  context.lineWidth = width + (double ? 2.4 : 0);
  context.stroke();
  if (double) {
    context.strokeStyle = casing.slice(0, 7);
    context.lineWidth = width * 0.7;
    context.stroke();
  }
  context.setLineDash([]);
  context.lineCap = "butt";
}

/** One hexagon's edge. */
export function paintRing(context, view, level, i, { ink, casing }) {
  context.beginPath();
  traceRing(context, level.ring(i), level.x[i], level.y[i], view.scale / level.world, view);
  context.strokeStyle = casing;
  context.lineWidth = 4;
  context.stroke();
  context.strokeStyle = ink;
  context.lineWidth = 2;
  context.stroke();
}

/**
 * Place names, larger places first, beside the markers; a name that would cover another, or leave the canvas, is
 * left out.
 */
export function paintNames(context, view, names, ink, halo, markers) {
  context.font = "500 12px Arial, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const taken = markers.map(({ x, y }) => {
    const px = x * view.scale - view.left;
    const py = y * view.scale - view.top;
    return [px - 9, py - 9, px + 9, py + 9];
  });
  const isFree = (box) =>
    box[0] >= 0 &&
    box[1] >= 0 &&
    box[2] <= view.width &&
    box[3] <= view.height &&
    !taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]);
  for (const { name, x, y, width } of names) {
    /* a name wider than its place is clutter at this scale */
    const wide = context.measureText(name).width;
    if (width * view.scale < wide * 0.9) continue;
    const px = x * view.scale - view.left;
    const middle = y * view.scale - view.top;
    const boxAt = (py) => [px - wide / 2 - 4, py - 8, px + wide / 2 + 4, py + 8];
    const py = [0, -17, 17, -34, 34].map((shift) => middle + shift).find((at) => isFree(boxAt(at)));
    if (py === undefined) continue;
    taken.push(boxAt(py));
    context.strokeStyle = halo;
    context.lineWidth = 3.5;
    context.strokeText(name, px, py);
    context.fillStyle = ink;
    context.fillText(name, px, py);
  }
}

const SHAPES = {
  circle: (context, x, y, r) => context.arc(x, y, r, 0, 2 * Math.PI),
  square: (context, x, y, r) => context.rect(x - r * 0.85, y - r * 0.85, r * 1.7, r * 1.7),
  diamond: (context, x, y, r) => polygon(context, x, y, r * 1.2, 4, 0),
  triangle: (context, x, y, r) => polygon(context, x, y, r * 1.2, 3, -Math.PI / 2),
  wedge: (context, x, y, r) => polygon(context, x, y, r * 1.2, 3, Math.PI / 2),
  pentagon: (context, x, y, r) => polygon(context, x, y, r * 1.1, 5, -Math.PI / 2),
};

/** Shapes of competitor chains, in order: shape tells chains apart, not colour alone. */
export const CHAIN_SHAPES = ["square", "diamond", "triangle", "wedge", "pentagon", "circle"];

function polygon(context, x, y, r, sides, turn) {
  for (let k = 0; k < sides; k += 1) {
    const angle = turn + (2 * Math.PI * k) / sides;
    if (k) context.lineTo(x + r * Math.cos(angle), y + r * Math.sin(angle));
    else context.moveTo(x + r * Math.cos(angle), y + r * Math.sin(angle));
  }
  context.closePath();
}

/** Frames of stores in a trial: a ring around those that change first, a square around those that wait. */
const FRAMES = { test: "circle", control: "square" };
const FRAME_GAP = 3.4;

/** Frames around markers [{x, y, arm}]. */
export function paintFrames(context, view, markers, { radius, ink, casing }) {
  for (const { x, y, arm } of markers) {
    context.beginPath();
    SHAPES[FRAMES[arm]](context, x * view.scale - view.left, y * view.scale - view.top, radius + FRAME_GAP);
    context.strokeStyle = casing;
    context.lineWidth = 4;
    context.stroke();
    context.strokeStyle = ink;
    context.lineWidth = 1.7;
    context.stroke();
  }
}

/** Markers [{x, y, shape, text}] of one look. */
export function paintMarkers(context, view, markers, { radius, fill, ring, ink }) {
  for (const marker of markers) {
    const px = marker.x * view.scale - view.left;
    const py = marker.y * view.scale - view.top;
    if (px < -20 || py < -20 || px > view.width + 20 || py > view.height + 20) continue;
    context.beginPath();
    SHAPES[marker.shape](context, px, py, radius);
    context.fillStyle = fill;
    context.fill();
    context.strokeStyle = ring;
    context.lineWidth = radius > 4 ? 1.6 : 1;
    context.stroke();
    if (marker.text && radius >= 7) {
      context.font = `700 ${Math.round(radius * 1.25)}px Arial, sans-serif`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillStyle = ink;
      context.fillText(marker.text, px, py + 0.5);
    }
  }
}

/** An inline picture for legends, painted by paint(context, view) in a view of width × 16 pixels. */
function picture(width, paint) {
  const canvas = document.createElement("canvas");
  canvas.width = 2 * width;
  canvas.height = 32;
  canvas.className = "marker";
  canvas.style.width = `${width}px`;
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  paint(context, { scale: 1, left: 0, top: 0, width, height: 16 });
  return canvas;
}

export function markerPicture(shape, { fill, ring }) {
  return picture(16, (context, view) =>
    paintMarkers(context, view, [{ x: 8, y: 8, shape }], { radius: 4.6, fill, ring, ink: ring }),
  );
}

/** A store with the frame of its arm of the trial. */
export function framePicture(arm, { store, storeRing, select, casing }) {
  return picture(16, (context, view) => {
    paintFrames(context, view, [{ x: 8, y: 8, arm }], { radius: 2.4, ink: select, casing });
    paintMarkers(context, view, [{ x: 8, y: 8, shape: "circle" }], { radius: 3, fill: store, ring: storeRing, ink: storeRing });
  });
}

/** A piece of a line. */
export function linePicture(look) {
  return picture(30, (context, view) => paintSegments(context, view, [3, 8, 27, 8], look));
}

/** Round lengths for the scale bar at the middle of the view: [{label, pixels}] in km and miles. */
export function scaleBars(view, maxPixels) {
  const lat = latitudeOf((view.top + view.height / 2) / view.scale);
  const kmPerPixel = (EARTH_KM * Math.cos((lat * Math.PI) / 180)) / view.scale;
  return [
    ["km", 1],
    ["mi", 1.609344],
  ].map(([unit, km]) => {
    const longest = (maxPixels * kmPerPixel) / km;
    const power = 10 ** Math.floor(Math.log10(longest));
    const length = [5, 2, 1].map((k) => k * power).find((l) => l <= longest);
    return { label: `${Number(length.toPrecision(1))} ${unit}`, pixels: (length * km) / kmPerPixel };
  });
}
