// A shell of a sandbox, in a terminal: xterm.js, at the other end of the API's WebSocket.

import { h } from "./dom.js";
import { eachElement } from "./parts.js";
import { allowStyles } from "./terminal_styles.js";
import { Terminal } from "./xterm.js";

const LEAST = { cols: 20, rows: 4 };
const SCROLL_BAR = 14;

/** Open a terminal in each element with `data-terminal`, the id of a sandbox. */
export async function openTerminals() {
  await allowStyles();
  eachElement("[data-terminal]", (root) => {
    const view = new TerminalView(root);
    return () => view.close();
  });
}

class TerminalView {
  constructor(root) {
    this._root = root;
    this._screen = h("div", { class: "screen" });
    this._state = h("span", { role: "status" });
    this._again = h("button", { type: "button", hidden: true, onclick: () => this._connect() }, "Open it again");
    this._line = h(
      "p",
      { class: "terminal-line", tabindex: "-1" },
      this._state,
      this._again,
      h("span", { class: "muted" }, h("kbd", {}, "Shift"), "+", h("kbd", {}, "Esc"), " leaves the terminal"),
    );
    root.append(this._screen, this._line);
    this._terminal = new Terminal({
      fontFamily: getComputedStyle(this._screen).fontFamily,
      fontSize: 13,
      lineHeight: 1.2,
      scrollback: 5000,
      cursorBlink: false,
      minimumContrastRatio: 4.5,
      screenReaderMode: true,
      // A program chooses where its links lead, and a page elsewhere must not learn the inspector's host name.
      linkHandler: { activate: () => {} },
      theme: this._theme(),
    });
    this._terminal.open(this._screen);
    this._terminal.textarea.setAttribute("aria-label", "Terminal");
    this._terminal.onData((data) => this._send({ type: "input", data }));
    this._terminal.onResize(({ cols, rows }) => this._send({ type: "resize", cols, rows }));
    this._terminal.attachCustomKeyEventHandler((event) => this._key(event));
    this._sizes = new ResizeObserver(() => this._fit());
    this._sizes.observe(this._screen);
    this._themes = new MutationObserver(() => this._paint());
    this._themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    this._dark = matchMedia("(prefers-color-scheme: dark)");
    this._paint = this._paint.bind(this);
    this._dark.addEventListener("change", this._paint);
    this._fit();
    this._connect();
  }

  /** Close the connection, and free everything. */
  close() {
    this._socket?.close();
    this._sizes.disconnect();
    this._themes.disconnect();
    this._dark.removeEventListener("change", this._paint);
    this._terminal.dispose();
  }

  _connect() {
    const { cols, rows } = this._terminal;
    const query = new URLSearchParams({ rows, cols, account: document.body.dataset.account });
    const id = encodeURIComponent(this._root.dataset.terminal);
    const socket = new WebSocket(`ws://${location.host}/v1/sandboxes/${id}/terminal?${query}`, "terminal");
    this._socket = socket;
    let wasOpen = false;
    this._terminal.reset();
    this._show("◌ connecting", "busy");
    socket.onopen = () => {
      wasOpen = true;
      this._show("● connected", "good");
      this._fit();
      this._terminal.focus();
    };
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.type === "output") this._terminal.write(message.data);
    };
    socket.onclose = (event) => {
      if (!this._root.isConnected) return;
      if (!wasOpen) this._show("✕ The terminal could not be opened; the step under Activity says why.", "bad");
      else if (event.code === 1000) this._show("○ The shell has ended.", "off");
      else this._show("✕ The connection was lost.", "bad");
      this._again.hidden = false;
    };
  }

  _show(text, name) {
    this._state.textContent = text;
    this._state.className = `status ${name}`;
    this._again.hidden = true;
  }

  _send(message) {
    if (this._socket?.readyState === WebSocket.OPEN) this._socket.send(JSON.stringify(message));
  }

  /** Tab is for the shell, so another key leaves the terminal. */
  _key(event) {
    if (event.type !== "keydown" || event.key !== "Escape" || !event.shiftKey) return true;
    event.preventDefault();
    (this._again.hidden ? this._line : this._again).focus();
    return false;
  }

  /** As many rows and columns as there is room for. */
  _fit() {
    const cells = this._screen.querySelector(".xterm-screen").getBoundingClientRect();
    const style = getComputedStyle(this._screen);
    const width = this._screen.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - SCROLL_BAR;
    const height = this._screen.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    if (!cells.width || !cells.height || width <= 0) return;
    const cols = Math.max(LEAST.cols, Math.floor((width * this._terminal.cols) / cells.width));
    const rows = Math.max(LEAST.rows, Math.floor((height * this._terminal.rows) / cells.height));
    if (cols !== this._terminal.cols || rows !== this._terminal.rows) this._terminal.resize(cols, rows);
  }

  _paint() {
    this._terminal.options.theme = this._theme();
  }

  /** The colors of the page: those of the screen, the cursor and the selection are properties of its style. */
  _theme() {
    const style = getComputedStyle(this._screen);
    return {
      background: style.backgroundColor,
      foreground: style.color,
      cursor: style.caretColor,
      cursorAccent: style.backgroundColor,
      selectionBackground: style.textDecorationColor,
    };
  }
}
