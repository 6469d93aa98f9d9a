"""Sandboxes that a helper creates: the reason when that fails, and their removal."""

from __future__ import annotations

import logging
from typing import Optional

from .._core import CallPlan, perform
from .._errors import CagedError, CagedSandboxError, caused_by
from .._models.sandboxes import Sandbox
from .._resources.sandbox_calls import destroy, logs
from .._settings import Settings

_log = logging.getLogger("caged.sandboxes")

_REASON_ENTRIES = 10
_LONGEST_REASON = 2000
#: Seconds that the answer of a creation is waited for after it was cancelled.
CREATION_PATIENCE = 30.0


def creation_error(settings: Settings, sandbox: Sandbox, fate: str) -> CallPlan[CagedSandboxError]:
    """The error for a sandbox that was created with status ``error``, with the reason from its log.

    Args:
        fate: What becomes of the sandbox.
    """
    try:
        entries = yield from perform(settings, logs(sandbox.id, _REASON_ENTRIES))
        reason = "\n".join(entry.message for entry in entries).strip()[-_LONGEST_REASON:] or "its log is empty"
    except CagedError as problem:
        reason = f"its log cannot be read: {problem}"
    return CagedSandboxError(
        f"sandbox {sandbox.id} could not be set up ({fate}). The end of its log:\n{reason}", sandbox_id=sandbox.id
    )


def remove(settings: Settings, sandbox_id: str, error: Optional[BaseException]) -> CallPlan[bool]:
    """Destroy a sandbox, if it is still there. Returns False if that failed.

    Args:
        error: What the sandbox is destroyed for. A failure does not replace it, but is noted on it and logged.
    """
    from .._api_errors import CagedNotFoundError

    try:
        yield from perform(settings, destroy(sandbox_id))
    except CagedNotFoundError:
        pass
    except CagedError as problem:
        text = f"sandbox {sandbox_id} could not be destroyed and may still exist: {problem}"
        if error is None:
            raise caused_by(problem, CagedSandboxError(text, sandbox_id=sandbox_id)) from None
        _log.warning("%s", text)
        if hasattr(error, "add_note"):
            error.add_note(text)
        return False
    return True
