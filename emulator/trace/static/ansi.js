// What a program printed, as a terminal would show it: lines of characters with styles.

/** Lines that are kept; the oldest are dropped. */
const MOST_LINES = 5000;
/** How far a program may move the cursor to the right, and up or down. */
const MOST_COLUMNS = 2000;
const MOST_ROWS = 300;

const PLAIN = { key: "", classes: "", color: null, background: null };

/** A screen that keeps its lines. `write` may be called with any part of an output. */
export class Screen {
  constructor() {
    this.lines = [];
    this.dropped = 0;
    this.changed = new Set();
    this._pending = "";
    this._row = 0;
    this._column = 0;
    this._top = 0;
    this._style = PLAIN;
    this._styles = new Map([["", PLAIN]]);
    this._set = {};
  }

  /** Print a text. `at`: after how many seconds. */
  write(text, at) {
    const all = this._pending + text;
    this._pending = "";
    for (let i = 0; i < all.length; ) {
      const code = all.charCodeAt(i);
      if (code === 0x1b) {
        const length = this._escape(all, i);
        if (length === 0) {
          this._pending = all.slice(i);
          return;
        }
        i += length;
      } else if (code < 0x20 || (code >= 0x7f && code < 0xa0)) {
        this._control(code);
        i += 1;
      } else {
        const character = String.fromCodePoint(all.codePointAt(i));
        this._put(character, at);
        i += character.length;
      }
    }
  }

  /** Add a line that no program printed. */
  note(text) {
    if (this._column > 0) this._newline();
    const line = this._line();
    line.note = text;
    this._newline();
  }

  _line() {
    while (this.lines.length <= this._row) {
      this.lines.push({ characters: [], styles: [], at: null, note: null });
    }
    if (this.lines.length > MOST_LINES) {
      const excess = this.lines.length - MOST_LINES;
      for (const line of this.lines.splice(0, excess)) this.changed.delete(line);
      this.dropped += excess;
      this._row = Math.max(0, this._row - excess);
      this._top = Math.max(0, this._top - excess);
    }
    const line = this.lines[this._row];
    this.changed.add(line);
    return line;
  }

  _put(character, at) {
    const line = this._line();
    while (line.characters.length < this._column) {
      line.characters.push(" ");
      line.styles.push(PLAIN);
    }
    line.at ??= at;
    line.characters[this._column] = character;
    line.styles[this._column] = this._style;
    if (this._column < MOST_COLUMNS * 40) this._column += 1;
  }

  _newline() {
    this._line();
    this._row += 1;
    this._column = 0;
    this._line();
  }

  _control(code) {
    if (code === 10) this._newline();
    else if (code === 13) this._column = 0;
    else if (code === 8) this._column = Math.max(0, this._column - 1);
    else if (code === 9) this._column = Math.min(MOST_COLUMNS, (Math.floor(this._column / 8) + 1) * 8);
  }

  /** Do what the escape sequence at a place says. Returns its length; 0 where its end is not there yet. */
  _escape(text, start) {
    const kind = text[start + 1];
    if (kind === undefined) return 0;
    if (kind === "[") {
      let end = start + 2;
      while (end < text.length && text.charCodeAt(end) >= 0x20 && text.charCodeAt(end) <= 0x3f) end += 1;
      if (end >= text.length) return end - start > 100 ? end - start : 0;
      this._csi(text.slice(start + 2, end), text[end]);
      return end - start + 1;
    }
    if ("]PX^_".includes(kind)) {
      for (let end = start + 2; end < text.length; end += 1) {
        if (text[end] === "\n") return end - start;
        if (text[end] === "\x07") return end - start + 1;
        if (text[end] === "\x1b") return text[end + 1] === "\\" ? end - start + 2 : end - start;
      }
      return text.length - start > 5000 ? text.length - start : 0;
    }
    return "()*+#% ".includes(kind) ? Math.min(3, text.length - start) : 2;
  }

  _csi(parameters, final) {
    if (final === "m") {
      this._select(parameters);
      return;
    }
    const numbers = parameters.replace(/[^\d;]/g, "").split(";").map((word) => parseInt(word, 10));
    const first = Number.isNaN(numbers[0]) ? 0 : numbers[0];
    const steps = Math.min(Math.max(1, first), MOST_ROWS);
    const columns = Math.min(Math.max(1, first), MOST_COLUMNS);
    if (final === "A") this._row = Math.max(this._top, this._row - steps);
    else if (final === "B") this._row += steps;
    else if (final === "C") this._column = Math.min(MOST_COLUMNS, this._column + columns);
    else if (final === "D") this._column = Math.max(0, this._column - columns);
    else if (final === "G") this._column = columns - 1;
    else if (final === "H" || final === "f") {
      this._row = this._top + steps - 1;
      this._column = Math.min(Math.max(1, numbers[1] || 1), MOST_COLUMNS) - 1;
    } else if (final === "K") this._eraseInLine(first);
    else if (final === "J" && first === 0) this._eraseBelow();
    else if (final === "J" && first === 2) this._page();
    else if (parameters === "?1049" && (final === "h" || final === "l")) this._page();
  }

  _eraseInLine(mode) {
    const line = this._line();
    if (mode === 0) {
      line.characters.length = Math.min(line.characters.length, this._column);
      line.styles.length = line.characters.length;
      return;
    }
    const end = mode === 2 ? line.characters.length : Math.min(this._column + 1, line.characters.length);
    line.characters.fill(" ", 0, end);
    line.styles.fill(PLAIN, 0, end);
  }

