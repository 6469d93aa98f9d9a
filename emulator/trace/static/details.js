// The details of a step, in tabs. A tab also shows what belongs to the step: the call and the request above it, and
// the commands, files and prompts below it.

import { hunks } from "./diff.js";
import { h, spoken } from "./dom.js";
import { counted, duration, isFailed, listOf, money, noun, offset, reasonOf, result, textOf } from "./format.js";
import { kindIcon, markIcon } from "./icons.js";
import { OutputView } from "./output.js";

/** Steps below a step that its tabs look at. */
const MOST_BELOW = 2000;
/** Lines of a diff, and changes, that are shown at once. */
const MOST_DIFF_LINES = 2000;
const MOST_CHANGES = 100;

/** The details of one step of a tree in `root`. It calls `onSelect(step)` for a link to another step.
 *  `failure`: the header of the trace, with the failure of its test. */
export class StepDetails {
  constructor(root, tree, { onSelect = () => {}, log = [], failure = null } = {}) {
    this._tree = tree;
    this._onSelect = onSelect;
    this._log = log;
    this._failure = failure;
    this._wanted = null;
    this._root = root;
    this._heading = h("div", { class: "heading" });
    this._tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Details of the step", onkeydown: (event) => this._key(event) });
    this._panel = h("div", { class: "panel", id: "details-panel", role: "tabpanel", tabindex: "0" });
    this._wrap = h("input", { type: "checkbox", onchange: () => root.classList.toggle("wrapped", this._wrap.checked) });
    const wrap = h("label", { class: "check wrap" }, this._wrap, "Wrap lines");
    root.append(this._heading, h("div", { class: "tab-row" }, this._tabs, wrap), this._panel);
  }

  /** Show a step. */
  show(step) {
    this._step = step;
    this._views = viewsOf(this._tree, step, this._log, (other) => this._link(other), this._failure);
    const names = this._views.map((view) => view.name);
    this._open = names.includes(this._wanted) ? this._wanted : usual(step, names);
    this._heading.replaceChildren(...this._headline(step));
    this._tabs.replaceChildren(...this._views.map((view) => this._tab(view)));
    this._fill();
  }

  /** Open a tab of the step that is shown, if it has one of this name. */
  open(name) {
    if (this._views.some((view) => view.name === name)) this._choose(name);
  }

  _headline(step) {
    const above = this._tree.ancestors(step).reverse();
    const facts = [
      statusWord(step),
      duration(step.duration_ms),
      `at ${offset(this._tree.seconds(step))} s`,
      step.sandbox,
    ].filter(Boolean);
    return [
      h("p", { class: "path" }, above.map((one, i) => [i > 0 && h("span", { class: "muted", "aria-hidden": "true" }, " › "), this._link(one)])),
      h("h2", { tabindex: "-1" }, kindIcon(step.kind), spoken(`${step.kind}: `), h("span", { class: "text" }, step.title || step.kind)),
      h("p", { class: "facts" }, facts.map((fact, i) => h("span", { class: i === 0 ? `status ${statusClass(step)}` : "" }, fact))),
      reasonOf(step) && h("p", { class: "problem reason" }, reasonOf(step)),
    ].filter(Boolean);
  }

  _link(step) {
    const short = step.title.length > 48 ? `${step.title.slice(0, 47)}…` : step.title || step.kind;
    return h("button", { type: "button", class: "link", onclick: () => this._onSelect(step) }, short);
  }

  _tab(view) {
    const isOpen = view.name === this._open;
    return h(
      "button",
      {
        type: "button", role: "tab", id: `tab-${view.name}`, "aria-selected": String(isOpen), "aria-controls": "details-panel",
        tabindex: isOpen ? "0" : "-1",
        onclick: () => this._choose(view.name),
      },
      view.name,
      view.count > 1 && h("span", { class: "badge" }, String(view.count)),
    );
  }

  _choose(name, { focus = false } = {}) {
    this._wanted = this._open = name;
    for (const tab of this._tabs.children) {
      const isOpen = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", String(isOpen));
      tab.setAttribute("tabindex", isOpen ? "0" : "-1");
      if (isOpen && focus) tab.focus();
    }
    this._fill();
  }

  _fill() {
    this._closing?.();
    this._closing = null;
    const view = this._views.find((one) => one.name === this._open);
    this._panel.setAttribute("aria-labelledby", `tab-${this._open}`);
    this._panel.replaceChildren(...view.make((close) => (this._closing = close)).flat().filter(Boolean));
    this._panel.scrollTop = 0;
  }

  _key(event) {
    const names = this._views.map((view) => view.name);
    const index = names.indexOf(this._open);
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this._choose(names[(to + names.length) % names.length], { focus: true });
  }
}

