// The time axis: one lane for the client and one for each sandbox, with long pauses compressed.

import { h, svg } from "./dom.js";
import { counted, duration, isApplied, isClockMove, noun, offset } from "./format.js";
import { mark, markIcon } from "./icons.js";

const LANE = 26;
const BAR = 14;
const LABEL = 116;
const TOP = 22;
/** Pixels between the middles of two labels of the axis, at least. */
const LABEL_WIDTH = 62;
const CLIENT = "client";
/** Kinds that happen at the client, also where they are about a sandbox. */
const CLIENT_KINDS = new Set(["test", "call", "request", "control"]);
/** The shortest pauses that are compressed, in seconds: where nothing runs, and while something does. */
const PAUSE = 0.3;
const BUSY_PAUSE = 2;
/** How long a pause is at least, compared with all that is not compressed. */
const IDLE_SHARE = 0.25;
const BUSY_SHARE = 2.5;

/** Where times are on the axis, from 0 to 1. `breaks`: the pauses that are compressed. */
export class TimeScale {
  constructor(steps) {
    const points = new Set();
    const busy = [];
    for (const step of steps) {
      const end = step.start + (step.duration_ms ?? 0) / 1000;
      points.add(step.start).add(end);
      if (step.kind === "command" || step.kind === "prompt") busy.push([step.start, end]);
      for (const piece of Array.isArray(step.detail?.output) ? step.detail.output : []) {
        if (Number.isFinite(piece?.[0])) points.add(Math.min(end, step.start + piece[0]));
      }
    }
    this._times = [...points].sort((a, b) => a - b);
    const gaps = this._times.slice(1).map((time, i) => ({ from: this._times[i], to: time, length: time - this._times[i] }));
    this.breaks = compressed(gaps, (gap) => busy.some(([from, to]) => from <= gap.from && to >= gap.to));
    this._places = [0];
    for (const gap of gaps) this._places.push(this._places[this._places.length - 1] + (gap.shown ?? gap.length));
    this._whole = this._places[this._places.length - 1] || 1;
  }

  /** Where a time is, from 0 to 1. */
  place(time) {
    let [low, high] = [0, this._times.length - 1];
    if (high < 0 || time <= this._times[0]) return 0;
    if (time >= this._times[high]) return high === 0 ? 0 : 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this._times[middle] <= time) low = middle;
      else high = middle;
    }
    const part = (time - this._times[low]) / (this._times[high] - this._times[low] || 1);
    return (this._places[low] + part * (this._places[high] - this._places[low])) / this._whole;
  }

  get begin() {
    return this._times[0] ?? 0;
  }

  get end() {
    return this._times[this._times.length - 1] ?? 0;
  }
}

/** Compress the longest pauses, beginning with the longest: gaps that get a length `shown` of their own. */
function compressed(gaps, isBusy) {
  let rest = gaps.reduce((sum, gap) => sum + gap.length, 0);
  const found = [];
  for (const gap of [...gaps].sort((a, b) => b.length - a.length)) {
    rest -= gap.length;
    if (gap.length < PAUSE) break;
    const least = isBusy(gap) ? BUSY_PAUSE : PAUSE;
    if (gap.length >= least && gap.length > rest * (isBusy(gap) ? BUSY_SHARE : IDLE_SHARE)) found.push(gap);
    else {
      rest += gap.length;
      break;
    }
  }
  for (const gap of found) gap.shown = Math.min(gap.length, Math.max(rest, PAUSE) * (isBusy(gap) ? 0.3 : 0.06));
  return found;
}

/** The axis of a tree in `root`. It calls `onSelect(step)` for a click. */
export class TimeAxis {
  constructor(root, tree, { onSelect = () => {} } = {}) {
    this._tree = tree;
    this._onSelect = onSelect;
    this._box = h("div", { class: "lanes", tabindex: "0", role: "group", "aria-label": "Lanes of the time axis" });
    this._legend = h("p", { class: "legend" });
    root.append(this._box, this._legend);
    new ResizeObserver(() => this._resized()).observe(this._box);
    this.refresh();
  }

  /** Draw what the tree has now. */
  refresh() {
    this._scale = new TimeScale(this._tree.steps);
    this._lanes = [CLIENT];
    const known = new Set();
    for (const step of this._tree.steps) {
      if (step.sandbox && !known.has(step.sandbox) && known.add(step.sandbox)) this._lanes.push(step.sandbox);
    }
    this._draw();
  }

  /** Point out a step. */
  select(step) {
    this._selected = step;
    if (this._pointer) this._place();
  }

  _resized() {
    if (this._box.clientWidth !== this._drawnWidth) this._draw();
  }

  _lane(step) {
    return CLIENT_KINDS.has(step.kind) || !step.sandbox ? 0 : this._lanes.indexOf(step.sandbox);
  }

  _x(time) {
    return LABEL + this._scale.place(time) * this._width;
  }

