// Where in the image a person looks, how near, and how that is drawn and kept in the address. What hands and keys do is
// in gestures.js. All drawings show the whole image; they are given its size and moved, and the panes cut them off.
// While something moves only transforms change; what costs a new picture is done when it has come to rest.
"use strict";

window.stage = (() => {
  const LARGEST = 32, SMALLEST = 1 / 256; // pixels of the screen for one of the image
  const REST = 150, GLIDE = 180; // milliseconds
  const SHARP = 4; // device pixels for one of the image, from which on it is seen as a square
  const SPECK = 12, GRAIN = 96; // pixels of the screen: what is smaller is brought nearer, until it has this size
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const within = (value, low, high) => Math.min(Math.max(value, low), high);

  let place = null; // {x, y, zoom} of the middle of the stage; null while all of the image is fitted in
  let goal = null; // where a glide ends
  let still = true; // nothing moves
  let laid = 0; // the zoom for which the size of the drawings was written
  let image = { width: 1, height: 1 }, pane = { width: 1, height: 1, margin: 0 };
  let resting = 0, gliding = 0;

  const frame = () => document.querySelector("#pane-main .frame");
  const drawings = () => ["canvas", "canvas-plain"].map(byId).filter(Boolean);

  // --- what may be seen -----------------------------------------------------------------------------------------

  function fitted() {
    const room = (length) => Math.max(length - 2 * pane.margin, 1);
    return Math.min(room(pane.width) / image.width, room(pane.height) / image.height, LARGEST);
  }

  const nearest = (zoom) => within(zoom, Math.max(Math.min(fitted() / 2, 1), Math.min(SMALLEST, fitted())), LARGEST);
  const whole = () => ({ x: image.width / 2, y: image.height / 2, zoom: fitted() });

  // The edges of the image come no further in than they are when it is fitted. So it cannot be lost, and what is under
  // the pointer stays there: zooming in from the fitted image never asks for more than this.
  function held(wanted) {
    if (!wanted) return whole();
    const zoom = nearest(wanted.zoom), room = Math.max(0, 1 - fitted() / zoom) / 2;
    const hold = (value, length) => length / 2 + within(value - length / 2, -room * length, room * length);
    return { x: hold(wanted.x, image.width), y: hold(wanted.y, image.height), zoom };
  }

  // At rest the drawings lie on whole pixels of the device, and so are sharp.
  function aligned({ x, y, zoom }) {
    const whole = (value) => Math.round(value * devicePixelRatio) / devicePixelRatio;
    const align = (value, length) => (length / 2 - whole(length / 2 - value * zoom)) / zoom;
    return { x: align(x, pane.width), y: align(y, pane.height), zoom };
  }

  const seen = () => (still ? aligned(held(place)) : held(place));

  // What is in view: the part of the image, the device pixels and the pixels of the screen that one of it takes.
  function region() {
    const { x, y, zoom } = seen(), halfWidth = pane.width / zoom / 2, halfHeight = pane.height / zoom / 2;
    const left = Math.max(x - halfWidth, 0), top = Math.max(y - halfHeight, 0);
    const width = Math.min(x + halfWidth, image.width) - left, height = Math.min(y + halfHeight, image.height) - top;
    return { box: { x: left, y: top, width, height }, scale: zoom * devicePixelRatio, zoom };
  }

  function toImage(clientX, clientY, from = seen()) {
    const under = document.elementsFromPoint(clientX, clientY).find((it) => it.matches(".frame")) ?? frame();
    const box = under.getBoundingClientRect();
    return {
      x: from.x + (clientX - box.left - box.width / 2) / from.zoom,
      y: from.y + (clientY - box.top - box.height / 2) / from.zoom,
    };
  }

  // --- drawing it -------------------------------------------------------------------------------------------------

  function draw() {
    const { x, y, zoom } = seen(), grown = zoom / laid;
    const left = pane.width / 2 - x * zoom, top = pane.height / 2 - y * zoom;
    const transform = `translate(${left}px, ${top}px)${grown === 1 ? "" : ` scale(${grown})`}`;
    for (const drawing of drawings()) drawing.style.transform = transform;
    tell(zoom);
  }

  function tell(zoom) {
    const text = `${zoom < 0.1 ? (zoom * 100).toFixed(1) : Math.round(zoom * 100)} %`, readout = byId("zoom-value");
    if (readout && readout.textContent !== text) readout.textContent = text;
    root.classList.toggle("fitted", !place);
    const edges = [...document.querySelectorAll("[data-pan]")], away = !place || zoom <= fitted();
    if (away && edges.includes(document.activeElement)) byId("stage").focus(); // or the keys would have nowhere to go
    for (const edge of edges) edge.hidden = away;
  }

  function layOut() {
    laid = seen().zoom;
    for (const drawing of drawings()) {
      drawing.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
      drawing.style.width = `${image.width * laid}px`;
      drawing.style.height = `${image.height * laid}px`;
    }
    root.classList.toggle("sharp", laid * devicePixelRatio >= SHARP);
    draw();
  }

  function settle() {
    if (goal) return settleSoon();
    clearTimeout(resting);
    still = true;
    if (place && Math.abs(Math.log(place.zoom / fitted())) < 0.01) place = null;
    if (seen().zoom !== laid) layOut();
    else draw();
    keep();
    document.dispatchEvent(new CustomEvent("stage:settled", { detail: region() }));
  }

  function settleSoon() {
    clearTimeout(resting);
    resting = setTimeout(settle, REST);
  }

  // --- going somewhere ----------------------------------------------------------------------------------------------

  function go(to) {
    cancelAnimationFrame(gliding);
    goal = null;
    still = false;
    place = to && held(to);
    draw();
    settleSoon();
  }

  // A point that is at the same place of the screen before and after stays there on the way.
  function glide(to) {
    if (calm.matches) return go(to);
    cancelAnimationFrame(gliding);
    const from = seen(), end = held(to), start = performance.now();
    goal = end;
    still = false;
    const step = (now) => {
      const past = within((now - start) / GLIDE, 0, 1), eased = 1 - (1 - past) ** 3;
      if (past === 1) return go(to);
      const zoom = from.zoom * (end.zoom / from.zoom) ** eased;
      const share = end.zoom === from.zoom ? eased : (1 / from.zoom - 1 / zoom) / (1 / from.zoom - 1 / end.zoom);
      place = { x: from.x + (end.x - from.x) * share, y: from.y + (end.y - from.y) * share, zoom };
      draw();
      gliding = requestAnimationFrame(step);
    };
    gliding = requestAnimationFrame(step);
  }

  // What the next step starts from: where a glide will end; what is really under a pointer; or the place as it was asked for.
  const base = (pointer) => goal ?? (pointer ? seen() : held(place));

  // `at` is a place of the screen that stays where it is, the middle of the stage if none is named.
  function zoomed(wanted, at, from) {
    const zoom = nearest(wanted), kept = at ? toImage(at.clientX, at.clientY, from) : from;
    const shrunk = from.zoom / zoom;
    return { x: kept.x - (kept.x - from.x) * shrunk, y: kept.y - (kept.y - from.y) * shrunk, zoom };
  }

  // Drawn along by hands: `grip` is what they hold, since the stage stood as in `from`; they have gone so far since.
  function carry({ from, grip }, right, down, wanted) {
    const zoom = nearest(wanted), shrunk = from.zoom / zoom;
    go({
      x: grip.x - (grip.x - from.x) * shrunk - right / zoom,
      y: grip.y - (grip.y - from.y) * shrunk - down / zoom,
      zoom,
    });
  }

  function show({ x, y, width, height }) {
    const from = base(), { box } = region();
    const room = 0.8 * Math.min(pane.width / Math.max(width, 1e-3), pane.height / Math.max(height, 1e-3));
    const length = Math.max(width, height, 1e-3), speck = length * from.zoom < SPECK;
    const zoom = nearest(Math.min(speck ? GRAIN / length : from.zoom, Math.max(room, fitted())));
    const inView = x >= box.x && y >= box.y && x + width <= box.x + box.width && y + height <= box.y + box.height;
    if (zoom !== from.zoom || !inView) glide({ x: x + width / 2, y: y + height / 2, zoom });
  }

  // --- the address --------------------------------------------------------------------------------------------------

  const written = (at) => (at ? [+at.x.toFixed(1), +at.y.toFixed(1), +at.zoom.toPrecision(4)].join() : "");

  function read(text) {
    const [x, y, zoom] = (text ?? "").split(",").map((part) => (part.trim() ? Number(part) : NaN));
    return [x, y, zoom].every(Number.isFinite) && zoom > 0 ? { x, y, zoom } : null;
  }

  function withPlace(address) {
    const url = new URL(address, location.href), text = written(place);
    if (text) url.searchParams.set("at", text);
    else url.searchParams.delete("at");
    return url.pathname + url.search.replaceAll("%2C", ",") + url.hash;
  }

  function keep() {
    if (byId("at")) byId("at").value = written(place);
    const address = withPlace(location.href);
    if (address !== location.pathname + location.search + location.hash) history.replaceState(history.state, "", address);
    // another image is opened whole
    for (const link of document.querySelectorAll("a[data-view]:not([rel])")) link.setAttribute("href", withPlace(link.href));
  }

  // --- the stage is there, is made anew by a swap, or has another size ------------------------------------------------

  const watched = new ResizeObserver(() => { if (measure()) { layOut(); settleSoon(); } });

  function measure() {
    const box = frame();
    if (!box?.clientWidth || !box.clientHeight) return false;
    const { width, height } = box.getBoundingClientRect(), { dataset } = byId("panes");
    image = { width: Number(dataset.width), height: Number(dataset.height) };
    pane = { width, height, margin: parseFloat(getComputedStyle(box).getPropertyValue("--margin")) };
    return true;
  }

  function prepare() {
    const canvas = byId("canvas");
    if (!canvas) return;
    byId("panes").style.setProperty("--ratio", `${byId("panes").dataset.width} / ${byId("panes").dataset.height}`);
    if (byId("at")) byId("at").value = written(place);
    const anew = !canvas.style.width;
    if (!measure()) return;
    if (anew) {
      layOut();
      settleSoon();
    } else {
      tell(seen().zoom);
    }
    watched.disconnect();
    watched.observe(frame());
  }

  root.classList.add("can-zoom");
  place = read(byId("at")?.value);
  addEventListener("popstate", () => { place = read(new URL(location.href).searchParams.get("at")); });
  document.addEventListener("htmx:after:swap", prepare);
  prepare();

  return {
    region,
    toImage,
    show,
    isFitted: () => !place,
    fit: () => glide(null),
    zoomTo: (zoom, at) => glide(zoomed(zoom, at, base(at))),
    zoomBy: (factor, at) => glide(zoomed(base(at).zoom * factor, at, base(at))),
    zoomNow: (factor, at) => go(zoomed(seen().zoom * factor, at, seen())),
    panBy: (right, down) => { const { x, y, zoom } = base(); glide({ x: x + right / zoom, y: y + down / zoom, zoom }); },
    grip: (at) => ({ from: seen(), grip: toImage(at.clientX, at.clientY) }),
    carry,
    size: () => ({ width: pane.width, height: pane.height }),
  };
})();
