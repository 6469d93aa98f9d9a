// Forms that make a call of the API, with the line of Python that does the same.

import { call } from "./calls.js";
import { say } from "./message.js";
import { pythonCall } from "./python_line.js";

/** Serve the forms of the page. `onDone` is called after each call. */
export function serveForms({ onDone }) {
  for (const form of document.querySelectorAll("form[data-form]")) serve(form, onDone);
}

function serve(form, onDone) {
  const show = () => showPython(form);
  form.addEventListener("input", show);
  form.addEventListener("change", show);
  form.addEventListener("reset", () => setTimeout(show));
  form.addEventListener("click", (event) => {
    if (event.target.closest("[data-more]")) addFile(event.target.closest("[data-field]"));
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form, onDone);
  });
  show();
}

async function send(form, onDone) {
  clearProblems(form);
  say("");
  const problem = findProblem(form);
  if (problem) {
    showProblem(form, problem.field, problem.text);
    return;
  }
  const values = valuesOf(form);
  const path = form.dataset.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(values.get(name)));
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  try {
    const response = await call(form.dataset.form, withAccount(path, scopeOf(form)), JSON.stringify(bodyOf(form, values)));
    const { id = "" } = response.status === 204 ? {} : await response.json();
    if (form.dataset.done) say(form.dataset.done.replace("{id}", id));
    if (!("keep" in form.dataset)) clear(form);
  } catch (error) {
    showProblem(form, fieldIn(form, error.detail), error.detail ?? error.message);
  }
  button.disabled = false;
  onDone();
}

function clear(form) {
  for (const file of [...form.querySelectorAll("[data-file]")].slice(1)) file.remove();
  form.reset();
}

/** A path below /_emulator names its account. */
function withAccount(path, scope) {
  if (!path.startsWith("/_emulator/")) return path;
  return `${path}?${new URLSearchParams({ account: scope || document.body.dataset.account })}`;
}

function scopeOf(form) {
  return form.querySelector("[data-scope]")?.value ?? "";
}

// --- values

/** What was put in, by the name of the field; a Map, in the order of the fields. */
function valuesOf(form) {
  const values = new Map();
  for (const field of form.querySelectorAll("[data-field]")) {
    const value = valueOf(field);
    if (value !== undefined) values.set(field.dataset.field, value);
  }
  return values;
}

function valueOf(field) {
  const { kind } = field.dataset;
  if (kind === "files") return filesOf(field);
  const input = field.querySelector("[data-value]");
  if (kind === "flag") return input.checked || "always" in field.dataset ? input.checked : undefined;
  if (input.value === "") return undefined;
  if (kind === "integer" || kind === "number") return Number(input.value);
  if (kind === "pattern" && field.querySelector("[data-regex]").checked) return { regex: input.value };
  return input.value;
}

function filesOf(field) {
  const files = {};
  for (const row of field.querySelectorAll("[data-file]")) {
    const [path, content] = [row.querySelector("input").value, row.querySelector("textarea").value];
    if (path) files[path] = content;
  }
  return Object.keys(files).length ? files : undefined;
}

/** The body of the call: what is not in the path. */
function bodyOf(form, values) {
  const body = {};
  for (const [name, value] of values) {
    if (form.dataset.path.includes(`{${name}}`)) continue;
    const [outer, inner] = name.split(".");
    if (inner) body[outer] = { ...body[outer], [inner]: value };
    else body[name] = value;
  }
  return body;
}

function addFile(field) {
  const rows = field.querySelectorAll("[data-file]");
  const row = rows[0].cloneNode(true);
  for (const input of row.querySelectorAll("input, textarea")) {
    input.value = "";
    input.removeAttribute("id");
  }
  rows[rows.length - 1].after(row);
  row.querySelector("input").focus();
}

// --- problems

/** What no call can express: a missing value of the path, or what is not a number. */
function findProblem(form) {
  for (const field of form.querySelectorAll("[data-field]")) {
    const input = field.querySelector("[data-value]");
    if (input?.validity.badInput) return { field, text: "must be a number" };
    const isInPath = form.dataset.path.includes(`{${field.dataset.field}}`);
    if (isInPath && !input.value) return { field, text: "is needed" };
  }
  return null;
}

/** The field that an error of the API names: `status: must be ...`, `config.idle_minutes: ...`, `files['a']: ...`. */
function fieldIn(form, detail) {
  const named = /^[\w.]+/.exec(detail ?? "")?.[0] ?? "";
  const fields = [...form.querySelectorAll("[data-field]")];
  return fields.find((field) => named === field.dataset.field)
    ?? fields.find((field) => named.split(".")[0] === field.dataset.field)
    ?? null;
}

function clearProblems(form) {
  for (const line of form.querySelectorAll(".problem")) line.hidden = true;
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

function showProblem(form, field, text) {
  const line = (field ?? form).querySelector(field ? ".problem" : ".form-fields > .problem");
  const input = field?.querySelector("input, select, textarea");
  line.textContent = field ? text.replace(new RegExp(`^${field.dataset.field}: `), "") : text;
  line.hidden = false;
  if (!input) return;
  const folded = field.closest("details");
  if (folded) folded.open = true;
  const main = field.querySelector("[data-value]") ?? input;
  main.setAttribute("aria-invalid", "true");
  const described = new Set([...(main.getAttribute("aria-describedby") ?? "").split(" "), line.id]);
  main.setAttribute("aria-describedby", [...described].join(" ").trim());
  main.focus();
}

// --- Python

function showPython(form) {
  const place = form.querySelector(".form-python pre");
  place.textContent = pythonCall(JSON.parse(form.dataset.python), valuesOf(form), scopeOf(form));
}
