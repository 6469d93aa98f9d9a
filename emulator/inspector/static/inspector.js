// The script of the inspector's pages. Each concern has a module; a page needs no script of its own as long as its
// buttons are `data-call`, its live parts `data-live` and its steps `data-steps`.

import { listenForButtons } from "./buttons.js";
import { showClock, showTimes } from "./clock.js";
import { showFiles } from "./files.js";
import { serveForms } from "./forms.js";
import { keepFresh, refresh } from "./live_parts.js";
import { showSteps } from "./live_steps.js";
import { showLogs } from "./logs.js";
import { playReplay } from "./replay.js";
import { listenForSnapshots } from "./snapshots.js";
import { follow } from "./step_stream.js";
import { serveFilters } from "./table_filter.js";
import { applyTheme, themeButton } from "./theme.js";
import { logOutButton } from "./session.js";

applyTheme();
showClock();
showTimes(document);
document.getElementById("tools")?.append(themeButton(), logOutButton());
document.getElementById("account")?.addEventListener("change", (event) => event.target.form.submit());
listenForButtons({ onDone: refresh });
if (document.getElementById("files")) showFiles();
if (document.getElementById("logs")) showLogs();
if (document.getElementById("snapshots")) listenForSnapshots({ onDone: refresh });
for (const list of document.querySelectorAll("[data-replay]")) playReplay(list);
if (document.getElementById("terminal")) import("./terminal.js").then(({ openTerminals }) => openTerminals());
serveForms({ onDone: refresh });
serveFilters();

const readers = [];
for (const root of document.querySelectorAll("[data-steps]")) readers.push(showSteps(root));
if (document.querySelector("[data-live]")) readers.push(keepFresh());
if (readers.length) {
  const after = document.querySelector("[data-steps]") ? 0 : Number(document.body.dataset.revision);
  follow(after, (steps) => readers.forEach((read) => read(steps)));
}
