"""The emulator's log: records of the standard `logging` module, kept apart by emulator and by account."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import threading
from collections.abc import Iterator

import pytest
from internals import call_on_loop, platform_of

from caged.emulator import Emulator
from caged.emulator.control.clock import Clock
from caged.emulator.control.current_account import acting_for
from caged.emulator.emulator_log import LOG_CHARACTERS, LOG_LINES, EmulatorLog, LogOutput

PACKAGE = "caged.emulator"
logger = logging.getLogger(f"{PACKAGE}.test_emulator_log")


@pytest.fixture
def logs() -> Iterator[tuple[EmulatorLog, EmulatorLog]]:
    both = EmulatorLog(Clock()), EmulatorLog(Clock())
    yield both
    for log in both:
        log.detach()


def test_line_has_the_emulators_time_the_level_and_the_message(logs: tuple[EmulatorLog, EmulatorLog]) -> None:
    clock = Clock(frozen=1_700_000_000)
    log = EmulatorLog(clock)
    try:
        with log.selected():
            logger.info("%d sandboxes", 3)
            logger.warning("one is missing")
    finally:
        log.detach()
    assert log.tail(10) == [
        f"{clock.timestamp()} info: 3 sandboxes",
        f"{clock.timestamp()} warning: one is missing",
    ]


def test_exception_is_logged_with_its_traceback(logs: tuple[EmulatorLog, EmulatorLog]) -> None:
    with logs[0].selected():
        try:
            raise ValueError("broken")
        except ValueError:
            logger.exception("the request failed")
    (line,) = logs[0].tail(1)
    assert "error: the request failed\nTraceback" in line
    assert line.endswith("ValueError: broken")


def test_debug_records_are_left_out_until_the_level_is_lowered(logs: tuple[EmulatorLog, EmulatorLog]) -> None:
    package = logging.getLogger(PACKAGE)
    with logs[0].selected():
        logger.debug("before")
        package.setLevel(logging.DEBUG)
        try:
            logger.debug("after")
        finally:
            package.setLevel(logging.INFO)
    assert [line.rpartition(" ")[2] for line in logs[0].tail(10)] == ["after"]


def test_logs_of_two_emulators_in_nested_contexts_do_not_mix(logs: tuple[EmulatorLog, EmulatorLog]) -> None:
    first, second = logs
    with first.selected():
        logger.info("one")
        with second.selected():
            logger.info("two")
        logger.info("three")
    logger.info("of no emulator")
    assert [line.rpartition(" ")[2] for line in first.tail(10)] == ["one", "three"]
    assert [line.rpartition(" ")[2] for line in second.tail(10)] == ["two"]


def test_running_loop_decides_before_the_context_of_another_thread(logs: tuple[EmulatorLog, EmulatorLog]) -> None:
    """A coroutine that is sent to a loop from another thread has the context of that thread."""
    first, second = logs
    ready = threading.Event()

    async def serve() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        second.use_loop(asyncio.get_running_loop())
        ready.set()
        await stop.wait()

    async def say() -> None:
        logger.info("on the loop of the second")
        await asyncio.get_running_loop().create_task(later())

    async def later() -> None:
        logger.info("in a task of it")

    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(60)
    loop, stop = loops[0]
    with first.selected():
        asyncio.run_coroutine_threadsafe(say(), loop).result(60)
    loop.call_soon_threadsafe(stop.set)
    thread.join(60)
    assert first.tail(10) == []
    assert len(second.tail(10)) == 2


def test_lines_of_another_account_are_left_out(logs: tuple[EmulatorLog, EmulatorLog]) -> None:
    log = logs[0]
    with log.selected():
        logger.info("the emulator itself")
        for account in ("acct_1", "acct_2"):
            with acting_for(account):
                logger.info("about %s", account)
    assert [line.partition(": ")[2] for line in log.tail(10, "acct_1")] == ["the emulator itself", "about acct_1"]
    assert len(log.tail(10)) == 3
    assert len(log.tail(1)) == 1


def test_lines_and_their_length_are_bounded(logs: tuple[EmulatorLog, EmulatorLog]) -> None:
    log = logs[0]
    with log.selected():
        for _ in range(LOG_LINES + 5):
            logger.info("x" * 10)
        logger.info("y" * (LOG_CHARACTERS + 100))
    assert len(log.tail(LOG_LINES * 2)) == LOG_LINES
    assert "… (100 more characters)" in log.tail(1)[0]


def test_outputs_get_the_lines_from_their_level_on() -> None:
    everything: list[str] = []
    problems: list[str] = []
    outputs = [LogOutput(everything.append), LogOutput(problems.append, logging.WARNING)]
    log = EmulatorLog(Clock(), outputs)
    try:
        with log.selected():
            logger.info("stopping; nothing failed")
            logger.warning("connections have to wait")
    finally:
        log.detach()
    assert everything == log.tail(10)
    assert problems == log.tail(1)


def test_detached_log_keeps_its_lines_and_takes_no_more(logs: tuple[EmulatorLog, EmulatorLog]) -> None:
    log = logs[0]
    with log.selected():
        logger.info("before")
        log.detach()
        log.detach()
        logger.info("after")
    assert [line.rpartition(" ")[2] for line in log.tail(10)] == ["before"]


def test_records_of_no_emulator_are_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    logger.error("of no emulator")
    assert capfd.readouterr() == ("", "")


def test_records_do_not_propagate_and_reach_handlers_of_the_package_logger(
    logs: tuple[EmulatorLog, EmulatorLog], caplog: pytest.LogCaptureFixture
) -> None:
    with logs[0].selected():
        logger.error("not for the root logger")
        assert caplog.records == []
        logging.getLogger(PACKAGE).addHandler(caplog.handler)
        try:
            logger.error("for the user's handler")
        finally:
            logging.getLogger(PACKAGE).removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records] == ["for the user's handler"]
    assert len(logs[0].tail(10)) == 2


def test_new_emulator_logs_after_the_applications_own_logging_configuration_disabled_the_loggers() -> None:
    logger.disabled = True  # as dictConfig does by default to loggers that exist
    log = EmulatorLog(Clock())
    try:
        with log.selected():
            logger.info("still here")
        assert len(log.tail(10)) == 1
    finally:
        log.detach()


def test_emulators_in_one_process_log_apart_and_leave_no_handler() -> None:
    handlers = list(logging.getLogger(PACKAGE).handlers)
    with Emulator(isolation="process") as first, Emulator(isolation="process") as second:
        for emulator in (first, second):
            with emulator.client() as caged:
                box = caged.sandboxes.create()
                emulator.commands.stub("broken", lambda _command: 1 / 0, allow_errors=True)
                caged.sandboxes.exec(box.id, "broken")
            assert any("ZeroDivisionError" in line and box.id in line for line in emulator.log_tail(100))
        assert not any(box.id in line for line in first.log_tail(100))
    assert logging.getLogger(PACKAGE).handlers == handlers


def test_worker_thread_of_an_emulator_logs_to_it() -> None:
    with Emulator(isolation="process") as emulator, Emulator(isolation="process") as other:
        pool = platform_of(emulator).workers.small
        call_on_loop(emulator, pool.run(logger.warning, "from a thread"))
        assert "warning: from a thread" in emulator.log_tail(1)[0]
        assert not any("from a thread" in line for line in other.log_tail(100))
