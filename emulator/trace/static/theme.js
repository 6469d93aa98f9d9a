// Light or dark: as the system has it, or as chosen here.

import { h } from "./dom.js";

const KEY = "caged-theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };

function chosen() {
  try {
    const value = localStorage.getItem(KEY);
    return value in NEXT ? value : "auto";
  } catch {
    return document.documentElement.dataset.theme ?? "auto"; // a page in a file may have no storage
  }
}

/** Show the theme that was chosen. */
export function applyTheme(theme = chosen()) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // It is forgotten with the page.
  }
}

/** A button that changes from one theme to the next. */
export function themeButton() {
  const label = () => `Theme: ${chosen()}`;
  const button = h("button", { type: "button", class: "theme", onclick: () => {
    applyTheme(NEXT[chosen()]);
    button.textContent = label();
  } }, label());
  return button;
}
