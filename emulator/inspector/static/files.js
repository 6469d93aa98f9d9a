// Files of a sandbox: downloads, and differences.

import { call } from "./calls.js";
import { changeView } from "./details.js";
import { h } from "./dom.js";
import { say } from "./message.js";
import { eachElement } from "./parts.js";

/** Bytes of a piece of a file; a shorter one is the last one. */
const PIECE = 1024 * 1024;

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

/** The content of a file, which is read in pieces. */
async function contentOf(path) {
  const pieces = [];
  let size = 0;
  let piece;
  do {
    const response = await call("GET", `${path}&offset=${size}`);
    piece = await response.blob();
    pieces.push(piece);
    size += piece.size;
  } while (piece.size >= PIECE);
  return new Blob(pieces, { type: "application/octet-stream" });
}

async function download(button) {
  button.disabled = true;
  say("");
  try {
    const url = URL.createObjectURL(await contentOf(button.dataset.download));
    h("a", { href: url, download: button.dataset.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    say(error.message, { isError: true });
  }
  button.disabled = false;
}
