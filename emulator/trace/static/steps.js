// The list of steps: a tree that can be filtered, and that stays quick with many thousands of steps.

import { h, spoken } from "./dom.js";
import { counted, duration, isApplied, isClockMove, isFailed, noun, offset, reasonOf, result } from "./format.js";
import { TWISTY, drawing, kindIcon, markIcon } from "./icons.js";

/** Height of a row in pixels; that of the stylesheet. */
const ROW = 28;
/** Above so many rows only those that are in view are made. */
const VIRTUAL = 500;
/** Rows that are made above and below the view. */
const SPARE = 20;
let lists = 0;

/** The list of the steps of a tree in `root`. It calls `onSelect(step)` when the selection changes. */
export class StepList {
  constructor(root, tree, { onSelect = () => {}, label = "Steps" } = {}) {
    this.tree = tree;
    this.selected = null;
    this._onSelect = onSelect;
    this._closedByHand = new Set();
    /** The steps that were closed while the filter was as it is; its matches are open at first. */
    this._closedInFilter = new Set();
    this._hiddenKinds = new Set();
    this._words = [];
    this._errorsOnly = false;
    this._rows = [];
    this._prefix = `list${(lists += 1)}`;
    this._build(root, label);
    this.refresh();
  }

  /** Show what the tree has now. */
  refresh() {
    this._fillKinds();
    this._arrange();
  }

  /** Select a step. `reveal`: open what it is in, and scroll it into view if it is not. */
  select(step, { reveal = true } = {}) {
    if (!step) return;
    if (reveal) {
      this._open(step);
      if (this._index(step) < 0 && this._isFiltered) {
        this._clearFilter();
        this._open(step);
      }
    }
    const changed = this.selected !== step;
    this.selected = step;
    if (reveal) this._scrollTo(this._index(step));
    this._drawSelection();
    if (changed) this._onSelect(step);
  }

  /** Open what a step is in. */
  _open(step) {
    const closed = this.tree.ancestors(step).filter((above) => this._closed.delete(above.id));
    if (closed.length) this._arrange();
  }

  /** The ids of the steps that are closed. */
  get _closed() {
    return this._isFiltered ? this._closedInFilter : this._closedByHand;
  }