  _draw() {
    this._steps = new WeakMap();
    this._drawnWidth = this._box.clientWidth;
    this._width = Math.max(120, this._drawnWidth - LABEL - 16);
    const height = TOP + this._lanes.length * LANE + 4;
    const [steps, lanes] = [this._tree.steps, counted(this._lanes.length, "lane")];
    const label = `${counted(steps.length, "step")} in ${duration((this._scale.end - this._scale.begin) * 1000)}, ${lanes}. The list of steps has the same.`;
    this._pointer = svg("rect", { class: "pointer", y: TOP, height: LANE, width: 0, rx: 3 });
    const drawn = svg(
      "svg",
      { width: LABEL + this._width + 16, height, role: "img", "aria-label": label },
      ...this._lanes.map((name, i) => this._laneGround(name, i)),
      ...this._breaks(height),
      ...this._ticks(height),
      ...this._bars(),
      this._pointer,
      ...this._marks(),
    );
    drawn.addEventListener("click", (event) => this._click(event, drawn));
    this._box.replaceChildren(drawn);
    this._describe();
    this._place();
  }

  _laneGround(name, i) {
    const y = TOP + i * LANE;
    const short = name.length > 15 ? `${name.slice(0, 14)}…` : name;
    return svg(
      "g",
      {},
      svg("line", { class: "ground", x1: LABEL, x2: LABEL + this._width, y1: y + LANE / 2, y2: y + LANE / 2 }),
      svg("text", { class: "lane", x: 16, y: y + LANE / 2 + 4 }, svg("title", {}, name), short),
    );
  }

  _ticks(height) {
    const [begin, end] = [this._scale.begin, this._scale.end];
    // The label of a compressed pause stands in its middle, also where the pause is narrower than the label.
    const inBreak = (x) => this._scale.breaks.some((gap) => {
      const middle = (this._x(gap.from) + this._x(gap.to)) / 2;
      return (x > this._x(gap.from) - 30 && x < this._x(gap.to) + 30) || Math.abs(x - middle) < LABEL_WIDTH;
    });
    const step = niceStep((end - begin) / Math.max(2, this._width / 110), this._scale);
    const found = [];
    let last = -Infinity;
    for (let [i, tries] = [0, 0]; tries < 2000; i += 1, tries += 1) {
      const time = this._tree.begin + i * step;
      if (time > end) break;
      const gap = this._scale.breaks.find((one) => time > one.from && time < one.to);
      if (gap) i = Math.max(i, Math.ceil((gap.to - this._tree.begin) / step) - 1);
      const x = this._x(time);
      if (time < begin || inBreak(x) || x - last < 56) continue;
      last = x;
      const text = `${Number((i * step).toFixed(3))} s`;
      found.push(
        svg("line", { class: "tick", x1: x, x2: x, y1: TOP - 4, y2: height }),
        svg("text", { class: "tick", x, y: 12, "text-anchor": "middle" }, time - this._tree.begin >= 60 ? offset(time - this._tree.begin) : text),
      );
    }
    return found;
  }

  _breaks(height) {
    let labelled = -Infinity;
    return [...this._scale.breaks].sort((a, b) => a.from - b.from).map((gap) => {
      const [from, to] = [this._x(gap.from), this._x(gap.to)];
      const middle = (from + to) / 2;
      const hasLabel = to - from > 24 && middle - labelled >= LABEL_WIDTH;
      if (hasLabel) labelled = middle;
      return svg(
        "g",
        { class: "break" },
        svg("title", {}, `Nothing happened for ${duration(gap.length * 1000)}`),
        svg("rect", { x: from, y: TOP - 4, width: Math.max(1, to - from), height: height - TOP + 4 }),
        svg("path", { d: `M${middle - 1} ${TOP - 7}l-3 7 M${middle + 4} ${TOP - 7}l-3 7` }),
        hasLabel && svg("text", { x: middle, y: 12, "text-anchor": "middle" }, duration(gap.length * 1000)),
      );
    });
  }

  /** One bar for each step, or for several that are at the same place and look alike. */
  _bars() {
    const found = [];
    const ends = new Map();
    for (const { step } of this._tree.rows()) {
      if (step.kind === "test") continue;
      const lane = this._lane(step);
      const x = this._x(step.start);
      const width = Math.max(2.5, this._x(step.start + (step.duration_ms ?? 0) / 1000) - x);
      const isInner = step.kind !== "call" && step.kind !== "command" && this._isInside(step, lane);
      const look = `bar ${step.kind}${step.status === "error" ? " failed" : ""}`;
      const key = `${lane} ${look} ${isInner}`;
      if ((ends.get(key) ?? -Infinity) >= x + width - 0.5) continue;
      ends.set(key, x + width);
      const height = isInner ? BAR - 6 : BAR;
      const y = TOP + lane * LANE + (LANE - height) / 2;
      found.push(
        this._of(step, "rect", { class: look, x, y, width, height, rx: 2 }, svg("title", {}, `${step.title}  ${duration(step.duration_ms)}`)),
      );
    }
    return found;
  }

