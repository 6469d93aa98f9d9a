"""Calls through our own SDK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from caged import Caged, CagedError, CagedNotFoundError

from ..assertions import assert_equal, assert_true
from ..check import Group
from ..context import Context
from ..errors import Mismatch

group = Group("sdk")


@contextmanager
def _client(context: Context) -> Iterator[Caged]:
    with Caged(context.client.api_key, context.client.base_url, timeout=context.time_budget.remaining()) as client:
        try:
            yield client
        except CagedError as error:
            raise Mismatch("no error", f"{type(error).__name__}: {error}") from error


@group.contract("exec", "exec returns output and exit code.", "wire-contract 3.2")
def run(context: Context) -> None:
    box = context.sandbox_id
    with _client(context) as caged:
        result = caged.sandboxes.exec(box, "echo out; exit 4")
        assert_equal("output, exit_code, ok", [result.output, result.exit_code, result.ok], ["out\n", 4, False])


@group.contract("files", "A file that was written can be read and listed.", "wire-contract 3.3")
def files(context: Context) -> None:
    box, path = context.sandbox_id, f"/workspace/{context.unique_name()}"
    with _client(context) as caged:
        caged.files.write(box, path, "by the SDK\n")
        assert_equal("content", caged.files.read(box, path), "by the SDK\n")
        assert_true(path in [entry.path for entry in caged.files.list(box)], "the file in the list", "it is not")


@group.contract("not-found", "An unknown sandbox raises CagedNotFoundError.", "wire-contract 2.1")
def not_found(context: Context) -> None:
    with _client(context) as caged:
        try:
            caged.sandboxes.get("caged-verify-unknown")
        except CagedNotFoundError:
            return
    raise Mismatch("CagedNotFoundError", "no error")


@group.contract("stream", "A streamed command returns its output and exit code.", "wire-contract 4.3")
def stream(context: Context) -> None:
    box = context.sandbox_id
    with _client(context) as caged:
        with caged.sandboxes.stream(box, "echo one; echo two; (exit 5)") as output:
            text = "".join(output)
        assert_equal("output", text.replace("\r\n", "\n"), "one\ntwo\n")
        assert_equal("exit_code", output.exit_code, 5)


@group.contract("lists", "Every list can be parsed.", "wire-contract 3")
def lists(context: Context) -> None:
    box = context.sandbox_id
    with _client(context) as caged:
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
