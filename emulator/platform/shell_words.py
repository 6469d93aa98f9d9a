"""The text of a shell command, taken apart: programs, words, hosts, paths written to.

Nothing is run or expanded here. A text with a syntax error is read as far as possible.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Optional

#: Simple commands of one command line that are examined.
MOST_STEPS = 1000
#: Words of each of them.
MOST_WORDS = 1000
_TOKEN = re.compile(
    r"""(?P<quoted>'[^']*'|"(?:\\.|[^"\\])*")|(?P<end>[;&|\n()`]+)|(?P<space>[^\S\n]+)|\\.|[^\s;&|()`'"\\]+|.""",
    re.DOTALL,
)
#: Programs that run the rest of their words.
_WRAPPERS = frozenset(["sudo", "doas", "env", "nohup", "time", "exec", "command", "nice", "setsid", "xargs", "builtin"])
_SHELLS = frozenset(["sh", "bash", "dash", "zsh", "ash", "ksh"])
_ASSIGNMENT = re.compile(r"\w+=")
_REDIRECTION = re.compile(r"\d*>{1,2}\|?(.*)", re.DOTALL)
_URL = re.compile(
    r"(?:git\+)?(?:https?|ftps?|ssh|git|sftp|rsync|wss?)://(?:[^/@\s]*@)?(\[[0-9A-Fa-f:.]+\]|[^\s/:?#'\"$]+)"
)
_HOST = re.compile(r"(?:[\w.-]+@)?((?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}|\d+\.\d+\.\d+\.\d+)(?=$|[:/])")
#: Options whose value is a word of its own, by program, so that the value is not taken for a host.
_WITH_VALUE = {
    "curl": "-o -H -d -u -A -e -b -c -F -T -X -m -w --output --header --data --data-binary --user --request --form",
    "wget": "-O -o -P -U --header --output-document",
    "ssh": "-p -i -l -o -F -L -R -D -J -b -c -E",
    "scp": "-P -i -l -o -F -J -c",
    "nc": "-p -s -w -X -x",
}
#: Programs that connect to another host. Those of _BY_URL name it by URL only.
_BY_NAME = frozenset(["curl", "wget", "ssh", "scp", "sftp", "ftp", "nc", "ncat", "netcat", "telnet", "rsync"])
_BY_URL = frozenset(["git", "http", "https", "xh", "aria2c", "lynx"])
_GIT_REMOTE = frozenset(["clone", "fetch", "pull", "push", "ls-remote", "submodule", "archive"])
#: Programs that change each of their paths; `cp`, `ln` and `install` only the last.
_CHANGE_ALL = frozenset(
    ["tee", "mv", "rm", "rmdir", "chmod", "chown", "chgrp", "touch", "truncate", "mkdir", "unlink", "shred"]
)
_CHANGE_LAST = frozenset(["cp", "ln", "install", "rsync"])


class Step:
    """One simple command: its program without directory or wrappers, the words after it, and what it runs as."""

    def __init__(self, words: Sequence[str]) -> None:
        at = 0
        self.wrappers: list[str] = []
        while at < len(words) and (_ASSIGNMENT.match(words[at]) or posixpath.basename(words[at]) in _WRAPPERS):
            word = words[at]
            at += 1
            if "=" not in word:
                self.wrappers.append(posixpath.basename(word))
                while at < len(words) and words[at].startswith("-"):
                    at += 1
        self.program = posixpath.basename(words[at]) if at < len(words) else ""
        self.words = list(words[at + 1 :])
        self._all = words
        self.text = " ".join(words)

    @property
    def operands(self) -> list[str]:
        return [word for word in self.words if not word.startswith("-") and not _REDIRECTION.fullmatch(word)]

    def has(self, short: str, *long: str) -> bool:
        """Whether an option is among the words: a letter, alone or in a bundle like -rf, or a long name."""
        return any(
            word in long or (word.startswith("-") and not word.startswith("--") and short != "" and short in word[1:])
            for word in self.words
        )

    def value(self, *names: str) -> Optional[str]:
        """Return VALUE of `--name VALUE` or `--name=VALUE`."""
        for index, word in enumerate(self.words):
            name, equals, value = word.partition("=")
            if name in names:
                return value if equals else "".join(self.words[index + 1 : index + 2])
        return None

    def hosts(self) -> list[str]:
        """Return the hosts that it connects to, as far as the text names them, in lower case."""
        if self.program not in _BY_NAME and self.program not in _BY_URL:
            return []
        if self.program == "git" and not _GIT_REMOTE.intersection(self.operands[:1]):
            return []
        urls = hosts_in_urls(self.text)
        if urls:
            return urls
        skipped = _WITH_VALUE.get(self.program, "").split()
        if self.program in _BY_URL:
            found = [re.match(r"[\w.-]+@([\w.-]+):", word) for word in self.operands]
        else:
            before = ["", *self.words]
            found = [
                _HOST.match(word)
                for index, word in enumerate(self.words)
                if not word.startswith("-") and before[index] not in skipped
            ]
        return [match[1].lower() for match in found if match is not None][:1]

    def changed_paths(self) -> list[str]:
        """Return the full paths of the files that it writes, removes or changes the mode of."""
        paths = []
        for index, word in enumerate(self._all):
            found = _REDIRECTION.fullmatch(word)
            if found is not None:
                paths.append(found[1] or "".join(self._all[index + 1 : index + 2]))
        operands = self.operands
        if self.program in _CHANGE_ALL or (self.program == "sed" and self.has("i")):
            paths += operands
        elif self.program in _CHANGE_LAST:
            paths += operands[-1:]
        elif self.program == "dd":
            paths += [word[3:] for word in operands if word.startswith("of=")]
        return [full_path(path) for path in paths if path]


def hosts_in_urls(text: str) -> list[str]:
    """Return the hosts of the URLs in a text, in lower case."""
    return [host.strip("[]").lower() for host in _URL.findall(text)]


def full_path(path: str) -> str:
    """Return an absolute path: relative to /workspace, with `~` and `..` resolved."""
    if path == "~" or path.startswith("~/"):
        path = "/root" + path[1:]
    return posixpath.normpath(posixpath.join("/workspace", path))


def steps(command: str, depth: int = 0) -> Iterator[Step]:
    """Yield the simple commands of a command line and of each `sh -c '...'` in it, MOST_STEPS at most."""
    return islice(_steps(command, depth), MOST_STEPS)


def _steps(command: str, depth: int) -> Iterator[Step]:
    words: list[str] = []
    word: Optional[list[str]] = None
    for found in _TOKEN.finditer(f"{command}\n"):
        text = found[0]
        if found["space"] or found["end"]:
            if word is not None and len(words) < MOST_WORDS:
                words.append("".join(word))
            word = None
            if found["end"] and words:
                step = Step(words)
                yield step
                if depth < 3 and step.program in _SHELLS and step.has("c") and step.operands:
                    yield from _steps(step.operands[0], depth + 1)
                words = []
            continue
        if found["quoted"]:
            text = text[1:-1]
        elif text[0] == "\\" and len(text) == 2:
            text = text[1] if text[1] != "\n" else ""
        if word is None:
            word = []
        word.append(text)
