"""The dataclasses by themselves."""

import copy
import dataclasses
import pickle
import typing

import pytest

import caged
from caged import CagedError, ExecResult, FileEntry, GitDiff, GitFileStatus, LogEntry, Sandbox, Snapshot

MODELS = [
    caged.Account, caged.APIKey, caged.CreatedAPIKey, ExecResult, FileEntry, GitDiff, GitFileStatus, LogEntry,
    caged.Refusal, Sandbox, Snapshot, caged.SnapshotDownload,
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_an_empty_object_gives_the_defaults(model):
    assert model.from_api({}) == model()


@pytest.mark.parametrize("model", MODELS)
def test_nulls_give_the_defaults_and_unknown_keys_are_ignored(model):
    data = {field.name: None for field in dataclasses.fields(model)}
    assert model.from_api({**data, "from_the_future": [1]}) == model()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("data", [None, [], "x", 1, True])
def test_what_is_no_object_is_a_caged_error(model, data):
    with pytest.raises(CagedError, match=f"expected a JSON object for {model.__name__}"):
        model.from_api(data)


@pytest.mark.parametrize("model", MODELS)
def test_models_live_in_the_package_root_and_can_be_copied_hashed_and_inspected(model):
    assert model.__module__ == "caged"
    assert getattr(caged, model.__name__) is model
    assert pickle.loads(pickle.dumps(model())) == copy.deepcopy(model()) == model()
    assert hash(model()) == hash(model())
    assert set(typing.get_type_hints(model)) == {field.name for field in dataclasses.fields(model)}


def test_list_from_api_takes_null_and_refuses_other_shapes():
    assert Sandbox.list_from_api(None) == []
    assert Sandbox.list_from_api([{"id": "a"}]) == [Sandbox(id="a")]
    with pytest.raises(CagedError, match="expected a JSON array of Sandbox, got an object"):
        Sandbox.list_from_api({})


def test_defaults_that_are_not_empty():
    assert (Sandbox().status, Snapshot().status, FileEntry().type) == ("pending", "pending", "file")


@pytest.mark.parametrize(
    ("result", "ok"),
    [
        (ExecResult(), True),
        (ExecResult(exit_code=1), False),
        (ExecResult(error="unreachable"), False),
        (ExecResult(error=""), True),
    ],
)
def test_exec_result_ok(result, ok):
    assert result.ok is ok


@pytest.mark.parametrize(
    ("diff", "text"),
    [
        (GitDiff(), ""),
        (GitDiff(diff="a\n"), "a\n"),
        (GitDiff(staged_diff="b\n"), "b\n"),
        (GitDiff(diff="a\n", staged_diff="b\n"), "a\nb\n"),
        (GitDiff(diff="a", staged_diff="b"), "a\nb"),
    ],
)
def test_a_diff_prints_as_its_text(diff, text):
    assert str(diff) == text


def test_a_diff_lists_its_files():
    diff = GitDiff.from_api({"files": [{"path": "a", "status": "added"}], "diff": "x"})
    assert diff.files == [GitFileStatus("a", "added")]
    with pytest.raises(CagedError, match="GitFileStatus"):
        GitDiff.from_api({"files": ["a"]})


def test_whole_floats_are_integers_and_integers_are_money():
    assert Sandbox.from_api({"cpus": 2.0, "budget": 5}) == Sandbox(cpus=2, budget=5.0)
    with pytest.raises(CagedError, match=r"Sandbox\.cpus cannot be a boolean"):
        Sandbox.from_api({"cpus": True})
    with pytest.raises(CagedError, match=r"Sandbox\.cost cannot be a number"):
        Sandbox.from_api({"cost": 10**400})
