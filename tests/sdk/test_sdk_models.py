"""The dataclasses by themselves."""

import copy
import dataclasses
import pickle
import typing

import pytest
from cases import each

import caged
from caged import CagedError, ExecResult, FileEntry, GitDiff, GitFileStatus, LogEntry, Sandbox, Snapshot

MODELS = [
    caged.Account, caged.APIKey, caged.CreatedAPIKey, ExecResult, FileEntry, GitDiff, GitFileStatus, LogEntry,
    caged.ErrorReason, Sandbox, Snapshot, caged.SnapshotDownload, caged.AccountSession, caged.AgentSession,
    caged.AgentSessionPage, caged.Alert, caged.AlertPage, caged.AlertRule, caged.IngestResponse, caged.MCPPrompt,
    caged.MCPResource, caged.MCPTool, caged.Notification, caged.NotificationConfig, caged.NotificationPage,
    caged.Pagination, caged.Port, caged.ReplayEvent, caged.ReplayPage, caged.ReplaySummary, caged.RuleConfig,
    caged.SandboxConfigSummary, caged.SocketTicket, caged.Subscription, caged.TrustScoreSummary, caged.Usage,
]  # fmt: skip


@each("model", MODELS)
def test_an_empty_object_gives_the_defaults(model):
    assert model.from_api({}) == model()


@each("model", MODELS)
def test_nulls_give_the_defaults_and_unknown_keys_are_ignored(model):
    data = {field.name: None for field in dataclasses.fields(model)}
    assert model.from_api({**data, "from_the_future": [1]}) == model()


@each("model", MODELS)
@each("data", [None, [], "x", 1, True])
def test_what_is_not_an_object_is_a_caged_error(model, data):
    with pytest.raises(CagedError, match=f"expected a JSON object for {model.__name__}"):
        model.from_api(data)


@each("model", MODELS)
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
    assert (caged.Alert().severity, caged.Alert().state) == ("info", "open")
    assert caged.AgentSession().status == "active"
    assert (caged.Pagination().page, caged.Pagination().per_page) == (1, 0)
    assert caged.SandboxCreateParams().template == "minimal"


def test_every_other_default_is_the_empty_value_of_its_type():
    not_empty = {"status", "type", "severity", "state", "page", "info", "config", "pagination"}
    for model in MODELS:
        for field in dataclasses.fields(model):
            value = getattr(model(), field.name)
            if field.name not in not_empty and value is not None:
                assert value == {str: "", int: 0, float: 0.0, bool: False, list: [], dict: {}}[type(value)]


REQUESTS = [caged.NotificationConfigUpdate, caged.SandboxCreateParams, caged.SnapshotCreateParams]


@each("model", REQUESTS)
def test_what_a_caller_fills_in_can_be_changed_and_starts_empty(model):
    made = model()
    for field in dataclasses.fields(model):
        assert getattr(made, field.name) in (None, [], {}, "minimal")
        setattr(made, field.name, None)


def test_event_without_a_type_is_refused_and_with_one_alone_is_accepted():
    with pytest.raises(TypeError, match="type"):
        caged.EventPayload()
    event = caged.EventPayload("command")
    assert [field.name for field in dataclasses.fields(event)] == [
        "type", "sandbox_id", "session_id", "id", "process_id", "timestamp", "duration_ns", "meta", "payload", "data",
    ]  # fmt: skip
    assert (event.timestamp, event.duration_ns, event.payload, event.meta) == (None, None, None, {})


@pytest.mark.parametrize(("state", "resolved"), [("open", False), ("muted", False), ("resolved", True)])
def test_alert_in_state_resolved_is_resolved(state, resolved):
    assert caged.Alert(state=state).resolved is resolved


def test_reading_the_plan_of_a_subscription_warns_and_returns_the_tier():
    with pytest.warns(DeprecationWarning, match=r"use Subscription\.tier"):
        assert caged.Subscription(tier="pro").plan == "pro"


def test_nested_answers_become_models_of_their_own():
    page = caged.AgentSessionPage.from_api({"data": [{"id": "ses_1"}], "pagination": {"page": 2, "total": 21}})
    assert page == caged.AgentSessionPage([caged.AgentSession(id="ses_1")], caged.Pagination(2, 0, 21))
    rule = caged.AlertRule.from_api({"config": {"threshold_percent": 80}})
    assert rule.config == caged.RuleConfig(threshold_percent=80.0)


@pytest.mark.parametrize("data", [None, 1, "text", [1, None], {"a": {"b": None}}])
def test_replayed_event_accepts_any_json_as_its_data(data):
    assert caged.ReplayEvent.from_api({"data": data}).data == data


@pytest.mark.parametrize(
    ("model", "data", "field"),
    [
        (caged.Alert, {"meta": {"a": 1}}, "meta"),
        (caged.ReplaySummary, {"types": {"command": "many"}}, "types"),
        (caged.NotificationConfig, {"enabled_channels": [1]}, "enabled_channels"),
        (caged.NotificationConfig, {"enabled_channels": "slack"}, "enabled_channels"),
        (caged.MCPPrompt, {"arguments": ["a"]}, "arguments"),
        (caged.MCPTool, {"inputSchema": []}, "inputSchema"),
    ],
)
def test_what_lists_and_mappings_hold_is_checked(model, data, field):
    with pytest.raises(CagedError, match=f"{model.__name__}.{field} cannot be"):
        model.from_api(data)


def test_secrets_are_in_no_repr():
    assert "wst" not in repr(caged.SocketTicket(ticket="caged_wst_a.b"))
    assert "hooks" not in repr(caged.NotificationConfigUpdate(slack_webhook_url="https://hooks"))
    assert "ghp" not in repr(caged.SandboxCreateParams(repo_token="ghp_x"))


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
def test_str_of_a_diff_is_its_text(diff, text):
    assert str(diff) == text


def test_files_of_a_diff_are_decoded_and_a_wrong_one_is_an_error():
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