function statusWord(step) {
  const outcome = result(step);
  if (step.status === "running") return "◐ running";
  if (isFailed(step)) return `✕ ${outcome}`;
  if (step.kind === "alert") return `▲ ${outcome}`;
  return outcome ? `✓ ok, ${outcome}` : "✓ ok";
}

function statusClass(step) {
  return step.kind === "alert" && !isFailed(step) ? "running" : step.status;
}

/** The tab that shows most of a step. */
function usual(step, names) {
  const wanted = {
    command: ["Output", "Files"],
    prompt: ["Agent"],
    file: ["Files", "Data"],
    call: step.status === "error" ? ["Call"] : ["Output", "Call"],
    request: step.status === "error" ? ["Response"] : ["Output", "Response"],
    control: ["Matched", "Data"],
    test: ["Failure"],
  }[step.kind] ?? ["Call", "Data"];
  return wanted.find((name) => names.includes(name)) ?? names[0];
}

/** The tabs of a step: { name, count, make }, where make(closing) returns the elements. */
function viewsOf(tree, step, log, link, failure) {
  const below = tree.subtree(step).slice(0, MOST_BELOW);
  const above = tree.ancestors(step);
  const near = [step, ...above];
  const call = near.find((one) => one.kind === "call" || one.detail?.source?.code);
  const request = near.find((one) => one.kind === "request") ?? (step.kind === "call" ? last(tree.children(step).filter((one) => one.kind === "request")) : undefined);
  const isLeaf = step.kind !== "test";
  const commands = isLeaf ? below.filter((one) => one.kind === "command") : [];
  const ran = commands.length ? commands : near.filter((one) => one.kind === "command").slice(0, 1);
  const prompts = isLeaf ? below.filter((one) => one.kind === "prompt") : [];
  const agents = prompts.length ? prompts : above.filter((one) => one.kind === "prompt").slice(0, 1);
  const own = below.flatMap((one) => changesOf(tree, one));
  const changes = own.length || !isLeaf ? own : changesAbove(tree, step, above);
  const notes = [...new Set(below.map((one) => textOf(one, "changes_note")).filter(Boolean))];
  const files = below.filter((one) => one.kind === "file");
  const ids = [...new Set((isLeaf ? below : [step]).flatMap((one) => one.controls))];
  const misses = [...new Set((isLeaf ? below : [step]).flatMap((one) => listOf(one, "near_misses")))];
  const printing = ran.filter((one) => listOf(one, "output").length || one === step || one.detail?.error);
  const isFailure = step.kind === "test" && failure?.error_summary && failure.phase === (textOf(step, "phase") || step.id);
  return [
    isFailure && { name: "Failure", make: () => failureView(failure) },
    printing.length && { name: "Output", count: printing.length, make: (closing) => outputs(printing, step, link, closing) },
    call && { name: "Call", make: () => callView(call) },
    request && { name: "Request", make: () => requestView(request) },
    request && request.detail?.status && { name: "Response", make: () => responseView(request) },
    (changes.length || files.length) && { name: "Files", count: changes.length || files.length, make: () => filesView(changes, files, notes) },
    agents.length && { name: "Agent", count: agents.length, make: () => agents.map((one) => agentView(one)) },
    (ids.length || misses.length) && { name: "Matched", count: ids.length, make: () => matchedView(tree, step, ids, misses, link) },
    log.length && { name: "Log", make: () => [h("pre", { class: "code" }, log.join("\n"))] },
    { name: "Data", make: () => dataView(step) },
  ].filter(Boolean);
}

/** The changes of files that a step has, without those that a step above it has, too. */
function changesOf(tree, step) {
  const changes = listOf(step, "changes").filter((change) => change && typeof change === "object");
  if (!changes.length) return [];
  const key = (change) => JSON.stringify([change.path, change.change, change.before, change.after]);
  const known = new Set(tree.ancestors(step).flatMap((above) => listOf(above, "changes").filter(Boolean).map(key)));
  return changes.filter((change) => !known.has(key(change)));
}

/** The changes of the command above a step: all for a prompt, and for an operation on a file those of this file. */
function changesAbove(tree, step, above) {
  if (step.kind !== "prompt" && step.kind !== "file") return [];
  const path = step.detail?.data?.path;
  const found = above.flatMap((one) => listOf(one, "changes").filter((change) => change && typeof change === "object"));
  const seen = new Set();
  return found.filter((change) => {
    const isNew = !seen.has(JSON.stringify(change)) && (step.kind === "prompt" || change.path === path);
    seen.add(JSON.stringify(change));
    return isNew;
  });
}

function failureView(failure) {
  const source = failure.error_source;
  return [
    h("p", { class: "problem" }, failure.error_summary),
    source && h("p", { class: "where" }, `${source.path}:${source.line}`),
    source && Array.isArray(source.code) && codeLines(source),
    ...field("Whole error", failure.error),
  ];
}

