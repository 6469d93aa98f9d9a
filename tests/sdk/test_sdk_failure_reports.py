"""What pytest reports of an error of the SDK: the user's own line."""

import os
import re
import sys
import textwrap
from pathlib import Path

import fork_server
import pytest

import caged

SDK = Path(caged.__file__).parent

SUITE = """
    import asyncio, os
    from caged import AsyncCaged, Caged

    URL, KEY = os.environ["SUITE_URL"], os.environ["SUITE_KEY"]
    client = Caged(KEY, URL)

    def test_call():
        here = "call"
        client.sandboxes.get("cage_none")

    def test_arguments():
        here = "arguments"
        client.files.write("cage_none", "a", b"bytes")

    def test_construction():
        here = "construction"
        Caged(KEY, URL + "/v1")

    def test_refused():
        here = "refused"
        Caged(KEY, "http://127.0.0.1:1", max_retries=0).sandboxes.list()

    def test_stream():
        here = "stream"
        for piece in client.sandboxes.stream("cage_none", "true"):
            pass

    def test_replay():
        here = "replay"
        list(client.sessions.replay_events("sess_none"))

    def test_async():
        async def main():
            async with AsyncCaged(KEY, URL) as other:
                here = "async"
                await other.files.read("cage_none", "a")
        asyncio.run(main())

    def test_async_stream():
        async def main():
            async with AsyncCaged(KEY, URL) as other:
                here = "async stream"
                async for piece in other.sandboxes.stream("cage_none", "true"):
                    pass
        asyncio.run(main())

    def test_terminal():
        async def main():
            here = "terminal"
            async with await client.sandboxes.terminal("cage_none") as tty:
                pass
        asyncio.run(main())

    def test_keyword():
        here = "keyword"
        client.files.read("cage_none", pth="a")
"""
PLACES = re.findall(r'here = "(.+)"', SUITE)


@pytest.fixture
def suite(tmp_path, emulator):
    (tmp_path / "test_suite.py").write_text(textwrap.dedent(SUITE))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def run(*options, typed=""):
        command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist"]
        environment = {**os.environ, "SUITE_URL": emulator.base_url, "SUITE_KEY": emulator.api_key, "COLUMNS": "200"}
        environment.pop("PYTEST_ADDOPTS", None)
        done = fork_server.run(
            [*command, *options], input=typed, capture_output=True, text=True, timeout=120, cwd=tmp_path,
            env=environment,
        )  # fmt: skip
        assert f"{len(PLACES)} failed" in done.stdout, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("style", ["long", "short", "line"])
def test_failure_report_of_pytest_shows_no_line_of_the_sdk(suite, style):
    report = suite(f"--tb={style}")
    assert str(SDK) not in report
    assert "_tracebacks.py" not in report
    assert "httpx" not in report
    assert "cannot connect to http://127.0.0.1:1" in report


def test_pdb_of_pytest_stops_in_the_callers_frame(suite):
    transcript = suite("--pdb", typed="p ('HERE', here)\nc\n" * len(PLACES))
    assert re.findall(r"\('HERE', '(.+)'\)", transcript) == PLACES
