// The list of steps with their details, live: the list of the page of a trace, which grows.

import { StepDetails } from "./details.js";
import { h } from "./dom.js";
import { counted } from "./format.js";
import { StepList } from "./steps.js";
import { StepTree } from "./tree.js";

/** Milliseconds in which the step that the URL names is looked for among those that come. */
const LOOKED_FOR = 5000;

/** Show steps in `root`: those of the account, or of the sandbox that it names. Returns what reads new steps. New rows
 *  come at the end. While the end is not in view they are held back, and a button says how many there are. */
export function showSteps(root) {
  const { sandbox } = root.dataset;
  const tree = new StepTree();
  const listBox = h("section", { class: "list", id: "steps", "aria-label": "Steps" });
  const hint = h("p", { class: "hint muted" }, "Select a step to see what it did.");
  const detailBox = h("section", { class: "details", "aria-label": "Details" }, hint);
  const pill = h("button", { type: "button", class: "pill", hidden: true, onclick: () => catchUp() });
  root.append(h("div", { class: "columns" }, listBox, detailBox));
  const details = new StepDetails(detailBox, tree, { onSelect: (step) => list.select(step) });
  const list = new StepList(listBox, tree, {
    onSelect: (step) => {
      hint.remove();
      details.show(step);
      history.replaceState(null, "", `#step-${encodeURIComponent(step.id)}`);
    },
  });
  listBox.append(pill);

  let held = new Map();
  let wanted = fragment();
  setTimeout(() => (wanted = ""), LOOKED_FOR);
  const add = (steps) => {
    tree.update(steps);
    if (tree.steps.length) tree.begin = tree.steps[0].start;
    list.refresh();
    if (list.selected && steps.some((step) => step.id === list.selected.id)) showAgain();
    if (wanted && tree.get(wanted)) {
      list.select(tree.get(wanted));
      wanted = "";
    }
  };
  const showAgain = () => {
    const panel = detailBox.querySelector(".panel");
    const { scrollTop } = panel;
    details.show(list.selected);
    panel.scrollTop = scrollTop;
  };
  const catchUp = () => {
    const steps = [...held.values()];
    held = new Map();
    pill.hidden = true;
    add(steps);
    list.scrollToEnd();
  };
  listBox.addEventListener("scroll", () => held.size && list.isAtEnd && catchUp(), true);
  addEventListener("keydown", (event) => key(event, list));

  return (all) => {
    const steps = sandbox ? all.filter((step) => step.sandbox === sandbox) : all;
    if (!steps.length) return;
    if (list.isAtEnd && !wanted) {
      add([...held.values(), ...steps]);
      held = new Map();
      pill.hidden = true;
      list.scrollToEnd();
      return;
    }
    const known = steps.filter((step) => tree.get(step.id) || wanted);
    if (known.length) add(known);
    for (const step of steps) if (!tree.get(step.id)) held.set(step.id, step);
    pill.textContent = `${counted(held.size, "new step")} ↓`;
    pill.hidden = held.size === 0;
  };
}

/** The id of the step that the URL names. */
function fragment() {
  try {
    return decodeURIComponent(location.hash.replace(/^#(step-)?/, ""));
  } catch {
    return "";
  }
}

function key(event, list) {
  const isTyping = event.target.closest?.("input:not([type=checkbox]):not([type=range]), select, textarea, dialog");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") list.focusFilter();
  else if (event.key === "e") list.nextError();
  else if (["ArrowDown", "ArrowUp"].includes(event.key) && event.target === document.body) {
    list.focus();
    list.move(event.key === "ArrowDown" ? 1 : -1);
  } else return;
  event.preventDefault();
}
