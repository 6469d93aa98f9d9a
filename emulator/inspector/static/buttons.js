// Buttons that make calls of the API or copy lines, and questions in place.

import { call } from "./calls.js";
import { say } from "./message.js";

/** Serve the buttons of the page, also those that come later. `onDone` is called after each call. */
export function listenForButtons({ onDone }) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-call], button[data-copy]");
    if (button?.dataset.call) press(button, onDone);
    else if (button) copy(button);
    for (const open of document.querySelectorAll("details.confirm[open], details.drop[open]")) {
      if (!open.contains(event.target)) open.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = event.target.closest?.("details.confirm[open], details.drop[open]");
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
}

async function press(button, onDone) {
  button.disabled = true;
  say("");
  try {
    const response = await call(button.dataset.method, button.dataset.call, button.dataset.body);
    if (button.dataset.then) {
      location.assign(button.dataset.then);
      return;
    }
    if (button.dataset.done) say(button.dataset.done.replace("{id}", await idIn(response)));
    const menu = button.closest("details.confirm, details.drop");
    if (menu?.classList.contains("confirm")) menu.open = false;
  } catch (error) {
    say(error.message, { isError: true });
  }
  button.disabled = false;
  onDone();
}

async function idIn(response) {
  try {
    return String((await response.json()).id ?? "");
  } catch {
    return "";
  }
}

async function copy(button) {
  const text = button.parentElement.querySelector("pre").textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.parentElement.querySelector("pre"));
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2500);
}
