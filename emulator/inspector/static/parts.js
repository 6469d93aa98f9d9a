// Elements that a module serves, for as long as they are in the page.

/** Call `start(element)` for each element in the page that a selector selects, also for those that come with a live part.
 *  What it returns is called when the element has gone. */
export function eachElement(selector, start) {
  const content = document.getElementById("content");
  const ends = new Map();
  const look = () => {
    for (const [element, end] of ends) {
      if (element.isConnected) continue;
      ends.delete(element);
      end?.();
    }
    for (const element of content.querySelectorAll(selector)) {
      if (!ends.has(element)) ends.set(element, start(element));
    }
  };
  look();
  new MutationObserver(look).observe(content, { childList: true });
}
