// The line of the page that says what a call did.

/** Say something; an empty text clears the line. */
export function say(text, { isError = false } = {}) {
  const line = document.getElementById("message");
  line.className = isError ? "problem" : "done";
  line.setAttribute("role", isError ? "alert" : "status");
  line.textContent = text;
  line.hidden = !text;
}
