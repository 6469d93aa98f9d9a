"""How git in a sandbox finds fake repositories: a file of settings, and the environment by which git reads it.

The file is not the sandbox's own: `git config --global` and `--system` are as they are, and what they say about users,
aliases, credentials and URLs applies. The path is in GIT_CONFIG_PARAMETERS, the variable of `git -c`, because it exists
since git 1.7, is passed on to submodules, and no program sets it by itself, as some do with GIT_CONFIG_COUNT.
"""

from __future__ import annotations

import shlex

from .server import USER

#: Nothing is verified, but git would still read all certificates of authorities with each connection: most of the time
#: of a short command.
_NO_AUTHORITIES = "/dev/null"
#: Git does not use a proxy for these: a server of the sandbox's own is reached as always.
_OWN_HOSTS = "localhost,127.0.0.1,::1"


def settings(port: int, secret: str, ssh_program: str) -> str:
    """The content of the file.

    Args:
        port: The port of the server, on loopback.
        secret: The sandbox's secret.
        ssh_program: The path of the program in place of ssh, as the sandbox has it.
    """
    command = shlex.quote(ssh_program).replace("\\", "\\\\").replace('"', '\\"')
    return (
        "# Written by the emulator: this account has fake repositories.\n"
        "[http]\n"
        f'\tproxy = "http://{USER}:{secret}@127.0.0.1:{port}"\n'
        "\tproxyAuthMethod = basic\n"
        "\tsslVerify = false\n"
        f"\tsslCAInfo = {_NO_AUTHORITIES}\n"
        f"\tsslCAPath = {_NO_AUTHORITIES}\n"
        "[core]\n"
        f'\tsshCommand = "{command}"\n'
        f'\tgitProxy = "{command}"\n'
        "[ssh]\n"
        "\tvariant = ssh\n"
    )


def environment(path: str) -> dict[str, str]:
    """The variables of commands. `path`: the file, as the commands have it."""
    return {"GIT_CONFIG_PARAMETERS": f"'include.path={path}'", "NO_PROXY": _OWN_HOSTS, "no_proxy": _OWN_HOSTS}
