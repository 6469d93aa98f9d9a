// The steps of the account as they happen, by server-sent events.

const STATES = {
  live: ["● live", "status good"],
  connecting: ["◌ connecting again", "status busy"],
  paused: ["◌ paused while hidden", "muted"],
  ended: ["✕ disconnected: load the page again; if that fails, run caged-emulator ui", "status bad"],
};
/** Milliseconds in which steps are gathered, so that a burst is shown once. */
const GATHERED = 60;

/** Follow the steps that are added or changed after a revision. `onSteps` gets a few at a time. A lost connection is made
 *  again from where it was. A hidden page follows none: a browser allows six connections to a server at most. */
export function follow(after, onSteps) {
  const account = document.body.dataset.account;
  let revision = after;
  let source = null;
  let waiting = [];
  const show = (state) => {
    const line = document.getElementById("connection");
    [line.textContent, line.className] = STATES[state];
  };
  const deliver = () => {
    const steps = waiting;
    waiting = [];
    onSteps(steps);
  };
  const open = () => {
    const query = new URLSearchParams({ account });
    if (revision > 0) query.set("after", revision);
    source = new EventSource(`/_emulator/journal/steps/stream?${query}`);
    source.onmessage = (event) => {
      revision = Number(event.lastEventId);
      if (waiting.push(JSON.parse(event.data)) === 1) setTimeout(deliver, GATHERED);
    };
    source.onopen = () => show("live");
    source.onerror = () => show(source.readyState === EventSource.CLOSED ? "ended" : "connecting");
  };
  const close = (state) => {
    source?.close();
    source = null;
    show(state);
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close("paused");
    else if (!source) open();
  });
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => event.persisted && open());
  if (document.hidden) show("paused");
  else open();
}
