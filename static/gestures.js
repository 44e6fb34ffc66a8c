// What moves the stage of zoom.js: wheel, fingers, drag, double click, keys, the buttons; and the divider of the swipe.
"use strict";

(() => {
  const stage = window.stage;
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const SLACK = 4; // pixels: a hand that is less steady than this still clicks
  const STEP = 1.5, TWICE = 2, ARROW = 80, EDGE = 0.5; // factors, pixels of the screen, part of the stage
  const PER_PIXEL = 0.0018, PER_PINCH = 0.01, LINE = 33, PAGE = 400; // of the wheel, in its three units
  const CONTROLS = "input, button, a, select, textarea, summary, label";

  const onImage = (event) => (event.target.closest?.(CONTROLS) ? null : event.target.closest?.("#panes"));

  // --- wheel and trackpad -------------------------------------------------------------------------------------------

  function turn(event) {
    event.preventDefault();
    const pixels = event.deltaY * [1, LINE, PAGE][event.deltaMode];
    const rate = event.ctrlKey ? PER_PINCH : PER_PIXEL; // a pinch on a trackpad is told as a wheel with ctrl
    stage.zoomNow(Math.exp(Math.min(Math.max(-pixels * rate, -1), 1)), event);
  }

  // Two fingers never scroll the page, one does while all of the image is seen.
  function keepFromScrolling(event) {
    if (event.touches.length > 1 && event.cancelable) event.preventDefault();
  }

  // The listeners that may hold the browser back stand at the panes alone, so that the rest of the page scrolls freely.
  const bound = new WeakSet();
  function bind() {
    const panes = byId("panes");
    if (!panes || bound.has(panes)) return;
    bound.add(panes);
    panes.addEventListener("wheel", turn, { passive: false });
    panes.addEventListener("touchstart", keepFromScrolling, { passive: false });
    panes.addEventListener("touchmove", keepFromScrolling, { passive: false });
    panes.addEventListener("dragstart", (event) => event.preventDefault());
  }

  // --- drag and pinch -----------------------------------------------------------------------------------------------

  const hands = new Map(); // pointerId → where it is
  let held = null; // where the middle of the hands was when one came or went, how far apart they were, what they held
  let moved = false;

  function middle() {
    const points = [...hands.values()], [one, other = one] = points;
    return {
      clientX: (one.clientX + other.clientX) / 2,
      clientY: (one.clientY + other.clientY) / 2,
      spread: Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY),
    };
  }

  function take() {
    const now = middle();
    held = { ...now, ...stage.grip(now) };
  }

  const put = (event) => hands.set(event.pointerId, { clientX: event.clientX, clientY: event.clientY });

  document.addEventListener("pointerdown", (event) => {
    if (event.isPrimary) { hands.clear(); moved = false; } // whatever got lost before
    if (event.button !== 0 || hands.size > 1 || !onImage(event)) return;
    put(event);
    take();
  });

  document.addEventListener("pointermove", (event) => {
    tellWhere(event);
    if (!hands.has(event.pointerId)) return;
    put(event);
    const now = middle();
    if (!moved && hands.size === 1 && Math.hypot(now.clientX - held.clientX, now.clientY - held.clientY) < SLACK) return;
    if (!moved) begin(event);
    const wider = held.spread ? now.spread / held.spread : 1;
    stage.carry(held, now.clientX - held.clientX, now.clientY - held.clientY, held.from.zoom * wider);
  });

  // From here on it is no click. The pane takes all that the pointer does, also outside of it.
  function begin(event) {
    moved = true;
    root.classList.add("dragging");
    byId("panes").setPointerCapture(event.pointerId);
  }

  function letGo(event) {
    if (!hands.delete(event.pointerId)) return;
    if (hands.size) take();
    else root.classList.remove("dragging");
  }
  document.addEventListener("pointerup", letGo);
  document.addEventListener("pointercancel", letGo);

  // The click that ends a drag; not all drags have one, so that of a key, whose detail is 0, is told from it.
  document.addEventListener("click", (event) => {
    if (!moved || !event.detail || !event.target.closest("#panes")) return;
    moved = false;
    event.stopPropagation();
    event.preventDefault();
  }, true);

  document.addEventListener("dblclick", (event) => {
    if (onImage(event)) stage.zoomBy(event.shiftKey ? 1 / TWICE : TWICE, event);
  });

  // Where the pointer is, in pixels of the image; nothing beside it.
  function tellWhere(event) {
    const where = byId("where");
    if (!where) return;
    const { width, height } = byId("panes").dataset;
    const { x, y } = onImage(event) ? stage.toImage(event.clientX, event.clientY) : { x: -1, y: -1 };
    const text = x >= 0 && y >= 0 && x < width && y < height ? `x ${x.toFixed(1)}  y ${y.toFixed(1)} · ` : "";
    if (where.textContent !== text) where.textContent = text;
  }

  // --- keys and buttons ---------------------------------------------------------------------------------------------

  const ACTIONS = {
    nearer: () => stage.zoomBy(STEP),
    farther: () => stage.zoomBy(1 / STEP),
    fit: () => stage.fit(),
    full: () => stage.zoomTo(1),
  };
  const KEYS = { "+": "nearer", "=": "nearer", "-": "farther", 0: "fit", 1: "full" };
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const NEIGHBOURS = { ArrowLeft: "previous-image", ArrowRight: "next-image" };

  document.addEventListener("click", (event) => {
    const { zoom, pan } = event.target.closest?.("[data-zoom], [data-pan]")?.dataset ?? {};
    if (!zoom && !pan) return;
    event.preventDefault(); // without this script the server draws it
    if (zoom) return ACTIONS[zoom]();
    const [right, down] = ARROWS[pan], { width, height } = stage.size();
    stage.panBy(right * width * EDGE, down * height * EDGE);
  });

  // Keys that write something belong to the stage while the focus is in it, as WCAG 2.1.4 asks; a click on it brings it there.
  document.addEventListener("keydown", (event) => {
    const { target, key } = event, inStage = target.closest("#stage"), free = target === document.body || target === inStage;
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (!(free || inStage) || target.matches("input, select, textarea")) return;
    if (inStage && key in KEYS) ACTIONS[KEYS[key]]();
    else if (!(key in ARROWS)) return;
    else if (!stage.isFitted()) stage.panBy(ARROWS[key][0] * ARROW, ARROWS[key][1] * ARROW);
    else if (free && byId(NEIGHBOURS[key])?.href) byId(NEIGHBOURS[key]).click();
    else return;
    event.preventDefault();
  });

  // --- the divider --------------------------------------------------------------------------------------------------

  function divide() {
    const divider = byId("divider");
    if (divider) byId("panes").style.setProperty("--divider", `${divider.value}%`);
  }
  document.addEventListener("input", (event) => { if (event.target.id === "divider") divide(); });

  function prepare() {
    bind();
    divide();
  }
  document.addEventListener("htmx:after:swap", prepare);
  prepare();
})();
