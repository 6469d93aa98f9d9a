"""Sandboxes: creating, looking, pausing, destroying."""

from __future__ import annotations

from ..check import Group
from ..context import Context
from ..expect import an_array, an_object, one_of, reason, refused, same, says, status, text_of, true
from ..scenarios import destroyed, paused
from ..shapes import LOG, SANDBOX, TRUST

group = Group("sandboxes")

TEMPLATES = ("minimal", "node-22", "node-20", "python-312", "python-311", "desktop")


@group.contract("create-201", "A create answers 201.", "wire-contract 3.1")
def create_201(bench: Context) -> None:
    status(bench.created, 201)


@group.contract("create-shape", "A create answers a sandbox.", "wire-contract 3.1")
def create_shape(bench: Context) -> None:
    an_object(bench.created, SANDBOX)


@group.contract("create-template", "A create answers with the template that was asked for.", "wire-contract 3.1")
def create_template(bench: Context) -> None:
    same("template", text_of(bench.created, "template"), "minimal")


@group.decision("create-running", "A created sandbox is running when the create answers.", "Part A, Create")
def create_running(bench: Context) -> None:
    same("status", text_of(bench.created, "status"), "running")


_DEFAULTS = {"cpus": 2, "memory_mb": 512, "disk_gb": 5, "network_mode": "full", "timeout": 900}


@group.decision("create-defaults", "The defaults are 2 cpus, 512 MB, 5 GB, network full, 900 s.", "Part A, Create")
def create_defaults(bench: Context) -> None:
    made = an_object(bench.created)
    same("it", {name: made.get(name) for name in _DEFAULTS}, _DEFAULTS)


@group.contract("create-alias", "`python` is a name of a template.", "wire-contract 3.1")
def create_alias(bench: Context) -> None:
    status(bench.python_created, 201)


@group.decision("alias-resolved", "The answer names the template that an alias stands for.", "Part A, Create")
def alias_resolved(bench: Context) -> None:
    same("template", text_of(bench.python_created, "template"), "python-312")


@group.contract("create-fields", "Sizes, budget, timeout and init_script are those asked for.", "wire-contract 3.1")
def create_fields(bench: Context) -> None:
    made = an_object(bench.python_created)
    wanted = {
        "cpus": 1,
        "memory_mb": 1024 if bench.agent else 256,
        "budget": 1.5,
        "timeout": 600,
        "init_script": f": {bench.label}",
    }
    same("it", {name: made.get(name) for name in wanted}, wanted)


@group.decision("zero-is-default", "A size of 0 means the default.", "Part A, Create")
def zero_is_default(bench: Context) -> None:
    same("disk_gb", an_object(bench.python_created).get("disk_gb"), 5)


@group.contract("unknown-template", "An unknown template is a 400 that names the valid ones.", "wire-contract 3.1")
def unknown_template(bench: Context) -> None:
    answer = bench.create(template="caged-verify-none")
    refused(answer, 400)
    says(answer, *TEMPLATES)


@group.contract("no-template", "A create without template is a 400.", "wire-contract 3.1")
def no_template(bench: Context) -> None:
    refused(bench.create(template=None), 400)


@group.contract("negative-timeout", "A negative timeout is a 400 with this very text.", "platform-behaviour B3")
def negative_timeout(bench: Context) -> None:
    answer = bench.create(timeout=-1)
    refused(answer, 400)
    says(answer, "timeout cannot be negative")


@group.contract("empty-allowlist", "The mode allowlist without a host is refused.", "platform-behaviour B14")
def empty_allowlist(bench: Context) -> None:
    refused(bench.create(network_mode="allowlist"), 400)


@group.decision("bad-env", "A variable's name with `=` in it is a 400.", "Part A, Create")
def bad_env(bench: Context) -> None:
    refused(bench.create(env={"A=B": "x"}), 400)


