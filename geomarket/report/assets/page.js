/** Starts the page: map, contents bar, printing. */

import { unpack } from "./hexpainter.js";
import { MapApp } from "./mapapp.js";

const PAPER_WIDTH = 690;
const PAPER_HEIGHT = 560;

/** Marks the section being read in the contents bar. */
function followSections(nav) {
  const links = [...nav.querySelectorAll("a")];
  const targets = links.map((link) => document.querySelector(link.hash));
  const mark = () => {
    const line = window.innerHeight * 0.3;
    let current = 0;
    targets.forEach((target, k) => {
      if (target && target.getBoundingClientRect().top <= line) current = k;
    });
    links.forEach((link, k) => {
      if (k === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
  };
  window.addEventListener("scroll", mark, { passive: true });
  mark();
}

document.querySelectorAll("nav.contents").forEach(followSections);

/** Links to a store (#store-…) and to what the map shows (#map=…) lead to the map. */
function followAddress(app) {
  const address = location.hash.slice(1);
  const section = document.querySelector("#map");
  if (address.startsWith("store-")) {
    const store = app.stores.find(({ id }) => address === `store-${encodeURIComponent(id)}`);
    if (!store) return;
    app.selectStore(store.id, { move: true });
    section.scrollIntoView();
  } else if (address.startsWith("map=") && app.go(address)) {
    section.scrollIntoView();
  }
}

const root = document.querySelector("#map-app");
if (root) {
  const { details, ...packed } = JSON.parse(document.querySelector("#map-data").textContent);
  const plain = JSON.parse(new TextDecoder().decode(await unpack(details)));
  const app = await MapApp.start(root, { ...packed, ...plain });
  root.mapApp = app;
  followAddress(app);
  window.addEventListener("hashchange", () => followAddress(app));
  document.querySelectorAll("[data-show-type]").forEach((button) =>
    button.addEventListener("click", () => {
      app.showOnly(Number(button.dataset.showType));
      document.querySelector("#map").scrollIntoView();
    }),
  );
  document.querySelectorAll("[data-show-trial]").forEach((button) =>
    button.addEventListener("click", () => {
      app.showTrial();
      document.querySelector("#map").scrollIntoView();
    }),
  );
  window.addEventListener("beforeprint", () => {
    document.documentElement.classList.add("is-printing");
    app.ink = null;
    app.repaint();
    app.view.preparePrint(PAPER_WIDTH, PAPER_HEIGHT);
  });
  window.addEventListener("afterprint", () => {
    document.documentElement.classList.remove("is-printing");
    app.view.restore();
    app.repaint();
  });
}
