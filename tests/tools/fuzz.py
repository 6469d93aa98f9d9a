"""schemathesis against an emulator of its own and the platform's part of its OpenAPI document: scripts/schemathesis.

    scripts/schemathesis [--full] [--seed N] [-- options of `schemathesis run`]

Prints the output of schemathesis, and the number of responses per operation and status. Fails on any failure, and
with --full also if there were fewer than 20,000 requests.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
from internals import platform_of

from caged.emulator import Emulator
from caged.emulator.control.records import RequestRecord

HERE = Path(__file__).parent
WANTED = 20_000
#: Examples per operation: in the run with every check, and in the run that also has NUL characters. The document allows
#: these in strings, but a path or a command with one is refused, so a refusal is not a failure there.
EXAMPLES = {"short": (15, 5), "full": (300, 80)}
#: The emulator's own calls: fuzz_admin.py
ADMIN = "^/_emulator"
SANDBOXES = 40
SANDBOX_SECONDS = 20.0
LIMIT_SECONDS = 3600


class Counted:
    """Counts the responses per operation and status.

    An entry gets its status after it was added, so it is counted when a hundred more were added, or at the end.
    """

    def __init__(self, emulator: Emulator) -> None:
        self.journal = platform_of(emulator).journal
        self._add = self.journal.add
        self._recent: list[RequestRecord] = []
        self.statuses: dict[str, Counter[int]] = {}
        self.journal.add = self._seen  # type: ignore[method-assign]

    def _seen(self, entry: RequestRecord) -> RequestRecord:
        self._recent.append(entry)
        if len(self._recent) > 200:
            self._count(self._recent[:100])
            del self._recent[:100]
        return self._add(entry)

    def _count(self, entries: list[RequestRecord]) -> None:
        for entry in entries:
            self.statuses.setdefault(entry.operation, Counter())[entry.status] += 1

    def finish(self) -> int:
        self._count(self._recent)
        self._recent.clear()
        return sum(sum(statuses.values()) for statuses in self.statuses.values())


def reap(api: httpx.Client, keep: str, stopping: threading.Event) -> None:
    """Destroy the oldest sandboxes: thousands would only test how many processes this machine can run."""
    seen: dict[str, float] = {}
    while not stopping.wait(1.0):
        for box in api.get("/sandboxes").json():
            seen.setdefault(box["id"], time.monotonic())
        old = [name for name, since in seen.items() if time.monotonic() - since > SANDBOX_SECONDS and name != keep]
        for name in old if len(seen) > SANDBOXES else ():
            api.delete(f"/sandboxes/{name}")
            del seen[name]


LISTEN = "python3 -c 'import socket, time; s = socket.create_server((\"127.0.0.1\", 0)); time.sleep(7200)' &"


def residents(api: httpx.Client) -> dict[str, str]:
    """Create a sandbox, a snapshot, an agent session and a port for the whole run. Returns them in the form that
    the hooks need."""
    box: str = api.post("/sandboxes", json={"template": "minimal", "agents": ["claude-code"]}).json()["id"]
    api.post(f"/sandboxes/{box}/exec", json={"command": "claude -p hello"})
    snapshot: str = api.post(f"/sandboxes/{box}/snapshots").json()["id"]
    session: str = api.get("/sessions").json()["data"][0]["id"]
    api.post(f"/sandboxes/{box}/exec", json={"command": LISTEN})
    deadline = time.monotonic() + 10
    while not (ports := api.get(f"/sandboxes/{box}/ports").json()):
        assert time.monotonic() < deadline, "waited 10 s for the sandbox's server to listen"
        time.sleep(0.05)
    return {
        "CAGED_FUZZ_SANDBOX": box,
        "CAGED_FUZZ_SNAPSHOT": snapshot,
        "CAGED_FUZZ_SESSION": session,
        "CAGED_FUZZ_PORT": str(ports[0]["port"]),
    }


def environment(emulator: Emulator, account_id: str) -> dict[str, str]:
    key = next(iter(platform_of(emulator).store.accounts[account_id].keys))
    return {"SCHEMATHESIS_HOOKS": "fuzz_hooks", "CAGED_FUZZ_KEY": key}


def schemathesis(url: str, key: str, env: dict[str, str], options: list[str]) -> int:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"]
    command += [f"{url}/openapi.json", "--header", f"Authorization: Bearer {key}", "--generation-database", "none"]
    env = {**os.environ, "PYTHONPATH": str(HERE), "NO_PROXY": "*", **env}
    return subprocess.run([*command, *options], env=env, check=False, timeout=LIMIT_SECONDS).returncode


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/schemathesis", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help=f"at least {WANTED:,} requests, some minutes")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("options", nargs="*", help="for `schemathesis run`, after --")
    return parser.parse_args()


def main() -> int:
    chosen = arguments()
    print(f"seed {chosen.seed}", flush=True)
    failed = 0
    with Emulator(isolation="process", allow_unenforced=True, allow_unused=True) as emulator:
        account = emulator.create_account()
        counted = Counted(emulator)
        headers = {"Authorization": f"Bearer {account.api_key}"}
        with httpx.Client(
            base_url=f"{emulator.base_url}/v1", headers=headers, timeout=60, trust_env=False, verify=False
        ) as api:
            there = residents(api)
            env = {**environment(emulator, account.id), **there, "CAGED_FUZZ_SEED": str(chosen.seed)}
            stopping = threading.Event()
            reaper = threading.Thread(target=reap, args=(api, there["CAGED_FUZZ_SANDBOX"], stopping))
            reaper.start()
            try:
                strict, loose = EXAMPLES["full" if chosen.full else "short"]
                common = ["--seed", str(chosen.seed), "--exclude-path-regex", ADMIN, *chosen.options]
                runs = [
                    ["--checks", "all", "--generation-allow-x00", "false", "--max-examples", str(strict)],
                    ["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--max-examples", str(loose)],
                ]
                for options in runs:
                    failed |= schemathesis(emulator.base_url, account.api_key, env, [*options, *common])
            finally:
                stopping.set()
                reaper.join()
    requests = counted.finish()
    for name, statuses in sorted(counted.statuses.items()):
        answers = "  ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
        print(f"{name:<32} {sum(statuses.values()):>6}   {answers}")
    errors = sum(n for statuses in counted.statuses.values() for status, n in statuses.items() if status >= 500)
    print(f"{requests:,} requests, {errors} of them answered with 5xx")
    if chosen.full and requests < WANTED:
        print(f"fewer than {WANTED:,}")
        return 1
    return 1 if failed or errors else 0


if __name__ == "__main__":
    sys.exit(main())