@group.decision("unknown-agent", "An unknown agent is a 400 that names the known ones.", "Part A, Create")
def unknown_agent(bench: Context) -> None:
    answer = bench.create(agents=["caged-verify-none"])
    refused(answer, 400)
    says(answer, "claude-code", "aider", "codex")


@group.decision("unknown-network", "An unknown network mode is a 400.", "Part A, Create")
def unknown_network(bench: Context) -> None:
    refused(bench.create(network_mode="caged-verify-none"), 400)


@group.contract("get", "A sandbox can be looked at by its id.", "wire-contract 3.1")
def get(bench: Context) -> None:
    same("id", an_object(bench.get(f"/sandboxes/{bench.box}"), SANDBOX)["id"], bench.box)


@group.contract("total-cost", "total_cost is cost plus llm_cost.", "wire-contract 3.1")
def total_cost(bench: Context) -> None:
    found = an_object(bench.get(f"/sandboxes/{bench.box}"), SANDBOX)
    wanted = found["cost"] + found["llm_cost"]
    true(abs(found["total_cost"] - wanted) < 1e-5, f"total_cost {wanted}", found["total_cost"])


@group.contract("list", "The list has every sandbox of the account, whole.", "wire-contract 3.1")
def listed(bench: Context) -> None:
    box = bench.box
    found = [item["id"] for item in an_array(bench.get("/sandboxes"), SANDBOX)]
    true(box in found, f"{box} in the list", found)


@group.contract("logs", "Logs are lines with timestamp, type and message.", "wire-contract 3.1")
def logs(bench: Context) -> None:
    bench.shell("true")
    lines = an_array(bench.get(f"/sandboxes/{bench.box}/logs"), LOG)
    true(lines, "some lines", "none")


@group.contract("logs-tail", "`tail` is how many lines of the log are wanted.", "wire-contract 3.1")
def logs_tail(bench: Context) -> None:
    bench.shell("true")
    lines = an_array(bench.get(f"/sandboxes/{bench.box}/logs", params={"tail": "1"}), LOG)
    same("lines:", len(lines), 1)


@group.decision("logs-bad-tail", "A tail that is no number is a 400 that names it.", "Part A, Errors")
def logs_bad_tail(bench: Context) -> None:
    answer = bench.get(f"/sandboxes/{bench.box}/logs", params={"tail": "many"})
    refused(answer, 400)
    says(answer, "tail")


@group.contract("trust", "Trust scores are session, score and time.", "wire-contract 3.1")
def trust(bench: Context) -> None:
    scores = an_array(bench.get(f"/trust/sandboxes/{bench.box}"), TRUST)
    true(all(item["score"] <= 100 for item in scores), "scores from 0 to 100", scores)


# --- pausing


@group.contract("pause-204", "A pause answers 204 and nothing.", "wire-contract 3.1")
def pause_204(bench: Context) -> None:
    answer = paused(bench).pause
    status(answer, 204)
    same("the body", answer.content, b"")


@group.contract("paused", "A paused sandbox says so.", "wire-contract 3.1")
def is_paused(bench: Context) -> None:
    same("status", text_of(paused(bench).get, "status"), "paused")


@group.contract("resume-204", "A resume answers 204 and nothing.", "wire-contract 3.1")
def resume_204(bench: Context) -> None:
    answer = paused(bench).resume
    status(answer, 204)
    same("the body", answer.content, b"")


@group.contract("resumed", "A resumed sandbox is running.", "wire-contract 3.1")
def resumed(bench: Context) -> None:
    same("status", text_of(paused(bench).get_after, "status"), "running")


@group.contract("pause-keeps", "Files outlive a pause.", "platform-behaviour B17")
def pause_keeps(bench: Context) -> None:
    same("output", an_object(paused(bench).exec_after).get("output"), "kept\n")


@group.decision("pause-twice", "Pausing a paused sandbox is a 409 that names its state.", "Part A, States")
def pause_twice(bench: Context) -> None:
    answer = paused(bench).pause_again
    refused(answer, 409)
    says(answer, "paused")
    reason(answer, "invalid_state")


