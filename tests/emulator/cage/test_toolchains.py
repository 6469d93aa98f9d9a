"""Templates: their names, and the host's programs behind them."""

import sys

import pytest

from caged.emulator.cage.toolchains import Toolchain, Toolchains


@pytest.mark.parametrize("template", ["minimal", "node-20", "node-22", "python-311", "python-312", "go-122", "desktop"])
def test_every_template_creates_a_sandbox_that_runs(api, template):
    box = api.sandbox(template=template)
    assert api.get(f"/sandboxes/{box}").json()["template"] == template
    assert api.output(box, "echo works") == "works\n"


@pytest.mark.parametrize(
    ("alias", "template"), [("node", "node-22"), ("python", "python-312"), ("gui", "desktop"), ("computer", "desktop")]
)
def test_the_response_names_the_template_behind_an_alias(api, alias, template):
    assert api.post("/sandboxes", json={"template": alias}).json()["template"] == template


@pytest.mark.parametrize(("template", "version"), [("python-311", "3.11"), ("python-312", "3.12")])
def test_a_python_template_has_python_and_says_when_it_is_another(api, template, version):
    box = api.sandbox(template=template)
    for name in ("python", "python3"):
        actual = api.output(box, f"{name} -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'").strip()
    if actual != version:
        assert f"template {template}: no python{version} on this host" in api.log_text(box)
        assert f"Python {actual}" in api.log_text(box)


def test_the_python_of_a_sandbox_is_not_the_virtual_environment_of_the_tests(api):
    box = api.sandbox(template="python")
    assert api.output(box, "python3 -c 'import sys; print(sys.prefix == sys.base_prefix)'") == "True\n"
    assert (
        sys.prefix not in api.output(box, "python3 -c 'import sys; print(sys.path)'") or sys.prefix == sys.base_prefix
    )


def test_packages_are_looked_for_in_the_sandboxs_own_home(api):
    box = api.sandbox(template="python")
    assert api.output(box, "python3 -m site --user-base") == "/root/.local\n"


@pytest.mark.parametrize(("template", "program"), [("node-22", "node"), ("go-122", "go"), ("python-311", "python3")])
def test_a_template_whose_program_is_missing_still_creates_and_says_so(
    own_emulator, new_api, monkeypatch, template, program
):
    emulator = own_emulator()
    monkeypatch.setattr(Toolchains, "_python_candidates", lambda self, *arguments: [])
    monkeypatch.setattr(Toolchains, "_by_version", lambda self, *arguments: nothing_found(*arguments))
    api = new_api(emulator)
    box = api.sandbox(template=template)
    assert f"template {template}: no " in api.log_text(box)
    assert program in api.log_text(box)


def nothing_found(*arguments):
    return Toolchain(arguments[0], f"no {arguments[1]} on this host", False)


def test_another_version_is_named(tmp_path):
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v18.1.0\n")
    node.chmod(0o755)
    chain = Toolchains(path=str(tmp_path))._by_version("node-22", "node", "22", [], r"v?(\d+)\.\S+", ())
    assert not chain.exact
    assert "v18.1.0" in chain.summary
    assert "no node 22" in chain.summary


def test_the_exact_version_wins_over_the_first_found(tmp_path):
    for name, version in (("node", "v18.1.0"), ("other", "v22.5.0")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    chain = Toolchains(path=str(tmp_path))._by_version(
        "node-22", "node", "22", [str(tmp_path / "other")], r"v?(\d+)\.\S+", ()
    )
    assert chain.exact
    assert chain.links["node"] == str(tmp_path / "other")


def test_a_program_that_fails_is_none(tmp_path):
    (tmp_path / "node").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "node").chmod(0o755)
    chain = Toolchains(path=str(tmp_path))._by_version("node-22", "node", "22", [], r"v?(\d+)\.\S+", ())
    assert "no node on this host" in chain.summary
