"""What must not get out: the host's environment, secrets and tokens in logs, and half-masked ones."""

import os

import pytest
from emulator_testing import eventually

SECRET = "s3cr3t-v4lue"


@pytest.fixture
def host_secret(monkeypatch, own_emulator, new_api):
    """An emulator started by a process with a secret in its environment."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("CAGED_API_KEY", SECRET)
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'user.name={SECRET}'")
    monkeypatch.setenv("PYTHONPATH", f"/nonexistent/{SECRET}")
    monkeypatch.setenv("BASH_ENV", f"/nonexistent/{SECRET}")
    return new_api(own_emulator())


def test_the_hosts_environment_never_reaches_a_command(host_secret):
    box = host_secret.sandbox(agents=["claude"])
    for command in (
        "env",
        "export -p",
        "set",
        "cat /proc/self/environ",
        "cat /proc/$PPID/environ 2>/dev/null; true",
        "env -i /usr/bin/env",
        "python3 -c 'import os; print(os.environ)'",
        "bash -lc env",
        "claude -p x; env",
        "git config --list; true",
    ):
        assert SECRET not in host_secret.run(box, command)["output"], command


def test_the_hosts_environment_never_reaches_an_init_script_a_clone_or_a_package(host_secret, tmp_path, git):
    git("init", "-q", cwd=tmp_path)
    made = host_secret.post(
        "/sandboxes",
        json={
            "template": "python",
            "repo": str(tmp_path),
            "init_script": "env > /workspace/env; env",
            "agents": ["claude"],
        },
    ).json()
    assert made["status"] == "running", host_secret.log_text(made["id"])
    assert "HOME=" in host_secret.read(made["id"], "env").text
    assert SECRET not in host_secret.read(made["id"], "env").text
    assert SECRET not in host_secret.log_text(made["id"])


def test_no_descriptor_of_the_emulator_reaches_a_command(api, box):
    # 255 is bash's own; the listing itself opens one more.
    shown = api.output(box, "for fd in /proc/$$/fd/*; do echo ${fd##*/} $(readlink $fd); done")
    numbers = {line.split()[0] for line in shown.splitlines()}
    assert numbers <= {"0", "1", "2", "3", "255"}
    assert "socket" not in shown


def test_the_account_key_is_nowhere_in_a_sandbox(api, box):
    assert api.key not in api.output(box, "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; true")


def sandbox_with_secret(api, value=SECRET, **fields):
    return api.post(
        "/sandboxes",
        json={"template": "minimal", "env": {"TOKEN": value, "OPEN": "visible"}, "secrets": ["TOKEN"], **fields},
    ).json()["id"]


def test_a_secret_is_there_for_commands(api):
    box = sandbox_with_secret(api)
    assert api.output(box, "echo $TOKEN $OPEN") == f"{SECRET} visible\n"


def test_a_secret_in_a_command_is_masked_in_the_log(api):
    box = sandbox_with_secret(api)
    api.run(box, f"curl -H 'Authorization: {SECRET}' visible")
    (line,) = [line["message"] for line in api.logs(box) if line["type"] == "command"]
    assert "Authorization: ***" in line
    assert "visible" in line
    assert SECRET not in line


def test_a_secret_in_the_output_of_an_init_script_is_masked(api):
    for script in ("echo it is $TOKEN", "echo it is $TOKEN; exit 1"):
        log = api.log_text(sandbox_with_secret(api, init_script=script))
        assert "it is ***" in log
        assert SECRET not in log


def test_a_secret_in_a_prompt_is_masked(api):
    box = sandbox_with_secret(api, agents=["claude"])
    api.output(box, 'claude -p "use $TOKEN"')
    assert "received the prompt: use ***" in api.log_text(box)
    assert SECRET not in api.log_text(box)


def test_a_secret_in_a_snapshots_name_is_masked_in_the_log(api):
    box = sandbox_with_secret(api)
    api.snapshot(box, name=f"with {SECRET}")
    eventually(lambda: "with ***" in api.log_text(box), "the log line")
    assert SECRET not in api.log_text(box)


def test_a_secret_in_a_git_diff_path_is_masked_in_the_log(api):
    box = sandbox_with_secret(api)
    api.output(box, f"mkdir d-{SECRET}")
    api.get(f"/sandboxes/{box}/git/diff", params={"path": f"d-{SECRET}"})
    assert "d-***" in api.log_text(box)
    assert SECRET not in api.log_text(box)


@pytest.mark.parametrize("before", range(470, 510, 6))
def test_a_secret_is_masked_where_a_long_command_is_cut(api, before):
    box = sandbox_with_secret(api)
    api.run(box, "#" + "x" * before + SECRET + "y" * 100)
    assert SECRET[:4] not in api.log_text(box)


@pytest.mark.parametrize("after", range(3990, 4005, 3))
def test_a_secret_is_masked_where_a_long_output_is_cut(api, after):
    box = sandbox_with_secret(
        api, init_script=f"printf 'x%.0s' $(seq 500); printf %s $TOKEN; printf 'y%.0s' $(seq {after})"
    )
    log = api.log_text(box)
    assert "yyy" in log
    assert SECRET[-4:] not in log


def test_a_secret_of_several_lines_is_masked_where_a_failure_is_cut(api):
    value = "\n".join(f"{SECRET}-{number}" for number in range(10))
    box = sandbox_with_secret(api, value, init_script='echo "$TOKEN"; seq 14; exit 1')
    assert SECRET not in api.log_text(box)


def test_two_secrets_of_which_one_contains_the_other_are_both_masked(api):
    box = api.sandbox(env={"A": "inner", "B": "outer-inner-outer"}, secrets=["A", "B"])
    api.run(box, "echo inner outer-inner-outer")
    (line,) = [line["message"] for line in api.logs(box) if line["type"] == "command"]
    assert "$ echo *** *** (" in line


def test_an_empty_or_unknown_secret_masks_nothing(api):
    box = api.sandbox(env={"EMPTY": ""}, secrets=["EMPTY", "UNKNOWN"])
    api.run(box, "echo visible")
    assert "$ echo visible" in api.log_text(box)


def test_secrets_and_env_are_not_shown_by_the_api(api):
    box = sandbox_with_secret(api)
    assert SECRET not in api.get(f"/sandboxes/{box}").text
    assert SECRET not in api.get("/sandboxes").text


def test_the_journal_has_no_secret_and_no_key(api):
    box = sandbox_with_secret(api)
    api.write(box, f"{SECRET}.txt", SECRET)
    api.run(box, f"echo {SECRET}")
    entries = api.emulator.journal.requests(account=api.account_id)
    assert [entry.operation for entry in entries] == ["sandboxes.create", "files.write", "sandboxes.exec"]
    assert [entry.status for entry in entries] == [201, 200, 200]
    recorded = repr([vars(entry) for entry in entries])
    assert "sandboxes.create" in recorded
    assert SECRET not in recorded
    assert api.key not in recorded


def test_the_emulators_own_log_has_no_secret_or_key(api):
    box = sandbox_with_secret(api)
    api.run(box, f"echo {SECRET}; kill -9 $$")
    api.delete(f"/sandboxes/{box}")
    log = "\n".join(api.emulator.log_tail(1000))
    assert SECRET not in log
    assert api.key not in log


def test_the_directories_of_sandboxes_are_the_users_alone(api, box):
    for place in (api.emulator.run_dir, api.emulator.run_dir / "sandboxes" / box):
        assert place.stat().st_mode & 0o077 == 0
        assert place.stat().st_uid == os.geteuid()
