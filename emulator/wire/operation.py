"""One call of the API: its route, what it takes, and the function behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, ClassVar, Generic, Optional, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from ..control.faults import Injection
from ..json_values import MOST_VALUES
from ..platform.errors import invalid
from ..platform.platform import Platform
from ..store import Account, Key

B = TypeVar("B", bound=BaseModel)


class Model(BaseModel):
    """What is sent. Its validator is built when it is first used: all of them at once would make the start slow."""

    model_config = ConfigDict(defer_build=True)


class Body(Model):
    """A JSON request body. Types are exact, as on the platform; keys that we do not know are kept for the
    journal's warning and otherwise ignored.

    Attributes:
        sizes: By field, the most characters of a text or entries of a list or object; `name[]` is about the texts in
            it. For others `limits.TEXT_CHARACTERS` and `limits.LIST_ENTRIES` hold.
        most_values: Keys, elements, objects and arrays in all.
    """

    sizes: ClassVar[Mapping[str, int]] = {}
    most_values: ClassVar[int] = MOST_VALUES

    def hidden(self) -> list[str]:
        """Values in it that the journal must not show."""
        return []

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, defer_build=True)


class NoBody(Body):
    """For calls that take none; one that comes all the same is not read."""


@dataclass
class Call(Generic[B]):
    """One request on its way: who asks, and for what. `params` are decoded path segments."""

    request: Request
    platform: Platform
    account: Account
    key: Optional[Key]
    body: B
    warnings: list[str] = field(default_factory=list)
    injection: Optional[Injection] = None

    def failing(self, outcome: str) -> Optional[str]:
        """Why the call has to end in `outcome`, if a fault says so, which has triggered by that: the caller makes the
        outcome happen."""
        if self.injection is None or self.injection.fault.outcome != outcome:
            return None
        self.injection.trigger()
        fault = self.injection.fault
        return fault.detail or f"a test asked for it ({fault.id})"

    def param(self, name: str) -> str:
        """A path segment, decoded after routing: `a%2Fb` is the id `a/b`."""
        return unquote(self.request.path_params[name], errors="replace")

    def query(self, name: str) -> Optional[str]:
        return self.request.query_params.get(name)

    def query_int(self, name: str) -> Optional[int]:
        value = self.query(name)
        if value is None:
            return None
        try:
            return int(value[:20])
        except ValueError:
            raise invalid(f"{name}: must be a whole number") from None


Handler = Callable[[Call[Any]], Awaitable[Response]]
Owner = Callable[[Platform, str], Optional[Account]]


@dataclass(frozen=True)
class Operation:
    """`name` is resource.call, as the SDK spells it. `body`: the model of the request body, None when the call
    takes none. `public`: no API key is asked for; `owner` then says from the id in the path whose call it is all the
    same, so that it has that account's time and faults, and stands in its journal.

    The rest is for the OpenAPI document. `reply`: the model of the answer, or `list[Model]`, or `str` (text), `bytes`;
    None for an empty one (204). `status`: of success. `query`: parameters by name, with their type (`int`, `str`,
    `bool`); those in `required` are refused when they are missing. `errors`: refusals of this call, apart from those
    that all calls share (401, 403, 429, 400 with a body or query, 404 with an id, 413 with a body). `media`: the
    content type of an answer in bytes. `upload`: the content type of a body that the call reads by itself.
    `most_bytes`: of the body, where it may be larger than that of other calls.
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
    """Collects a resource's operations by decorator."""

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
        """`status`: 200 where there is a reply and 204 where there is none, unless said otherwise."""
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
    """A model or a bare array of models as JSON."""
    if isinstance(content, BaseModel):
        text = content.model_dump_json()
    else:
        text = "[" + ",".join(item.model_dump_json() for item in content) + "]"
    return Response(text.encode("utf-8"), status, media_type="application/json")


def no_content() -> Response:
    return Response(status_code=204)
