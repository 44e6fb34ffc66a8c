// What is under a resting mouse, in words, where the page has no element that says it: in paths, tiles and masks.
// It goes when the mouse moves on, and with Escape.
"use strict";

(() => {
  const REST = 200; // milliseconds
  const hint = () => document.getElementById("hint");
  const isWanted = () => document.querySelector("#shapes.grouped, #shapes .tile, #bitmap-layers .mask[href]");
  let timer = 0, place = null;

  function hide() {
    clearTimeout(timer);
    if (!hint()) return;
    htmx.trigger("#hint", "htmx:abort", {}, false); // or it came up to the stage, and ended what that or a filter waits for
    hint().hidden = true;
  }

  function ask() {
    const view = new URL(location.href).searchParams, analysis = document.querySelector("#view [name=analysis]")?.value;
    if (!hint() || !analysis) return;
    const { x, y } = window.stage.toImage(place.clientX, place.clientY);
    for (const [name, value] of Object.entries({ analysis, x: x.toFixed(2), y: y.toFixed(2) })) view.set(name, value);
    htmx.ajax("GET", `${hint().dataset.address}?${view}`, { target: "#hint", swap: "outerHTML", source: "#hint" });
  }

  document.addEventListener("pointermove", (event) => {
    hide();
    const there = event.target.closest?.("#panes .frame") && !event.target.closest("#shapes .item");
    if (!there || event.pointerType !== "mouse" || event.buttons || !isWanted()) return;
    place = event;
    timer = setTimeout(ask, REST);
  });
  for (const name of ["pointerdown", "wheel"]) document.addEventListener(name, hide, { passive: true });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // Beside the pointer, on that side of it where there is room.
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx?.target?.id !== "hint" || !hint()) return;
    const stage = document.getElementById("panes").getBoundingClientRect(), { width, height } = hint().getBoundingClientRect();
    const left = place.clientX - stage.left, top = place.clientY - stage.top;
    hint().style.left = `${left + 14 + width > stage.width ? left - 14 - width : left + 14}px`;
    hint().style.top = `${top + 18 + height > stage.height ? top - 10 - height : top + 18}px`;
  });
})();
