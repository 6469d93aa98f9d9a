// Durations, amounts and names as a person reads them.

/** A duration: 0.4 ms, 41 ms, 1.84 s, 3 min 5 s. */
export function duration(milliseconds) {
  if (!Number.isFinite(milliseconds)) return "";
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 999.5) return `${milliseconds.toFixed(0)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 10) return `${seconds.toFixed(2)} s`;
  if (seconds < 99.5) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  return rest ? `${minutes} min ${rest} s` : `${minutes} min`;
}

/** A time in the trace, in seconds: 0.05, 12.40, 3:05.1. */
export function offset(seconds) {
  if (seconds < 60) return seconds.toFixed(2);
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
}

/** An amount with as many digits as matter: $0.25, $12.50, $0.0004. */
export function money(dollars) {
  if (!Number.isFinite(dollars)) return "";
  if (dollars >= 0.1 || dollars <= 0) return `$${dollars.toFixed(2)}`;
  return dollars >= 0.0001 ? `$${dollars.toFixed(4).replace(/0+$/, "")}` : "<$0.0001";
}

/** A number with its word: 1 step, 2 steps. */
export function counted(number, word, plural = "s") {
  return `${number.toLocaleString("en")} ${word}${number === 1 ? "" : plural}`;
}

/** A text of a step's detail; empty where it has none of this name. */
export function textOf(step, name) {
  const value = step.detail?.[name];
  return typeof value === "string" ? value : "";
}

/** A list of a step's detail; empty where it has none of this name. */
export function listOf(step, name) {
  const value = step.detail?.[name];
  return Array.isArray(value) ? value : [];
}

/** What a control is, by its id: fault, stub or reply. */
export function noun(control) {
  const word = String(control).split("_")[0];
  return word === "cmd" || word === "command" ? "stub" : word;
}

/** Whether a control applied to a step. The step that adds a control has its id, too. */
export function isApplied(step) {
  return step.kind !== "control" && step.controls.length > 0;
}

/** Whether a step moved the clock. */
export function isClockMove(step) {
  return step.kind === "control" && /(^|\.)clock\./.test(textOf(step, "operation"));
}

/** The status of a request whose client disconnected before it was answered. It is a status of no answer. */
const CLIENT_GAVE_UP = 499;

/** Whether a step failed. */
export function isFailed(step) {
  return step.status === "error";
}

/** Why a step failed, in one line; empty where that is not known. */
export function reasonOf(step) {
  return isFailed(step) ? textOf(step, "error").replace(/\s+/g, " ").trim().slice(0, 300) : "";
}

/** What became of a step, in a word or two: exit 1, 503, $0.25; empty where there is nothing to say. */
export function result(step) {
  const detail = step.detail ?? {};
  if (step.status === "running") return "running";
  if (step.kind === "alert") return textOf(step, "severity");
  if (step.kind === "request" && detail.status === CLIENT_GAVE_UP) return "gave up";
  if (step.kind === "command" && detail.exit_code) return `exit ${detail.exit_code}`;
  if ((step.kind === "request" || step.kind === "control") && detail.status >= 400) return String(detail.status);
  if (step.kind === "prompt" && detail.cost_usd > 0) return money(detail.cost_usd);
  return step.status === "error" ? "failed" : "";
}

/** How long ago a time was: just now, 5 min ago, 3 days ago; empty where the text is not a time. */
export function ago(text, now = Date.now()) {
  const seconds = (now - Date.parse(text)) / 1000;
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${counted(Math.floor(seconds / 86400), "day")} ago`;
}
