// The events of a session, one after another as they happened.

/** Milliseconds that a pause between two events lasts at most, and that each event is shown at least. */
const MOST = 1500;
const LEAST = 120;

/** Serve the button that plays the events. */
export function playReplay(list) {
  const button = document.querySelector("[data-play]");
  const events = [...list.children];
  let timer = 0;
  button.hidden = events.length < 2;
  const stop = () => {
    clearTimeout(timer);
    timer = 0;
    for (const event of events) event.hidden = false;
    button.textContent = "▶ Play";
  };
  const show = (index) => {
    events[index].hidden = false;
    events[index].scrollIntoView({ block: "nearest" });
    if (index + 1 === events.length) return stop();
    const pause = (Number(events[index + 1].dataset.at) - Number(events[index].dataset.at)) * 1000;
    timer = setTimeout(show, Math.min(MOST, Math.max(LEAST, pause)), index + 1);
  };
  button.addEventListener("click", () => {
    if (timer) return stop();
    for (const event of events) event.hidden = true;
    button.textContent = "■ Stop";
    show(0);
  });
}
