"""The header by which a client names the trace and the span that a request belongs to (W3C Trace Context)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

#: A later version may have more fields behind the flags.
_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?\Z", re.DOTALL)


@dataclass(frozen=True)
class TraceParent:
    """What the header says.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits: the client's span.
    """

    trace_id: str
    span_id: str


def parse_traceparent(values: Sequence[str]) -> Optional[TraceParent]:
    """Parse the values of the header `traceparent`.

    Returns:
        None where the header is missing or invalid: sent twice, of another form, of the version ff, or with an id that
        is all zeros.
    """
    if len(values) != 1:
        return None
    found = _HEADER.match(values[0].strip(" \t"))
    if found is None:
        return None
    version, trace_id, span_id, more = found.groups()
    if version == "ff" or (version == "00" and more is not None) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceParent(trace_id, span_id)