function last(list) {
  return list[list.length - 1];
}

function outputs(commands, step, link, closing) {
  const views = [];
  closing(() => views.forEach((view) => view.close()));
  return commands.slice(0, 20).map((one) => {
    const reason = one === step ? "" : textOf(one, "error");  // the heading has it
    const parts = [one !== step && h("p", { class: "of" }, "Of ", link(one), result(one) && ` ${result(one)}`)];
    if (reason) parts.push(h("p", { class: "problem" }, reason));
    if (listOf(one, "output").length) {
      const view = new OutputView(one.detail);
      views.push(view);
      parts.push(view.element);
    } else parts.push(h("p", { class: "empty" }, nothing(one)));
    if (one.detail?.truncated) parts.push(h("p", { class: "note" }, "The output was cut at its limit."));
    return parts;
  });
}

function nothing(command) {
  if (command.status === "running") return "Nothing printed yet.";
  const wasKilled = textOf(command, "error").startsWith("killed");
  if (Array.isArray(command.detail?.output)) return wasKilled ? "It had printed nothing by then." : "It printed nothing.";
  return command.detail?.exit_code === undefined && textOf(command, "error") ? "It was not run." : "What it printed is not known.";
}

function callView(call) {
  const parts = [];
  for (const source of [call.detail?.source, call.detail?.nearest_source]) {
    if (source && Array.isArray(source.code)) parts.push(h("p", { class: "where" }, `${source.path}:${source.line}`), codeLines(source));
  }
  return [...parts, textOf(call, "error") && h("p", { class: "problem" }, textOf(call, "error")), ...field("Arguments", call.detail?.arguments)];
}

/** Lines of source, with the one that is meant marked. */
function codeLines(source) {
  return h(
    "pre",
    { class: "code source", tabindex: "0" },
    source.code.filter(Array.isArray).map(([number, text]) =>
      h("span", { class: number === source.line ? "here" : "" }, h("span", { class: "number" }, String(number)), `${text}\n`),
    ),
  );
}

function requestView(request) {
  const query = textOf(request, "query");
  return [
    h("p", { class: "where" }, `${textOf(request, "method")} ${textOf(request, "path")}${query ? `?${query}` : ""}`),
    ...listOf(request, "warnings").map((text) => h("p", { class: "note" }, String(text))),
    ...field("Operation", textOf(request, "operation")),
    ...body("Body", textOf(request, "request")),
  ];
}

function responseView(request) {
  return [h("p", { class: "where" }, request.detail.status === 499 ? "No answer: the client disconnected" : `Status ${request.detail.status}`), ...body("Body", textOf(request, "response"))];
}

function body(name, text) {
  if (!text) return [h("p", { class: "empty" }, "No body.")];
  try {
    return field(name, JSON.parse(text));
  } catch {
    return field(name, text); // it is not JSON, or it was cut
  }
}

function field(name, value) {
  if (value === undefined || value === null || value === "") return [];
  const text = typeof value === "string" ? value : readable(value);
  return [h("h3", {}, name), h("pre", { class: "code", tabindex: "0" }, text)];
}

