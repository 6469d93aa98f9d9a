"""Observation changes nothing, and the emulator sends no requests to itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest


def emulator_command(caged_emulator, *words):
    whole = caged_emulator.emulator
    variables = {"CAGED_EMULATOR_URL": whole.base_url, "CAGED_EMULATOR_ADMIN_KEY": whole.admin_key}
    command = [sys.executable, "-m", "caged.emulator", *words]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, timeout=30)


def test_status_changes_nothing__passes(caged_emulator):
    fault = caged_emulator.faults.add(status=503, times=1, account="*", optional=True)
    done = emulator_command(caged_emulator, "status")
    assert done.returncode == 0, done.stderr
    assert fault.info.seen == 0
    assert list(caged_emulator.journal) == []


def test_command_line_controls_emulator_of_environment__passes(caged_emulator):
    account = caged_emulator.id
    done = emulator_command(caged_emulator, "clock", "freeze", "2031-01-01T00:00:00Z", "--account", account)
    assert done.returncode == 0, done.stderr
    assert caged_emulator.clock.frozen


def admin(caged_emulator, body):
    whole = caged_emulator.emulator
    headers = {"Authorization": f"Bearer {whole.admin_key}"}
    url = f"{whole.base_url}/_emulator/scenario?account={caged_emulator.id}"
    return httpx.post(url, json={"scenario": body}, headers=headers, timeout=60, trust_env=False)


def test_many_scenarios_at_once__passes(caged_emulator, caged):
    scenario = {"sandboxes": [{"files": {"/workspace/a": "b"}, "commands": ["true"]}]}
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: admin(caged_emulator, scenario).status_code, range(12)))
    assert answers == [201] * 12
    assert len(caged.sandboxes.list()) == 12


def test_scenario_reads_no_file_of_the_emulators_machine__passes(caged_emulator, caged):
    answer = admin(caged_emulator, {"sandboxes": [{"files": {"x": {"from": "/etc/hostname"}}}]})
    assert answer.status_code == 400
    assert "from" in json.dumps(answer.json())
    assert caged.sandboxes.list() == []


def test_admin_key_and_an_unverified_host__passes(tmp_path):
    from caged.emulator import InsecureConnectionWarning, RemoteEmulator

    with pytest.warns(InsecureConnectionWarning), RemoteEmulator("http://emulator.example", "key"):
        pass
