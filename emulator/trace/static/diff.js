// The difference between two texts, line by line.

/** Differences beyond which two texts are shown as removed and added. */
const MOST_DIFFERENCES = 800;
/** Unchanged lines that are shown around changes. */
const CONTEXT = 3;

/** The hunks that turn `before` into `after`: lists of { sign, text, old, now }, where sign is " ", "-" or "+", and old
 *  and now are the line's numbers. A text that is null is an absent file. */
export function hunks(before, after) {
  const lines = edits(split(before), split(after));
  const near = new Array(lines.length).fill(false);
  lines.forEach((line, index) => {
    if (line.sign === " ") return;
    for (let i = Math.max(0, index - CONTEXT); i <= Math.min(lines.length - 1, index + CONTEXT); i += 1) near[i] = true;
  });
  const found = [];
  lines.forEach((line, index) => {
    if (!near[index]) return;
    if (index === 0 || !near[index - 1]) found.push([]);
    found[found.length - 1].push(line);
  });
  return found;
}

function split(text) {
  if (text === null || text === undefined || text === "") return [];
  const lines = String(text).split("\n");
  if (lines[lines.length - 1] === "") lines.pop();
  return lines;
}

function edits(old, now) {
  let [head, tail] = [0, 0];
  while (head < old.length && head < now.length && old[head] === now[head]) head += 1;
  while (tail < old.length - head && tail < now.length - head && old[old.length - 1 - tail] === now[now.length - 1 - tail]) {
    tail += 1;
  }
  const [a, b] = [old.slice(head, old.length - tail), now.slice(head, now.length - tail)];
  const signs = `${" ".repeat(head)}${middle(a, b)}${" ".repeat(tail)}`;
  let [i, j] = [0, 0];
  return [...signs].map((sign) => {
    const line = { sign, text: sign === "+" ? now[j] : old[i], old: sign === "+" ? null : i + 1, now: sign === "-" ? null : j + 1 };
    if (sign !== "+") i += 1;
    if (sign !== "-") j += 1;
    return line;
  });
}

/** The signs of the shortest edit from a to b (Myers, "An O(ND) Difference Algorithm"). */
function middle(a, b) {
  const most = Math.min(a.length + b.length, MOST_DIFFERENCES);
  const furthest = new Map([[1, 0]]);
  const history = [];
  for (let d = 0; d <= most; d += 1) {
    history.push(new Map(furthest));
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && furthest.get(k - 1) < furthest.get(k + 1));
      let x = down ? furthest.get(k + 1) : furthest.get(k - 1) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x += 1;
      furthest.set(k, x);
      if (x >= a.length && x - k >= b.length) return back(history, a.length, b.length);
    }
  }
  return "-".repeat(a.length) + "+".repeat(b.length);
}

function back(history, x, y) {
  const signs = [];
  for (let d = history.length - 1; d >= 0; d -= 1) {
    const furthest = history[d];
    const k = x - y;
    const down = k === -d || (k !== d && furthest.get(k - 1) < furthest.get(k + 1));
    const previous = down ? k + 1 : k - 1;
    const fromX = d === 0 ? 0 : furthest.get(previous);
    const fromY = d === 0 ? 0 : fromX - previous;
    while (x > fromX && y > fromY) {
      signs.push(" ");
      x -= 1;
      y -= 1;
    }
    if (d > 0) signs.push(down ? "+" : "-");
    [x, y] = [fromX, fromY];
  }
  return signs.reverse().join("");
}
