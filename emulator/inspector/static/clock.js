// The account's clock, and times relative to it.

import { ago } from "./format.js";

const loaded = { element: null, at: 0 };

/** The account's time, in milliseconds. It goes on from when the clock was loaded, unless it is frozen. */
function now() {
  const clock = document.getElementById("clock");
  if (!clock) return Date.now();
  const key = `${clock.dataset.now} ${"frozen" in clock.dataset}`;
  if (loaded.key !== key) Object.assign(loaded, { key, at: performance.now() });
  const passed = "frozen" in clock.dataset ? 0 : performance.now() - loaded.at;
  return Number(clock.dataset.now) * 1000 + passed;
}

/** Show the account's time, and let it go on. */
export function showClock() {
  const show = () => {
    const time = document.querySelector("#clock time");
    if (time) time.textContent = new Date(now()).toISOString().slice(0, 19).replace("T", " ");
  };
  show();
  setInterval(show, 1000);
  setInterval(() => showTimes(document), 15_000);
}

/** Show how long ago times were, by the account's clock. */
export function showTimes(root) {
  for (const time of root.querySelectorAll("time[data-ago]")) time.textContent = ago(time.dateTime, now()) || time.dateTime;
}
