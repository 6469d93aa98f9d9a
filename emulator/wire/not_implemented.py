"""Operations of the platform that are not implemented here: 501, naming the feature.

The list is that of wire-contract.md 5 and wire-other-clients.md 2.10, 2.11 and 3. Of personas, harnesses and policies
only the names are known.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ..platform.errors import ApiError
from .operation import Call, EmptyBody, Handler, Operation

NOT_IMPLEMENTED = 501

#: feature -> {path -> {method -> name of the operation}}
NOT_IMPLEMENTED_OPERATIONS: dict[str, dict[str, dict[str, str]]] = {
    "third-party MCP servers": {
        "/v1/mcp/catalogue": {"GET": "mcp.catalogue"},
        "/v1/mcp/servers": {"GET": "mcp.servers.list", "POST": "mcp.servers.add"},
        "/v1/mcp/servers/{id}": {"GET": "mcp.servers.get", "DELETE": "mcp.servers.remove"},
        "/v1/mcp/servers/{id}/refresh": {"POST": "mcp.servers.refresh"},
        "/v1/mcp/servers/{id}/advice": {"GET": "mcp.advice"},
        "/v1/mcp/servers/{id}/allow": {"POST": "mcp.allow", "DELETE": "mcp.disallow"},
        "/v1/mcp/servers/{id}/tools/{tool}/diff": {"GET": "mcp.tool_diff"},
        "/v1/mcp/servers/{id}/tools/{tool}/revisions": {"GET": "mcp.tool_revisions"},
        "/v1/mcp/servers/{id}/tools/{tool}/approve": {"POST": "mcp.approve_tool"},
        "/v1/mcp/servers/{id}/tools/{tool}/reject": {"POST": "mcp.reject_tool"},
        "/v1/mcp/servers/{id}/oauth": {"GET": "mcp.oauth.show", "DELETE": "mcp.oauth.forget"},
        "/v1/mcp/servers/{id}/oauth/consent": {"POST": "mcp.oauth.consent", "DELETE": "mcp.oauth.revoke_consent"},
        "/v1/mcp/servers/{id}/oauth/authorize": {"POST": "mcp.oauth.authorize"},
        "/v1/mcp/bindings": {"GET": "mcp.bindings.list", "POST": "mcp.bindings.create"},
        "/v1/mcp/bindings/{id}": {"DELETE": "mcp.bindings.delete"},
        "/v1/mcp/readiness": {"GET": "mcp.readiness"},
        "/v1/mcp/inputs": {"GET": "mcp.inputs.list"},
        "/v1/mcp/inputs/{id}": {"GET": "mcp.inputs.get"},
        "/v1/mcp/inputs/{id}/respond": {"POST": "mcp.inputs.respond"},
    },
    "pipelines": {
        "/v1/pipelines": {"GET": "pipelines.list", "POST": "pipelines.create"},
        "/v1/pipelines/{id}": {"GET": "pipelines.get", "DELETE": "pipelines.delete"},
        "/v1/pipelines/{id}/runs": {"GET": "pipelines.list_runs", "POST": "pipelines.run"},
        "/v1/pipelines/{id}/runs/{run}": {"GET": "pipelines.get_run"},
        "/v1/pipelines/{id}/runs/{run}/cancel": {"POST": "pipelines.cancel_run"},
        "/v1/pipelines/{id}/runs/{run}/state": {"GET": "pipelines.list_state"},
        # Clients do not encode the key (wire-other-clients.md 2.10), so it may hold slashes.
        "/v1/pipelines/{id}/runs/{run}/state/{key:path}": {
            "GET": "pipelines.get_state",
            "PUT": "pipelines.set_state",
            "DELETE": "pipelines.delete_state",
        },
    },
    "agent-to-agent": {
        "/v1/a2a/agents": {"GET": "a2a.list_agents", "POST": "a2a.create_agent"},
        "/v1/a2a/agents/{id}": {"GET": "a2a.get_agent", "PUT": "a2a.update_agent", "DELETE": "a2a.delete_agent"},
    },
}

#: Features whose operations are not known, with the path at and below which they are.
NOT_IMPLEMENTED_PATHS = {"personas": "/v1/personas", "harnesses": "/v1/harnesses", "policies": "/v1/policies"}
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _handler_for(feature: str) -> Handler:
    async def raise_not_implemented(call: Call[EmptyBody]) -> Response:
        raise ApiError(
            NOT_IMPLEMENTED,
            f"{feature}: not emulated. Test what needs it against the platform, or against a fake of your own",
        )

    return raise_not_implemented


def _operations() -> list[Operation]:
    found: list[Operation] = []
    for feature, paths in NOT_IMPLEMENTED_OPERATIONS.items():
        handler: Any = _handler_for(feature)
        for path, methods in paths.items():
            found += [
                Operation(method, path, name, handler, status=NOT_IMPLEMENTED) for method, name in methods.items()
            ]
    for feature, top in NOT_IMPLEMENTED_PATHS.items():
        handler = _handler_for(feature)
        for path in (top, f"{top}/{{rest:path}}"):
            found += [
                Operation(method, path, f"{feature}.{method.lower()}", handler, status=NOT_IMPLEMENTED)
                for method in _METHODS
            ]
    return found


operations = _operations()
