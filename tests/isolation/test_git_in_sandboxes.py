"""Git in a sandbox reaches fake repositories, at every isolation level and in every network mode."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from levels import ISOLATED, Served

from caged import Caged
from caged.emulator import AccountView, RemoteEmulator

URL = "https://github.com/acme/calc"
COMMIT = "git -c user.name=a -c user.email=a@example.invalid commit -qam change"


@pytest.fixture
def view(anywhere: Served) -> Iterator[AccountView]:
    """An account of its own on the emulator of each level."""
    with RemoteEmulator(anywhere.base_url, anywhere.admin_key) as emulator, emulator.account() as view:
        yield view


#: For what is decided outside of the sandbox, or by git in the same way at each level.
at_one_level = pytest.mark.parametrize("anywhere", ["namespace"], indirect=True)


def run(client: Caged, box: str, command: str) -> str:
    result = client.sandboxes.exec(box, f"({command}) 2>&1")
    assert result.exit_code == 0, (command, result.output)
    return result.output


def modes(served: Served) -> list[dict[str, object]]:
    if served.level not in ISOLATED:
        return [{"network_mode": "full"}]
    if served.level != "namespace":
        return [{"network_mode": "none"}]  # the other levels differ in how init's socket is reached, as in this mode
    allowlist = {"network_mode": "allowlist", "allowlist": ["example.invalid"]}
    return [{"network_mode": "full"}, {"network_mode": "none"}, allowlist]


def test_clone_fetch_and_push_in_every_form_of_the_url(anywhere: Served, view: AccountView):
    calc = view.repos.add(URL, {"calc.py": "print(1)\n", "run.sh": "#!/bin/sh\necho ran\n"})
    with view.client() as client:
        for number, mode in enumerate(modes(anywhere)):
            made = client.sandboxes.create(repo=f"{URL}.git", **mode)
            assert made.status == "running", client.sandboxes.logs(made.id)
            box = made.id
            assert run(client, box, "cat calc.py; ./run.sh; git remote get-url origin") == (
                f"print(1)\nran\n{URL}.git\n"
            )
            forms = (URL, f"{URL}.git", "git@github.com:acme/calc", "git@github.com:acme/calc.git")
            forms += ("ssh://git@github.com/acme/calc.git", "http://github.com/acme/calc")
            forms += ("https://x-access-token:any@github.com/acme/calc", "https://GitHub.com/Acme/Calc/")
            if number == 0:  # what the user configures stays in force
                configure = "git config --global url.https://github.com/acme/.insteadOf our:"
                run(client, box, f"{configure} && git clone -q our:calc u")
            # The forms are distinguished outside of the sandbox; one of each kind is enough for the rest.
            has_all_forms = anywhere.level == "namespace" and number == 0
            forms = forms if has_all_forms else (URL, "git@github.com:acme/calc.git")
            clones = [f"git clone -q {form} /tmp/c{index}" for index, form in enumerate(forms)]
            run(client, box, " && ".join(clones))
            pushed = (0, 2) if has_all_forms else (0, 1)  # by https, and by ssh
            push = [
                f"cd /tmp/c{index} && echo {index} >> calc.py && {COMMIT} && git push -q origin HEAD:{number}-{index}"
                for index in pushed
            ]
            run(client, box, " && ".join(push))
            assert calc.file("calc.py", f"{number}-{pushed[1]}") == f"print(1)\n{pushed[1]}\n"
            if has_all_forms:
                run(client, box, f"cd /tmp/c0 && git fetch -q && git merge-base --is-ancestor HEAD origin/{number}-0")
                assert "new branch" not in run(client, box, "cd /tmp/c0 && git fetch")
    assert {push.branch for push in calc.pushes()} == set(calc.branches()) - {"main"}
    assert len(calc.pushes()) == 2 * len(modes(anywhere))


@at_one_level
def test_push_of_any_size_arrives(anywhere: Served, view: AccountView):
    """Between 16 KiB and 1 MiB, curl can only send it on the connection of the request before, which has to be open."""
    calc = view.repos.add(URL, {"calc.py": "print(1)\n"})
    sizes = [1_000, 40_000, 400_000, 3_000_000]
    with view.client() as client:
        box = client.sandboxes.create(repo=URL, **modes(anywhere)[0]).id  # type: ignore[arg-type]
        for size in sizes:
            change = f"head -c {size} /dev/urandom >{size} && git add {size} && {COMMIT}"
            run(client, box, f"{change} && git push -q origin HEAD:{size}")
        branches = "for i in $(seq 300); do echo create refs/heads/b$i HEAD; done | git update-ref --stdin"
        run(client, box, f"{branches} && git push -q origin 'refs/heads/b*'")
    assert [len(calc.file_bytes(f"{size}", f"{size}")) for size in sizes] == sizes
    assert len(calc.branches()) == 1 + len(sizes) + 300


@at_one_level
def test_submodules_of_fake_repositories_are_cloned(anywhere: Served, view: AccountView):
    view.repos.add("https://gitlab.com/acme/lib", {"lib.py": "VALUE = 1\n"})
    view.repos.add(URL, {"calc.py": "import lib\n"})
    with view.client() as client:
        box = client.sandboxes.create(**modes(anywhere)[-1]).id  # type: ignore[arg-type]
        run(
            client,
            box,
            f"git clone -q {URL} . && git submodule --quiet add https://gitlab.com/acme/lib"
            f" && git submodule --quiet add -b main git@gitlab.com:acme/lib.git again && {COMMIT} && git push -q",
        )
        run(client, box, f"git clone -q --recurse-submodules {URL} /tmp/whole && cat /tmp/whole/again/lib.py")
        assert run(client, box, "cat /tmp/whole/lib/lib.py") == "VALUE = 1\n"


@pytest.mark.parametrize("anywhere", ["namespace", "process"], indirect=True)
def test_unknown_repositories_and_hosts_fail_with_the_names_of_those_there_are(anywhere: Served, view: AccountView):
    view.repos.add(URL, {"a": "b"}, optional=True)
    unknown = ["https://github.com/acme/other", "https://no.example.invalid/x/y.git", "git@github.com:acme/other.git"]
    unknown += ["ssh://git@no.example.invalid/x", "alice@no.example.invalid:x", "git://github.com/acme/other"]
    with view.client() as client:
        for number, mode in enumerate(modes(anywhere)):
            box = client.sandboxes.create(**mode).id  # type: ignore[arg-type]
            for url in unknown if number == 0 else unknown[:3:2]:  # otherwise one by http, and one by ssh
                result = client.sandboxes.exec(box, f"git clone {url} x 2>&1")
                assert result.exit_code == 128, result.output
                assert "Could not resolve host" in result.output
                assert URL in result.output, result.output
        for url in ("https://github.com/acme/other", "git@github.com:acme/other.git"):
            failed = client.sandboxes.create(repo=url)
            assert failed.status == "error"
            assert URL in client.sandboxes.logs(failed.id)[-1].message


@at_one_level
def test_a_server_of_the_sandbox_itself_is_reached_as_without_fake_repositories(anywhere: Served, view: AccountView):
    view.repos.add(URL, {"a": "b"}, optional=True)
    with view.client() as client:
        box = client.sandboxes.create(**modes(anywhere)[-1]).id  # type: ignore[arg-type]
        run(client, box, f"git init -q own && cd own && echo x > f && git add f && {COMMIT} && git update-server-info")
        serve = "cd own/.git && python3 -u -m http.server --bind 127.0.0.1 0 > /tmp/served 2>&1"
        run(
            client,
            box,
            f"({serve}) & for i in $(seq 3000); do grep -q port /tmp/served && exit; sleep 0.02; done; exit 1",
        )
        port = "$(grep -o 'port [0-9]*' /tmp/served | cut -d' ' -f2)"
        assert run(client, box, f"git clone -q http://127.0.0.1:{port}/ mine && cat mine/f") == "x\n"
