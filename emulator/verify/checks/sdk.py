"""A round through our own SDK: that what its users call works against this server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from caged import Caged, CagedError, CagedNotFoundError

from ..check import Different, Group
from ..context import Context
from ..expect import same, true

group = Group("sdk")


@contextmanager
def _client(bench: Context) -> Iterator[Caged]:
    with Caged(bench.wire.key, bench.wire.base_url, timeout=bench.patience.left()) as client:
        try:
            yield client
        except CagedError as error:
            raise Different("no error", f"{type(error).__name__}: {error}") from error


@group.contract("exec", "exec gives output and exit code.", "wire-contract 3.2")
def run(bench: Context) -> None:
    box = bench.box
    with _client(bench) as caged:
        result = caged.sandboxes.exec(box, "echo out; exit 4")
        same("output, exit_code, ok", [result.output, result.exit_code, result.ok], ["out\n", 4, False])


@group.contract("files", "What is written is read.", "wire-contract 3.3")
def files(bench: Context) -> None:
    box, path = bench.box, f"/workspace/{bench.name()}"
    with _client(bench) as caged:
        caged.files.write(box, path, "by the SDK\n")
        same("content", caged.files.read(box, path), "by the SDK\n")
        true(path in [entry.path for entry in caged.files.list(box)], "the file in the list", "it is not")


@group.contract("not-found", "An unknown sandbox is a CagedNotFoundError.", "wire-contract 2.1")
def not_found(bench: Context) -> None:
    with _client(bench) as caged:
        try:
            caged.sandboxes.get("caged-verify-nobody")
        except CagedNotFoundError:
            return
    raise Different("CagedNotFoundError", "no error")


@group.contract("stream", "A streamed command gives its output and exit code.", "wire-contract 4.3")
def stream(bench: Context) -> None:
    box = bench.box
    with _client(bench) as caged:
        with caged.sandboxes.stream(box, "echo one; echo two; (exit 5)") as output:
            text = "".join(output)
        same("output", text.replace("\r\n", "\n"), "one\ntwo\n")
        same("exit_code", output.exit_code, 5)


@group.contract("lists", "Everything that can be listed is understood.", "wire-contract 3")
def lists(bench: Context) -> None:
    box = bench.box
    with _client(bench) as caged:
        caged.account.get()
        caged.account.list_keys()
        caged.sandboxes.list()
        caged.sandboxes.logs(box)
        caged.sandboxes.ports(box)
        caged.snapshots.list(box)
        caged.sessions.list()
        caged.sessions.list_by_sandbox(box)
        caged.alerts.list()
        caged.alerts.list_rules()
        caged.notifications.list()
        caged.notifications.get_config()
        caged.billing.get_subscription()
        caged.billing.get_usage()
