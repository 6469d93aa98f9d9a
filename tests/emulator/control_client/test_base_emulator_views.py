"""Views of accounts: each has the controls of one account, whatever other threads do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from caged import CagedNotFoundError, CagedServerError
from caged.emulator import AccountInfo, Emulator, EmulatorError, RemoteEmulator
from caged.emulator.control_client.base_emulator import AccountView, BaseEmulator


@pytest.fixture(params=["local", "remote"])
def whole(request: pytest.FixtureRequest, emulator: Emulator) -> BaseEmulator:
    """The emulator, in this process and by URL."""
    chosen: BaseEmulator = emulator if request.param == "local" else request.getfixturevalue("remote_emulator")
    return chosen


def test_threads_with_views_never_act_for_each_others_account(
    whole: BaseEmulator, new_account: Callable[[], AccountInfo]
) -> None:
    views = [whole.for_account(new_account()) for _ in range(4)]
    barrier = threading.Barrier(len(views), timeout=20)

    def work(view: AccountView) -> list[set[str]]:
        seen = []
        for _ in range(5):
            barrier.wait()
            fault = view.faults.add("alerts.list", status=503)
            with view.client() as client:
                seen.append({fault.info.account, client.account.get().id, *(one.account for one in view.faults.list())})
            fault.remove()
        return seen

    with ThreadPoolExecutor(len(views)) as pool:
        results = list(pool.map(work, views))
    assert results == [[{view.id}] * 5 for view in views]


def test_views_are_used_at_the_same_time_in_one_thread(
    whole: BaseEmulator, account: AccountInfo, other: AccountInfo
) -> None:
    mine, theirs = whole.for_account(account), whole.for_account(other.id)
    mine.clock.freeze("2031-01-01T00:00:00Z")
    theirs.clock.freeze("2032-01-01T00:00:00Z")
    assert (mine.clock.now().year, theirs.clock.now().year, whole.clock.now().year < 2031) == (2031, 2032, True)


#: The accounts of what each list of a view holds.
LISTS: list[Callable[[AccountView], list[str]]] = [
    lambda view: [fault.account for fault in view.faults.list()],
    lambda view: [stub.account for stub in view.commands.list()],
    lambda view: [reply.account for reply in view.agents.list()],
    lambda view: [reply.account for reply in view.agent("claude").list()],
    lambda view: [entry.account for entry in view.journal.requests()],
    lambda view: [entry.account for entry in view.journal.commands()],
    lambda view: [box.account for box in view.inventory.sandboxes()],
    lambda view: [snapshot.account for snapshot in view.inventory.snapshots()],
]


def test_every_list_of_a_view_has_its_own_account_only(
    whole: BaseEmulator, account: AccountInfo, other: AccountInfo
) -> None:
    for view in (whole.for_account(account), whole.for_account(other)):
        view.faults.add("alerts.list", status=503)
        view.commands.stub("true", "x")
        view.agent("claude").reply("x")
        with view.client() as client:
            box = client.sandboxes.create(template="minimal").id
            client.sandboxes.exec(box, "true")
            client.sandboxes.pause(box)
    for number, use in enumerate(LISTS):
        assert set(use(whole.for_account(account))) == {account.id}, number


def test_reset_forget_spend_and_load_act_in_the_views_account(
    whole: BaseEmulator, account: AccountInfo, other: AccountInfo, tmp_path: Any
) -> None:
    mine, theirs = whole.for_account(account), whole.for_account(other)
    (tmp_path / "one.toml").write_text('[[sandboxes]]\nname = "web"\n')
    for view in (mine, theirs):
        loaded = view.load_scenario(tmp_path / "one.toml").sandboxes["web"]
        assert [box.id for box in view.inventory.sandboxes()] == [loaded]
        assert view.spend(loaded, 0.5) >= 0.5
        view.faults.add("alerts.list", status=503)
    mine.reset_controls()
    assert (mine.faults.list(), len(theirs.faults.list())) == ([], 1)
    mine.reset()
    assert (mine.inventory.sandboxes(), len(theirs.inventory.sandboxes())) == ([], 1)


def test_an_export_of_a_view_holds_its_account_alone(whole: BaseEmulator, account: AccountInfo, tmp_path: Any) -> None:
    whole.for_account(account).export(tmp_path / "one.tar.gz")
    with Emulator() as elsewhere:
        elsewhere.import_(tmp_path / "one.tar.gz")
        assert [one.id for one in elsewhere.accounts()][1:] == [account.id]


def test_a_view_knows_its_account(whole: BaseEmulator, account: AccountInfo) -> None:
    view = whole.for_account(account)
    assert (view.id, view.api_key, view.base_url, view.emulator) == (account.id, account.api_key, whole.base_url, whole)
    assert account.id in repr(view)
    with view.client() as client:
        assert client.account.get().id == account.id


@pytest.mark.parametrize("id", ["acct_nope", "../status", "acct/x", "acct x"])
def test_a_view_of_an_account_that_does_not_exist_is_an_error_at_once(whole: BaseEmulator, id: str) -> None:
    with pytest.raises(EmulatorError, match=f"there is no account {id} on this emulator; accounts"):
        whole.for_account(id)


@pytest.mark.parametrize("wrong", ["*", "", None, 5])
def test_what_is_not_an_account_is_refused(whole: BaseEmulator, wrong: Any) -> None:
    with pytest.raises(ValueError, match="for_account: "):
        whole.for_account(wrong)


def test_a_view_of_an_account_that_was_deleted_says_so(
    whole: BaseEmulator, new_account: Callable[[], AccountInfo]
) -> None:
    view = whole.for_account(new_account())
    whole.remove_account(view)
    with pytest.raises(EmulatorError, match="account not found"):
        view.faults.add("alerts.list", status=503)


def test_a_view_cannot_be_changed(whole: BaseEmulator, account: AccountInfo) -> None:
    view = whole.for_account(account)
    for name in ("id", "api_key", "account", "faults"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(view, name, "other")


@pytest.mark.parametrize("name", ["admin_key", "isolation", "create_account", "accounts", "import_", "account"])
def test_what_belongs_to_the_whole_emulator_is_found_there(
    whole: BaseEmulator, account: AccountInfo, name: str
) -> None:
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'; .* use \.emulator\.{name}"):
        getattr(whole.for_account(account), name)
    assert getattr(whole.for_account(account).emulator, name)


def test_a_misspelt_name_has_no_such_hint(whole: BaseEmulator, account: AccountInfo) -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'fautls'$"):
        getattr(whole.for_account(account), "fautls")  # noqa: B009


def test_a_client_without_a_key_does_not_fall_back_to_the_environment(
    whole: BaseEmulator, account: AccountInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAGED_API_KEY", "of-another")
    with whole.client(account.api_key) as client:
        for key in client.account.list_keys():
            client.account.revoke_key(key.id)
    with pytest.raises(EmulatorError, match="no full API key left"):
        whole.for_account(account).client()


# --- account()


def test_an_account_is_there_for_a_block_with_everything_in_it(whole: BaseEmulator) -> None:
    with whole.account("worker") as view:
        with view.client() as client:
            assert client.account.get().name == "worker"
            box = client.sandboxes.create(template="minimal").id
        view.faults.add("alerts.list", status=503, optional=True)
        assert view.id in [one.id for one in whole.accounts()]
    assert view.id not in [one.id for one in whole.accounts()]
    assert box not in [one.id for one in whole.inventory.sandboxes(account="*")]


def test_an_account_goes_also_when_the_block_raises(whole: BaseEmulator) -> None:
    ids = []

    def work() -> None:
        with whole.account() as view:
            ids.append(view.id)
            view.faults.add("alerts.list", status=503)
            raise KeyError("the test's own")

    with pytest.raises(KeyError, match="the test's own"):
        work()
    assert ids[0] not in [one.id for one in whole.accounts()]


@pytest.mark.parametrize(
    ("add", "text"),
    [
        (lambda view: view.faults.add("alerts.list", status=503), "a fault never"),
        (lambda view: view.commands.stub("npm install", "x"), "a stub was never used"),
        (lambda view: view.agent("claude").reply("x"), "reply was never"),
        (lambda view: view.faults.add("alerts.list", status=503, account="*"), "a fault never"),
    ],
)
def test_unused_controls_fail_at_the_end_of_the_block_unless_allowed(whole: BaseEmulator, add: Any, text: str) -> None:
    with pytest.raises(AssertionError, match=text), whole.account() as view:
        add(view)
    assert view.id not in [one.id for one in whole.accounts()]
    with whole.account(allow_unused=True) as view:
        add(view)
    assert "*" not in [fault.account for fault in whole.faults.list(account="*")]


def test_view_reaches_another_account_only_where_a_call_names_it(whole: BaseEmulator, account: AccountInfo) -> None:
    with whole.account(allow_unused=True) as mine, whole.account(allow_unused=True) as theirs:
        own = mine.faults.add("alerts.list", status=503)
        other = theirs.faults.add("alerts.list", status=503)
        with pytest.raises(EmulatorError, match="fault not found"):
            mine.faults.remove(other.id)
        assert [one.id for one in mine.faults.list()] == [own.id]
        assert [one.id for one in mine.faults.list(account=theirs.id)] == [other.id]
        assert {own.id, other.id} <= {one.id for one in mine.faults.list(account="*")}
        assert mine.faults.clear() == 1
        assert other.triggered == 0, "it is still there"
        assert mine.faults.clear(account=theirs.id) == 1
        assert theirs.faults.list() == []


def test_controls_for_all_accounts_are_reported_by_the_view_that_added_them(
    whole: BaseEmulator, account: AccountInfo
) -> None:
    with whole.account(allow_unused=True) as mine:
        mine.faults.add("alerts.list", status=503, account="*")
        assert mine.unused()
        assert whole.for_account(account).unused() == []


def test_an_account_that_the_block_deletes_is_not_an_error(whole: BaseEmulator) -> None:
    with whole.account() as view:
        view.faults.add("alerts.list", status=503)
        whole.remove_account(view)


def test_a_fault_of_a_view_is_met_by_its_account_alone(whole: BaseEmulator, other: AccountInfo) -> None:
    with whole.account() as view, view.client(max_retries=0) as mine, whole.client(other.api_key) as theirs:
        view.faults.add("alerts.list", status=503)
        theirs.alerts.list()
        with pytest.raises(CagedServerError):
            mine.alerts.list()


# --- a sandbox of another account


def last_warnings(view: AccountView) -> list[str]:
    return view.journal.requests(last=1)[0].warnings


def test_a_404_for_another_accounts_sandbox_is_explained_in_the_journal_and_not_on_the_wire(
    whole: BaseEmulator, account: AccountInfo
) -> None:
    view = whole.for_account(account)
    with whole.account("elsewhere") as other, other.client() as theirs, view.client() as mine:
        box = theirs.sandboxes.create(template="minimal").id
        snapshot = theirs.snapshots.create(box).id
        belongs = f"belongs to another account ({other.id}, 'elsewhere'); use a client of that account"
        expected = f"{box} exists, but {belongs}"
        calls: list[Callable[[], Any]] = [
            lambda: mine.sandboxes.get(box),
            lambda: mine.sandboxes.exec(box, "true"),
            lambda: mine.sandboxes.pause(box),
            lambda: mine.sandboxes.destroy(box),
            lambda: mine.files.read(box, "x"),
            lambda: mine.snapshots.list(box),
        ]
        for call in calls:
            with pytest.raises(CagedNotFoundError) as caught:
                call()
            assert "another account" not in str(caught.value)
            assert other.id not in view.journal.requests(last=1)[0].response
            assert last_warnings(view) == [f"sandbox {expected}"]
        for call in (lambda: mine.snapshots.get(snapshot), lambda: mine.snapshots.delete(snapshot)):
            with pytest.raises(CagedNotFoundError):
                call()
            assert last_warnings(view) == [f"snapshot {expected.replace(box, snapshot)}"]
        with pytest.raises(CagedNotFoundError):
            mine.sandboxes.get("cage_nothing")
        assert last_warnings(view) == []
        url = f"{view.base_url.replace('http', 'ws', 1)}/v1/sandboxes/{box}/terminal?token={view.api_key}"
        with pytest.raises(InvalidStatus), connect(url, proxy=None):
            pass
        assert last_warnings(view) == [f"sandbox {expected}"]


def test_the_log_of_a_view_leaves_out_other_accounts(
    emulator: Emulator, account: AccountInfo, other: AccountInfo
) -> None:
    from caged.emulator.control.current_account import acting_for

    logger = logging.getLogger("caged.emulator.platform")
    with emulator._running().log.selected():
        logger.info("about no account")
        for one in (account, other):
            with acting_for(one.id):
                logger.info("about %s", one.id)
    lines = "\n".join(emulator.for_account(account).log_tail())
    assert "about no account" in lines
    assert f"about {account.id}" in lines
    assert other.id not in lines
    assert other.id in "\n".join(emulator.log_tail())


REACHES = {
    "faults.get": lambda view, theirs: view.faults.get(theirs["fault"]),
    "faults.remove": lambda view, theirs: view.faults.remove(theirs["fault"]),
    "commands.get": lambda view, theirs: view.commands.get(theirs["stub"]),
    "commands.remove": lambda view, theirs: view.commands.remove(theirs["stub"]),
    "agents.get": lambda view, theirs: view.agents.get(theirs["reply"]),
    "agents.remove": lambda view, theirs: view.agents.remove(theirs["reply"]),
    "agent.get": lambda view, theirs: view.agent("claude").get(theirs["reply"]),
    "agent.remove": lambda view, theirs: view.agent("claude").remove(theirs["reply"]),
    "spend": lambda view, theirs: view.spend(theirs["sandbox"], 1),
    "inventory.logs": lambda view, theirs: view.inventory.logs(theirs["sandbox"]),
    "inventory.snapshots": lambda view, theirs: view.inventory.snapshots(sandbox=theirs["sandbox"]),
    "inventory.sockets": lambda view, theirs: view.inventory.sockets(sandbox=theirs["sandbox"]),
    "faults.list": lambda view, theirs: view.faults.list(sandbox=theirs["sandbox"]),
    "callback_errors": lambda view, theirs: view.callback_errors(sandbox=theirs["sandbox"]),
    "journal.commands": lambda view, theirs: view.journal.commands(sandbox=theirs["sandbox"]),
    "journal.steps": lambda view, theirs: view.journal.steps(sandbox=theirs["sandbox"]),
    "journal.follow": lambda view, theirs: list(view.journal.follow(sandbox=theirs["sandbox"], wait=0)),
}


def test_ids_of_another_account_are_refused_and_those_of_the_own_one_suggested(
    whole: BaseEmulator, account: AccountInfo, other: AccountInfo
) -> None:
    mine, theirs = whole.for_account(account), whole.for_account(other)
    own, ids = _with_one_of_each(mine), _with_one_of_each(theirs)
    for name, use in REACHES.items():
        with pytest.raises((EmulatorError, ValueError), match=r"not found|never existed") as caught:
            use(mine, ids)
        text = str(caught.value)
        assert account.id in text, name
        assert other.id not in text, name
        assert any(id in text for id in own.values()), f"{name} suggests nothing: {text}"
    assert theirs.faults.get(ids["fault"]).account == other.id
    assert theirs.spend(ids["sandbox"], 0) < 0.5
    # The whole emulator names those of every account.
    assert whole.commands.get(ids["stub"]).account == other.id
    assert whole.inventory.logs(ids["sandbox"])
    whole.agents.remove(ids["reply"])
    assert theirs.agents.list() == []


def test_control_for_all_accounts_is_reached_from_every_view(
    whole: BaseEmulator, account: AccountInfo, other: AccountInfo
) -> None:
    mine, theirs = whole.for_account(account), whole.for_account(other)
    fault = theirs.faults.add("alerts.list", status=503, account="*", optional=True)
    assert mine.faults.get(fault.id).account == "*"
    mine.faults.remove(fault.id)
    with pytest.raises(EmulatorError, match=f"fault not found in account {other.id}: {fault.id}"):
        theirs.faults.get(fault.id)


def test_remote_emulator_for_one_account_reaches_that_account_only(
    emulator: Emulator, account: AccountInfo, other: AccountInfo
) -> None:
    ids = _with_one_of_each(emulator.for_account(other))
    with RemoteEmulator(emulator.base_url, emulator.admin_key, account=account) as remote:
        with pytest.raises(EmulatorError, match=f"fault not found in account {account.id}"):
            remote.faults.remove(ids["fault"])
        with pytest.raises(EmulatorError, match=f"sandbox not found in account {account.id}"):
            remote.spend(ids["sandbox"], 1)
        with pytest.raises(EmulatorError, match=f"sandbox not found in account {account.id}"):
            remote.inventory.logs(ids["sandbox"])
    with RemoteEmulator(emulator.base_url, emulator.admin_key, account="*") as remote:
        assert remote.faults.get(ids["fault"]).account == other.id


def _with_one_of_each(view: AccountView) -> dict[str, str]:
    """Ids of a sandbox and of controls that the account has."""
    with view.client() as client:
        sandbox = client.sandboxes.create(template="minimal").id
    return {
        "sandbox": sandbox,
        "fault": view.faults.add("alerts.list", status=503, optional=True).id,
        "stub": view.commands.stub("deploy", "done", optional=True).id,
        "reply": view.agent("claude").reply("done", optional=True).id,
    }


def _add_from_elsewhere(emulator: Emulator, **fault: Any) -> None:
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
        remote.faults.add(**fault)


@pytest.mark.parametrize(
    "add",
    [
        lambda emulator, fault: emulator.faults.add(**fault),
        lambda emulator, fault: emulator.for_account(emulator.accounts()[0]).faults.add(**fault),
        lambda emulator, fault: emulator.for_account(emulator.create_account()).faults.add(**fault),
        lambda emulator, fault: _add_from_elsewhere(emulator, **fault),
    ],
    ids=["whole", "view", "view of another account", "HTTP"],
)
def test_unused_control_for_all_accounts_fails_the_block_however_it_was_added(
    add: Callable[[Emulator, dict[str, Any]], object],
) -> None:
    with pytest.raises(AssertionError, match=r"a fault never triggered:\n.*account='\*'"), Emulator() as emulator:
        add(emulator, {"operation": "alerts.list", "status": 503, "account": "*"})


def test_block_of_an_account_reports_what_another_view_of_it_has_added(whole: BaseEmulator) -> None:
    with pytest.raises(AssertionError, match="a fault never triggered"), whole.account() as view:
        whole.for_account(view.id).faults.add("alerts.list", status=503, account="*")
    assert "*" not in [fault.account for fault in whole.faults.list(account="*")]
