// What happened when, as the page itself saw it; times are milliseconds of performance.now(). It is put into every page
// before the page's own scripts, and changes nothing but for a mark of one letter in a corner, gone after one frame.
//
// A paint is noted when what is drawn over the image has changed, every picture in it is decoded, and three frames have
// begun since. In two of them the mark changes: the second can be handed on only when the first is rastered, and only then
// does the third begin. Without that a frame counts as drawn while the browser still works on it, for a second or longer.
"use strict";

(() => {
  const probe = { inputAt: 0, settledAt: 0, loadedAt: 0, changedAt: 0, paints: [], failed: [], fetching: 0, frames: [] };
  window.probe = probe;
  const changed = () => { probe.changedAt = performance.now(); };

  // --- what a person does ---------------------------------------------------------------------------------------

  for (const kind of ["click", "wheel"]) {
    document.addEventListener(kind, (event) => { probe.inputAt = event.timeStamp; changed(); }, { capture: true, passive: true });
  }
  addEventListener("load", changed);
  document.addEventListener("stage:settled", () => { probe.settledAt = performance.now(); changed(); });

  const fetching = window.fetch;
  window.fetch = (...words) => {
    probe.fetching += 1;
    return fetching(...words).finally(() => { probe.fetching -= 1; changed(); });
  };

  // --- what comes onto the screen -------------------------------------------------------------------------------

  const frame = () => new Promise(requestAnimationFrame);

  async function presented() {
    const mark = document.createElement("p");
    Object.assign(mark.style, { position: "fixed", left: 0, bottom: 0, margin: 0, font: "8px sans-serif", zIndex: 999 });
    document.documentElement.append(mark);
    for (const text of ["x", "y"]) {
      mark.textContent = text;
      await frame();
    }
    await frame();
    const at = performance.now();
    mark.remove();
    return at;
  }

  const pictures = () => [...document.querySelectorAll("#overlay image[href]")];
  const drawn = () => document.querySelector("#overlay :is(.item, path, image[href])");
  const chosen = () => document.querySelector("#panel a[aria-current]")?.id.replace("choose-", "");

  let again = false, following = false;
  async function follow() {
    again = true;
    if (following) return;
    following = true;
    while (again && drawn()) {
      again = false;
      const waiting = pictures();
      const came = await Promise.allSettled(waiting.map((picture) => picture.decode()));
      if (again) continue;
      probe.failed = came.flatMap((one, n) => (one.status === "rejected" ? [waiting[n].getAttribute("href")] : []));
      probe.paints.push({ at: await presented(), chosen: chosen() });
      changed();
    }
    following = false;
  }
  probe.isQuiet = () => !following && !probe.fetching && document.readyState === "complete" && performance.now() - probe.changedAt > 400;

  // Only what is in or around the drawing: our own mark and the rest of the page do not count.
  const concerns = ({ target }) => target.nodeType === 1 && target !== document.documentElement
    && (target.closest("#canvas") || target.querySelector("#canvas"));
  const watching = { subtree: true, childList: true, attributes: true, attributeFilter: ["href", "aria-current"] };
  addEventListener("DOMContentLoaded", () => {
    probe.loadedAt = performance.now();
    new MutationObserver((records) => {
      if (!records.some(concerns)) return;
      changed();
      follow();
    }).observe(document, watching);
    follow();
  });

  // --- frames ---------------------------------------------------------------------------------------------------

  let recording = false;
  probe.record = () => {
    probe.frames = [];
    recording = true;
    const next = (at) => { if (recording) { probe.frames.push(at); requestAnimationFrame(next); } };
    requestAnimationFrame(next);
  };
  probe.recorded = () => { recording = false; return probe.frames; };
})();
