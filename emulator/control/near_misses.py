"""Near misses: why the controls that were set up did not apply to a command, a prompt or a request.

They are texts of a step, so that a person sees which control was meant. They are computed only where controls of the
kind exist.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Optional

from ..truncation import truncate
from .agent_replies import ScriptedReply
from .faults import Fault
from .names import is_glob
from .patterns import TextPattern, matches_glob
from .stubs import Invocation, Stub

#: How many are listed, and how many of the newest controls are compared.
LISTED, COMPARED = 3, 50
#: Characters of a text that is compared, and of one that is shown.
CHARACTERS, SHOWN = 300, 160

#: How near it is (larger is nearer), and the text.
_Miss = tuple[float, str]


def of_stubs(invocation: Invocation, stubs: Sequence[Stub]) -> list[str]:
    """Why none of the stubs that apply in the sandbox has answered, the nearest first."""
    return _nearest(_of_stub(invocation, stub) for stub in stubs[-COMPARED:])


def of_replies(agent: str, prompt: str, replies: Sequence[ScriptedReply]) -> list[str]:
    """Why none of an account's scripted replies was given to a prompt of an agent, the nearest first."""
    return _nearest(_of_reply(agent, prompt, reply) for reply in replies[-COMPARED:])


def of_faults(operation: str, method: str, path: str, sandbox: str, faults: Sequence[Fault]) -> list[str]:
    """Why none of an account's faults for an operation was injected into a request, the nearest first."""
    named = [fault for fault in faults if _is_about(fault, operation, path)]
    return _nearest(_of_fault(fault, operation, method, path, sandbox) for fault in named[-COMPARED:])


def _nearest(misses: Iterable[_Miss]) -> list[str]:
    found = sorted(misses, key=lambda miss: -miss[0])
    lines = [text for _nearness, text in found[:LISTED]]
    return lines if len(found) <= LISTED else [*lines, f"and {len(found) - LISTED} more"]


def _of_stub(invocation: Invocation, stub: Stub) -> _Miss:
    if stub.kind == "program":
        return _of_program(invocation, stub)
    named = f"stub {stub.id}"
    if stub.is_exhausted and stub.matches(invocation):
        return 2.0, f"{named}: {_used_up(stub.used)}"
    if stub.match is None:
        return 0.9, f"{named}: its function did not apply to the command"
    if stub.match.matches(invocation.command):
        return 1.0, f"{named}: its function did not apply to the command"
    command = invocation.command
    return _similarity(stub.match, command), f"{named}: {_differs('the command', stub.match, command)}"


def _of_program(invocation: Invocation, stub: Stub) -> _Miss:
    named, arguments = f"stub {stub.id} of {stub.program}", " ".join(invocation.arguments)
    if stub.program != invocation.program:
        return -1.0, f"{named}: is of another program"
    if stub.is_exhausted and stub.matches(invocation):
        return 2.0, f"{named}: {_used_up(stub.used)}"
    if stub.args is not None and not stub.args.matches(arguments):
        return _similarity(stub.args, arguments), f"{named}: {_differs('the arguments', stub.args, arguments)}"
    if stub.stdin is not None and not stub.stdin.matches(invocation.stdin or ""):
        return 1.0, f"{named}: {_differs('the input', stub.stdin, invocation.stdin or '')}"
    return 1.0, f"{named}: its function did not apply to the call"


def _of_reply(agent: str, prompt: str, reply: ScriptedReply) -> _Miss:
    named = f"reply {reply.id}"
    if reply.agent != agent:
        return -1.0, f"{named}: is of {truncate(reply.agent, SHOWN)}, not of {agent}"
    if reply.prompt is None or reply.prompt.matches(prompt):
        return 2.0, f"{named}: {_used_up(reply.used)}"
    return _similarity(reply.prompt, prompt), f"{named}: {_differs('the prompt', reply.prompt, prompt)}"


def _is_about(fault: Fault, operation: str, path: str) -> bool:
    if fault.operation is not None:
        return matches_glob(operation, fault.operation)
    return fault.path is not None and matches_glob(path, fault.path)


def _of_fault(fault: Fault, operation: str, method: str, path: str, sandbox: str) -> _Miss:
    named = f"fault {fault.id}"
    if fault.matches(operation, method, path, sandbox):
        if fault.seen <= fault.after:
            return 2.0, f"{named}: lets {fault.after} matching requests pass first; this was number {fault.seen}"
        if fault.is_exhausted:
            return 2.0, f"{named}: {_used_up(fault.triggered + fault.pending)}"
        return 1.5, f"{named}: its probability of {fault.probability:g} left this request out"
    if fault.sandbox is not None and fault.sandbox != sandbox:
        return 1.0, f"{named}: applies in sandbox {truncate(fault.sandbox, SHOWN)}, not in {sandbox or 'none'}"
    if fault.method is not None and not matches_glob(method.upper(), fault.method.upper()):
        return 0.9, f"{named}: applies to {truncate(fault.method, SHOWN)}, not to {method}"
    if fault.path is not None and not matches_glob(path, fault.path):
        return 0.5, f"{named}: the path does not match {truncate(fault.path, SHOWN)!r}"
    return 0.0, f"{named}: applies to WebSockets only"


def _used_up(times: int) -> str:
    return f"is used up: it has applied {times} times" if times != 1 else "is used up: it has applied once"


def _differs(what: str, pattern: TextPattern, text: str) -> str:
    """Say that a text does not match a pattern, with the kind of the pattern, what is left over and how to match it."""
    kind = "the regular expression" if pattern.regex else "the glob" if is_glob(pattern.text) else "the exact text"
    verb = "do" if what.endswith("s") else "does"
    remedy = "" if pattern.regex else _remedy(pattern, text)
    return f"{what} {verb} not match {kind} {truncate(pattern.text, SHOWN)!r}{remedy}"


def _remedy(pattern: TextPattern, text: str) -> str:
    """What of a text a pattern leaves over, and a pattern that matches the text; empty where the pattern is of another
    text."""
    wanted, given = pattern.text.strip(), text.strip()
    if not wanted or len(wanted) > CHARACTERS or len(given) > CHARACTERS:
        return ""
    if TextPattern(f"{wanted}*").matches(given):
        begin = next((end for end in range(len(given), 0, -1) if pattern.matches(given[:end])), 0)
        return _left_over(given[begin:], f"{wanted}*") if begin else ""
    if TextPattern(f"*{wanted}").matches(given):
        end = next((start for start in range(len(given)) if pattern.matches(given[start:])), 0)
        return _left_over(given[:end], f"*{wanted}") if end else ""
    return ""


def _left_over(rest: str, wider: str) -> str:
    return f": {truncate(rest.strip(), SHOWN)!r} is left over; the glob {truncate(wider, SHOWN)!r} would match"


def _similarity(pattern: Optional[TextPattern], text: str) -> float:
    if pattern is None:
        return 0.0
    matcher = difflib.SequenceMatcher(None, pattern.text[:CHARACTERS], text[:CHARACTERS], autojunk=False)
    return matcher.quick_ratio()
