// Styles of xterm.js under a policy that forbids inline ones.
//
// xterm.js writes rules into <style> elements that it makes, and colors into `style` attributes. The policy of the pages
// allows neither, but what a script sets through the object model. So in the page of a terminal, a <style> element is a
// placeholder whose text goes into a constructed style sheet, and a `style` attribute of a <span> is set as a property.

/** Let xterm.js make its styles, and load its stylesheet. */
export async function allowStyles() {
  const create = document.createElement.bind(document);
  document.createElement = (name, options) => {
    if (name === "style") return placeholder(create);
    const element = create(name, options);
    if (name === "span") element.setAttribute = setAttribute;
    return element;
  };
  await stylesheet(new URL("xterm.css", import.meta.url).pathname);
}

function setAttribute(name, value) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}

/** An element that stands for a <style>. */
function placeholder(create) {
  const sheet = new CSSStyleSheet();
  const element = create("template");
  Object.defineProperty(element, "textContent", { get: () => "", set: (text) => sheet.replaceSync(text) });
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet);
    Element.prototype.remove.call(element);
  };
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  return element;
}

function stylesheet(href) {
  return new Promise((resolve, reject) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.onload = resolve;
    link.onerror = () => reject(new Error(`${href} could not be loaded`));
    link.href = href;
    // Before the inspector's own, whose rules win.
    document.head.prepend(link);
  });
}
