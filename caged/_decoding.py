"""Decode an HTTP response into the result of a call, or into its exception."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Optional, TypeVar

import httpx

from ._api_errors import CagedAPIError, error_class
from ._call import Call, ExpectedContent
from ._errors import CagedError
from ._json import json_type

if TYPE_CHECKING:
    from ._models.error_reasons import ErrorReason

T = TypeVar("T")


def decode(call: Call[T], response: httpx.Response) -> T:
    """The result of a call that succeeded.

    Raises:
        CagedError: The body is empty, is not JSON, or is not of the expected shape.
    """
    if call.expect is ExpectedContent.NOTHING:
        return call.decode(None)
    if call.expect is ExpectedContent.TEXT:
        return call.decode(text_of(response))
    if call.expect is ExpectedContent.BYTES:
        return call.decode(response.content)
    if not response.content:
        wanted = call.expect.value
        raise CagedError(f"{call}: expected {wanted}, but the body was empty (HTTP {response.status_code})")
    try:
        data = json.loads(response.content)
    except (ValueError, RecursionError):
        content_type = response.headers.get("content-type", "")
        raise CagedError(
            f"{call}: the answer is not JSON (HTTP {response.status_code}, content type {content_type!r}); "
            "check that base_url points at the API"
        ) from None
    kind = dict if call.expect is ExpectedContent.OBJECT else list
    if not isinstance(data, kind) and not (data is None and kind is list):
        raise CagedError(f"{call}: expected {call.expect.value}, got {json_type(data)}")
    try:
        return call.decode(data)
    except CagedError as problem:
        raise CagedError(f"{call}: {problem}") from None


def api_error(call: Call[Any], response: httpx.Response) -> CagedAPIError:
    """The exception for an answer outside 2xx."""
    status, text, body = response.status_code, text_of(response), _json_body(response)
    fields: dict[str, Any] = body if isinstance(body, dict) else {}
    sentences = (fields.get("detail"), fields.get("error"))
    detail = next((sentence for sentence in sentences if sentence and isinstance(sentence, str)), None)
    reason = _error_reason(fields.get("reason"))
    if status < 400:
        return CagedAPIError(
            _redirect_message(call, response),
            status=status,
            detail=detail,
            body=body,
            text=text,
            request_id=response.headers.get("x-request-id"),
        )
    title, plain = fields.get("title"), text.strip()
    if detail is not None:
        message = detail
    elif title and isinstance(title, str):
        message = f"{title} (HTTP {status})"
    elif 1 <= len(plain) <= 200:
        message = f"HTTP {status}: {plain}"
    else:
        message = f"HTTP {status}"
    return error_class(status, reason)(
        message,
        status=status,
        detail=detail,
        reason=reason,
        body=body,
        text=text,
        request_id=response.headers.get("x-request-id"),
        retry_after=retry_after_of(response),
    )


def _redirect_message(call: Call[Any], response: httpx.Response) -> str:
    target = response.headers.get("location")
    where = f" to {target}" if target else ""
    status = response.status_code
    return f"{call} was redirected{where} (HTTP {status}); redirects are not followed, check base_url"


def text_of(response: httpx.Response) -> str:
    """The body as text: by its charset, else UTF-8; what cannot be decoded becomes U+FFFD."""
    try:
        return response.content.decode(response.charset_encoding or "utf-8", "replace")
    except (LookupError, ValueError):  # an unknown charset, or a codec that is not for text
        return response.content.decode("utf-8", "replace")


def _json_body(response: httpx.Response) -> Any:
    if not response.content or "json" not in response.headers.get("content-type", "").lower():
        return None
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def _error_reason(reason: Any) -> Optional[ErrorReason]:
    if not isinstance(reason, dict) or not reason.get("code") or not isinstance(reason["code"], str):
        return None
    from ._models.error_reasons import ErrorReason  # imported here to keep start-up fast: errors are rare

    return ErrorReason.from_api({key: value for key, value in reason.items() if isinstance(value, str)})


def retry_after_of(response: httpx.Response) -> Optional[float]:
    """``Retry-After`` in seconds from now; given as a number or as an HTTP date."""
    value = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return float(value)
    if not value:
        return None
    from datetime import datetime, timezone  # rare enough to be imported here
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
