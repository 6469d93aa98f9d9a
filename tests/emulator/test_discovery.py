"""Finding running emulators: what lives is found, what is dead is removed, what is another's is left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from caged.emulator.discovery import DiscoveredEmulator, Locator, find_running, process_start

FACTS = {
    "kind": "serve",
    "since": 1.0,
    "base_url": "http://127.0.0.1:1",
    "port": 1,
    "api_key": "caged_sk_x",
    "admin_key": "caged_adm_x",
    "isolation": "process",
    "run_dir": None,
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    directory = tmp_path / "locators"
    monkeypatch.setenv("CAGED_EMULATOR_LOCATOR_DIR", str(directory))
    return directory


@pytest.fixture
def published(place):
    one = Locator.create(os.getpid())
    one.publish(**FACTS)
    yield one
    one.remove()
    assert list(place.iterdir()) == []


def test_a_published_one_is_found_with_all_that_it_said(published):
    (found,) = find_running()
    assert found.is_alive
    assert found.process_runs
    assert (found.pid, found.started) == (os.getpid(), process_start(os.getpid()))
    assert {name: getattr(found, name) for name in FACTS} == FACTS
    assert found.log_file == published.log.path


def test_only_the_user_can_read_a_locator(place, published):
    assert place.stat().st_mode & 0o777 == 0o700
    assert published.path.stat().st_mode & 0o777 == 0o600
    assert published.log.path.stat().st_mode & 0o777 == 0o600


def test_emulator_is_found_only_between_publication_and_removal(place):
    one = Locator.create(os.getpid())
    assert find_running() == []
    one.publish(**FACTS)
    (found,) = find_running()
    one.remove()
    assert find_running() == []
    assert not found.is_alive


DIE = """
import os, signal
from caged.emulator.discovery import Locator
one = Locator.create(os.getpid())
one.log.write("last words")
one.publish(**{facts})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_one_left_is_removed_by_the_next_look(place):
    done = subprocess.run([sys.executable, "-c", DIE.format(facts=FACTS)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert sorted(path.suffix for path in place.iterdir()) == [".json", ".log"]
    assert find_running() == []
    assert list(place.iterdir()) == []


def test_a_file_that_names_a_living_process_but_is_held_by_none_is_stale(place):
    place.mkdir()
    (place / "1-1.json").write_text(json.dumps({**FACTS, "pid": os.getpid(), "started": None, "log_file": "/x"}))
    assert find_running() == []
    assert list(place.iterdir()) == []


def test_a_reused_process_number_is_not_taken_for_the_emulators(published):
    (found,) = find_running()
    other = DiscoveredEmulator(**{**vars(found), "started": found.started + 1})
    assert not other.process_runs


def test_a_process_that_has_ended_has_no_start_even_before_it_is_waited_for():
    ended = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert ended.stdout.read() == b""  # it has closed its files: it is ending
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert process_start(ended.pid) is None
    ended.stdout.close()
    ended.wait(60)
    assert process_start(ended.pid) is None


def test_what_died_half_made_is_removed_when_it_is_old(place):
    place.mkdir()
    for name in ("1-1.log", "1-1.log.1", "1-1.new", "2-2.log"):
        (place / name).touch()
    for name in ("1-1.log", "1-1.new"):
        os.utime(place / name, (0, 0))
    (place / "of-another").mkdir()
    assert find_running() == []
    assert sorted(path.name for path in place.iterdir()) == ["2-2.log", "of-another"]


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"pid": "x"}'])
def test_a_held_file_that_is_not_a_locator_hides_no_other(place, published, content):
    import fcntl

    with open(place / "0-0.json", "w") as file:
        file.write(content)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert [found.pid for found in find_running()] == [os.getpid()]
    (place / "0-0.json").unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_another_users_file_is_neither_believed_nor_removed(place, published):
    os.chown(published.path, 65534, 65534)
    assert find_running() == []
    assert published.path.exists()


def test_a_link_is_not_followed(place, published, tmp_path):
    published.path.rename(tmp_path / "elsewhere.json")
    published.path.symlink_to(tmp_path / "elsewhere.json")
    assert find_running() == []


def test_the_oldest_is_first(place):
    first, second = Locator.create(os.getpid()), Locator.create(os.getppid())
    second.publish(**{**FACTS, "since": 2.0})
    first.publish(**{**FACTS, "since": 3.0})
    assert [found.pid for found in find_running()] == [os.getppid(), os.getpid()]
    first.remove()
    second.remove()


@pytest.fixture
def homes(tmp_path, monkeypatch):
    """A session's directory and a home, in which nothing is yet."""
    monkeypatch.delenv("CAGED_EMULATOR_LOCATOR_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, variable in (("session", "XDG_RUNTIME_DIR"), ("home", "HOME")):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    return tmp_path


def test_the_sessions_directory_is_preferred_and_a_shell_that_does_not_know_it_uses_the_home(homes, monkeypatch):
    one = Locator.create(os.getpid())
    assert one.path.parent == homes / "session" / "caged"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    other = Locator.create(os.getppid())
    assert other.path.parent == homes / "home" / ".cache" / "caged" / "emulators"
    one.publish(**FACTS)
    other.publish(**FACTS)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(homes / "session"))
    assert {found.pid for found in find_running()} == {os.getpid(), os.getppid()}
    one.remove()
    other.remove()


def test_the_home_is_used_where_the_sessions_directory_cannot(homes):
    (homes / "session" / "caged").touch()
    one = Locator.create(os.getpid())
    assert one.path.parent == homes / "home" / ".cache" / "caged" / "emulators"
    one.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory away needs root")
def test_another_users_session_is_not_used(homes):
    os.chown(homes / "session", 65534, 65534)
    one = Locator.create(os.getpid())
    assert one.path.is_relative_to(homes / "home")
    one.remove()
    assert list((homes / "session").iterdir()) == []


def test_where_there_is_no_place_the_error_names_those_that_were_tried(monkeypatch):
    monkeypatch.setenv("CAGED_EMULATOR_LOCATOR_DIR", "/dev/null/x")
    with pytest.raises(OSError, match="/dev/null/x: Not a directory"):
        Locator.create(os.getpid())
    assert find_running() == []
