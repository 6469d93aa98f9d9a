"""The directory of a sandbox in which the scripts of the SDK keep their files."""

from __future__ import annotations

#: Files of calls in progress. It belongs to the user whom the platform runs commands as.
SCRATCH = "/tmp/.caged-sdk"
# Neither a directory that another user of the sandbox has put there is used, nor a file or a link. Of two calls that
# begin at the same time, one makes it, and the other looks again. The last mkdir says why it cannot be made.
# A file has no entry ".".
_MADE = f"[ -O {SCRATCH}/. ]&&[ ! -L {SCRATCH} ]||mkdir -m 700 {SCRATCH}"
MAKE_SCRATCH = f"{_MADE} 2>/dev/null||{_MADE}||exit 1\n"
