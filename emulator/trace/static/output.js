// The output of a command, as a terminal shows it, which can be played like a recording.

import { Screen } from "./ansi.js";
import { h } from "./dom.js";
import { offset } from "./format.js";

/** The longest pause when an output is played, in seconds. */
const LONGEST_PAUSE = 1;
/** The shortest output that can be played, in seconds. */
const SHORTEST_PLAYED = 1;

/** The pieces of an output as [seconds, text], with a note where its middle was cut out. */
function piecesOf(detail) {
  const given = Array.isArray(detail.output) ? detail.output : [];
  const pieces = given.filter((piece) => Array.isArray(piece) && Number.isFinite(piece[0])).map(([at, text]) => ({ at, text: String(text) }));
  const cut = detail.output_cut;
  if (!cut || !Number.isFinite(cut.after)) return pieces;
  const note = { note: `${Number(cut.characters).toLocaleString("en")} characters of output are not kept` };
  const found = [];
  let length = 0;
  for (const piece of pieces) {
    const place = cut.after - length;
    length += piece.text.length;
    if (place < 0 || place >= piece.text.length) {
      found.push(piece);
      continue;
    }
    found.push({ at: piece.at, text: piece.text.slice(0, place) }, { at: piece.at, ...note }, { at: piece.at, text: piece.text.slice(place) });
  }
  return found;
}

/** The output of a command's detail with its controls. */
export class OutputView {
  constructor(detail) {
    this._pieces = piecesOf(detail);
    this._times = [];
    let [now, before] = [0, 0];
    for (const { at } of this._pieces) {
      now += Math.min(LONGEST_PAUSE, Math.max(0, at - before));
      before = at;
      this._times.push(now);
    }
    this._end = now;
    this._done = 0;
    this._position = now;
    this._timer = 0;
    this._screen = h("div", { class: "screen", tabindex: "0", role: "region", "aria-label": "Output" });
    this.element = h("div", { class: "output" }, this._isPlayable && this._controls(), this._screen);
    this._restart();
    this._show(this._end);
  }

  /** Whether playing it shows more than its end does. */
  get _isPlayable() {
    return this._pieces.length > 1 && this._pieces[this._pieces.length - 1].at - this._pieces[0].at >= SHORTEST_PLAYED;
  }

  /** Stop playing; the view is not shown any more. */
  close() {
    this._pause();
  }

  _controls() {
    this._button = h("button", { type: "button", class: "play", onclick: () => this._toggle() }, "▶ Play");
    this._slider = h("input", {
      type: "range", min: 0, max: this._end, step: "any", "aria-label": "Position in the recording",
      oninput: () => { this._pause(); this._show(Number(this._slider.value)); },
    });
    this._slider.value = this._end;
    this._speed = h("select", { "aria-label": "Speed" }, [1, 2, 4, 0.5].map((one) => h("option", { value: one }, `${one}×`)));
    this._clock = h("span", { class: "clock" });
    return h("div", { class: "player" }, this._button, this._slider, this._clock, this._speed);
  }

  _toggle() {
    if (this._timer) {
      this._pause();
      return;
    }
    if (this._position >= this._end) this._show(0);
    this._button.textContent = "❚❚ Pause";
    let last = performance.now();
    this._timer = setInterval(() => {
      const now = performance.now();
      this._show(this._position + ((now - last) / 1000) * Number(this._speed.value));
      last = now;
      if (this._position >= this._end) this._pause();
    }, 30);
  }

  _pause() {
    clearInterval(this._timer);
    this._timer = 0;
    if (this._button) this._button.textContent = "▶ Play";
  }

  _restart() {
    this._terminal = new Screen();
    this._rows = new Map();
    this._done = 0;
    this._dropped = null;
    this._screen.replaceChildren();
  }

  /** Show what had been printed at a position of the recording. */
  _show(position) {
    this._position = Math.min(this._end, Math.max(0, position));
    if (this._done > 0 && this._times[this._done - 1] > this._position) this._restart();
    while (this._done < this._pieces.length && this._times[this._done] <= this._position) {
      const piece = this._pieces[this._done];
      if (piece.note) this._terminal.note(piece.note);
      else this._terminal.write(piece.text, piece.at);
      this._done += 1;
    }
    this._draw();
    if (this._slider) {
      this._slider.value = this._position;
      this._clock.textContent = `${offset(this._done ? this._pieces[this._done - 1].at : 0)} s`;
      this._slider.setAttribute("aria-valuetext", this._clock.textContent);
    }
  }

  _draw() {
    const terminal = this._terminal;
    const lines = terminal.lines;
    const end = lines.length && !lines[lines.length - 1].characters.length && !lines[lines.length - 1].note ? lines.length - 1 : lines.length;
    const wasAtEnd = this._screen.scrollTop + this._screen.clientHeight >= this._screen.scrollHeight - 8;
    const kept = new Set(lines.slice(0, end));
    for (const [line, row] of this._rows) {
      if (kept.has(line)) continue;
      row.remove();
      this._rows.delete(line);
    }
    let before = null;
    for (const line of kept) {
      if (!this._rows.has(line)) {
        const row = h("div", { class: "line" });
        this._rows.set(line, row);
        this._screen.append(row);
        this._fill(row, line, before);
      } else if (terminal.changed.has(line)) this._fill(this._rows.get(line), line, before);
      if (line.at !== null) before = line.at;
    }
    terminal.changed.clear();
    if (terminal.dropped) {
      this._dropped ??= this._screen.insertBefore(h("div", { class: "line note" }), this._screen.firstChild);
      this._dropped.replaceChildren(h("span", { class: "at" }), `${terminal.dropped.toLocaleString("en")} lines above are not shown`);
    }
    if (this._timer && wasAtEnd) this._screen.scrollTop = this._screen.scrollHeight;
  }

  _fill(row, line, before) {
    const at = h("span", { class: "at", "aria-hidden": "true" }, line.at !== null && line.at !== before ? offset(line.at) : "");
    if (line.note) {
      row.classList.add("note");
      row.replaceChildren(at, line.note);
      return;
    }
    row.replaceChildren(at, h("span", { class: "text" }, ...runs(line)));
  }
}

/** The characters of a line, those with the same style together. */
function runs(line) {
  const found = [];
  for (let i = 0; i < line.characters.length; ) {
    const style = line.styles[i] ?? line.styles[0];
    const start = i;
    while (i < line.characters.length && (line.styles[i] ?? line.styles[0]) === style) i += 1;
    const text = line.characters.slice(start, i).join("");
    if (!style.key) found.push(text);
    else {
      const span = h("span", { class: style.classes || null }, text);
      if (style.color) span.style.color = style.color;
      if (style.background) span.style.backgroundColor = style.background;
      found.push(span);
    }
  }
  return found;
}
