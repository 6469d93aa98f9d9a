"""A private repository, without a network: create a sandbox from it, let an agent push a branch, look at the branch."""

from caged import Caged
from caged.emulator import AccountView, RepositoryHandle

FIX = """
git checkout -q -b fix && echo 'def add(a, b): return a + b' > calc.py &&
git -c user.name=Bot -c user.email=bot@example.com commit -q -a -m 'Fix add' && git push -q origin fix
"""


def test_a_fix_is_pushed(caged: Caged, caged_emulator: AccountView) -> None:
    url = "https://github.com/acme/calc"
    files = {"calc.py": "def add(a, b): return a - b\n", "README.md": "# calc\n"}  # or a directory: "tests/data/calc"
    repo: RepositoryHandle = caged_emulator.repos.add(url, files, token="ghp_test")
    box = caged.sandboxes.create(repo=url, repo_token="ghp_test")
    caged.sandboxes.exec(box.id, f"git remote set-url origin https://x-access-token:ghp_test@{url[8:]}")
    assert caged.sandboxes.exec(box.id, FIX).exit_code == 0
    assert repo.branches() == ["fix", "main"]
    assert repo.commits("fix")[0].subject == "Fix add"
    assert repo.file("calc.py", "fix") == "def add(a, b): return a + b\n"
    assert [push.branch for push in repo.pushes()] == ["fix"]


def test_a_repository_that_does_not_exist(caged: Caged, caged_emulator: AccountView) -> None:
    caged_emulator.repos.add("https://github.com/acme/calc", {}, optional=True)
    box = caged.sandboxes.create(repo="git@github.com:acme/calculator.git")
    assert box.status == "error"
    assert "Could not resolve host" in caged.sandboxes.logs(box.id)[-1].message
