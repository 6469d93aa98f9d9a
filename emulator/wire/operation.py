"""One operation of the API: its route, what it takes and returns, and the function that handles its calls."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, ClassVar, Generic, Optional, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from ..control.fault_registry import Injection
from ..json_values import MOST_VALUES
from ..platform.errors import invalid
from ..platform.platform import Platform
from ..store import AccountRecord, Key
from .value_errors import shown

B = TypeVar("B", bound=BaseModel)


class Model(BaseModel):
    """A JSON response. Its validator is built when it is first used: all of them at once would make the start slow."""

    model_config = ConfigDict(defer_build=True)


class Body(Model):
    """A JSON request body. Types are exact, as on the platform; unknown keys are ignored, apart from a warning in the
    journal.

    Attributes:
        sizes: By field, the maximum number of characters of a text, or of entries of a list or object; `name[]` is the
            maximum for the texts in it. The default is `limits.TEXT_CHARACTERS` and `limits.LIST_ENTRIES`.
        most_values: The maximum number of keys, elements, objects and arrays together.
    """

    sizes: ClassVar[Mapping[str, int]] = {}
    most_values: ClassVar[int] = MOST_VALUES

    def secret_values(self) -> list[str]:
        """The values in the body that the journal must not show."""
        return []

    def environment_values(self) -> list[str]:
        """The values in the body that no step shows."""
        return []

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, defer_build=True)


class EmptyBody(Body):
    """The body of a call that takes none. One that is sent is not read."""


@dataclass
class Call(Generic[B]):
    """One call of an operation.

    Attributes:
        request: The HTTP request.
        platform: The emulator's platform.
        account: The account that the call is for.
        key: The API key; None for a public operation and for an admin call.
        body: The parsed body.
        warnings: Warnings that the journal records with the request.
        injection: The fault that the request has taken.
    """

    request: Request
    platform: Platform
    account: AccountRecord
    key: Optional[Key]
    body: B
    warnings: list[str] = field(default_factory=list)
    injection: Optional[Injection] = None

    def injected_failure(self, outcome: str) -> Optional[str]:
        """Trigger the call's fault if it injects `outcome`; the caller makes that outcome happen.

        Returns:
            The reason of the failure; None without such a fault.
        """
        if self.injection is None or self.injection.fault.outcome != outcome:
            return None
        self.injection.trigger()
        return self.injection.fault.error_text

    def param(self, name: str) -> str:
        """The decoded path segment of a parameter: `a%2Fb` is the id `a/b`."""
        return unquote(self.request.path_params[name], errors="replace")

    def query(self, name: str) -> Optional[str]:
        """The value of a query parameter; None when it is absent."""
        return self.request.query_params.get(name)

    def query_int(self, name: str) -> Optional[int]:
        """The number in a query parameter; None when it is absent.

        Raises:
            ApiError: 400 for a value that is not a whole number.
        """
        value = self.query(name)
        if value is None:
            return None
        try:
            return int(value)
        except ValueError:
            raise invalid(f"{name}: must be a whole number, not {shown(value)}") from None


Handler = Callable[[Call[Any]], Awaitable[Response]]
Owner = Callable[[Platform, str], Optional[AccountRecord]]


@dataclass(frozen=True)
class Operation:
    """An operation of the API.

    Attributes:
        method: The HTTP method. GET answers HEAD, too.
        path: The path's template, such as /v1/sandboxes/{id}.
        name: `resource.call`, as in the SDK.
        handler: The function that handles a call.
        body: The model of the request body; None when the operation takes none.
        public: Whether it needs no API key.
        reply: The model of the response, or `list[Model]`, or `str` (text), `bytes`, `dict`; None for an empty one.
        status: The status of a success.
        query: The type (`int`, `str`, `bool`) of each query parameter.
        errors: The statuses of errors of this operation, for the OpenAPI document, apart from those that operations
            have in common (see `openapi.py`).
        required: The query parameters without which the handler rejects a call, for the OpenAPI document.
        media: The content type of a response in bytes.
        admin: Whether it is about the emulator itself, and needs the admin key.
        owner: For a public operation: returns the account that owns what the id in the path names, whose time, faults
            and journal apply to the call.
        upload: The content type of a body that the handler reads itself.
        most_bytes: The maximum size of the body in bytes; 0 for `limits.BODY_BYTES`.
    """

    method: str
    path: str
    name: str
    handler: Handler
    body: Optional[type[Body]] = None
    public: bool = False
    reply: Any = None
    status: int = 200
    query: Mapping[str, type] = field(default_factory=dict)
    errors: Sequence[int] = ()
    required: Sequence[str] = ()
    media: str = "application/octet-stream"
    admin: bool = False
    owner: Optional[Owner] = None
    upload: str = ""
    most_bytes: int = 0


class Operations(list[Operation]):
    """The operations of one resource, collected by a decorator."""

    def add(
        self,
        method: str,
        path: str,
        name: str,
        body: Optional[type[Body]] = None,
        public: bool = False,
        *,
        reply: Any = None,
        status: int = 0,
        query: Optional[Mapping[str, type]] = None,
        errors: Sequence[int] = (),
        required: Sequence[str] = (),
        media: str = "application/octet-stream",
        admin: bool = False,
        owner: Optional[Owner] = None,
        upload: str = "",
        most_bytes: int = 0,
    ) -> Callable[[Handler], Handler]:
        """Add an operation with the decorated function as its handler.

        Args:
            status: By default 200 with a `reply` and 204 without.

        The others are those of Operation.
        """
        status = status or (204 if reply is None else 200)

        def register(handler: Handler) -> Handler:
            self.append(
                Operation(
                    method,
                    path,
                    name,
                    handler,
                    body,
                    public,
                    reply,
                    status,
                    query or {},
                    errors,
                    required,
                    media,
                    admin,
                    owner,
                    upload,
                    most_bytes,
                )
            )
            return handler

        return register


def json_reply(content: BaseModel | Sequence[BaseModel], status: int = 200) -> Response:
    """A response with a model, or with an array of models, as JSON."""
    if isinstance(content, BaseModel):
        text = content.model_dump_json()
    else:
        text = "[" + ",".join(item.model_dump_json() for item in content) + "]"
    return Response(text.encode("utf-8"), status, media_type="application/json")


def no_content() -> Response:
    """An empty response."""
    return Response(status_code=204)
