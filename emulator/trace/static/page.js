// The page of one trace: it reads the steps that are in the page, and shows the time axis, the list and the details.

import { TimeAxis } from "./axis.js";
import { StepDetails } from "./details.js";
import { h } from "./dom.js";
import { ago } from "./format.js";
import { inflate } from "./inflate.js";
import { StepList } from "./steps.js";
import { applyTheme, themeButton } from "./theme.js";
import { StepTree } from "./tree.js";

/** Pixels of the details that are in view at least, after a link to a step was followed. */
const REVEALED = 240;
const MOVES = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
const KEYS = [
  ["↑ ↓", "previous or next step"],
  ["→ ←", "open or close a step; then its first child, or its parent"],
  ["Home End", "first or last step"],
  ["/", "filter"],
  ["Esc", "clear the filter"],
  ["e", "next step that failed, among those that the filter shows"],
  ["?", "these keys"],
];

/** The data of the page: base64 of JSON that is compressed by gzip. */
async function readData() {
  const packed = atob(document.getElementById("trace-data").textContent.trim());
  const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
  if (typeof DecompressionStream === "undefined") return JSON.parse(new TextDecoder().decode(inflate(bytes)));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function show({ header, steps, markdown, first }) {
  const tree = new StepTree();
  for (const one of header.unused) tree.name(one.id, one.described);
  tree.update(steps);
  const starts = tree.steps.length ? tree.steps[0].start : 0;
  tree.begin = header.start > 0 ? Math.min(header.start, starts) : starts;

  const app = document.getElementById("app");
  const axisBox = h("section", { class: "axis", "aria-label": "Time axis" });
  const listBox = h("section", { class: "list", id: "steps", "aria-label": "Steps" });
  const detailBox = h("section", { class: "details", "aria-label": "Details" });
  app.append(axisBox, h("div", { class: "columns" }, listBox, detailBox));

  // A step that is selected away from the list, with its details in view.
  const visit = (step, tab) => {
    if (!step) return;
    list.select(step);
    if (tab) details.open(tab);
    reveal(detailBox);
  };
  const details = new StepDetails(detailBox, tree, { onSelect: visit, log: header.log, failure: header });
  const axis = new TimeAxis(axisBox, tree, { onSelect: (step) => visit(step) });
  const list = new StepList(listBox, tree, {
    onSelect: (step) => {
      details.show(step);
      axis.select(step);
      name(step);
    },
  });
  tools(markdown);
  for (const time of document.querySelectorAll("time[datetime]")) {
    time.title = time.dateTime;
    time.textContent = ago(time.dateTime) || time.textContent;
  }
  for (const link of document.querySelectorAll("a[data-step]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      visit(tree.get(link.dataset.step), link.dataset.tab);
    });
  }
  const named = () => tree.get(fragment());
  list.select(named() ?? tree.get(first) ?? tree.steps[0]);
  addEventListener("hashchange", () => named() && list.select(named()));
  addEventListener("keydown", (event) => key(event, list));
}

/** Scroll the page so that the beginning of the details is in view, if it is not. */
function reveal(details) {
  const box = details.getBoundingClientRect();
  if (box.top < 0 || box.top > innerHeight - Math.min(box.height, REVEALED)) details.scrollIntoView({ block: "start" });
}

/** The id of the step that the URL names. */
function fragment() {
  try {
    return decodeURIComponent(location.hash.replace(/^#step-/, ""));
  } catch {
    return "";
  }
}

function name(step) {
  try {
    history.replaceState(null, "", `#step-${encodeURIComponent(step.id)}`);
  } catch {
    // An id that no URL can have, or a page that must not change its URL.
  }
}

function key(event, list) {
  const typing = event.target.closest("input:not([type=checkbox]):not([type=range]), select, textarea, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") list.focusFilter();
  else if (event.key === "e") list.nextError();
  else if (event.key === "?") document.getElementById("keys").showModal();
  else if (event.key in MOVES && event.target === document.body) {
    list.focus();
    list.move(MOVES[event.key]);
  } else return;
  event.preventDefault();
}

function tools(markdown) {
  const said = h("span", { class: "said", role: "status", "aria-live": "polite" });
  const copy = h("button", { type: "button", onclick: async () => {
    const done = await copied(markdown);
    said.textContent = done ? "Copied" : "Could not copy";
    setTimeout(() => (said.textContent = ""), 2500);
  } }, "Copy as Markdown");
  const keys = h(
    "dialog",
    { id: "keys", "aria-label": "Keys" },
    h("h2", {}, "Keys"),
    h("dl", {}, KEYS.map(([keyName, what]) => h("div", {}, h("dt", {}, keyName.split(" ").map((one) => h("kbd", {}, one))), h("dd", {}, what)))),
    h("form", { method: "dialog" }, h("button", {}, "Close")),
  );
  const help = h("button", { type: "button", "aria-label": "Keys", title: "Keys (?)", onclick: () => keys.showModal() }, "?");
  const answer = document.getElementById("answer");
  const fold = answer && h("button", { type: "button", "aria-expanded": "true", "aria-controls": "answer", onclick: () => {
    answer.hidden = !answer.hidden;
    fold.setAttribute("aria-expanded", String(!answer.hidden));
  } }, "Summary");
  document.getElementById("tools").append(...[fold, copy, themeButton(), help, said].filter(Boolean));
  document.body.append(keys);
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "spoken", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

applyTheme();
readData().then(show).catch((error) => {
  const text = `The steps of this page cannot be shown: ${error.message}. The .jsonl file beside it has them as JSON lines.`;
  document.getElementById("app").append(h("p", { class: "problem", role: "alert" }, text));
  throw error;
});
