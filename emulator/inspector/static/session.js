// The session of the page: its end.

import { call } from "./calls.js";
import { h } from "./dom.js";
import { say } from "./message.js";

/** A button that ends the session. */
export function logOutButton() {
  return h("button", { type: "button", onclick: async () => {
    try {
      await call("POST", "/_emulator/ui/logout");
      location.reload();
    } catch (error) {
      say(error.message, { isError: true });
    }
  } }, "Log out");
}
