"""Kernel keyrings belong to a user, not to a namespace: a sandbox can neither read nor change them."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator

import pytest
from isolation_testing import anywhere, python
from levels import Served

NUMBERS = {"x86_64": (248, 249, 250), "aarch64": (217, 218, 219)}
USER_KEYRING = -4
NAME = b"caged-test-key"

pytestmark = pytest.mark.skipif(platform.machine() not in NUMBERS, reason="the calls' numbers are written for these")


@pytest.fixture
def key() -> Iterator[None]:
    """A key of this user, in the keyring that all of its processes share."""
    add_key, _, keyctl = NUMBERS[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.syscall(add_key, b"user", NAME, b"secret", ctypes.c_size_t(6), USER_KEYRING)
    if number < 0:
        pytest.skip(f"no key can be added here: {os.strerror(ctypes.get_errno())}")
    yield
    libc.syscall(keyctl, 9, number, USER_KEYRING)  # KEYCTL_UNLINK


@pytest.mark.usefixtures("key")
def test_keyring_system_calls_are_denied(anywhere: Served) -> None:
    add_key, request_key, keyctl = NUMBERS[platform.machine()]
    program = f"""
        import ctypes, errno, json
        libc = ctypes.CDLL(None, use_errno=True)
        reached = []
        for name, call in {{
            "add": ({add_key}, b"user", b"caged-added", b"x", 1, -3),
            "request": ({request_key}, b"user", {NAME!r}, None, 0),
            "search user": ({keyctl}, 10, -4, b"user", {NAME!r}, 0),
            "search session": ({keyctl}, 10, -5, b"user", {NAME!r}, 0),
            "id of user's": ({keyctl}, 0, -4, 0),
            "id of session's": ({keyctl}, 0, -3, 0),
            "join session": ({keyctl}, 1, None),
            "persistent": ({keyctl}, 22, -1, -3),
        }}.items():
            words = [ctypes.c_long(word) if isinstance(word, int) else word for word in call]
            if libc.syscall(*words) >= 0 or ctypes.get_errno() != errno.ENOSYS:
                reached.append(name)
        print(json.dumps(reached))
    """
    with anywhere.sandbox(template="python-312") as box:
        assert python(anywhere, box, program) == []
        nested = anywhere.client.sandboxes.exec(box, "unshare -Ur python3 program.py")
        assert nested.output == "[]\n" or not nested.ok
