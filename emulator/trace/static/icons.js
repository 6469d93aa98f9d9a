// One small drawing for each kind of step, and for the marks of the time axis.

import { svg } from "./dom.js";

const KINDS = {
  test: "M3 3h10v10H3z M5.5 8l2 2 3.5-4",
  call: "M6 4 2.5 8 6 12 M10 4l3.5 4L10 12",
  request: "M2.5 6h10 M10 3.5 12.5 6 M13.5 10h-10 M6 12.5 3.5 10",
  command: "M3 4.5 6.5 8 3 11.5 M8 12h5",
  prompt: "M2.5 3.5h11v7h-6l-3 2.5v-2.5h-2z",
  file: "M4 2.5h5l3 3v8H4z M9 2.5v3h3",
  sandbox: "M8 2.2 13 5v6l-5 2.8L3 11V5z M3 5l5 2.8L13 5 M8 7.8v6",
  control: "M2.5 5h6 M11.5 5h2 M2.5 11h2 M7.5 11h6 M10 3.3v3.4 M6 9.3v3.4",
  alert: "M8 2.5 14 13H2z M8 6.5v3 M8 11v.5",
  event: "M8 5.2a2.8 2.8 0 1 0 .01 0z",
  error: "M4 4l8 8 M12 4l-8 8",
};

/** The drawing of a kind of step. */
export function kindIcon(kind) {
  return drawing(`kind ${kind in KINDS ? kind : "event"}`, KINDS[kind] ?? KINDS.event);
}

/** A drawing of lines in a square of 16 by 16. */
export function drawing(name, path) {
  return svg(
    "svg",
    { class: `icon ${name}`, viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
    svg("path", { d: path }),
  );
}

export const TWISTY = "M6 4l4 4-4 4";

const MARKS = {
  fault: "M0-5 5 0 0 5-5 0z",
  stub: "M0-5 5 4H-5z",
  reply: "M0-4a4 4 0 1 0 .01 0z",
  clock: "M-5-4-.5 0-5 4z M0-4 4.5 0 0 4z",
};

/** The shape of a mark: a fault, a stub, a prompt (reply) or a move of the clock, around its origin. */
export function mark(name, properties = {}) {
  return svg("path", { class: `mark ${name in MARKS ? name : "fault"}`, d: MARKS[name] ?? MARKS.fault, ...properties });
}

/** A mark by itself, in a line of text. */
export function markIcon(name) {
  return svg("svg", { class: "icon", viewBox: "-6 -6 12 12", width: 12, height: 12, "aria-hidden": "true" }, mark(name));
}
