// The steps as a tree that grows.

import { isApplied, listOf, noun, textOf } from "./format.js";

/** Kinds of steps that a sandbox reports on its own, also after what caused them is over. */
const EVENTS = new Set(["sandbox", "alert", "event", "error"]);

/** Levels above a step that are looked at for one that still ran. */
const LEVELS = 20;

function isOver(step, moment) {
  return Number.isFinite(step.duration_ms) && moment > step.start + step.duration_ms / 1000;
}

/** Steps by their parents. A parent that is not there, or that is below its own child, counts as none. */
export class StepTree {
  constructor() {
    /** All steps, in the order in which they began. */
    this.steps = [];
    this.begin = 0;
    this._byId = new Map();
    this._children = new Map();
    this._corpus = new Map();
    this._described = new Map();
    this._order = null;
  }

  /** Add steps, or replace those that have the same ids. */
  update(steps) {
    for (const step of steps) {
      const known = this._byId.get(step.id);
      if (known) Object.assign(known, step);
      else this._byId.set(step.id, step) && this.steps.push(step);
      this._corpus.delete(step.id);
      if (step.kind === "control") this._describe(step);
    }
    this.steps.sort((a, b) => a.start - b.start);
    this._children.clear();
    for (const step of this.steps) {
      const key = this.parent(step)?.id ?? null;
      if (!this._children.has(key)) this._children.set(key, []);
      this._children.get(key).push(step);
    }
    this._order = null;
  }

  get(id) {
    return this._byId.get(id);
  }

  children(step) {
    return this._children.get(step.id) ?? [];
  }

  /** The step that caused a step. What happens in a sandbox after its cause is over belongs to the step above that
   *  still ran, so that it stands where it happened. */
  parent(step) {
    const parent = step.parent === step.id ? undefined : this._byId.get(step.parent);
    if (!parent || !EVENTS.has(step.kind)) return parent;
    let above = parent;
    for (let level = 0; level < LEVELS && above && above !== step; level += 1) {
      if (!isOver(above, step.start)) return above;
      above = this._byId.get(above.parent);
    }
    return parent;
  }

  /** The steps above a step, the nearest first. */
  ancestors(step) {
    const found = [];
    const seen = new Set([step]);
    for (let above = this.parent(step); above && !seen.has(above); above = this.parent(above)) {
      seen.add(above);
      found.push(above);
    }
    return found;
  }

  /** The steps below a step, and the step itself. */
  subtree(step) {
    return this._walk([step], new Set()).map((row) => row.step);
  }

  /** All steps as rows { step, depth, position, of }, each before its children. */
  rows() {
    if (this._order === null) {
      const seen = new Set();
      const roots = this._walk(this._children.get(null) ?? [], seen);
      const circles = this.steps.filter((step) => !seen.has(step));
      this._order = circles.length ? roots.concat(this._walk(circles, seen)) : roots;
    }
    return this._order;
  }

  _walk(roots, seen) {
    const rows = [];
    const waiting = [];
    const put = (steps, depth) => {
      for (let i = steps.length - 1; i >= 0; i--) waiting.push({ step: steps[i], depth, position: i + 1, of: steps.length });
    };
    put(roots, 0);
    while (waiting.length) {
      const row = waiting.pop();
      if (seen.has(row.step)) continue;
      seen.add(row.step);
      rows.push(row);
      put(this.children(row.step), row.depth + 1);
    }
    return rows;
  }

  /** When a step began, in seconds since the beginning. */
  seconds(step) {
    return Math.max(0, step.start - this.begin);
  }

  /** Whether all words are in the texts of a step. */
  matches(step, words) {
    let corpus = this._corpus.get(step.id);
    if (corpus === undefined) {
      const names = step.controls.map((id) => this.described(id)).join(" ");
      const printed = listOf(step, "output").map((piece) => piece?.[1] ?? "").join("");
      // Output is searched without its times; lines of source around a call would match for many calls.
      const rest = JSON.stringify(step.detail, (name, value) => (name === "output" || name === "code" ? undefined : value));
      corpus = `${step.id} ${step.kind} ${step.title} ${step.sandbox} ${names} ${printed} ${rest}`.toLowerCase();
      this._corpus.set(step.id, corpus);
    }
    return words.every((word) => corpus.includes(word));
  }

  /** The title of a step as a list shows it. */
  title(step) {
    if (step.kind === "command") return step.title.replace(/^\$ /, "");
    if (step.kind === "alert") return step.title.replace(/^\w+: /, ""); // its severity stands at the end of the row
    const added = step.kind === "control" ? step.controls.map((id) => this.described(id)) : [];
    return added.length ? `${step.title}: ${added.join(", ")}` : step.title || step.kind;
  }

  /** Name a control whose step is not here. */
  name(id, described) {
    this._described.set(id, described);
  }

  /** A control in one line; its id where the step that added it is not known. */
  described(id) {
    return this._described.get(id) ?? id;
  }

  /** A text in which controls are described instead of named by their ids. */
  withNames(text) {
    return text.replace(/\b(?:(?:fault|stub|reply) )?((?:fault|stub|reply)_\w+)/g, (found, id) => this._described.get(id) ?? found);
  }

  /** The step that added a control, if it is here. */
  addedBy(id) {
    return this.steps.find((step) => step.kind === "control" && step.controls.includes(id));
  }

  /** The steps that a control applied to. */
  appliedTo(id) {
    return this.steps.filter((step) => isApplied(step) && step.controls.includes(id));
  }

  /** The step that a control applied to almost, with the reason: { step, text }; undefined where none is known. */
  nearMiss(id) {
    const found = this.steps.flatMap((step) =>
      listOf(step, "near_misses").map(String).map((text, rank) => ({ step, text, rank })).filter(({ text }) => text.split(/[\s:]+/, 2)[1] === id),
    );
    return found.sort((a, b) => a.rank - b.rank)[0];
  }

  _describe(step) {
    const body = step.detail?.body;
    if (body === null || typeof body !== "object") return;
    const agent = /\/agents\/([^/]+)/.exec(textOf(step, "path"))?.[1] ?? "";
    const main = ["operation", "match", "program", "text", "status"].map((name) => body[name]).filter((value) => value);
    const words = main.map((value) => (String(value).includes(" ") ? `'${String(value).slice(0, 60).trim()}'` : value));
    for (const id of step.controls) {
      if (!this._described.has(id)) this.name(id, [noun(id), agent, ...words].filter(Boolean).join(" "));
    }
  }
}