  /** Whether the last row is in view. */
  get isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this._scroller;
    return scrollTop + clientHeight >= scrollHeight - ROW;
  }

  /** Scroll the last row into view. */
  scrollToEnd() {
    this._scroller.scrollTop = this._scroller.scrollHeight;
    this._draw();
  }

  /** Move the selection by so many rows. */
  move(by) {
    let index = this._index(this.selected);
    if (index < 0 && this.selected) index = this._index(this.tree.ancestors(this.selected).find((above) => this._index(above) >= 0));
    const to = index < 0 ? 0 : Math.min(this._rows.length - 1, Math.max(0, index + by));
    this.select(this._rows[to]?.step);
  }

  focus() {
    this._scroller.focus({ preventScroll: true });
  }

  focusFilter() {
    this._filter.focus();
    this._filter.select();
  }

  /** Select the next step that failed, from the beginning after the last one. Steps that are closed count, too. */
  nextError() {
    const errors = this.tree.rows().filter(({ step }) => step.status === "error" && this._matches(step));
    if (!errors.length) return this._say(this._isFiltered ? "none among the filtered steps" : "No step failed");
    const order = new Map(this.tree.rows().map(({ step }, index) => [step, index]));
    const here = this.selected ? order.get(this.selected) : -1;
    const next = errors.find(({ step }) => order.get(step) > here) ?? errors[0];
    this.select(next.step);
    return undefined;
  }

  _build(root, label) {
    const id = `${this._prefix}-filter`;
    this._filter = h("input", {
      id, type: "search", placeholder: "Filter", title: "Filter by text in titles, data and output", autocomplete: "off", spellcheck: "false",
      oninput: () => this._setFilter(),
      onkeydown: (event) => this._filterKey(event),
    });
    this._errors = h("input", {
      type: "checkbox",
      onchange: () => this._setFilter(),
      onkeydown: (event) => this._filterKey(event),
    });
    this._kinds = h("div", { class: "menu", role: "group", "aria-label": "Kinds of steps" });
    this._kindsLabel = h("span", {}, "All kinds");
    this._menu = h("details", { class: "kinds" }, h("summary", {}, this._kindsLabel), this._kinds);
    this._menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this._menu.open) return;
      this._menu.open = false;
      this._menu.querySelector("summary").focus();
    });
    document.addEventListener("click", (event) => {
      if (!this._menu.contains(event.target)) this._menu.open = false;
    });
    this._count = h("span", { class: "count", role: "status", "aria-live": "polite" });
    this._space = h("div", { class: "space", role: "presentation" });
    this._scroller = h(
      "div",
      {
        class: "rows", role: "tree", tabindex: "0", "aria-label": label,
        onscroll: () => this._schedule(),
        onkeydown: (event) => this._key(event),
        onclick: (event) => this._click(event),
      },
      this._space,
    );
    this._emptyText = h("span", {});
    this._emptyButton = h("button", { type: "button", onclick: () => this._clearFilter() }, "Clear the filter");
    this._empty = h("p", { class: "empty", hidden: true }, this._emptyText, this._emptyButton);
    root.append(
      h(
        "div",
        { class: "filters", role: "search", "aria-label": "Filter steps" },
        h("label", { class: "spoken", for: id }, "Filter steps by text"),
        this._filter,
        this._menu,
        h("label", { class: "check" }, this._errors, "Errors only"),
        this._count,
      ),
      this._empty,
      this._scroller,
    );
    new ResizeObserver(() => this._schedule()).observe(this._scroller);
  }

  _fillKinds() {
    const counts = new Map();
    for (const step of this.tree.steps) counts.set(step.kind, (counts.get(step.kind) ?? 0) + 1);
    const key = JSON.stringify([...counts]);
    if (key === this._kindsKey) return;
    this._kindsKey = key;
    this._kinds.replaceChildren(
      h("div", { class: "choices" }, this._choice("All", () => true), this._choice("None", () => false)),
      ...[...counts].map(([kind, count]) => {
        const box = h("input", { type: "checkbox", value: kind, onchange: () => this._setFilter() });
        box.checked = !this._hiddenKinds.has(kind);
        return h(
          "div",
          { class: "kind-row" },
          h("label", { class: "check" }, box, kindIcon(kind), kind, h("span", { class: "muted number" }, String(count))),
          this._choice("only", (one) => one === kind, `Only ${kind}`),
        );
      }),
    );
  }

  /** A button that chooses the kinds for which `isShown(kind)` is true. */
  _choice(text, isShown, label = null) {
    return h("button", { type: "button", class: "choice", "aria-label": label, onclick: () => {
      for (const box of this._kinds.querySelectorAll("input")) box.checked = isShown(box.value);
      this._setFilter();
    } }, text);
  }

  get _isFiltered() {
    return this._words.length > 0 || this._errorsOnly || this._hiddenKinds.size > 0;
  }

  _setFilter() {
    this._closedInFilter.clear();
    this._words = this._filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    this._errorsOnly = this._errors.checked;
    const boxes = [...this._kinds.querySelectorAll("input")];
    this._hiddenKinds = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    this._kindsLabel.textContent = this._hiddenKinds.size ? `${boxes.length - this._hiddenKinds.size} of ${boxes.length} kinds` : "All kinds";
    this._arrange();
    this._scroller.scrollTop = 0;
    this._scrollTo(this._index(this.selected));
    this._draw();
  }

  _clearFilter() {
    this._filter.value = "";
    this._errors.checked = false;
    for (const box of this._kinds.querySelectorAll("input")) box.checked = true;
    this._setFilter();
  }

  _matches(step) {
    return (
      (!this._errorsOnly || step.status === "error") &&
      !this._hiddenKinds.has(step.kind) &&
      (!this._words.length || this.tree.matches(step, this._words))
    );
  }

  /** Find the rows that are shown: those that match, and what they are in. */
  _arrange() {
    const all = this.tree.rows();
    let shown = null;
    let matching = all.length;
    if (this._isFiltered) {
      const found = all.filter(({ step }) => this._matches(step));
      matching = found.length;
      shown = new Map();
      for (const { step } of found) {
        for (const above of this.tree.ancestors(step)) if (!shown.has(above)) shown.set(above, false);
        shown.set(step, true);
      }
    }
    this._rows = [];
    let closedDepth = Infinity;
    for (const row of all) {
      if (row.depth > closedDepth) continue;
      closedDepth = Infinity;
      if (shown && !shown.has(row.step)) continue;
      const isOpen = !this._closed.has(row.step.id);
      this._rows.push({ ...row, isOpen, isParent: this.tree.children(row.step).length > 0, isAside: shown ? !shown.get(row.step) : false });
      if (!isOpen) closedDepth = row.depth;
    }
    this._places = new Map(this._rows.map((row, index) => [row.step, index]));
    this._say(this._isFiltered ? `${matching.toLocaleString("en")} of ${counted(all.length, "step")}` : counted(all.length, "step"));
    this._empty.hidden = this._rows.length > 0;
    this._emptyText.textContent = all.length ? "No step matches the filter. " : "Nothing happened yet.";
    this._emptyButton.hidden = !all.length;
    this._space.style.height = `${this._rows.length * ROW}px`;
    this._draw();
  }

  _say(text) {
    if (this._count.textContent !== text) this._count.textContent = text;
  }

  _index(step) {
    return this._places?.get(step) ?? -1;
  }

  _schedule() {
    if (this._frame) return;
    this._frame = requestAnimationFrame(() => {
      this._frame = 0;
      if (this._rows.length > VIRTUAL) this._draw();
    });
  }

  /** The first row that is made, and the one after the last. */
  get _span() {
    if (this._rows.length <= VIRTUAL) return [0, this._rows.length];
    const first = Math.max(0, Math.floor(this._scroller.scrollTop / ROW) - SPARE);
    return [first, Math.min(this._rows.length, first + Math.ceil(this._scroller.clientHeight / ROW) + 2 * SPARE)];
  }

  _draw() {
    const [first, end] = this._span;
    const rows = [];
    for (let index = first; index < end; index += 1) rows.push(this._row(this._rows[index], index));
    this._space.replaceChildren(...rows);
    this._drawn = { rows: this._rows, first, end };
    this._nameActive(first, end);
  }

  /** Draw another selection: where the same rows are in view, the others stay as they are. */
  _drawSelection() {
    const [first, end] = this._span;
    const { rows, first: drawnFirst, end: drawnEnd } = this._drawn;
    if (rows !== this._rows || first !== drawnFirst || end !== drawnEnd) return this._draw();
    markSelected(this._space.querySelector(".row.selected"), false);
    markSelected(this._space.children[this._index(this.selected) - first], true);
    return this._nameActive(first, end);
  }

  /** Name the selected row for a screen reader, if it is made. */
  _nameActive(first, end) {
    const active = this._index(this.selected);
    if (active >= first && active < end) this._scroller.setAttribute("aria-activedescendant", this._rowId(active));
    else this._scroller.removeAttribute("aria-activedescendant");
  }

  _rowId(index) {
    return `${this._prefix}-row${index}`;
  }

  _row({ step, depth, position, of, isOpen, isParent, isAside }, index) {
    const isSelected = step === this.selected;
    const outcome = result(step);
    const failed = isFailed(step);
    const reason = reasonOf(step);
    const row = h(
      "div",
      {
        class: `row${isSelected ? " selected" : ""}${isAside ? " aside" : ""}${failed ? " failed" : ""}`,
        role: "treeitem",
        id: this._rowId(index),
        "data-index": index,
        "aria-level": depth + 1,
        "aria-posinset": position,
        "aria-setsize": of,
        "aria-selected": String(isSelected),
        "aria-expanded": isParent ? String(isOpen) : null,
      },
      h("span", { class: "time" }, offset(this.tree.seconds(step))),
      h("span", { class: "indent" }),
      isParent ? h("span", { class: `twisty${isOpen ? " open" : ""}` }, drawing("", TWISTY)) : h("span", { class: "twisty" }),
      kindIcon(step.kind),
      spoken(step.kind),
      h(
        "span",
        { class: "words", title: reason ? `${step.title}: ${reason}` : step.title },
        h("span", { class: "title" }, this.tree.title(step)),
        reason && h("span", { class: "reason" }, ` ${reason}`),
      ),
      this._marks(step),
      outcome && h("span", { class: `outcome${failed ? " failed" : ""}` }, failed ? `✕ ${outcome}` : outcome),
      step.status === "ok" && !outcome && spoken("ok"),
      (step.kind !== "alert" || step.duration_ms > 0) && h("span", { class: "took" }, duration(step.duration_ms)),
    );
    row.style.top = `${index * ROW}px`;
    row.querySelector(".indent").style.width = `${Math.min(depth, 12) * 14}px`;
    return row;
  }

  _marks(step) {
    const marks = isApplied(step) ? [...new Set(step.controls.map(noun))] : [];
    if (isClockMove(step)) marks.push("clock");
    return marks.map((name) => h("span", { class: "applied", title: name }, markIcon(name), spoken(name)));
  }

  _click(event) {
    const element = event.target.closest(".row");
    if (!element) return;
    const row = this._rows[Number(element.dataset.index)];
    if (event.target.closest(".twisty") && row.isParent) this._toggle(row.step, !row.isOpen);
    else this.select(row.step, { reveal: false });
    this.focus();
  }

  _toggle(step, isOpen) {
    if (isOpen) this._closed.delete(step.id);
    else this._closed.add(step.id);
    this._arrange();
  }

  _key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const index = this._index(this.selected);
    const row = this._rows[index];
    const page = Math.max(1, Math.floor(this._scroller.clientHeight / ROW) - 1);
    const move = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (move !== undefined) {
      this.move(move);
    } else if (event.key === "ArrowRight" && row) {
      if (row.isParent && !row.isOpen) this._toggle(row.step, true);
      else if (row.isParent) this.select(this._rows[index + 1]?.step);
    } else if (event.key === "ArrowLeft" && row) {
      if (row.isParent && row.isOpen) this._toggle(row.step, false);
      else this.select(this.tree.parent(row.step));
    } else if (event.key === "Escape" && this._isFiltered) {
      this._clearFilter();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  _filterKey(event) {
    if (event.key === "Escape") {
      this._clearFilter();
      this.focus();
    } else if (event.key === "ArrowDown" || event.key === "Enter") {
      this.focus();
      if (this._index(this.selected) < 0) this.select(this._rows.find((row) => !row.isAside)?.step);
    } else return;
    event.preventDefault();
  }

  _scrollTo(index) {
    if (index < 0) return;
    const [top, height] = [this._scroller.scrollTop, this._scroller.clientHeight];
    // A row in view stays where it is; another one comes to the middle, with what is around it.
    if (index * ROW >= top && (index + 1) * ROW <= top + height) return;
    const isNext = index * ROW >= top - ROW && (index + 1) * ROW <= top + height + ROW;
    if (!isNext) this._scroller.scrollTop = Math.max(0, (index + 0.5) * ROW - height / 2);
    else this._scroller.scrollTop = index * ROW < top ? index * ROW : (index + 1) * ROW - height;
  }
}

/** Mark a row as selected or not, if it is made. */
function markSelected(row, isSelected) {
  row?.classList.toggle("selected", isSelected);
  row?.setAttribute("aria-selected", String(isSelected));
}
