// Every page: menus that close, times in the reader's own zone, errors of htmx requests as a message, and what a swap
// must leave as it was.
// Listeners hang on the document, because swaps and history restores replace what is in it.
"use strict";

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const CALENDAR = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function ownTime(moment) {
  const day = (time) => new Date(time).setHours(0, 0, 0, 0);
  const days = Math.round((day(Date.now()) - day(moment)) / 86_400_000);
  const near = ["today", "yesterday"][days];
  return near ? `${near} ${CLOCK.format(moment)}` : CALENDAR.format(moment);
}

function tellOwnTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    const told = ownTime(moment);
    if (time.textContent !== told) time.textContent = told;
    time.title = moment.toISOString().replace("T", " ").replace(".000Z", " UTC");
  }
}

// On paper "today" says nothing.
addEventListener("beforeprint", () => {
  for (const time of document.querySelectorAll("time[datetime]")) time.textContent = CALENDAR.format(new Date(time.dateTime));
});
addEventListener("afterprint", () => tellOwnTimes(document));

function closeMenus(but) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (menu !== but) menu.open = false;
  }
}

function showProblem(title, detail) {
  const place = document.getElementById("problem");
  const template = document.getElementById("problem-template");
  if (!place || !template) return;
  const toast = template.content.cloneNode(true);
  toast.querySelector("b").textContent = title;
  toast.querySelector("p").textContent = detail;
  place.replaceChildren(toast);
}

document.addEventListener("click", (event) => {
  const menu = event.target.closest("details.menu"), chosen = event.target.closest(".menu-list a");
  if (chosen) menu.querySelector("summary").focus();
  closeMenus(chosen ? null : menu);
  if (event.target.closest("[data-dismiss]")) document.getElementById("problem").replaceChildren();
});

document.addEventListener("keydown", (event) => {
  const asked = event.target.closest?.("details.confirm[open]");
  const menu = event.key === "Escape" && (document.querySelector("details.menu[open]") ?? asked);
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

document.addEventListener("focusout", (event) => {
  const menu = event.target.closest?.("details.menu[open]");
  if (menu && event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
});

window.addEventListener("beforeprint", () => {
  const place = document.getElementById("printed-at");
  if (place) place.textContent = ` · printed ${CALENDAR.format(Date.now())}`;
});

// A preview that does not come leaves its card with a sign in its place; the link around it still leads to the image.
function showLost(picture) {
  if (!picture.matches?.(".card img")) return;
  const sign = document.createElement("span");
  sign.className = "lost";
  sign.append(document.getElementById("lost-template").content.cloneNode(true));
  picture.replaceWith(sign);
}

document.addEventListener("error", (event) => showLost(event.target), true);

function showAllLost() {
  for (const picture of document.querySelectorAll(".card img")) {
    if (picture.complete && !picture.naturalWidth) showLost(picture);
  }
}

// A select of a filter form is enough to search; the button stays for those without JavaScript and for Enter.
document.addEventListener("change", (event) => {
  if (event.target.matches("#filters select")) event.target.form.requestSubmit();
});

// What was counted for other choices than the form shows must not be taken for theirs.
document.addEventListener("input", (event) => {
  const counted = event.target.form?.dataset.counted;
  if (counted) document.getElementById(counted)?.remove();
});

// The address of the page, which has all of what is seen. Over plain HTTP a browser has no clipboard to write to, but still
// copies what is selected.
async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const field = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = button.querySelector("span"), done = await copied(location.href);
  button.focus();
  text.textContent = done ? "Copied" : "Not copied";
  document.getElementById("announcer").textContent = done ? "The link is copied." : "The browser did not let the link be copied; it is in the address bar.";
  setTimeout(() => { text.textContent = "Copy link"; }, 1600);
});

function showCopying() {
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
}

// What the server says about a failed request is in the answer; it is shown and nothing else is swapped.
document.addEventListener("htmx:response:error", (event) => {
  const answer = new DOMParser().parseFromString(event.detail.ctx.text, "text/html");
  const toast = answer.querySelector("#problem-message");
  if (toast) showProblem(toast.querySelector("b").textContent, toast.querySelector("p").textContent);
  else showProblem("That did not work", "Load the page again and repeat.");
});

document.addEventListener("htmx:error", () => {
  showProblem("The server cannot be reached", "What you see may be out of date.");
});

// A swap is not to take back what a person opened, nor leave the focus nowhere: what goes away with the focus in it
// names in data-focus-after what gets it.
const folds = new Map(); // id of a <details> → whether it was open
let successor = null;

// What is opened elsewhere while an answer takes its place is no matter of that swap.
function foldsOf(event) {
  const { target } = event.detail.ctx;
  const place = target instanceof Element ? document.getElementById(target.id) ?? target : document;
  return place.querySelectorAll("details[id]");
}

document.addEventListener("htmx:before:swap", (event) => {
  for (const fold of foldsOf(event)) folds.set(fold.id, fold.open);
  successor = document.activeElement?.closest("[data-focus-after]")?.dataset.focusAfter ?? null;
});

document.addEventListener("htmx:after:swap", (event) => {
  for (const fold of foldsOf(event)) fold.open = folds.get(fold.id) ?? fold.open;
  const lost = !document.activeElement || document.activeElement === document.body;
  if (successor && lost) document.getElementById(successor)?.focus();
  tellOwnTimes(document);
  showCopying();
});
tellOwnTimes(document);
showCopying();
showAllLost(); // what failed before this script ran
