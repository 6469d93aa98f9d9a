"""/_emulator/device-login: whether an account's sandboxes may log in by device code."""

from __future__ import annotations

from starlette.responses import Response

from ..operation import Body, Call, no_content
from .operations import AdminOperations, require_single

operations = AdminOperations()


class DeviceLogin(Body):
    """`from_sandboxes`: approve a login that comes from one of the account's sandboxes, for this account."""

    from_sandboxes: bool


@operations.call("PUT", "/device-login", "device_login", DeviceLogin)
async def allow(call: Call[DeviceLogin]) -> Response:
    """Approve or deny device logins from the account's sandboxes; they are denied by default."""
    call.platform.device_logins.allow_sandboxes(require_single(call.account).id, call.body.from_sandboxes)
    return no_content()