  /** An element that a click takes for a step. */
  _of(step, name, properties, ...children) {
    const element = svg(name, properties, ...children);
    this._steps.set(element, step);
    return element;
  }

  _isInside(step, lane) {
    const parent = this._tree.parent(step);
    return parent !== undefined && parent.kind !== "test" && this._lane(parent) === lane;
  }

  _marks() {
    const found = [];
    const taken = new Set();
    for (const step of this._tree.steps) {
      const names = isApplied(step) ? step.controls.map(noun) : [];
      if (step.kind === "prompt" && !names.includes("reply")) names.push("reply");
      if (isClockMove(step)) names.push("clock");
      for (const name of names) {
        const [x, y] = [this._x(step.start), TOP + this._lane(step) * LANE + 6];
        const key = `${name} ${Math.round(x / 4)} ${y}`;
        if (taken.has(key)) continue;
        taken.add(key);
        const title = name === "clock" ? step.title : step.controls.map((id) => this._tree.described(id)).join(", ") || step.title;
        found.push(this._of(step, "g", { transform: `translate(${x + 1} ${y})` }, mark(name), svg("title", {}, title)));
      }
    }
    return found;
  }

  _describe() {
    const names = new Set();
    for (const step of this._tree.steps) {
      if (isApplied(step)) for (const id of step.controls) names.add(noun(id));
      if (step.kind === "prompt") names.add("reply");
      if (isClockMove(step)) names.add("clock");
    }
    const words = { fault: "fault", stub: "stub", reply: "prompt", clock: "clock moved" };
    const shown = Object.keys(words).filter((name) => names.has(name));
    const bars = new Set(this._tree.steps.filter((step) => step.kind !== "test").map(colorOf));
    const failed = this._tree.steps.some((step) => step.status === "error" && step.kind !== "test");
    this._legend.replaceChildren(
      ...Object.entries(COLORS).filter(([name]) => bars.has(name)).map(([name, word]) => h("span", {}, swatch(`key ${name}`), word)),
      ...(failed ? [h("span", {}, swatch("key failed"), "failed (outlined)")] : []),
      ...shown.map((name) => h("span", {}, markIcon(name), words[name])),
    );
    const total = this._scale.breaks.reduce((sum, gap) => sum + gap.length, 0);
    if (total) this._legend.append(h("span", {}, h("span", { class: "hatch" }), `${duration(total * 1000)} of pauses compressed`));
  }

  _place() {
    const step = this._selected;
    if (!step || !this._pointer) return;
    const x = this._x(step.start);
    const width = Math.max(4, this._x(step.start + (step.duration_ms ?? 0) / 1000) - x);
    for (const [name, value] of Object.entries({ x: x - 2, width: width + 4, y: TOP + this._lane(step) * LANE + 3, height: LANE - 6 })) {
      this._pointer.setAttribute(name, String(value));
    }
  }

  /** Select the step of a bar or mark, or the one that is nearest to a click in its lane; of several, the innermost. */
  _click(event, drawn) {
    const drawnFor = this._steps.get(event.target.closest("rect, g"));
    if (drawnFor) {
      this._onSelect(drawnFor);
      return;
    }
    const box = drawn.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const lane = Math.floor((y - TOP) / LANE);
    let best = null;
    for (const step of this._tree.steps) {
      if (step.kind === "test" || this._lane(step) !== lane) continue;
      const [from, to] = [this._x(step.start), this._x(step.start + (step.duration_ms ?? 0) / 1000)];
      const distance = x < from ? from - x : Math.max(0, x - Math.max(to, from + 2));
      const length = to - from;
      if (distance > 8 || (best && (distance > best.distance || (distance === best.distance && length > best.length)))) continue;
      best = { step, distance, length };
    }
    if (best) this._onSelect(best.step);
  }
}

/** What the colours of bars stand for, by the class of the bar. */
const COLORS = { call: "call", request: "request", command: "command", prompt: "agent's prompt", alert: "alert or error", other: "other" };

/** The class of the colour of a step's bar. */
function colorOf({ kind }) {
  if (kind === "error") return "alert";
  return kind in COLORS ? kind : "other";
}

function swatch(name) {
  return svg("svg", { class: "icon", width: 14, height: 12, "aria-hidden": "true" }, svg("rect", { class: name, x: 1, y: 2, width: 12, height: 8, rx: 2 }));
}

/** A step of 1, 2 or 5 times a power of ten seconds that is at least `least`, less what is compressed. */
function niceStep(least, scale) {
  const hidden = scale.breaks.reduce((sum, gap) => sum + gap.length, 0);
  const whole = scale.end - scale.begin;
  const wanted = Math.max(0.001, least * (whole > 0 ? Math.max(1e-6, (whole - hidden) / whole) : 1));
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= wanted) ?? wanted;
}
