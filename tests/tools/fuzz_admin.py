"""schemathesis against the calls about the emulator itself (`/_emulator/`), by the admin key, on an emulator of
its own: the second half of scripts/schemathesis. Fails on any failure, and on anything in the emulator's log.
"""

from __future__ import annotations

import sys

from fuzz import ADMIN, arguments, schemathesis

from caged.emulator import Emulator

EXAMPLES = 25


def main() -> int:
    requested = arguments()
    print(f"the emulator's own calls, seed {requested.seed}", flush=True)
    with Emulator(isolation="process", allow_unenforced=True, allow_unused=True) as emulator:
        account = emulator.create_account("there for the whole run")
        with emulator.client(account.api_key) as client:
            box = client.sandboxes.create(template="minimal")
        env = {
            "SCHEMATHESIS_HOOKS": "fuzz_admin_hooks",
            "CAGED_FUZZ_SEED": str(requested.seed),
            "CAGED_FUZZ_ACCOUNT": account.id,
            "CAGED_FUZZ_SPARE_ACCOUNT": emulator.create_account("may be reset").id,
            "CAGED_FUZZ_SANDBOX": box.id,
            "CAGED_FUZZ_FAULT": emulator.faults.add(status=503, account=account.id).id,
        }
        options = ["--include-path-regex", ADMIN, "--checks", "all", "--max-examples", str(EXAMPLES)]
        failed = schemathesis(
            emulator.base_url, emulator.admin_key, env, [*options, "--seed", str(requested.seed), *requested.options]
        )
        log = [line for line in emulator.log_tail(1000) if "failed" in line]
    print("\n".join(log[:20]) or "nothing in the emulator's log")
    return 1 if failed or log else 0


if __name__ == "__main__":
    sys.exit(main())
