// Parts of the page that are shown again when something has happened.

import { showTimes } from "./clock.js";
import { say } from "./message.js";

/** Milliseconds between something that happens and the parts that show it, so that a burst is shown once. */
const DELAY = 250;
/** Milliseconds after which a part with `data-poll` is shown again without a step: it shows what makes none by itself. */
const POLL = 2000;
const shown = new Map();
let timer = 0;
let isLoading = false;
let isWanted = false;

/** Remember the parts. Returns what reads new steps: each of them may have changed a part. */
export function keepFresh() {
  for (const part of parts(document)) shown.set(part.id, part.outerHTML);
  setInterval(() => !document.hidden && document.querySelector("[data-poll]") && refresh(), POLL);
  return plan;
}

/** Show the parts again now. */
export async function refresh() {
  isWanted = true;
  if (isLoading) return;
  isLoading = true;
  while (isWanted) {
    isWanted = false;
    try {
      await load();
    } catch {
      // The connection is lost; the stream of steps says so, and what happened meanwhile comes with it.
    }
  }
  isLoading = false;
}

function plan() {
  timer ||= setTimeout(() => {
    timer = 0;
    refresh();
  }, DELAY);
}

function parts(root) {
  return root.querySelectorAll("[data-live]");
}

async function load() {
  const response = await fetch(location.href, { cache: "no-store" });
  if (response.status === 404) say("What this page shows does not exist any more.");
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of parts(fresh)) replace(part);
}

function replace(part) {
  const old = document.getElementById(part.id);
  const html = part.outerHTML;
  if (!old || shown.get(part.id) === html) return;
  shown.set(part.id, html);
  const focused = old.contains(document.activeElement) ? keyOf(document.activeElement) : "";
  const scrolled = old.querySelector(".table")?.scrollTop ?? 0;
  const opened = [...old.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
  const adopted = document.adoptNode(part);
  for (const summary of adopted.querySelectorAll("details > summary")) {
    summary.parentElement.open = opened.includes(summary.textContent);
  }
  old.replaceWith(adopted);
  showTimes(adopted);
  const table = adopted.querySelector(".table");
  if (table) table.scrollTop = scrolled;
  if (focused) [...adopted.querySelectorAll("a, button, summary, [tabindex]")].find((one) => keyOf(one) === focused)?.focus();
}

/** What is the same of an element before and after. */
function keyOf(element) {
  return [element.localName, element.getAttribute("href"), element.dataset.call, element.dataset.body].join(" ");
}
