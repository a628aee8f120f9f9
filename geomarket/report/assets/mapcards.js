/** The card of the chosen store or neighbourhood type. */

import { make, pairs, writeShare } from "./mapwords.js";

export function storeCard(app, store) {
  return [
    closeButton(app, "Close the store's card"),
    make("h3", {}, store.name),
    make("p", { className: "card-sub" }, `${store.id} · ${store.clusterName}`),
    pairs(store.facts),
    ...(store.shares.length ? shareBar(store.shares, app.data.types) : []),
    ...catchmentNotes(app),
    ...(store.href ? [make("a", { href: store.href }, "Its range and promotions")] : []),
  ];
}

export function typeCard(app, type) {
  return [
    closeButton(app, "Close the neighbourhood's card"),
    make("h3", {}, type.label),
    make("p", { className: "card-sub" }, `${type.share} of residents`),
    make("p", {}, type.portrait),
    make("a", { href: type.href }, "Its traits in figures"),
  ];
}

function closeButton(app, label) {
  const close = make("button", { type: "button", className: "card-close", ariaLabel: label }, "×");
  close.addEventListener("click", () => app.selectStore(null));
  return close;
}

/** What the outline on the map means. */
function catchmentNotes({ data, outline }) {
  if (!data.catchments) return [];
  if (!outline?.length) return [make("p", { className: "card-note" }, "No catchment was estimated for this store.")];
  const [core, ...rest] = data.catchments.bands;
  const outer = rest.length ? `; dotted: ${rest.map(writeShare).join(" and ")}` : "";
  return [make("p", { className: "card-note" }, `Outline: the core where ${writeShare(core)} of its trade comes from${outer}.`)];
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
