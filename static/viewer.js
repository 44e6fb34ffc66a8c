// The image page: what the form of the view says is shown at once and kept in the address; rows and shapes know each
// other; bitmap layers tell when they are loading or did not come. Without this, the form is sent and all is drawn anew.
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);
  const SWITCHES = ["boxes", "bitmaps", "labels"];
  const isOn = (name) => byId(name)?.checked ?? true;

  // --- the view: form → drawing, address, links ---------------------------------------------------------------

  function viewQuery() {
    const query = new Map(SWITCHES.map((name) => [name, isOn(name) ? null : "0"]));
    const opacity = byId("opacity")?.value ?? "100";
    query.set("opacity", opacity === "100" ? null : opacity);
    query.set("view", byId("view-side")?.checked ? "side" : null);
    return query;
  }

  function withView(address) {
    const url = new URL(address, location.href);
    for (const [name, value] of viewQuery()) {
      url.searchParams.delete(name);
      if (value !== null) url.searchParams.set(name, value);
    }
    return url.pathname + url.search + url.hash;
  }

  function drawView() {
    const opacity = byId("opacity")?.value ?? "100";
    byId("overlay")?.setAttribute("opacity", opacity / 100);
    if (byId("opacity-value")) byId("opacity-value").textContent = `${opacity} %`;
    if (isOn("bitmaps")) fetchBitmaps();
    countDrawn();
  }

  function countDrawn() {
    const line = byId("statusline");
    if (!line || !byId("drawn")) return;
    const vector = Number(line.dataset.vector), bitmap = Number(line.dataset.bitmap);
    const hidden = (isOn("boxes") ? 0 : vector) + (isOn("bitmaps") ? 0 : bitmap);
    const why = ["boxes", "bitmaps"].filter((name) => !isOn(name));
    byId("drawn").textContent = (vector + bitmap - hidden).toLocaleString("en");
    byId("hidden").textContent = hidden.toLocaleString("en");
    byId("hidden-why").textContent = hidden ? ` by ${why.join(" and ")} switched off` : "";
  }

  function keepView() {
    const here = new URL(location.href);
    const chosen = document.querySelector("#view [name=analysis]")?.value;
    if (chosen) here.searchParams.set("analysis", chosen);
    history.replaceState(history.state, "", withView(here));
    for (const link of document.querySelectorAll("a[data-view]")) link.setAttribute("href", withView(link.href));
  }

  document.addEventListener("input", (event) => {
    if (event.target.form?.id === "view") drawView();
  });
  document.addEventListener("change", (event) => {
    if (event.target.form?.id === "view") keepView();
  });

  // --- bitmap layers ------------------------------------------------------------------------------------------

  const arrived = new WeakMap(); // element → [address, "loaded" | "failed"]

  const layers = () => [...document.querySelectorAll("#bitmap-layers image[href]")];

  function fetchBitmaps() {
    for (const layer of document.querySelectorAll("#bitmap-layers image[data-href]")) {
      layer.setAttribute("href", layer.dataset.href);
      layer.removeAttribute("data-href");
    }
    watchBitmaps();
  }

  // A layer may have come before this script ran, and an SVG image does not say so: decode() does.
  function watchBitmaps() {
    for (const layer of layers()) {
      const address = layer.getAttribute("href");
      if (arrived.get(layer)?.[0] === address) continue;
      arrived.set(layer, [address, "loading"]);
      layer.decode().then(() => settle(layer, address, "loaded"), () => settle(layer, address, "failed"));
    }
    showBitmapState();
  }

  function settle(layer, address, state) {
    if (layer.getAttribute("href") !== address) return;
    arrived.set(layer, [address, state]);
    showBitmapState();
  }

  function showBitmapState() {
    const states = layers().map((layer) => arrived.get(layer)?.[1]);
    const state = states.includes("failed") ? "failed" : states.includes("loading") ? "loading" : "";
    const stage = byId("stage");
    if (stage) stage.dataset.bitmaps = isOn("bitmaps") ? state : "";
  }

  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-retry]")) return;
    for (const layer of layers()) {
      if (arrived.get(layer)?.[1] !== "failed") continue;
      const url = new URL(layer.getAttribute("href"), location.href);
      url.searchParams.set("again", Date.now());
      layer.setAttribute("href", url.pathname + url.search);
    }
    watchBitmaps();
  });

  // --- rows and shapes ----------------------------------------------------------------------------------------

  let chosen = location.hash.startsWith("#a-") ? location.hash.slice(3) : "";

  function choose(id) {
    chosen = id;
    document.querySelectorAll(".item.selected, .spots .selected").forEach((shape) => shape.classList.remove("selected"));
    document.querySelectorAll("#annotations a[aria-current]").forEach((link) => link.removeAttribute("aria-current"));
    if (!id) return;
    byId(`a-${id}`)?.classList.add("selected");
    document.querySelector(`#r-${CSS.escape(id)} a`)?.setAttribute("aria-current", "true");
  }

  function point(event, on) {
    const link = event.target.closest?.("#annotations a[href^='#a-']");
    const row = link ?? event.target.closest?.("#annotations tr[id]")?.querySelector("a[href^='#a-']");
    if (row) byId(row.hash.slice(1))?.classList.toggle("hot", on);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("#annotations a[href^='#a-']");
    if (link) {
      event.preventDefault();
      choose(link.getAttribute("aria-current") ? "" : link.hash.slice(3));
      if (matchMedia("(max-width: 860px)").matches) byId("stage").scrollIntoView({ block: "start" });
      return;
    }
    const shape = event.target.closest("#shapes .item");
    if (shape) {
      choose(shape.id.slice(2));
      byId(`r-${shape.id.slice(2)}`)?.scrollIntoView({ block: "nearest" });
    } else if (event.target.closest("#canvas")) {
      choose("");
    }
  });
  for (const [name, on] of [["mouseover", true], ["mouseout", false], ["focusin", true], ["focusout", false]]) {
    document.addEventListener(name, (event) => point(event, on));
  }

  // --- the stage ----------------------------------------------------------------------------------------------

  document.addEventListener("pointermove", (event) => {
    const canvas = event.target.closest?.("#panes svg"), where = byId("where");
    if (!where) return;
    const matrix = canvas?.getScreenCTM();
    if (!matrix) { where.textContent = ""; return; }
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    const { width, height } = canvas.viewBox.baseVal;
    const inside = x >= 0 && y >= 0 && x < width && y < height;
    where.textContent = inside ? `x ${x.toFixed(1)}  y ${y.toFixed(1)} · ` : "";
  });

  // Above the budget outlines are not scaled by the browser (that is slow there), so their width is set for the size shown.
  function setOutlines() {
    const shapes = document.querySelector("#shapes.grouped"), matrix = byId("canvas")?.getScreenCTM();
    if (shapes && matrix?.a) shapes.setAttribute("stroke-width", (1.3 / matrix.a).toFixed(3));
  }
  window.addEventListener("resize", setOutlines);

  document.addEventListener("keydown", (event) => {
    if (event.target !== document.body || event.ctrlKey || event.metaKey || event.altKey) return;
    const link = { ArrowLeft: "previous-image", ArrowRight: "next-image" }[event.key];
    if (link && byId(link)?.href) byId(link).click();
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(location.href);
    const text = button.querySelector("span");
    text.textContent = "Copied";
    setTimeout(() => { text.textContent = "Copy link"; }, 1600);
  });

  // A picture that does not come leaves an empty stage, so it is said.
  function watchPicture() {
    const picture = byId("picture"), note = byId("picture-lost");
    if (picture && note) picture.decode().then(() => { note.hidden = true; }, () => { note.hidden = false; });
  }

  function prepare() {
    const copy = byId("copy-link");
    if (copy && navigator.clipboard) copy.hidden = false;
    drawView();
    watchBitmaps();
    watchPicture();
    setOutlines();
    choose(chosen);
  }

  document.addEventListener("htmx:after:swap", prepare);
  prepare();
})();
