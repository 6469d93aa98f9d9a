// A field that filters the rows of a table by their text. The table may be shown again at any time.

import { h } from "./dom.js";

/** Fewer rows are not filtered. */
const LEAST = 6;

/** Serve the places for filters: each names the element that has its table. */
export function serveFilters() {
  for (const place of document.querySelectorAll("[data-filter]")) serve(place);
}

function serve(place) {
  const input = h("input", {
    type: "search", placeholder: "Filter", "aria-label": "Filter the table", autocomplete: "off", spellcheck: "false",
    oninput: () => apply(),
  });
  const count = h("span", { class: "muted number", role: "status" });
  place.append(count, input);
  const apply = () => {
    const rows = [...(document.getElementById(place.dataset.filter)?.querySelectorAll("tbody tr") ?? [])];
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const isShown = words.every((word) => text.includes(word));
      if (row.hidden === isShown) row.hidden = !isShown;
      shown += isShown;
    }
    place.hidden = rows.length < LEAST && !words.length;
    const said = words.length ? `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")}` : "";
    if (count.textContent !== said) count.textContent = said;
  };
  // Only the children of the content: what this does to rows must not call it again.
  new MutationObserver(apply).observe(place.parentElement, { childList: true });
  apply();
}
