// The image page: what the form of the view says is shown at once and kept in the address; rows and shapes know each
// other; bitmap layers tell when they are loading or did not come. Without this, the form is sent and all is drawn anew.
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);
  const SWITCHES = ["boxes", "bitmaps", "labels"];
  // All that a view is made of but the place, which zoom.js keeps; and which of it the server has to draw.
  const VIEW = [...SWITCHES, "opacity", "with", "view", "divider", "off", "only", "q", "min", "map", "low", "high", "sort"];
  const DENSITY = window.devicePixelRatio || 1;
  const NARROW = matchMedia("(max-width: 53.75em)"); // the panel is below the stage
  const OVERSCAN = 0.5; // of what is in view, on each side
  const STEP = 1.2; // labels stay as they are while the zoom has changed by less than that

  // What the form of the view would send; a switch is in it twice, and the last one counts.
  function sent(name, otherwise) {
    const form = byId("view");
    return (form && new FormData(form).getAll(name).at(-1)) ?? otherwise;
  }
  const isOn = (name) => sent(name, "1") !== "0";

  // --- the view: form → drawing, address, links ---------------------------------------------------------------

  // The fields that have one value; null for the one of a first visit.
  function viewQuery() {
    const query = new Map(SWITCHES.map((name) => [name, isOn(name) ? null : "0"]));
    const filters = byId("filters-of-view") ? [["q", ""], ["min", "0"]] : [];
    for (const [name, first] of [["opacity", "100"], ["view", "overlay"], ["divider", "50"], ...filters]) {
      query.set(name, sent(name, first) === first ? null : sent(name, first));
    }
    return query;
  }

  function setOrDelete(url, query) {
    for (const [name, value] of query) {
      url.searchParams.delete(name);
      if (value !== null) url.searchParams.set(name, value);
    }
    const layers = [...document.querySelectorAll("#besides input[name=with]:checked")];
    url.searchParams.delete("with");
    for (const { value } of layers) {
      const opacity = sent(`opacity:${value}`, "100");
      url.searchParams.append("with", opacity === "100" ? value : `${value}:${opacity}`);
    }
    if (!document.querySelector("#legend .legend")) return;
    url.searchParams.delete("off");
    for (const name of new FormData(byId("view")).getAll("off")) url.searchParams.append("off", name);
  }

  const written = (url) => url.pathname + url.search.replaceAll("%2C", ",").replaceAll("%3A", ":") + url.hash;

  // A link in the view as the address has it now; its own analysis, page and place stay.
  function withView(address) {
    const url = new URL(address, location.href), here = new URL(location.href);
    for (const name of VIEW) {
      url.searchParams.delete(name);
      for (const value of here.searchParams.getAll(name)) url.searchParams.append(name, value);
    }
    return written(url);
  }

  function drawView() {
    for (const slider of document.querySelectorAll("input[data-layer]")) byId(slider.dataset.layer)?.setAttribute("opacity", slider.value / 100);
    for (const output of document.querySelectorAll("#view output[for]")) {
      const input = byId(output.htmlFor.value);
      if (input) output.textContent = input.name === "min" ? `≥ ${Number(input.value).toFixed(2)}` : `${input.value} %`;
    }
    if (isOn("bitmaps")) fetchBitmaps();
    countDrawn();
  }

  const told = (number) => number.toLocaleString("en");

  function countDrawn() {
    const line = byId("statusline");
    if (!line || !byId("drawn")) return;
    const vector = Number(line.dataset.vector), bitmap = Number(line.dataset.bitmap);
    const switched = (isOn("boxes") ? 0 : vector) + (isOn("bitmaps") ? 0 : bitmap);
    const why = ["boxes", "bitmaps"].filter((name) => !isOn(name));
    const [loading, failed] = isOn("bitmaps") ? ["loading", "failed"].map(inBitmaps) : [0, 0];
    byId("drawn").textContent = told(vector + bitmap - switched - loading - failed);
    byId("pending").hidden = !loading && !failed;
    byId("pending").textContent = [loading && `${told(loading)} loading`, failed && `${told(failed)} not loaded`].filter(Boolean).join(", ");
    byId("hidden").textContent = told(switched + Number(line.dataset.hidden));
    byId("hidden-why").textContent = switched ? ` by ${why.join(" and ")} switched off` : "";
    const { labels, maskLabels } = line.dataset, named = (isOn("boxes") ? +labels : 0) + (isOn("bitmaps") ? +maskLabels : 0);
    if (byId("labels-drawn")) byId("labels-drawn").textContent = isOn("labels") ? named : 0;
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

  // Also before the server has drawn it: what is asked for next is asked in this view. `pressed` sends the form.
  function keepView(pressed) {
    const here = new URL(location.href);
    const chosen = document.querySelector("#view [name=analysis]")?.value;
    if (chosen) here.searchParams.set("analysis", chosen);
    setOrDelete(here, viewQuery());
    if (pressed?.name === "clear") here.searchParams.delete("only");
    else if (pressed?.name) here.searchParams.set(pressed.name, pressed.value);
    history.replaceState(history.state, "", written(here));
    carryView();
  }

  function carryView() {
    for (const link of document.querySelectorAll("a[data-view]")) link.setAttribute("href", withView(link.href));
  }

  // What is taken away is the part that is seen.
  function carryBox() {
    const box = window.stage && Object.values(window.stage.region().box).map((value) => +value.toFixed(1)).join();
    for (const link of box ? document.querySelectorAll("#take-svg, #take-png") : []) {
      const url = new URL(link.href);
      url.searchParams.set("box", box);
      link.setAttribute("href", written(url));
    }
  }

  document.addEventListener("input", (event) => {
    if (event.target.form?.id !== "view") return;
    drawView();
    if (event.target.type === "search") redrawSoon();
  });
  // A search is drawn while it is typed. Leaving its field must not draw again: it may be left for what that takes away.
  document.addEventListener("change", (event) => {
    if (event.target.form?.id !== "view") return;
    keepView();
    if (event.target.matches("[data-redraw]:not([type=search])")) redrawNow();
  });

  // --- asking the server to draw --------------------------------------------------------------------------------

  let redrawing = 0; // the timer, 0 for none
  function redrawSoon() {
    clearTimeout(redrawing);
    redrawing = setTimeout(redrawNow, 250);
  }

  function redrawNow() {
    clearTimeout(redrawing);
    redrawing = 0;
    if (byId("view")) htmx.trigger("#view", "redraw");
  }

  // All of the form is sent, so what a search waits for is too.
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "view") return;
    clearTimeout(redrawing);
    redrawing = 0;
    if (event.submitter?.id === "clear-filters") emptyFilters();
    keepView(event.submitter);
  }, true);

  // What takes all filters back empties their fields too, or the next change would bring them again.
  function emptyFilters() {
    byId("q").value = "";
    byId("min").value = 0;
    for (const box of document.querySelectorAll("#legend [name=off]:checked")) box.checked = false;
    for (const field of document.querySelectorAll("#legend [type=hidden]")) field.remove();
    drawView();
  }

  // The part of the image to draw: what is in view, and some of what is beside it.
  function wantedBox() {
    const { box, scale } = window.stage.region(), { width, height } = byId("canvas").viewBox.baseVal;
    const clip = (value, end) => Math.min(Math.max(value, 0), end);
    const left = clip(box.x - box.width * OVERSCAN, width), right = clip(box.x + box.width * (1 + OVERSCAN), width);
    const top = clip(box.y - box.height * OVERSCAN, height), bottom = clip(box.y + box.height * (1 + OVERSCAN), height);
    return { box: [left, top, right - left, bottom - top].map((value) => +value.toFixed(1)).join(), scale: scale.toPrecision(5), density: DENSITY };
  }

  // Drawing anew and picking wait for each other, so that neither is lost; of each only the last counts.
  const asked = new Map(); // id of the form or the stage → its last request

  // Every request that draws says what for; one that is sent for a link or a poll sends the view with it.
  document.addEventListener("htmx:config:request", (event) => {
    const { request, sourceElement } = event.detail.ctx;
    if (sourceElement.matches("a[data-view]")) request.action = withView(sourceElement.href);
    if (sourceElement.matches("[data-sends-view]") && byId("view")) {
      const view = new FormData(byId("view"));
      for (const name of [...VIEW, "at", "pick", "page", "analysis"]) request.body.delete(name);
      for (const [name, value] of view) request.body.append(name, value);
    }
    if (sourceElement.matches("#view, #stage")) {
      asked.get(sourceElement.id)?.abort();
      asked.set(sourceElement.id, request);
    }
    const drawn = /^\/images\//.test(new URL(request.action, location.href).pathname);
    if (drawn && byId("canvas") && window.stage) for (const [name, value] of Object.entries(wantedBox())) request.body.set(name, value);
  });

  // What has waited for an answer that brought another analysis is not meant for that.
  document.addEventListener("htmx:before:request", (event) => {
    const { request, sourceElement } = event.detail.ctx, { searchParams } = new URL(request.action, location.href);
    if (sourceElement.matches("#view, #stage") && searchParams.get("analysis") !== sent("analysis")) event.preventDefault();
  });

  // A look gives way to whatever else is asked for, so it may not have been sent, or its answer may be late: when an answer
  // has come, it is looked again if the stage shows another place than the last look was for.
  let lookedFor = "";

  // What is drawn covers more than what was in view then; only when that is left, or labels became too small or large,
  // it is asked for again.
  function look() {
    const overlay = byId("overlay"), { box, zoom } = window.stage.region();
    if (!overlay) return;
    const [x, y, width, height] = overlay.dataset.window.split(" ").map(Number), drawn = Number(overlay.dataset.drawnAt);
    const { width: end, height: bottom } = byId("canvas").viewBox.baseVal, slack = 0.5;
    const inside = overlay.dataset.whole === "1" || (x <= Math.max(box.x - slack, 0) + slack && y <= Math.max(box.y - slack, 0) + slack
      && x + width >= Math.min(box.x + box.width, end) - slack && y + height >= Math.min(box.y + box.height, bottom) - slack);
    if (inside && Math.abs(Math.log(zoom / drawn)) <= Math.log(STEP)) return;
    lookedFor = JSON.stringify(wantedBox());
    htmx.trigger("#statusline", "look");
  }

  // --- pictures: the image itself, and the bitmap layers --------------------------------------------------------

  const arrived = new WeakMap(); // element → [address, "loading" | "loaded" | "failed"]

  const layers = () => [...document.querySelectorAll("#overlay .bitmap[href]")];
  const pictures = () => [...document.querySelectorAll("#panes .picture")];
  const stateOf = (image) => arrived.get(image)?.[1];

  function inBitmaps(state) {
    const those = layers().filter((layer) => stateOf(layer) === state);
    return those.reduce((sum, layer) => sum + Number(layer.dataset.count), 0);
  }

  function fetchBitmaps() {
    for (const layer of document.querySelectorAll("#overlay .bitmap[data-href]")) {
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

  const picked = () => document.querySelector("#picked [data-pick]")?.dataset.pick ?? "";
  const boxOf = (element) => element.dataset.box?.split(" ").map(Number); // none of what has no place

  // The row of a shape, or the shape of a row, and a frame where neither is drawn by itself.
  function mark(id, box) {
    document.querySelectorAll("#shapes .selected").forEach((shape) => shape.classList.remove("selected"));
    document.querySelectorAll("#annotations a[aria-current]").forEach((link) => link.removeAttribute("aria-current"));
    if (id) {
      byId(`s-${id}`)?.classList.add("selected");
      document.querySelector(`#annotations a[data-pick="${CSS.escape(id)}"]`)?.setAttribute("aria-current", "true");
    }
    frame(box);
  }

  function frame(box) {
    const [x, y, width, height] = box ?? [0, 0, 0, 0], hot = byId("hot");
    for (const [name, value] of Object.entries({ x, y, width, height })) hot?.setAttribute(name, value);
  }

  function pick(query, box) {
    const view = new URL(location.href).searchParams, here = location.pathname.replace(/^(\/images\/[^/]+).*/, "$1");
    view.set("analysis", document.querySelector("#view [name=analysis]").value);
    for (const name of ["pick", "x", "y", "page"]) view.delete(name);
    for (const [name, value] of Object.entries(query)) if (value !== "") view.set(name, value);
    if (box) window.stage.show({ x: box[0], y: box[1], width: box[2], height: box[3] });
    if (redrawing) redrawNow();
    htmx.ajax("GET", `${here}/pick?${view}`, { target: "#picked", swap: "outerHTML", source: "#stage" });
  }

  function unpick() {
    asked.get("stage")?.abort();
    if (byId("picked")?.contains(document.activeElement)) byId("stage").focus(); // its button goes away
    byId("picked")?.replaceChildren();
    document.querySelectorAll("#outline path").forEach((path) => path.remove());
    mark("");
    keepPick("");
  }

  function keepPick(id) {
    const here = new URL(location.href);
    if (id) here.searchParams.set("pick", id);
    else here.searchParams.delete("pick");
    history.replaceState(history.state, "", written(here));
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("#annotations a[data-pick]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      if (link.getAttribute("aria-current")) return unpick();
      mark(link.dataset.pick, boxOf(link));
      pick({ pick: link.dataset.pick }, boxOf(link));
      if (NARROW.matches) byId("stage").scrollIntoView({ block: "start" });
    } else if (event.target.closest("#unpick")) {
      event.preventDefault();
      unpick();
    } else if (event.target.closest("#panes .frame") && byId("view")) {
      const shape = event.target.closest("#shapes .item"), { x, y } = window.stage.toImage(event.clientX, event.clientY);
      if (shape) mark(shape.id.slice(2));
      pick(shape && shape.id.slice(2) !== picked() ? { pick: shape.id.slice(2) } : { x: x.toFixed(2), y: y.toFixed(2), pick: picked() });
    }
  });
  for (const [name, on] of [["mouseover", true], ["mouseout", false], ["focusin", true], ["focusout", false]]) {
    document.addEventListener(name, (event) => {
      const row = event.target.closest?.("#annotations tr");
      if (row) point(row, on);
    });
  }

  // The shape of a row that the mouse or the focus is on.
  function point(row, on) {
    const link = row.querySelector("a[data-box]");
    if (!link) return;
    byId(`s-${link.dataset.pick}`)?.classList.toggle("hot", on);
    frame(on ? boxOf(link) : null);
  }

  // --- the stage ----------------------------------------------------------------------------------------------

  document.addEventListener("stage:settled", () => { look(); countDrawn(); carryBox(); });

  function prepare(event) {
    watch(pictures());
    drawView();
    carryView();
    carryBox();
    fetchAgain(layers().filter((layer) => stateOf(layer) === "failed")); // it may have been uploaded meanwhile
    mark(picked());
    document.querySelectorAll("#annotations tr:is(:hover, :focus-within)").forEach((row) => point(row, true)); // new shapes know nothing of it
    keepPick(picked()); // the answer knew what was picked when it was asked for
    if (event && byId("overlay") && JSON.stringify(wantedBox()) !== lookedFor) look();
    if (event?.detail.ctx?.target?.id === "picked") {
      if (!NARROW.matches) byId(`r-${picked()}`)?.scrollIntoView({ block: "nearest" }); // there it would push the image away
    }
  }

  document.addEventListener("htmx:after:swap", prepare);
  prepare();
})();
