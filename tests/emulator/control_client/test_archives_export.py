"""`export`: whose, by one rule wherever it is called, and who may read the file."""

from __future__ import annotations

import json
import os
import stat
import tarfile

import httpx
import pytest

from caged.emulator import EmulatorError, RemoteEmulator


@pytest.fixture(params=["local", "remote"])
def held(request, own_emulator):
    """An emulator of the test alone with two more accounts, held in this process or by URL."""
    emulator = own_emulator()
    for _ in range(2):
        emulator.create_account()
    if request.param == "local":
        yield emulator
        return
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
        yield remote


def accounts_in(path):
    with tarfile.open(path) as archive:
        return json.load(archive.extractfile("manifest.json"))["accounts"]


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_scope_of_an_export(held, tmp_path):
    path = tmp_path / "all.tar.gz"
    every = [account.id for account in held.accounts()]
    mine = every[1]
    for account, expected in ((None, every), ("*", every), (mine, [mine]), (held.accounts()[1], [mine])):
        held.export(path, account)
        assert accounts_in(path) == expected, account
    held.for_account(mine).export(path)
    assert accounts_in(path) == [mine]
    with RemoteEmulator(held.base_url, held.admin_key, account=mine) as scoped:
        for account, expected in ((None, [mine]), ("*", every), (every[2], [every[2]])):
            scoped.export(path, account)
            assert accounts_in(path) == expected, account


def test_scope_of_an_export_over_http(held, tmp_path):
    every = [account.id for account in held.accounts()]
    for params, expected in (({}, every), ({"account": "*"}, every), ({"account": every[1]}, [every[1]])):
        headers = {"Authorization": f"Bearer {held.admin_key}"}
        answer = httpx.get(
            f"{held.base_url}/_emulator/export",
            params=params,
            headers=headers,
            trust_env=False,
            verify=False,
            timeout=60,
        )
        (tmp_path / "x").write_bytes(answer.content)
        assert accounts_in(tmp_path / "x") == expected


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_export_is_its_owners_alone_also_in_place_of_another_file(held, tmp_path, umask):
    before = os.umask(umask)
    try:
        held.export(tmp_path / "new.tar.gz")
        old = tmp_path / "old.tar.gz"
        old.write_text("what was there")
        old.chmod(0o644)
        held.export(old)
    finally:
        os.umask(before)
    assert [mode(tmp_path / "new.tar.gz"), mode(old)] == [0o600, 0o600]
    assert tarfile.is_tarfile(old)


@pytest.mark.parametrize(
    ("name", "account", "said"),
    [
        ("x.tar.gz", "acct_nope", "account acct_nope is unknown; nothing was exported"),
        ("missing/x.tar.gz", None, "missing is not a directory; create it first"),
        ("", None, "is a directory; name a file"),
    ],
)
def test_export_that_fails_leaves_what_was_there(held, tmp_path, name, account, said):
    (tmp_path / "x.tar.gz").write_text("before")
    with pytest.raises(ValueError, match=said):
        held.export(tmp_path / name, account)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]
    assert (tmp_path / "x.tar.gz").read_text() == "before"


def test_export_that_breaks_off_leaves_what_was_there(held, tmp_path, monkeypatch):
    target = tmp_path / "x.tar.gz"
    target.write_text("before")
    download = type(held._admin).download

    def broken(pieces):
        yield next(pieces)[:64]
        raise EmulatorError("the connection broke")

    import contextlib

    @contextlib.contextmanager
    def breaking(self, *arguments, **options):
        with download(self, *arguments, **options) as pieces:
            yield broken(pieces)

    monkeypatch.setattr(type(held._admin), "download", breaking)
    with pytest.raises(EmulatorError, match="the connection broke"):
        held.export(target)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]
    assert target.read_text() == "before"


def test_import_names_the_file_that_it_refuses(held, tmp_path):
    (tmp_path / "text.tar.gz").write_text("text")
    with pytest.raises(ValueError, match=r"text\.tar\.gz: the archive cannot be read as an export"):
        held.import_(tmp_path / "text.tar.gz")
    with pytest.raises(ValueError, match=r"nope\.tar\.gz does not exist"):
        held.import_(tmp_path / "nope.tar.gz")
