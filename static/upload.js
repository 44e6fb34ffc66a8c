// Uploading: files are dropped or chosen and go up one by one, each with its progress. Without this, a plain form.
"use strict";

(() => {
  const form = document.querySelector("form[data-upload]");
  if (!form) return;
  const input = form.querySelector("input[type=file]");
  const list = document.getElementById("uploads");
  const waiting = [];
  let running = false;

  form.classList.add("ready");
  for (const plain of form.querySelectorAll("[data-plain]")) plain.hidden = true;
  for (const hint of form.querySelectorAll("[data-hint]")) hint.hidden = false;

  function line(file) {
    const item = document.createElement("li");
    const name = document.createElement("b");
    const progress = document.createElement("progress");
    const state = document.createElement("output");
    name.textContent = file.name;
    progress.max = 1;
    progress.value = 0;
    progress.setAttribute("aria-label", `Progress of ${file.name}`);
    state.textContent = "waiting";
    item.append(name, progress, state);
    list.append(item);
    return { item, progress, state };
  }

  function refuse(shown, reason) {
    const text = document.createElement("span");
    text.className = "reason";
    text.textContent = reason;
    shown.item.classList.add("failed");
    shown.state.textContent = "refused";
    shown.progress.hidden = true;
    shown.item.append(text);
  }

  function reasonOf(request) {
    const answer = new DOMParser().parseFromString(request.responseText, "text/html");
    const told = answer.querySelector("[data-reason], #problem-message p");
    return told ? told.textContent : "The server did not take this file.";
  }

  function send({ file, shown }) {
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      const body = new FormData();
      body.append("csrf_token", form.elements.csrf_token.value);
      body.append("file", file);
      request.open("POST", form.action);
      request.setRequestHeader("HX-Request", "true");
      request.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable) shown.progress.value = event.loaded / event.total;
        shown.state.textContent = event.loaded === event.total ? "checking" : `${Math.floor((100 * event.loaded) / event.total)} %`;
      });
      request.addEventListener("load", () => {
        if (request.status === 204) {
          shown.progress.value = 1;
          shown.item.classList.add("completed");
          shown.state.textContent = "uploaded";
        } else if (request.status === 401) {
          location.reload();
        } else {
          refuse(shown, reasonOf(request));
        }
      });
      request.addEventListener("error", () => refuse(shown, "The connection broke off."));
      request.addEventListener("loadend", () => resolve(request.status === 204));
      request.send(body);
    });
  }

  async function work() {
    if (running) return;
    running = true;
    let added = 0;
    while (waiting.length) added += (await send(waiting.shift())) ? 1 : 0;
    running = false;
    if (added) await htmx.ajax("GET", location.pathname + location.search, { target: "#gallery", swap: "outerMorph" });
  }

  // The rows of a batch that has ended make room for the next one.
  function take(files) {
    if (!running && files.length) list.replaceChildren();
    for (const file of files) waiting.push({ file, shown: line(file) });
    input.value = "";
    work();
  }

  input.addEventListener("change", () => take([...input.files]));
  form.addEventListener("submit", (event) => event.preventDefault());

  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;
  let depth = 0; // dragenter and dragleave also come from what is inside
  document.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth += 1;
    form.classList.add("over");
  });
  document.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) form.classList.remove("over");
  });
  document.addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    form.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
})();
