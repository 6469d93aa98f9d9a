"""The sudo that sandboxes have where the host's does not work: options mean what they mean to the real one."""

from __future__ import annotations

import pytest
from levels import Served

from caged.emulator.cage.sudo import _SCRIPT


@pytest.fixture
def sudo(isolated: Served, box: str) -> str:
    """What defines `sudo` in a command: the script, also where the host's program is used otherwise."""
    isolated.client.files.write(box, "/tmp/sudo", _SCRIPT)
    return 'sudo() { sh /tmp/sudo "$@"; }; '


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("sudo -nHEu root id -un", "root\n"),
        ("sudo -uroot id -un", "root\n"),
        ("sudo --user root --group=root id -gn", "root\n"),
        ("sudo -u '#0' -g '#0' id -un", "root\n"),
        ("sudo -p '' id -un", "root\n"),
        ("A=1 sudo -E B=2 sh -c 'echo $A $B'", "1 2\n"),
        ("sudo -iu root pwd", "/root\n"),
        ("cd /usr; sudo -s pwd", "/usr\n"),
        ("sudo --chdir=/usr -i pwd", "/usr\n"),
        ("HOME=/x sudo -H printenv HOME", "/root\n"),
        ("sudo -i printf '%s|' 'a b' 'c;d' '*' '$HOME'", "a b|c;d|*|/root|"),
        ("echo 'cd /usr; pwd' | sudo -s", "/usr\n"),
        ("sudo -u root -- printf '%s|' -n 'a  b'", "-n|a  b|"),
        ("sudo -kn; sudo -v && echo valid", "valid\n"),
    ],
)
def test_options_of_sudo_take_effect(isolated: Served, box: str, sudo: str, command: str, output: str) -> None:
    assert isolated.run(box, sudo + command) == output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sudo caged-nothing", "sudo: caged-nothing: command not found"),
        ("sudo exit", "sudo: exit: command not found"),
        ("sudo", "sudo: no command was given"),
        ("sudo -nu", "sudo: option '-u' needs a value"),
        ("sudo -nx true", "sudo: option '-x' is unknown"),
        ("sudo --unknown true", "sudo: option '--unknown' is unknown"),
        ("sudo -iu caged-none", "sudo: 'caged-none' is not in /etc/passwd"),
        ("sudo -g caged-none true", "sudo: 'caged-none' is not in /etc/group"),
    ],
)
def test_wrong_use_of_sudo_is_an_error(isolated: Served, box: str, sudo: str, command: str, message: str) -> None:
    result = isolated.client.sandboxes.exec(box, sudo + command)
    assert (result.exit_code, result.output) == (1, message + "\n")


def test_sudo_in_background_returns_at_once(isolated: Served, box: str, sudo: str) -> None:
    # The command waits for what is written to the pipe after sudo has returned.
    script = "mkfifo pipe; sudo -b sh -c 'read word < pipe; echo $word > done'; echo go > pipe; wait; "
    assert isolated.run(box, sudo + script + "until test -s done; do sleep 0.01; done; cat done") == "go\n"


def test_sudo_runs_commands_as_another_user(isolated: Served, box: str, sudo: str) -> None:
    if not isolated.client.sandboxes.exec(box, "touch file && chown 1:1 file").ok:
        pytest.skip("a sandbox has root alone here")
    isolated.run(box, "useradd -m caged-al")
    isolated.run(box, "echo 'echo profile' > /home/caged-al/.profile; chown caged-al: /home/caged-al/.profile")
    assert isolated.run(box, sudo + "sudo -Hnu caged-al sh -c 'whoami; echo $HOME'") == "caged-al\n/home/caged-al\n"
    assert isolated.run(box, sudo + "sudo -iu caged-al pwd") == "profile\n/home/caged-al\n"
    number = 'sudo -u "#$(id -u caged-al)" '
    assert isolated.run(box, sudo + number + "-g daemon id -un") == "caged-al\n"
    assert isolated.run(box, sudo + number + "-g daemon id -gn") == "daemon\n"
    assert isolated.run(box, sudo + "sudo -g daemon id -gn") == "daemon\n"
    refused = isolated.client.sandboxes.exec(box, "su caged-al -c 'sh /tmp/sudo true'")
    assert refused.output == "sudo: a command of another user cannot become root in this sandbox\n"
