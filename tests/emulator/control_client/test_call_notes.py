"""The end of a block reports the controls that were never used."""

from __future__ import annotations

import pytest

from caged.emulator import Emulator


def use_nothing(emulator: Emulator) -> None:
    emulator.faults.add("sandboxes.exec", status=503)
    emulator.commands.stub("npm install", "added")
    emulator.agent("claude").reply("Fixed.")


def test_end_of_a_block_raises_for_controls_that_were_never_used():
    with pytest.raises(AssertionError) as caught:
        with Emulator() as emulator:
            use_nothing(emulator)
    for name in ("sandboxes.exec", "npm install", "claude"):
        assert name in str(caught.value)
    assert emulator._runtime is None


@pytest.mark.parametrize("control", ["fault", "stub", "reply"])
def test_end_of_a_block_raises_for_each_kind_of_control(control: str):
    with pytest.raises(AssertionError):  # noqa: PT012
        with Emulator() as emulator:
            if control == "fault":
                emulator.faults.add("sandboxes.exec", status=503)
            elif control == "stub":
                emulator.commands.stub("npm install", "added")
            else:
                emulator.agent("claude").reply("Fixed.")


def test_end_of_a_block_names_the_account_of_unused_controls():
    with pytest.raises(AssertionError) as caught:  # noqa: PT012
        with Emulator() as emulator:
            account = emulator.create_account()
            emulator.for_account(account).commands.stub("npm install", "added")
    assert f"in account {account.id}: " in str(caught.value)


def test_end_of_a_block_reports_controls_for_all_accounts_once():
    with pytest.raises(AssertionError) as caught:  # noqa: PT012
        with Emulator() as emulator:
            emulator.create_account()
            emulator.commands.stub("npm install", "added", account="*")
    assert str(caught.value).count("npm install") == 1


def test_end_of_a_block_accepts_used_optional_removed_and_allowed_controls():
    with Emulator() as emulator, emulator.client(max_retries=0) as client:
        emulator.commands.stub("npm install", "added")
        emulator.faults.add("sandboxes.list", status=503, optional=True)
        emulator.commands.stub("never", "", optional=True)
        emulator.agent("claude").reply("Fixed.", optional=True)
        emulator.commands.stub("removed", "").remove()
        assert client.sandboxes.exec(client.sandboxes.create().id, "npm install").output == "added"
    with Emulator(allow_unused=True) as emulator:
        use_nothing(emulator)
        use_nothing(emulator.for_account(emulator.create_account()))
    with Emulator() as emulator:
        use_nothing(emulator)
        emulator.reset_controls()


def test_block_that_raised_shows_its_own_exception_and_no_unused_controls():
    with pytest.raises(RuntimeError, match="mine"):  # noqa: PT012
        with Emulator() as emulator:
            use_nothing(emulator)
            raise RuntimeError("mine")


def test_unused_controls_of_an_emulator_that_was_stopped_or_not_in_a_block_are_not_reported():
    with Emulator() as emulator:
        use_nothing(emulator)
        emulator.stop()
    emulator = Emulator().start()
    use_nothing(emulator)
    emulator.stop()
