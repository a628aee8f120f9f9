/** The card of the chosen store or neighbourhood type. */

import { linePicture } from "./maplayers.js";
import { bandLook, bandsShown } from "./mapoutlines.js";
import { make, pairs, writeShare } from "./mapwords.js";

export function storeCard(app, store) {
  return [
    closeButton(app, "Close the store's card"),
    make("h3", {}, store.name),
    make("p", { className: "card-sub" }, `${store.id} · ${store.clusterName}`),
    pairs(store.facts),
    ...(store.trial ? [make("p", { className: "card-trial" }, make("b", {}, "Trial: "), store.trial)] : []),
    ...(store.shares.length ? shareBar(store.shares, app.data.types) : []),
    ...catchmentKey(app),
    ...(store.href ? [make("a", { href: store.href }, "Its range and promotions")] : []),
  ];
}

export function typeCard(app, type) {
  return [
    closeButton(app, "Close the neighbourhood's card"),
    make("h3", {}, type.label),
    make("p", { className: "card-sub" }, `${type.people} residents`),
    make("p", {}, type.portrait),
    make("a", { href: type.href }, "Its traits in figures"),
  ];
}

function closeButton(app, label) {
  const close = make("button", { type: "button", className: "card-close", ariaLabel: label }, "×");
  close.addEventListener("click", () => app.selectStore(null));
  return close;
}

const SOURCES = { modelled: "of its trade, by the model", observed: "of known customers' trips" };

/** What the lines on the map mean, and what they can't show. */
function catchmentKey(app) {
  const { catchments } = app.data;
  const note = (words) => make("p", { className: "card-note" }, words);
  if (!catchments) return [];
  if (!app.outline?.length) return [note("No catchment was estimated for this store.")];
  const key = make("fieldset", { className: "line-key" }, make("legend", {}, "Lines: where most comes from"));
  key.append(lineEntry(app, "modelled"));
  const { observed, bands } = catchments;
  if (!observed) return [key];
  const drawn = bandsShown(catchments, "observed", catchments.stores.indexOf(app.store.id));
  if (!drawn.length) return [key, note("Too few of its customers are known to draw where they come from.")];
  key.append(lineEntry(app, "observed"));
  const open = bands.slice(drawn.length).map(writeShare).join(" and ");
  const words = `Places with fewer than ${observed.k} known customers are joined`;
  return [key, note(open ? `${words}; too few are left to draw ${open}.` : `${words}.`)];
}

/** A box that shows or hides the lines of one source, and how its bands are drawn. */
function lineEntry(app, source) {
  const { bands, stores } = app.data.catchments;
  const drawn = bandsShown(app.data.catchments, source, stores.indexOf(app.store.id));
  const box = make("input", { type: "checkbox", checked: app.shown[source] });
  box.addEventListener("change", () => {
    app.shown[source] = box.checked;
    app.view.paint("marks");
  });
  const lines = drawn.map((band) =>
    make("span", {}, linePicture(app.lineLook(source, bandLook(bands.indexOf(band)))), writeShare(band)),
  );
  return make("label", {}, box, make("span", { className: "line-bands" }, ...lines), make("span", {}, SOURCES[source]));
}

function shareBar(shares, types) {
  const words = ([k, share]) => `${types[k].label} ${writeShare(share)}`;
  const bar = make("div", { className: "share-bar", role: "img", ariaLabel: shares.map(words).join(", ") });
  shares.forEach(([k, share]) => {
    const piece = make("span", { title: `${types[k].label}: ${writeShare(share)}` });
    piece.style.width = `${share * 100}%`;
    piece.style.background = types[k].colour;
    bar.append(piece);
  });
  const [top, share] = shares.reduce((a, b) => (b[1] > a[1] ? b : a));
  return [bar, make("p", { className: "card-note" }, `Catchment: ${writeShare(share)} ${types[top].label}`)];
}
