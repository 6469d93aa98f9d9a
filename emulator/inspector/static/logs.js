// The log of a sandbox stays at its end, unless one has scrolled up to read.

import { eachElement } from "./parts.js";

const NEAR = 24;

/** Keep each element with `data-log` at its end. */
export function showLogs() {
  let top = null;
  eachElement("[data-log]", (log) => {
    log.scrollTop = top ?? log.scrollHeight;
    log.addEventListener("scroll", () => {
      top = log.scrollTop + log.clientHeight > log.scrollHeight - NEAR ? null : log.scrollTop;
    });
  });
}
