"""Handles in `with` statements, and the journal as a sequence."""

from __future__ import annotations

import pytest

from caged.emulator import CallbackError


def test_reply_to_works_in_a_with_statement(either, client):
    box = client.sandboxes.create(template="minimal", agents=["claude"]).id
    with either.agent("claude").reply_to("hi", "hello") as reply:
        assert client.sandboxes.exec(box, "claude -p hi").output == "hello\n"
        assert reply.used == 1
    assert either.agents.list() == []
    with pytest.raises(AssertionError, match="a reply was never used"), either.agent("claude").reply_to("hi", "hello"):
        pass
    with either.agent("claude").reply_to("hi", "hello", optional=True):
        pass
    assert either.agents.list() == []


def test_several_replies_work_in_one_with_statement(either, client):
    box = client.sandboxes.create(template="minimal", agents=["claude"]).id
    with either.agent("claude").reply_to({"a": "1", "b": "2"}) as (first, second):
        client.sandboxes.exec(box, "claude -p a; claude -p b")
        assert (first.used, second.used) == (1, 1)
    with either.agent("claude").replies(["1", "2"]):
        client.sandboxes.exec(box, "claude -p a; claude -p b")
    claude = either.agent("claude")
    for add in (lambda: claude.reply_to({"a": "1", "b": "2"}), lambda: claude.replies(["1", "2"])):
        with pytest.raises(AssertionError, match="a reply was never used"), add():
            client.sandboxes.exec(box, "claude -p a")
        assert either.agents.list() == [], "all are removed"
    with pytest.raises(KeyError, match="mine"), either.agent("claude").replies(["1", "2"]):
        raise KeyError("mine")
    assert either.agents.list() == []


def test_all_unused_replies_of_one_with_statement_are_in_the_error(either, client):
    box = client.sandboxes.create(template="minimal", agents=["claude"]).id
    claude = either.agent("claude")
    with pytest.raises(AssertionError) as caught, claude.replies(["first", "second", "third"]) as handles:
        client.sandboxes.exec(box, "claude -p a")
    text = str(caught.value)
    assert [one.id in text for one in handles] == [False, True, True]
    assert text.index(handles[1].id) < text.index(handles[2].id)
    assert either.agents.list() == []


def test_error_of_a_function_comes_before_unused_replies_of_the_same_with_statement(double, client):
    box = client.sandboxes.create(template="minimal", agents=["claude"]).id

    def broken(_prompt, _sandbox):
        raise ZeroDivisionError("mine")

    with pytest.raises(CallbackError, match="ZeroDivisionError: mine") as caught:
        with double.agent("claude").replies([broken, "second"]) as (_first, second):
            client.sandboxes.exec(box, "claude -p a")
    assert f"a reply was never used:\n  reply {second.id}" in str(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert double.agents.list() == []


def test_an_empty_journal_is_true_and_its_length_costs_no_download(either, client, box, monkeypatch):
    either.journal.clear()
    assert bool(either.journal)
    assert len(either.journal) == 0
    client.sandboxes.list()
    client.sandboxes.get(box)
    monkeypatch.setattr(type(either.journal), "requests", lambda *_, **__: pytest.fail("was downloaded"))
    assert len(either.journal) == 2
    assert bool(either.journal)


def test_the_journal_is_a_sequence(either, client, box):
    either.journal.clear()
    client.sandboxes.list()
    client.sandboxes.get(box)
    names = ["sandboxes.list", "sandboxes.get"]
    journal = either.journal
    assert [one.operation for one in journal] == names
    assert [journal[index].operation for index in (0, 1, -1, -2)] == [*names, *reversed(names)]
    assert [one.operation for one in journal[-1:]] == names[-1:]
    for index in (2, -3):
        with pytest.raises(IndexError):
            journal[index]
