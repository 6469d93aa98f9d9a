"""Which account a control applies to, and which of several controls comes first."""

from __future__ import annotations

import pytest

from caged import CagedServerError
from caged.emulator import EmulatorError, RemoteEmulator


@pytest.fixture
def two_accounts(own_emulator):
    """An emulator of the test's own, because its controls of all accounts would reach other tests."""
    emulator = own_emulator()
    return emulator, emulator.create_account(), emulator.create_account()


@pytest.fixture(params=["local", "remote"])
def shared(request, two_accounts):
    emulator, mine, theirs = two_accounts
    if request.param == "local":
        yield emulator, mine, theirs
        return
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
        yield remote, mine, theirs


KINDS = {
    "faults": (lambda e, text, account: e.faults.add(status=500, detail=text, account=account), lambda e: e.faults),
    "stubs": (lambda e, text, account: e.commands.stub("x", text, account=account), lambda e: e.commands),
    "replies": (lambda e, text, account: e.agent("cn").reply(text, account=account), lambda e: e.agent("continue")),
    "all replies": (lambda e, text, account: e.agent("cn").reply(text, account=account), lambda e: e.agents),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_shows_what_applies_own_account_first(shared, kind):
    emulator, mine, theirs = shared
    add, of = KINDS[kind]
    added = {
        text: add(emulator, text, account).id
        for text, account in (
            ("all 1", "*"),
            ("theirs", theirs.id),
            ("mine 1", mine.id),
            ("all 2", "*"),
            ("mine 2", mine.id),
        )
    }
    names = {id: text for text, id in added.items()}

    def listed(account):
        return [names[one.id] for one in of(emulator).list(account=account)]

    assert listed(mine.id) == ["mine 1", "mine 2", "all 1", "all 2"]
    assert listed(theirs.id) == ["theirs", "all 1", "all 2"]
    assert listed("*") == ["all 1", "theirs", "mine 1", "all 2", "mine 2"]
    clear = of(emulator).clear
    assert clear(account=mine.id) == 2
    assert listed(mine.id) == ["all 1", "all 2"], "clear removes what was added for the account"
    assert clear(account="*") == 3
    assert listed(mine.id) == listed(theirs.id) == listed("*") == []
    assert clear(account="*") == clear(account=mine.id) == 0


def add_repository(emulator, text, account):
    return emulator.repos.add(f"https://github.com/acme/{text.replace(' ', '-')}", {"a": text}, account=account)


def add_prepared(emulator, text, account):
    return emulator.prepare(text.replace(" ", "-"), account=account)


OTHER_KINDS = {
    "programs": (lambda e, text, account: e.commands.program("x", text, account=account), lambda e: e.commands),
    "repositories": (add_repository, lambda e: e.repos),
    "prepared": (add_prepared, lambda e: e.prepared),
}


@pytest.mark.parametrize("kind", [*KINDS, *OTHER_KINDS])
def test_all_accounts_means_every_control_of_every_account(shared, kind):
    emulator, mine, theirs = shared
    add, of = {**KINDS, **OTHER_KINDS}[kind]
    accounts = ("*", theirs.id, mine.id, emulator.accounts()[0].id)
    added = {add(emulator, f"text {index}", account).id: account for index, account in enumerate(accounts)}
    assert {one.id: one.account for one in of(emulator).list(account="*")} == added
    assert {one.id for one in of(emulator).unused(account="*")} == set(added)
    assert [one.account for one in of(emulator).list(account="*", last=2)] == list(accounts[2:])
    assert of(emulator).clear() == 1, "without an account, those of the selected one"
    assert [one.account for one in of(emulator).list()] == ["*"]
    with RemoteEmulator(emulator.base_url, emulator.admin_key, account="*") as every:
        assert {one.account for one in of(every).list()} == {"*", theirs.id, mine.id}
        assert of(every).clear() == 3
    assert of(emulator).list(account="*") == of(emulator).unused(account="*") == []
    assert of(emulator).clear(account="*") == 0


def test_clearing_the_replies_of_an_agent_for_all_accounts_leaves_those_of_others(shared):
    emulator, mine, _theirs = shared
    emulator.agent("claude").reply("x", account=mine.id)
    kept = emulator.agent("codex").reply("x", account=mine.id)
    assert emulator.agent("claude").clear(account="*") == 1
    assert [one.id for one in emulator.agents.list(account="*")] == [kept.id]


def test_a_repository_of_another_account_is_found_by_its_id_and_not_by_its_url(shared):
    emulator, mine, theirs = shared
    url = "https://github.com/acme/x"
    other = emulator.repos.add(url, {"a": "theirs"}, account=theirs.id)
    with pytest.raises(EmulatorError, match="there is no fake repository"):
        emulator.repos.remove(url)
    with pytest.raises(EmulatorError, match="there is no fake repository"):
        emulator.for_account(mine).repos.get(other.id)
    own = emulator.repos.add(url, {"a": "own"})
    assert emulator.repos.get(url).id == own.id
    emulator.repos.remove(other.id)
    assert [one.id for one in emulator.repos.list(account="*")] == [own.id]


def test_a_fault_of_the_own_account_comes_first(shared):
    emulator, mine, _theirs = shared
    shared_fault = emulator.faults.add("sandboxes.list", status=502, account="*")
    own = emulator.faults.add("sandboxes.list", status=500, times=1, account=mine.id)
    seen = []
    with emulator.client(mine.api_key, max_retries=0) as client:
        for _ in range(2):
            with pytest.raises(CagedServerError) as caught:
                client.sandboxes.list()
            seen.append(caught.value.status)
    assert seen == [500, 502]
    assert (own.triggered, shared_fault.triggered) == (1, 1)


def test_a_stub_of_the_own_account_comes_first(shared):
    emulator, mine, theirs = shared
    emulator.commands.stub("x", "all", account="*")
    emulator.commands.program("prog", "all", account="*")
    emulator.commands.stub("x", "mine", times=1, account=mine.id)
    emulator.commands.program("prog", "mine", times=1, account=mine.id)
    with emulator.client(mine.api_key) as client, emulator.client(theirs.api_key) as other:
        box, elsewhere = client.sandboxes.create(template="minimal").id, other.sandboxes.create(template="minimal").id
        assert [client.sandboxes.exec(box, "x").output for _ in range(2)] == ["mine", "all"]
        assert [client.sandboxes.exec(box, "true; prog").output for _ in range(2)] == ["mine", "all"]
        assert other.sandboxes.exec(elsewhere, "x").output == "all"


def test_a_reply_of_the_own_account_comes_first(shared):
    emulator, mine, _theirs = shared
    emulator.agent("claude").reply_to("hi", "all to hi", account="*")
    emulator.agent("claude").reply("mine", times=2, account=mine.id)
    emulator.agent("claude").reply_to("hi", "mine to hi", times=1, account=mine.id)
    with emulator.client(mine.api_key) as client:
        box = client.sandboxes.create(template="minimal", agents=["claude"]).id
        said = [client.sandboxes.exec(box, "claude -p hi").output.strip() for _ in range(4)]
    assert said == ["mine to hi", "mine", "mine", "all to hi"]


def test_nearest_misses_are_of_the_own_account(two_accounts):
    emulator, mine, theirs = two_accounts
    with emulator.client(mine.api_key) as client, emulator.client(theirs.api_key) as other:
        client.sandboxes.exec(client.sandboxes.create(template="minimal").id, "echo mine")
        other.sandboxes.exec(other.sandboxes.create(template="minimal").id, "echo theirs")
    for selected, account, shown in (
        (mine.id, None, "echo mine"),
        (theirs.id, mine.id, "echo mine"),
        (mine.id, "*", "echo mine"),
        ("*", mine.id, "echo mine"),
    ):
        with RemoteEmulator(emulator.base_url, emulator.admin_key, account=selected) as scoped:
            with pytest.raises(AssertionError) as caught, scoped.commands.stub("echo them", account=account):
                pass
        assert shown in str(caught.value)
        assert "echo theirs" not in str(caught.value)
    with RemoteEmulator(emulator.base_url, emulator.admin_key, account="*") as scoped:
        with pytest.raises(AssertionError) as caught, scoped.commands.stub("echo them", account="*"):
            pass
    assert "echo theirs" not in str(caught.value)


def test_unused_reports_the_own_ones_and_those_that_this_object_added_for_all_accounts(two_accounts):
    emulator, mine, theirs = two_accounts
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as other_object:
        other_object.faults.add(status=501, account="*")
        other_object.commands.stub("other object", account="*")
        view = emulator.for_account(mine)
        assert view.unused() == []
        view.faults.add(status=502, account="*")
        view.commands.stub("mine", account="*")
        view.agent("claude").reply("mine", account="*")
        view.faults.add(status=503, account=theirs.id)
        text = "\n".join(view.unused())
    assert "status=502" in text
    assert "'mine'" in text
    assert "reply" in text
    assert "status=501" not in text
    assert "other object" not in text
    assert "status=503" not in text
