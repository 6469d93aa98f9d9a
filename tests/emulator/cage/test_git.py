"""The git diff of a work tree."""

from pathlib import Path

import pytest
from emulator_testing import assert_problem

SETUP = """
git init -q . && git config user.name t && git config user.email t@example.invalid
for name in kept changed staged removed both; do echo one > $name; done
git add . && git commit -qm first
"""


@pytest.fixture
def repo(api, box):
    """A sandbox whose workspace is a repository with one commit."""
    api.output(box, SETUP)
    return box


def diff(api, box, path=None):
    response = api.get(f"/sandboxes/{box}/git/diff", params={} if path is None else {"path": path})
    assert response.status_code == 200, response.text
    assert set(response.json()) == {"files", "diff", "staged_diff"}
    return response.json()


def files(found):
    return {file["path"]: file["status"] for file in found["files"]}


def test_a_clean_work_tree_has_no_changes(api, repo):
    assert diff(api, repo) == {"files": [], "diff": "", "staged_diff": ""}


def test_staged_and_unstaged_changes_are_distinguished(api, repo):
    api.output(repo, "echo two > changed; echo two > staged; git add staged; rm removed; echo new > new; git add new")
    found = diff(api, repo)
    assert files(found) == {"changed": "modified", "staged": "modified", "removed": "deleted", "new": "added"}
    assert "+two" in found["diff"]
    assert "b/changed" in found["diff"]
    assert "a/removed" in found["diff"]
    assert "staged" not in found["diff"]
    assert "b/staged" in found["staged_diff"]
    assert "b/new" in found["staged_diff"]
    assert "changed" not in found["staged_diff"]


def test_a_file_changed_before_and_after_staging_is_in_both(api, repo):
    api.output(repo, "echo staged > both; git add both; echo later > both")
    found = diff(api, repo)
    assert files(found) == {"both": "modified"}
    assert "+staged" in found["staged_diff"]
    assert "+later" in found["diff"]


def test_untracked_files_are_named_one_by_one_but_not_shown(api, repo):
    api.output(repo, "mkdir -p d/e; echo x > d/e/f; echo x > d/g; echo 'ignored' > .gitignore; touch ignored")
    found = diff(api, repo)
    assert files(found) == {"d/e/f": "untracked", "d/g": "untracked", ".gitignore": "untracked"}
    assert found["diff"] == found["staged_diff"] == ""


def test_a_staged_deletion_and_a_rename_are_reported(api, repo):
    api.output(repo, "git rm -q removed; git mv kept moved")
    found = diff(api, repo)
    assert files(found)["removed"] == "deleted"
    assert files(found)["moved"] == "modified"
    assert "kept" not in files(found)


def test_unusual_names_are_shown_unchanged(api, repo):
    names = ["a b", "ä😀", "a\tb", 'q"q', "-x", "a\nb", "x -> y", "' '"]
    for name in names:
        api.write(repo, name, "x")
    assert files(diff(api, repo)) == dict.fromkeys(names, "untracked")


def test_the_files_are_sorted(api, repo):
    api.output(repo, "touch z a m")
    assert [file["path"] for file in diff(api, repo)["files"]] == ["a", "m", "z"]


def test_a_path_limits_the_diff_to_a_directory(api, repo):
    api.output(repo, "mkdir sub; echo x > sub/in; git add sub; echo y >> sub/in; echo two > changed")
    found = diff(api, repo, "sub")
    assert list(files(found)) == ["sub/in"]
    assert "changed" not in found["diff"]
    assert files(diff(api, repo, "/workspace/sub")) == files(found)
    assert "changed" in files(diff(api, repo, "/workspace"))


def test_a_repository_below_the_workspace_is_found_by_its_path(api, box):
    api.output(box, "mkdir project; cd project; git init -q; touch new")
    assert files(diff(api, box, "project")) == {"new": "untracked"}
    assert diff(api, box)["files"] == []


def test_a_repository_without_a_commit_has_a_diff(api, box):
    api.output(box, "git init -q; echo x > f; git add f; touch g")
    found = diff(api, box)
    assert files(found) == {"f": "added", "g": "untracked"}
    assert "+x" in found["staged_diff"]


def test_where_there_is_no_repository_all_is_empty_and_the_log_says_so(api, box):
    api.write(box, "file", "x")
    assert diff(api, box) == {"files": [], "diff": "", "staged_diff": ""}
    assert "/workspace is not in a git repository" in api.log_text(box)


def test_a_path_that_cannot_be_is_refused(api, repo):
    api.write(repo, "file", "x")
    for path, status, code in (
        ("missing", 404, None),
        ("file", 400, None),
        ("/proc", 400, "path_outside_sandbox"),
        ("/nothing", 404, None),
        ("x\0", 400, None),
        ("x" * 300, 400, None),
    ):
        assert_problem(api.get(f"/sandboxes/{repo}/git/diff", params={"path": path}), status, code=code)


def test_diff_is_not_coloured_paged_or_passed_to_a_program(api, repo):
    api.output(
        repo,
        "git config color.ui always; git config core.pager 'cat >&2; false'; git config diff.external 'touch ran #'\n"
        "echo two > changed",
    )
    found = diff(api, repo)
    assert "\x1b" not in found["diff"]
    assert "+two" in found["diff"]
    assert "ran" not in files(found)


def test_a_binary_file_and_bytes_that_are_not_utf8_are_shown(api, repo):
    api.output(repo, r"printf 'a\xffb\n' > changed; head -c 3000 /dev/urandom > removed")
    found = diff(api, repo)
    assert "+a\ufffdb" in found["diff"]
    assert "Binary files" in found["diff"]


def test_a_diff_changes_nothing_in_the_repository(api, repo):
    api.output(repo, "git ls-files | xargs touch -d 2020-01-01")  # a refresh of the index is due
    before = api.output(repo, "sha1sum .git/index; ls -A .git")
    diff(api, repo)
    assert api.output(repo, "sha1sum .git/index; ls -A .git") == before


def test_a_repository_of_the_host_around_the_state_dir_is_not_taken_for_the_sandboxs(
    own_emulator, new_api, tmp_path: Path, git
):
    git("init", "-q", cwd=tmp_path)
    (tmp_path / "developers-own").write_text("x")
    api = new_api(own_emulator(state_dir=tmp_path / "state"))
    box = api.sandbox()
    api.write(box, "file", "x")
    assert diff(api, box)["files"] == []
    assert api.run(box, "git status")["exit_code"] == 128
    assert api.run(box, "mkdir sub; cd sub; git rev-parse --show-toplevel")["exit_code"] == 128
    api.output(box, "git init -q")
    assert files(diff(api, box)) == {"file": "untracked"}
