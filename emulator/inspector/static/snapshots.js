// Snapshots of a sandbox: one with a name is taken, and one is restored into a new sandbox.

import { call } from "./calls.js";
import { say } from "./message.js";

/** Serve the form and the buttons. `onDone` is called after each call. */
export function listenForSnapshots({ onDone }) {
  document.addEventListener("submit", (event) => {
    const { snapshot } = event.target.dataset;
    if (!snapshot) return;
    event.preventDefault();
    const button = event.target.querySelector("button");
    run(button, onDone, async () => {
      const name = event.target.elements.name.value.trim();
      const made = await (await call("POST", snapshot, JSON.stringify(name ? { name } : {}))).json();
      event.target.reset();
      say(`Snapshot ${made.id} was requested.`);
    });
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-restore]");
    if (button) run(button, onDone, () => restore(button));
  });
}

async function restore(button) {
  const { id } = await (await call("POST", "/v1/sandboxes", button.dataset.create)).json();
  await call("POST", button.dataset.restore, JSON.stringify({ target_sandbox_id: id }));
  location.assign(button.dataset.then.replace(encodeURIComponent("{id}"), encodeURIComponent(id)));
}

async function run(button, onDone, work) {
  button.disabled = true;
  say("");
  try {
    await work();
  } catch (error) {
    say(error.message, { isError: true });
  }
  button.disabled = false;
  onDone();
}