@group.decision("resume-running", "Resuming a running sandbox is a 409 that names its state.", "Part A, States")
def resume_running(bench: Context) -> None:
    answer = paused(bench).resume_running
    refused(answer, 409)
    says(answer, "running")
    reason(answer, "invalid_state")


@group.decision("paused-exec", "A paused sandbox runs nothing: 200, error set, exit code -1.", "Part A, Exec")
def paused_exec(bench: Context) -> None:
    answer = paused(bench).exec
    status(answer, 200)
    result = an_object(answer)
    same("exit_code", result.get("exit_code"), -1)
    same("output", result.get("output"), "")
    true(isinstance(result.get("error"), str) and result["error"], "error, a text", repr(result.get("error")))


@group.decision("paused-files", "The files of a paused sandbox are a 409.", "Part A, Not running")
def paused_files(bench: Context) -> None:
    answer = paused(bench).files
    refused(answer, 409)
    reason(answer, "sandbox_not_running")


@group.decision("paused-terminal", "A terminal of a paused sandbox is a 409 before the upgrade.", "Part A, Sockets")
def paused_terminal(bench: Context) -> None:
    status(paused(bench).handshake, 409)


@group.contract("auto-snapshot", "A pause makes a snapshot named auto-pause.", "platform-behaviour B17")
def auto_snapshot(bench: Context) -> None:
    names = [item.get("name") for item in an_array(paused(bench).snapshots)]
    true("auto-pause" in names, "a snapshot auto-pause", names)


@group.decision("auto-trigger", "The trigger of the snapshot of a pause is `auto`.", "Part A, States")
def auto_trigger(bench: Context) -> None:
    found = [item.get("trigger") for item in an_array(paused(bench).snapshots) if item.get("name") == "auto-pause"]
    same("triggers", found, ["auto"])


# --- destroying


@group.decision("secrets", "The value of a variable named as a secret is masked in the logs.", "Part A, Create")
def secrets(bench: Context) -> None:
    story = destroyed(bench)
    lines = " ".join(item["message"] for item in an_array(story.logs, LOG))
    true(story.secret not in lines and "***" in lines, "*** in its place", lines)


@group.contract("destroy-204", "A destroy answers 204 and nothing.", "wire-contract 3.1")
def destroy_204(bench: Context) -> None:
    answer = destroyed(bench).delete
    status(answer, 204)
    same("the body", answer.content, b"")


@group.decision("destroyed-404", "A destroyed sandbox is a 404.", "Part A, States")
def destroyed_404(bench: Context) -> None:
    refused(destroyed(bench).get, 404)


@group.decision("destroyed-list", "A destroyed sandbox leaves the list.", "Part A, States")
def destroyed_list(bench: Context) -> None:
    story = destroyed(bench)
    found = [item.get("id") for item in an_array(story.listed)]
    true(story.sandbox not in found, f"{story.sandbox} not in the list", "it is")


@group.decision("destroyed-exec", "A destroyed sandbox runs nothing: 404.", "Part A, States")
def destroyed_exec(bench: Context) -> None:
    refused(destroyed(bench).exec, 404)


@group.decision("destroy-twice", "Destroying it again is a 404.", "Part A, States")
def destroy_twice(bench: Context) -> None:
    refused(destroyed(bench).delete_again, 404)


@group.decision("destroyed-snapshots", "Snapshots outlive their sandbox.", "Part A, States")
def destroyed_snapshots(bench: Context) -> None:
    status(destroyed(bench).snapshot, 200)


@group.contract("destroyed-terminal", "A terminal is closed when its sandbox is destroyed.", "wire-contract 4.3")
def destroyed_terminal(bench: Context) -> None:
    true(destroyed(bench).socket_closed is not None, "the socket closed within 10 s", "open")


@group.contract("network-mode", "The network mode is full, none or allowlist.", "platform-behaviour B14")
def network_mode(bench: Context) -> None:
    one_of("network_mode", text_of(bench.created, "network_mode"), ("full", "none", "allowlist"))
