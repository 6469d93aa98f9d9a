// Calls of the API, with the session of the page.

const account = document.body.dataset.account ?? "";

/** Call the API: call("POST", "/v1/sandboxes/cage_1/pause"). An error becomes an exception with the text of the answer,
 *  which is also its `detail`, without the status.
 *  A path below /_emulator names its account by `account` in the query; one below /v1 is for the page's account. */
export async function call(method, path, body) {
  const headers = { "X-Caged-Inspector": "1", "X-Caged-Account": account };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body, cache: "no-store" });
  if (response.ok) return response;
  const detail = detailOf(await response.text());
  throw Object.assign(new Error(`${response.status}: ${detail}`), { detail });
}

function detailOf(text) {
  try {
    return JSON.parse(text).detail ?? text;
  } catch {
    return text;
  }
}
