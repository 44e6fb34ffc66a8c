// The image page: what the form of the view says is shown at once and kept in the address; rows and shapes know each
// other; bitmap layers tell when they are loading or did not come. Without this, the form is sent and all is drawn anew.
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);
  const SWITCHES = ["boxes", "bitmaps", "labels"];
  const SMALLEST_LABEL = 8; // pixels of the screen

  // What the form of the view would send; a switch is in it twice, and the last one counts.
  function sent(name, otherwise) {
    const form = byId("view");
    return (form && new FormData(form).getAll(name).at(-1)) ?? otherwise;
  }
  const isOn = (name) => sent(name, "1") !== "0";

  // --- the view: form → drawing, address, links ---------------------------------------------------------------

  function viewQuery() {
    const query = new Map(SWITCHES.map((name) => [name, isOn(name) ? null : "0"]));
    const opacity = sent("opacity", "100");
    query.set("opacity", opacity === "100" ? null : opacity);
    query.set("view", sent("view", "") === "side" ? "side" : null);
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
    const opacity = sent("opacity", "100");
    byId("overlay")?.setAttribute("opacity", opacity / 100);
    if (byId("opacity-value")) byId("opacity-value").textContent = `${opacity} %`;
    if (isOn("bitmaps")) fetchBitmaps();
    fitStage();
    countDrawn();
  }

  const told = (number) => number.toLocaleString("en");

  function countDrawn() {
    const line = byId("statusline");
    if (!line || !byId("drawn")) return;
    const vector = Number(line.dataset.vector), bitmap = Number(line.dataset.bitmap);
    const hidden = (isOn("boxes") ? 0 : vector) + (isOn("bitmaps") ? 0 : bitmap);
    const why = ["boxes", "bitmaps"].filter((name) => !isOn(name));
    const [loading, failed] = isOn("bitmaps") ? ["loading", "failed"].map(inBitmaps) : [0, 0];
    byId("drawn").textContent = told(vector + bitmap - hidden - loading - failed);
    byId("pending").hidden = !loading && !failed;
    byId("pending").textContent = [loading && `${told(loading)} loading`, failed && `${told(failed)} not loaded`].filter(Boolean).join(", ");
    byId("hidden").textContent = told(hidden);
    byId("hidden-why").textContent = hidden ? ` by ${why.join(" and ")} switched off` : "";
    const labels = isOn("boxes") && isOn("labels") && !byId("label-layer")?.classList.contains("tiny");
    if (byId("labels-drawn")) byId("labels-drawn").textContent = labels ? line.dataset.labels : "0";
  }

  // A failure goes into the one region that is read out, and how it goes on after it; all else is quiet.
  let announced = "";
  function announce(failure, loading) {
    const text = failure || (announced && (loading ? "Loading …" : "Loaded."));
    if (text === announced) return;
    announced = failure || loading ? text : "";
    const line = document.createElement("p");
    line.textContent = text;
    byId("announcer")?.replaceChildren(line);
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

  // --- pictures: the image itself, and the bitmap layers --------------------------------------------------------

  const arrived = new WeakMap(); // element → [address, "loading" | "loaded" | "failed"]

  const layers = () => [...document.querySelectorAll("#bitmap-layers image[href]")];
  const pictures = () => [...document.querySelectorAll("#panes .picture")];
  const stateOf = (image) => arrived.get(image)?.[1];

  function inBitmaps(state) {
    const those = layers().filter((layer) => stateOf(layer) === state);
    return those.reduce((sum, layer) => sum + Number(layer.dataset.count), 0);
  }

  function fetchBitmaps() {
    for (const layer of document.querySelectorAll("#bitmap-layers image[data-href]")) {
      layer.setAttribute("href", layer.dataset.href);
      layer.removeAttribute("data-href");
    }
    watch(layers());
  }

  // One may have come before this script ran, and an SVG image does not say so: decode() does.
  function watch(images) {
    for (const image of images) {
      const address = image.getAttribute("href");
      if (arrived.get(image)?.[0] === address) continue;
      arrived.set(image, [address, "loading"]);
      image.decode().then(() => settle(image, address, "loaded"), () => settle(image, address, "failed"));
    }
    showState();
  }

  function settle(image, address, state) {
    if (image.getAttribute("href") !== address) return;
    arrived.set(image, [address, state]);
    showState();
  }

  function showState() {
    const stage = byId("stage");
    if (!stage) return;
    const worst = (images) => ["failed", "loading"].find((state) => images.some((image) => stateOf(image) === state)) ?? "";
    stage.dataset.picture = worst(pictures());
    stage.dataset.bitmaps = isOn("bitmaps") ? worst(layers()) : "";
    const lost = { picture: "#picture-lost", bitmaps: ".layer-state.broken" };
    const failed = Object.keys(lost).filter((name) => stage.dataset[name] === "failed");
    const failure = failed.map((name) => stage.querySelector(`${lost[name]} [data-told]`)?.textContent).join(" ");
    announce(failure, Object.keys(lost).some((name) => stage.dataset[name] === "loading"));
    countDrawn();
  }

  function fetchAgain(images) {
    for (const image of images) {
      const url = new URL(image.getAttribute("href"), location.href);
      url.searchParams.set("again", Date.now());
      image.setAttribute("href", url.pathname + url.search);
    }
    watch(images);
  }

  // The button goes away while it is tried again, so the focus moves to what stays.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-retry]");
    if (!button) return;
    byId(button.dataset.retry)?.focus();
    fetchAgain([...pictures(), ...layers()].filter((image) => stateOf(image) === "failed"));
  });

  // --- rows and shapes ----------------------------------------------------------------------------------------

  // The shape where it is drawn as an element of its own, and the spot where the row of the table is.
  const partsOf = (id) => [byId(`s-${id}`), byId(`a-${id}`)].filter(Boolean);

  let chosen = location.hash.startsWith("#a-") ? location.hash.slice(3) : "";

  function choose(id) {
    chosen = id;
    document.querySelectorAll("#canvas .selected").forEach((shape) => shape.classList.remove("selected"));
    document.querySelectorAll("#annotations a[aria-current]").forEach((link) => link.removeAttribute("aria-current"));
    if (!id) return;
    for (const part of partsOf(id)) part.classList.add("selected");
    document.querySelector(`#r-${CSS.escape(id)} a`)?.setAttribute("aria-current", "true");
  }

  function point(event, on) {
    const link = event.target.closest?.("#annotations a[href^='#a-']");
    const row = link ?? event.target.closest?.("#annotations tr[id]")?.querySelector("a[href^='#a-']");
    if (row) for (const part of partsOf(row.hash.slice(3))) part.classList.toggle("hot", on);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("#annotations a[href^='#a-']");
    if (link) {
      event.preventDefault();
      choose(link.getAttribute("aria-current") ? "" : link.hash.slice(3));
      if (matchMedia("(max-width: 53.75em)").matches) byId("stage").scrollIntoView({ block: "start" });
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
  // Labels that would be too small to read are left out; the table names them all.
  function fitStage() {
    const scale = byId("canvas")?.getScreenCTM()?.a, labels = byId("label-layer");
    if (!scale) return;
    document.querySelector("#shapes.grouped")?.setAttribute("stroke-width", (1.3 / scale).toFixed(3));
    labels?.classList.toggle("tiny", labels.getAttribute("font-size") * scale < SMALLEST_LABEL);
  }
  window.addEventListener("resize", () => { fitStage(); countDrawn(); });

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

  function prepare() {
    const copy = byId("copy-link");
    if (copy && navigator.clipboard) copy.hidden = false;
    watch(pictures());
    drawView();
    fetchAgain(layers().filter((layer) => stateOf(layer) === "failed")); // it may have been uploaded meanwhile
    choose(chosen);
  }

  document.addEventListener("htmx:after:swap", prepare);
  prepare();
})();