/** A line as JSON writes it, but with its tabs and quotes as they are. */
function literal(line) {
  return line.split(/([\t"])/).map((part, i) => (i % 2 ? part : JSON.stringify(part).slice(1, -1))).join("");
}

/** A value as JSON, but texts of several lines have their lines below each other, indented. */
function readable(value, indent = "") {
  const inner = `${indent}  `;
  if (typeof value === "string" && value.trimEnd().includes("\n")) {
    const lines = value.split("\n").map((line) => (line ? inner + literal(line) : ""));
    return `"""\n${lines.join("\n")}\n${indent}"""`;
  }
  if (Array.isArray(value) && value.length) return `[\n${value.map((one) => inner + readable(one, inner)).join(",\n")}\n${indent}]`;
  if (value !== null && typeof value === "object" && Object.keys(value).length) {
    return `{\n${Object.entries(value).map(([name, one]) => `${inner}${JSON.stringify(name)}: ${readable(one, inner)}`).join(",\n")}\n${indent}}`;
  }
  return JSON.stringify(value);
}

function filesView(changes, files, notes) {
  const parts = notes.map((text) => h("p", { class: "note" }, text)).concat(changes.slice(0, MOST_CHANGES).map((change) => changeView(change)));
  if (changes.length > MOST_CHANGES) parts.push(h("p", { class: "note" }, `${changes.length - MOST_CHANGES} more changes are not shown.`));
  if (files.length) parts.push(h("h3", {}, "Operations on files"), h("ul", { class: "plain" }, files.map((one) => h("li", {}, one.title))));
  return parts;
}

/** A change of a file: { path, change, before, after, note }. */
export function changeView(change) {
  // Both texts are needed, but that of a file which was not there before, or is not there any more.
  const hasTexts = (change.change === "added" || typeof change.before === "string") && (change.change === "removed" || typeof change.after === "string");
  const found = hasTexts ? hunks(change.before, change.after) : [];
  const count = (sign) => found.flat().filter((line) => line.sign === sign).length;
  const numbers = hasTexts ? [h("span", { class: "plus" }, `+${count("+")}`), h("span", { class: "minus" }, `−${count("-")}`)] : [];
  return h(
    "section",
    { class: "change", "aria-label": String(change.path) },
    h("h3", {}, h("span", { class: `tag ${change.change}` }, String(change.change)), h("span", { class: "text" }, String(change.path)), ...numbers),
    change.note && h("p", { class: "note" }, String(change.note)),
    found.length > 0 && diffView(found),
  );
}

function diffView(found) {
  const rows = found.flatMap((hunk, i) => [...(i ? [null] : []), ...hunk]);
  const shown = rows.slice(0, MOST_DIFF_LINES).map((line) =>
    line === null
      ? h("div", { class: "skip" }, "⋯")
      : h(
          "div",
          { class: { "+": "added", "-": "removed", " ": "same" }[line.sign] },
          h("span", { class: "number" }, String(line.old ?? "")),
          h("span", { class: "number" }, String(line.now ?? "")),
          h("span", { class: "sign" }, line.sign),
          h("span", { class: "text" }, line.text || " "),
        ),
  );
  if (rows.length > MOST_DIFF_LINES) shown.push(h("div", { class: "skip" }, `${rows.length - MOST_DIFF_LINES} more lines are not shown`));
  return h("div", { class: "diff", tabindex: "0", role: "region", "aria-label": "Changes" }, shown);
}

function agentView(prompt) {
  const detail = prompt.detail ?? {};
  const facts = [
    textOf(prompt, "model"),
    detail.cost_usd > 0 && money(detail.cost_usd),
    (detail.tokens_in > 0 || detail.tokens_out > 0) && `${counted(detail.tokens_in ?? 0, "token")} in, ${counted(detail.tokens_out ?? 0, "token")} out`,
    duration(prompt.duration_ms),
    detail.exit_code ? `exit ${detail.exit_code}` : "",
    textOf(prompt, "session"),
  ].filter(Boolean);
  return h(
    "section",
    { class: "agent" },
    h("h3", {}, textOf(prompt, "agent") || "Agent"),
    h("div", { class: "said prompt" }, h("h4", {}, "Prompt"), h("p", { class: "speech" }, textOf(prompt, "prompt"))),
    h("div", { class: "said reply" }, h("h4", {}, "Reply"), h("p", { class: "speech" }, textOf(prompt, "reply") || "(none)")),
    h("p", { class: "facts" }, facts.map((fact) => h("span", {}, fact))),
    ...field("Command line", [textOf(prompt, "program"), ...listOf(prompt, "arguments")].map(quoted).join(" ")),
    ...field("Directory", textOf(prompt, "cwd")),
  );
}

function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${String(word).replace(/'/g, "'\\''")}'`;
}

function matchedView(tree, step, ids, misses, link) {
  const parts = ids.map((id) => {
    const added = tree.addedBy(id);
    const applied = tree.appliedTo(id);
    const near = applied.length ? undefined : tree.nearMiss(id);
    return h(
      "section",
      { class: "control" },
      h("h3", {}, markIcon(noun(id)), h("span", { class: "text" }, tree.described(id))),
      h("p", {}, `${noun(id)} ${id} applied to ${counted(applied.length, "step")}`, applied.length ? ": " : ".", applied.slice(0, 10).map((one) => [link(one), " "])),
      near && h("p", { class: "near" }, "Nearest miss: ", link(near.step), `: ${near.text.replace(/^[^:]*: /, "")}`),
      added && added !== step && h("p", {}, "It was added by ", link(added), "."),
      ...(added ? field("Options", added.detail?.body) : []),
    );
  });
  if (misses.length) parts.push(h("h3", {}, "Near misses"), h("ul", { class: "plain" }, misses.slice(0, 50).map((text) => h("li", {}, tree.withNames(String(text))))));
  return parts;
}

function dataView(step) {
  const rows = { id: step.id, kind: step.kind, status: step.status, "account's clock": step.at, "real time": step.wall, sandbox: step.sandbox, account: step.account, parent: step.parent };
  return [
    h("dl", { class: "facts" }, Object.entries(rows).filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value))))),
    ...field("Detail", JSON.stringify(step.detail, (name, value) => (name === "output" && Array.isArray(value) ? `(${counted(value.length, "piece")})` : value), 2)),
  ];
}
