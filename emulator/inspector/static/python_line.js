// The line of Python that does what a form does.

/** Characters of a call on one line; a longer one has one argument a line. */
const WIDTH = 64;

/** A call in Python. `calls` are those that the form offers, `values` a Map of what was put in, `account` is `*` for all
 *  accounts and empty for that of the page. */
export function pythonCall(calls, values, account) {
  const chosen = calls.find(({ when }) => !when || values.has(when));
  const used = new Set();
  const name = chosen.call.replace(/\{(\w+)\}/g, (_, field) => {
    used.add(field);
    return literal(values.get(field) ?? "...");
  });
  const given = chosen.literal ? [literal(chosen.literal)] : [];
  for (const field of chosen.positional) {
    if (!values.has(field)) break;
    used.add(field);
    given.push(literal(values.get(field)));
  }
  const nested = {};
  for (const [field, value] of values) {
    if (used.has(field)) continue;
    const [outer, inner] = field.split(".");
    if (!inner) given.push(`${field}=${literal(value)}`);
    else nested[outer] = [...(nested[outer] ?? []), `${inner}=${literal(value)}`];
  }
  for (const [outer, parts] of Object.entries(nested)) given.push(`${outer}=${classOf(outer)}(${parts.join(", ")})`);
  if (account) given.push(`account=${literal(account)}`);
  const isRegex = [...values.values()].some((value) => value?.regex !== undefined);
  const line = `${name}(${given.join(", ")})`;
  const call = line.length > WIDTH && given.length ? `${name}(\n${given.map((one) => `    ${one},\n`).join("")})` : line;
  return isRegex ? `import re\n\n${call}` : call;
}

function classOf(field) {
  return field === "config" ? "RuleConfig" : "dict";
}

function literal(value) {
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return JSON.stringify(value); // its escapes are Python's, too
  if (value.regex !== undefined) return `re.compile(${JSON.stringify(value.regex)})`;
  return `{${Object.entries(value).map(([key, one]) => `${literal(key)}: ${literal(one)}`).join(", ")}}`;
}
