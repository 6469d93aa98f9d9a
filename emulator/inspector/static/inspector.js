// The script of the inspector's pages: buttons that call the API, steps as they happen, times.

import { StepDetails } from "./details.js";
import { h } from "./dom.js";
import { ago, counted } from "./format.js";
import { StepList } from "./steps.js";
import { applyTheme, themeButton } from "./theme.js";
import { StepTree } from "./tree.js";

const account = document.body.dataset.account ?? "";

// --- calls of the API

/** Call the API. An error becomes an exception with the text of the answer. */
async function call(method, path, body) {
  const headers = { "X-Caged-Inspector": "1", "X-Caged-Account": account };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body, cache: "no-store" });
  if (response.ok) return response;
  const text = await response.text();
  let detail = text;
  try {
    detail = JSON.parse(text).detail ?? text;
  } catch {
    // It is not a problem of the API.
  }
  throw new Error(`${response.status}: ${detail}`);
}

function say(text) {
  const message = document.getElementById("message");
  message.textContent = text;
  message.hidden = !text;
}

async function press(button) {
  button.disabled = true;
  say("");
  try {
    if (button.dataset.download) await download(button);
    else {
      await call(button.dataset.method, button.dataset.call, button.dataset.body);
      if (button.dataset.then) location.assign(button.dataset.then);
      else location.reload();
    }
  } catch (error) {
    say(error.message);
  }
  button.disabled = false;
}

async function download(button) {
  const content = await (await call("GET", button.dataset.download)).blob();
  const url = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
  h("a", { href: url, download: button.dataset.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// --- events

/** Follow the steps of the account. `onSteps` gets those that are new or changed, a few at a time. */
function follow(sandbox, onSteps, onState) {
  const query = new URLSearchParams({ account });
  if (sandbox) query.set("sandbox", sandbox);
  const source = new EventSource(`/_emulator/journal/steps/stream?${query}`);
  let waiting = [];
  source.onmessage = (event) => {
    if (waiting.push(JSON.parse(event.data)) > 1) return;
    setTimeout(() => {
      const steps = waiting;
      waiting = [];
      onSteps(steps);
    }, 60);
  };
  source.onopen = () => onState("live");
  source.onerror = () => onState(source.readyState === EventSource.CLOSED ? "ended" : "connecting");
  addEventListener("pagehide", () => source.close());
}

const STATES = {
  live: "● live",
  connecting: "◌ connecting again",
  ended: "✕ the connection ended; load the page again, or log in with caged-emulator ui",
};

/** Show the steps of the account, or of one sandbox, as they happen. */
function showSteps(root) {
  const tree = new StepTree();
  const listBox = h("section", { class: "list", id: "steps", "aria-label": "Steps" });
  const detailBox = h("section", { class: "details", "aria-label": "Details" });
  const state = h("span", { class: "muted state", role: "status" }, STATES.connecting);
  const pill = h("button", { type: "button", class: "pill", hidden: true, onclick: () => catchUp() });
  root.append(h("div", { class: "columns" }, listBox, detailBox));
  const details = new StepDetails(detailBox, tree, { onSelect: (step) => list.select(step) });
  const list = new StepList(listBox, tree, { onSelect: (step) => details.show(step) });
  listBox.append(h("div", { class: "foot" }, state, pill));

  let held = new Map();
  const add = (steps) => {
    const first = tree.steps.length === 0;
    tree.update(steps);
    if (first && tree.steps.length) tree.begin = tree.steps[0].start;
    list.refresh();
    if (list.selected && steps.some((step) => step.id === list.selected.id)) details.show(list.selected);
  };
  const catchUp = () => {
    const steps = [...held.values()];
    held = new Map();
    pill.hidden = true;
    add(steps);
    list.scrollToEnd();
  };
  const onSteps = (steps) => {
    if (list.isAtEnd) {
      add(steps);
      list.scrollToEnd();
      return;
    }
    const known = steps.filter((step) => tree.get(step.id));
    if (known.length) add(known);
    for (const step of steps) if (!tree.get(step.id)) held.set(step.id, step);
    pill.textContent = `${held.size} new ↓`;
    pill.setAttribute("aria-label", `${counted(held.size, "new step")}: show`);
    pill.hidden = held.size === 0;
  };
  listBox.addEventListener("scroll", () => held.size && list.isAtEnd && catchUp(), true);
  follow(root.dataset.sandbox, onSteps, (word) => (state.textContent = STATES[word]));
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") list.focusFilter();
    else if (event.key === "e") list.nextError();
    else return;
    event.preventDefault();
  });
}

/** Load a part of the page again when something happened, unless it is in use. */
function keepFresh(root) {
  let timer = 0;
  const load = async () => {
    timer = 0;
    if (root.querySelector("details[open]") || root.contains(document.activeElement)) return plan(1000);
    const response = await fetch(location.href, { cache: "no-store" });
    if (!response.ok) return undefined;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-live]");
    if (fresh) root.replaceChildren(...document.adoptNode(fresh).childNodes);
    times(root);
    return undefined;
  };
  const plan = (delay) => (timer ||= setTimeout(() => load().catch(() => {}), delay));
  follow("", () => plan(300), () => {});
}

// --- the page

/** Show how long ago times were, by the account's clock. */
function times(root) {
  for (const time of root.querySelectorAll("time[data-ago]")) {
    const now = Date.parse(time.dataset.ago) || Date.now();
    time.textContent = ago(time.dateTime, now) || time.dateTime;
  }
}

applyTheme();
document.getElementById("theme")?.append(themeButton());
document.getElementById("account")?.addEventListener("change", (event) => event.target.form.submit());
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-call], button[data-download]");
  if (button) press(button);
});
times(document);
for (const root of document.querySelectorAll("[data-steps]")) showSteps(root);
for (const root of document.querySelectorAll("[data-live]")) keepFresh(root);
