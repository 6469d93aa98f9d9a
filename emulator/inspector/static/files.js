// Files of a sandbox: downloads, and differences.

import { call } from "./calls.js";
import { changeView } from "./details.js";
import { h } from "./dom.js";
import { say } from "./message.js";
import { eachElement } from "./parts.js";

/** Serve the buttons with `data-download`, and show the change in each element with `data-change`. */
export function showFiles() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-download]");
    if (button) download(button);
  });
  eachElement("[data-change]", showChange);
}

function showChange(root) {
  const view = changeView(JSON.parse(root.dataset.change));
  view.removeAttribute("aria-label"); // the path, which is that of all changes here
  view.querySelector(".diff")?.setAttribute("aria-label", root.dataset.label);
  root.replaceChildren(view);
}

async function download(button) {
  button.disabled = true;
  say("");
  try {
    const response = await call("GET", button.dataset.download);
    const url = URL.createObjectURL(new Blob([await response.arrayBuffer()], { type: "application/octet-stream" }));
    h("a", { href: url, download: button.dataset.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    say(error.message, { isError: true });
  }
  button.disabled = false;
}
