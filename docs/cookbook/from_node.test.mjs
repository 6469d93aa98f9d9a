// From a Node test, or any other language: two variables lead to the platform, two to what makes it fail.
//
//     caged-emulator exec -- node --test from_node.test.mjs
import assert from "node:assert/strict";
import test from "node:test";

const env = process.env;

async function call(url, key, method, path, body) {
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  const response = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  return { status: response.status, ...(await response.json()) };
}
const api = (...request) => call(env.CAGED_BASE_URL, env.CAGED_API_KEY, ...request);
const admin = (...request) => call(env.CAGED_EMULATOR_URL, env.CAGED_EMULATOR_ADMIN_KEY, ...request);

test("a 503 is survived", async () => {
  const fault = await admin("POST", "/_emulator/faults", { operation: "sandboxes.create", status: 503, times: 1 });
  assert.equal((await api("POST", "/v1/sandboxes", { template: "minimal" })).status, 503);
  const box = await api("POST", "/v1/sandboxes", { template: "minimal" });
  assert.equal(box.status, "running");
  const ran = await api("POST", `/v1/sandboxes/${box.id}/exec`, { command: "echo from node" });
  assert.equal(ran.output, "from node\n");
  assert.equal((await admin("GET", `/_emulator/faults/${fault.id}`)).triggered, 1);
});