  _eraseBelow() {
    this._eraseInLine(0);
    for (const line of this.lines.slice(this._row + 1)) {
      line.characters.length = line.styles.length = 0;
      this.changed.add(line);
    }
  }

  /** Go on below what there is, which a terminal would have cleared. */
  _page() {
    while (this.lines.length && this.lines[this.lines.length - 1].characters.length === 0) {
      this.changed.delete(this.lines.pop());
    }
    this._top = this._row = this.lines.length;
    this._column = 0;
  }

  _select(parameters) {
    const words = parameters === "" ? [0] : parameters.replace(/:/g, ";").split(";").map(Number);
    const set = { ...this._set };
    for (let i = 0; i < words.length; i += 1) {
      const word = words[i];
      if (word === 38 || word === 48 || word === 58) {
        const [color, used] = extended(words, i + 1);
        i += used;
        if (word !== 58) set[word === 38 ? "color" : "background"] = color;
      } else select(set, word);
    }
    this._set = set;
    this._style = this._interned(set);
  }

  _interned(set) {
    const key = JSON.stringify(Object.entries(set).filter(([, value]) => value).sort());
    if (!this._styles.has(key)) this._styles.set(key, styleOf(key, set));
    return this._styles.get(key);
  }
}

const FLAGS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const UNSET = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"] };

function select(set, word) {
  if (word === 0) for (const name of Object.keys(set)) delete set[name];
  else if (FLAGS[word]) set[FLAGS[word]] = true;
  else if (UNSET[word]) for (const name of UNSET[word]) delete set[name];
  else if (word >= 30 && word <= 37) set.color = word - 30;
  else if (word >= 40 && word <= 47) set.background = word - 40;
  else if (word >= 90 && word <= 97) set.color = word - 82;
  else if (word >= 100 && word <= 107) set.background = word - 92;
  else if (word === 39) delete set.color;
  else if (word === 49) delete set.background;
}

/** The color after 38 or 48, and how many words it takes: 5;N of a palette, or 2;R;G;B. */
function extended(words, start) {
  const byte = (value) => Math.min(255, Math.max(0, Number.isFinite(value) ? value : 0));
  if (words[start] === 5) {
    const index = byte(words[start + 1]);
    return [index < 16 ? index : rgbOf(index), 2];
  }
  if (words[start] === 2) return [[1, 2, 3].map((i) => byte(words[start + i])), 4];
  return [undefined, 1];
}

function rgbOf(index) {
  if (index >= 232) return [8 + (index - 232) * 10, 8 + (index - 232) * 10, 8 + (index - 232) * 10];
  const levels = [0, 95, 135, 175, 215, 255];
  const place = index - 16;
  return [levels[Math.floor(place / 36)], levels[Math.floor(place / 6) % 6], levels[place % 6]];
}

/** A style: classes of the stylesheet for the sixteen colors, and values for others, readable on light and on dark. */
function styleOf(key, set) {
  let [color, background] = [set.color, set.background];
  const classes = ["bold", "dim", "italic", "underline", "strike"].filter((name) => set[name]).map((name) => `t-${name}`);
  if (set.inverse) {
    [color, background] = [background, color];
    if (color === undefined) classes.push("t-inverse-color");
    if (background === undefined) classes.push("t-inverse-background");
  }
  const style = { key, color: null, background: null };
  if (typeof background === "number") classes.push(`t-on-${background}`);
  else if (background) style.background = css(background);
  // A program that sets a background has chosen both; without a color, the one that is readable is chosen here.
  if (background !== undefined && !set.inverse) {
    const rgb = typeof background === "number" ? SIXTEEN[background] : background;
    if (typeof color === "number") style.color = css(SIXTEEN[color]);
    else style.color = color ? css(color) : luminance(rgb) > 0.179 ? "#000" : "#fff";
    if (typeof background === "number") style.background = css(rgb);
  } else if (typeof color === "number") classes.push(`t-${color}`);
  else if (color) style.color = `light-dark(${css(readable(color, false))}, ${css(readable(color, true))})`;
  style.classes = classes.join(" ");
  return style;
}

const SIXTEEN = [
  [20, 23, 28], [176, 38, 30], [31, 115, 70], [150, 100, 0], [40, 90, 200], [130, 60, 170], [0, 115, 130], [215, 220, 226],
  [95, 105, 120], [220, 70, 60], [60, 160, 105], [205, 150, 30], [90, 140, 240], [175, 110, 215], [40, 165, 180], [250, 251, 252],
];

function css(rgb) {
  return `rgb(${rgb.map(Math.round).join(" ")})`;
}

function luminance(rgb) {
  const [r, g, b] = rgb.map((one) => (one <= 10 ? one / 3294 : ((one / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** A color, moved towards black or white until its contrast with the screen is at least 4.5. */
function readable(rgb, isDark) {
  const screen = isDark ? 0.0106 : 0.955;
  const towards = isDark ? 255 : 0;
  let color = rgb;
  for (let i = 0; i < 20; i += 1) {
    const own = luminance(color);
    const contrast = isDark ? (own + 0.05) / (screen + 0.05) : (screen + 0.05) / (own + 0.05);
    if (contrast >= 4.6) return color;
    color = color.map((one) => one + (towards - one) * 0.15);
  }
  return color;
}
