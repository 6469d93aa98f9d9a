// Making elements. Texts only ever become text nodes and attributes, so that no text of a trace is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: h("button", { class: "quiet", onclick: f, "aria-label": "Close" }, "×"). A child that is null,
 *  undefined or false is left out; a property that is a function becomes a listener, one that is null is left out. */
export function h(name, properties = {}, ...children) {
  return filled(document.createElement(name), properties, children);
}

/** Make an SVG element, as h() makes others. */
export function svg(name, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, name), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

/** A text that only a screen reader reads. */
export function spoken(text) {
  return h("span", { class: "spoken" }, text);
}
