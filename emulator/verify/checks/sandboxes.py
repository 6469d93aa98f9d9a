"""Sandboxes: creation, retrieval and logs."""

from __future__ import annotations

from ..assertions import (
    assert_detail_contains,
    assert_equal,
    assert_error,
    assert_one_of,
    assert_status,
    assert_true,
    read_array,
    read_object,
    read_text,
)
from ..check import Group
from ..context import Context
from ..shapes import LOG, SANDBOX, TRUST

group = Group("sandboxes")

TEMPLATES = ("minimal", "node-22", "node-20", "python-312", "python-311", "desktop")


@group.contract("create-201", "Creating a sandbox returns 201.", "wire-contract 3.1")
def create_201(context: Context) -> None:
    assert_status(context.create_response, 201)


@group.contract("create-shape", "Creating a sandbox returns the sandbox.", "wire-contract 3.1")
def create_shape(context: Context) -> None:
    read_object(context.create_response, SANDBOX)


@group.contract("create-template", "A created sandbox has the requested template.", "wire-contract 3.1")
def create_template(context: Context) -> None:
    assert_equal("template", read_text(context.create_response, "template"), "minimal")


@group.decision("create-running", "A created sandbox is running when the create request returns.", "Part A, Create")
def create_running(context: Context) -> None:
    assert_equal("status", read_text(context.create_response, "status"), "running")


_DEFAULTS = {"cpus": 2, "memory_mb": 512, "disk_gb": 5, "network_mode": "full", "timeout": 900}


@group.decision("create-defaults", "The defaults are 2 cpus, 512 MB, 5 GB, network full, 900 s.", "Part A, Create")
def create_defaults(context: Context) -> None:
    made = read_object(context.create_response)
    assert_equal("it", {name: made.get(name) for name in _DEFAULTS}, _DEFAULTS)


@group.contract("create-alias", "`python` is an alias of a template.", "wire-contract 3.1")
def create_alias(context: Context) -> None:
    assert_status(context.second_create_response, 201)


@group.decision(
    "alias-resolved", "A sandbox created with an alias has the name of the template it stands for.", "Part A, Create"
)
def alias_resolved(context: Context) -> None:
    assert_equal("template", read_text(context.second_create_response, "template"), "python-312")


@group.contract(
    "create-fields", "A created sandbox has the requested sizes, budget, timeout and init_script.", "wire-contract 3.1"
)
def create_fields(context: Context) -> None:
    made = read_object(context.second_create_response)
    wanted = {
        "cpus": 1,
        "memory_mb": 1024 if context.agent else 256,
        "budget": 1.5,
        "timeout": 600,
        "init_script": f": {context.label}",
    }
    assert_equal("it", {name: made.get(name) for name in wanted}, wanted)


@group.decision("zero-is-default", "A size of 0 means the default.", "Part A, Create")
def zero_is_default(context: Context) -> None:
    assert_equal("disk_gb", read_object(context.second_create_response).get("disk_gb"), 5)


@group.contract(
    "unknown-template", "An unknown template returns 400 with the list of valid templates.", "wire-contract 3.1"
)
def unknown_template(context: Context) -> None:
    answer = context.create(template="caged-verify-none")
    assert_error(answer, 400)
    assert_detail_contains(answer, *TEMPLATES)


@group.contract("no-template", "A create request without a template returns 400.", "wire-contract 3.1")
def no_template(context: Context) -> None:
    assert_error(context.create(template=None), 400)


@group.contract(
    "negative-timeout",
    "A negative timeout returns 400 with the text `timeout cannot be negative`.",
    "platform-behaviour B3",
)
def negative_timeout(context: Context) -> None:
    answer = context.create(timeout=-1)
    assert_error(answer, 400)
    assert_detail_contains(answer, "timeout cannot be negative")


@group.contract("empty-allowlist", "The network mode allowlist without a host returns 400.", "platform-behaviour B14")
def empty_allowlist(context: Context) -> None:
    assert_error(context.create(network_mode="allowlist"), 400)


@group.decision("bad-env", "A variable whose name contains `=` returns 400.", "Part A, Create")
def bad_env(context: Context) -> None:
    assert_error(context.create(env={"A=B": "x"}), 400)


@group.decision("unknown-agent", "An unknown agent returns 400 with the list of known agents.", "Part A, Create")
def unknown_agent(context: Context) -> None:
    answer = context.create(agents=["caged-verify-none"])
    assert_error(answer, 400)
    assert_detail_contains(answer, "claude-code", "aider", "codex")


@group.decision("unknown-network", "An unknown network mode returns 400.", "Part A, Create")
def unknown_network(context: Context) -> None:
    assert_error(context.create(network_mode="caged-verify-none"), 400)


@group.contract("get", "A sandbox can be retrieved by its id.", "wire-contract 3.1")
def get(context: Context) -> None:
    assert_equal("id", read_object(context.get(f"/sandboxes/{context.sandbox_id}"), SANDBOX)["id"], context.sandbox_id)


@group.contract("total-cost", "total_cost is cost plus llm_cost.", "wire-contract 3.1")
def total_cost(context: Context) -> None:
    found = read_object(context.get(f"/sandboxes/{context.sandbox_id}"), SANDBOX)
    wanted = found["cost"] + found["llm_cost"]
    assert_true(abs(found["total_cost"] - wanted) < 1e-5, f"total_cost {wanted}", found["total_cost"])


@group.contract("list", "The list has every sandbox of the account, with all keys.", "wire-contract 3.1")
def list_sandboxes(context: Context) -> None:
    box = context.sandbox_id
    found = [item["id"] for item in read_array(context.get("/sandboxes"), SANDBOX)]
    assert_true(box in found, f"{box} in the list", found)


@group.contract("logs", "Log lines have timestamp, type and message.", "wire-contract 3.1")
def logs(context: Context) -> None:
    context.run_command("true")
    lines = read_array(context.get(f"/sandboxes/{context.sandbox_id}/logs"), LOG)
    assert_true(lines, "some lines", "none")


@group.contract("logs-tail", "`tail` is the number of log lines to return.", "wire-contract 3.1")
def logs_tail(context: Context) -> None:
    context.run_command("true")
    lines = read_array(context.get(f"/sandboxes/{context.sandbox_id}/logs", params={"tail": "1"}), LOG)
    assert_equal("lines:", len(lines), 1)


@group.decision(
    "logs-bad-tail", "A `tail` that is not a number returns 400 with the name of the parameter.", "Part A, Errors"
)
def logs_bad_tail(context: Context) -> None:
    answer = context.get(f"/sandboxes/{context.sandbox_id}/logs", params={"tail": "many"})
    assert_error(answer, 400)
    assert_detail_contains(answer, "tail")


@group.contract("trust", "Trust scores have session, score and time.", "wire-contract 3.1")
def trust(context: Context) -> None:
    scores = read_array(context.get(f"/trust/sandboxes/{context.sandbox_id}"), TRUST)
    assert_true(all(item["score"] <= 100 for item in scores), "scores from 0 to 100", scores)


@group.contract("network-mode", "The network mode is full, none or allowlist.", "platform-behaviour B14")
def network_mode(context: Context) -> None:
    assert_one_of("network_mode", read_text(context.create_response, "network_mode"), ("full", "none", "allowlist"))
