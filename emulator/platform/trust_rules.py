"""The table of trust rules: what costs an agent session trust. Source: docs/contract/platform-behaviour.md, Part B, 10.

A number of the source is taken over; within a range of the source ours is chosen; of its words, minor is 5 to 10
points, moderate 10 to 20, severe 20 to 30.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ..history import Event
from .shell_words import Step, full_path, hosts_in_urls, steps

LARGE_DOWNLOAD = 100 * 1000**2
#: The source says "large transfers" only; the number is ours.
LARGE_UPLOAD = 10 * 1000**2
MANY_FILES = 10

#: Registries, code hosts and model providers, with all of their subdomains.
KNOWN_HOSTS = (
    *("localhost", "caged.dev"),
    *("pypi.org", "pythonhosted.org", "npmjs.org", "npmjs.com", "yarnpkg.com", "nodejs.org", "golang.org", "go.dev"),
    *("crates.io", "rubygems.org", "debian.org", "ubuntu.com", "alpinelinux.org", "docker.io", "docker.com"),
    *("github.com", "githubusercontent.com", "gitlab.com", "bitbucket.org"),
    *("anthropic.com", "openai.com", "x.ai", "googleapis.com"),
)
_LOOPBACK = re.compile(r"127(\.\d+){3}|::1|0\.0\.0\.0|.*\.localhost")
_SYSTEM = re.compile(r"/$|/(?:etc|usr(?!/local/)|bin|sbin|lib|lib32|lib64|boot|sys)(?:/|$)|/dev/(?:sd|nvme|vd)")
_OWN_CONFIG = re.compile(r"/root/\.(?!cache/|npm/|local/|ssh/|aws/)[\w.-]+")
_CREDENTIALS = re.compile(
    r"/etc/(?:passwd|shadow|gshadow|sudoers)\b|\.ssh/(?:id_\w+|authorized_keys)|\.aws/credentials|\.kube/config"
    r"|\.docker/config\.json|(?:/root|~)/\.(?:netrc|pypirc|npmrc|pgpass)\b|\.git-credentials|\.config/gcloud/|\.gnupg/"
)
_SENSITIVE = r"\w{0,64}(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL)\w{0,64}"
_SENSITIVE_VARIABLE = re.compile(rf"\$\{{?{_SENSITIVE}|\bprintenv\s+{_SENSITIVE}|/proc/[\w$]{{1,12}}/environ")
_SETTINGS_FILE = re.compile(r"/\.env(?:\.(?!example|sample|template)[\w-]+)?$")
#: White space is bounded, so that a search takes time in proportion to the command.
_SPACE = r"\s{0,50}"
#: An interpreter that runs its standard input: not `python -m json.tool`, `sh -c ...`, `node script.js`.
_INTERPRETER = (
    rf"(?:sudo\s{_SPACE})?(?:/\S{{0,40}}/)?"
    rf"(?:(?:ba|da|z|a|k)?sh\b(?!\s{_SPACE}-c)"
    rf"|(?:python[\d.]{{0,10}}|perl|ruby|node|php){_SPACE}(?:-{_SPACE})?(?=$|[|;&\n)\"']))"
)
_FETCH = re.compile(r"\b(?:curl|wget|fetch)\b")
_PIPED_TO_INTERPRETER = re.compile(rf"\|{_SPACE}(?:tee\s{_SPACE}\S{{1,100}}{_SPACE}\|{_SPACE})?{_INTERPRETER}")
_FETCH_SUBSTITUTED = re.compile(
    rf"(?:\beval|\bsource|\s-c|(?:^|[\s;])\.)\s{_SPACE}[\"']?(?:\$\(|`|<\(){_SPACE}{_FETCH.pattern}"
    rf"|\b(?:ba|z|k)?sh\s{_SPACE}<\({_SPACE}{_FETCH.pattern}"
)
_HOST_NETWORK = re.compile(r"\bnsenter\b|\bip\s+netns\b|--net(?:work)?[= ]host\b|/proc/1/ns/net")
_NEW_KEYS = re.compile(r"\bssh-keygen\b|\bopenssl\s+(?:req|genrsa|genpkey|ecparam)\b|\bgpg2?\s.{0,80}--(?:full-)?gen")
#: Directories that are regularly removed.
_DISPOSABLE = re.compile(
    r"(?:^|/)(?:node_modules|dist|build|target|out|coverage|__pycache__|\.?venv|tmp|\.[\w-]*cache)(?:/|$)"
)
_WIDE = re.compile(r"(?:/|/root|/workspace)?(?:/?[*.]|/?\.\*|\.\.)?/?|~/?\**|.*/\*")


class EventFacts:
    """An event as the rules examine it. `known`: hosts that are known in this sandbox besides KNOWN_HOSTS."""

    def __init__(self, event: Event, known: Sequence[str]) -> None:
        self.data: dict[str, Any] = event.data if isinstance(event.data, dict) else {}
        self.kind = event.type
        self._known = (*KNOWN_HOSTS, *known)
        self.command = self._text("command") if event.type == "command" else ""
        self.steps: list[Step] = list(steps(self.command)) if self.command else []
        self.operation = self._text("operation") if event.type == "file_op" else ""
        self.path = full_path(self._text("path")) if self.operation and self._text("path") else ""
        #: file_op deletions of the session in a row, this one included, before it was last charged for them.
        self.deletions = 0

    def _text(self, name: str) -> str:
        value = self.data.get(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> float:
        value = self.data.get(name)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0

    def unknown(self, hosts: Sequence[str]) -> str:
        """Return the first host that is not known; empty when all are."""
        return next((host for host in hosts if not self._is_known(host)), "")

    def _is_known(self, host: str) -> bool:
        host = host.rstrip(".")
        if not host or _LOOPBACK.fullmatch(host):
            return True
        return any(host == name or host.endswith(f".{name}") for name in self._known)

    @property
    def host(self) -> str:
        """The host of a network event."""
        return self._text("host").lower() if self.kind == "network" else ""

    def effective_steps(self) -> list[Step]:
        """Return the steps that do more than print their words."""
        return [step for step in self.steps if step.program not in ("echo", "printf", ":", "#")]


# Each of these returns what it found, for the log, or an empty text.


def deleted_many(facts: EventFacts) -> str:
    if facts.deletions > MANY_FILES:
        return f"{facts.deletions} files deleted"
    for step in facts.effective_steps():
        operands = [word for word in step.operands if not _DISPOSABLE.search(word)]
        if step.program in ("rm", "unlink", "shred", "rmdir"):
            wide = [word for word in operands if _WIDE.fullmatch(word)]
            recursive = step.has("r", "--recursive") or step.has("R")
            if len(operands) > MANY_FILES or any(recursive or "*" in word for word in wide):
                return step.text
        if (step.program == "find" and "-delete" in step.words) or (
            step.program == "git" and step.operands[:1] == ["clean"] and step.has("f", "--force")
        ):
            return step.text
    return ""


def unknown_registry(facts: EventFacts) -> str:
    for step in facts.steps:
        words = step.operands
        if "install" not in words and "add" not in words and step.program not in ("npx", "uvx"):
            continue
        if step.program.startswith(("pip", "python", "uv", "npm", "npx", "yarn", "pnpm", "gem", "cargo", "apt")):
            index = [step.value("-i", "--index-url", "--extra-index-url", "--registry", "--source") or ""]
            host = facts.unknown(hosts_in_urls(" ".join([*index, *words])))
            if host:
                return host
        if step.program == "go" and words[:1] == ["install"]:
            return facts.unknown([word.split("/")[0] for word in words[1:] if "." in word.split("/")[0]])
    return ""


def large_download(facts: EventFacts) -> str:
    size = facts.number("bytes_received") if facts.kind == "network" else 0
    return f"{size / 1000**2:.0f} MB from {facts.host or 'an unknown host'}" if size > LARGE_DOWNLOAD else ""


def config_outside_project(facts: EventFacts) -> str:
    return next((path for path in _changed(facts) if _OWN_CONFIG.match(path)), "")


def unknown_host(facts: EventFacts) -> str:
    return facts.unknown([facts.host]) or next(filter(None, (facts.unknown(step.hosts()) for step in facts.steps)), "")


def as_root(facts: EventFacts) -> str:
    return next((s.text for s in facts.steps if "sudo" in s.wrappers or "doas" in s.wrappers or s.program == "su"), "")


def sensitive_variable(facts: EventFacts) -> str:
    found = _SENSITIVE_VARIABLE.search(facts.command)
    if found:
        return found[0]
    return facts.path if _SETTINGS_FILE.search(facts.path) else ""


def new_keys(facts: EventFacts) -> str:
    return next((found[0] for found in (_NEW_KEYS.search(step.text) for step in facts.effective_steps()) if found), "")


def credential_file(facts: EventFacts) -> str:
    texts = [facts.path] if facts.operation not in ("", "list") else [step.text for step in facts.effective_steps()]
    return next((found[0] for found in map(_CREDENTIALS.search, texts) if found), "")


def remote_execution(facts: EventFacts) -> str:
    command = facts.command
    for pipe in _PIPED_TO_INTERPRETER.finditer(command):
        before = max(command.rfind(end, 0, pipe.start()) for end in "|;\n")
        fetch = _FETCH.search(command, max(before + 1, pipe.start() - 500), pipe.start())
        if fetch:
            return command[fetch.start() : pipe.end()].strip()
    found = _FETCH_SUBSTITUTED.search(command)
    return found[0].strip() if found else ""


def host_network(facts: EventFacts) -> str:
    return next(
        (found[0] for found in (_HOST_NETWORK.search(step.text) for step in facts.effective_steps()) if found), ""
    )


def system_files(facts: EventFacts) -> str:
    return next((path for path in _changed(facts) if _SYSTEM.match(path)), "")


def exfiltration(facts: EventFacts) -> str:
    if facts.number("bytes_sent") > LARGE_UPLOAD and facts.unknown([facts.host]):
        return facts.host
    for step in facts.steps:
        if step.program == "curl":
            upload = step.has("T", "--upload-file") or "@" in " ".join(w for w in step.words if "://" not in w)
        elif step.program == "wget":
            upload = step.value("--post-file", "--body-file") is not None
        else:
            upload = step.program in ("scp", "rsync") and ":" in (step.operands or [""])[-1]
        host = facts.unknown(step.hosts()) if upload else ""
        if host:
            return host
    return ""


def _changed(facts: EventFacts) -> list[str]:
    if facts.operation in ("write", "create", "delete", "rename"):
        return [facts.path] if facts.path else []
    return [path for step in facts.steps for path in step.changed_paths()]


@dataclass(frozen=True)
class Rule:
    """A rule of the table.

    Attributes:
        points: What a match costs.
        looks_at: What the rule looks for, in words.
        find: Returns what it has found in an event, or an empty text.
        covered_by: Rules that charge for the same thing, so that it is not charged twice.
        once: The same finding is charged once a session, e.g. for a program that tries a host again and again.
    """

    name: str
    points: int
    looks_at: str
    find: Callable[[EventFacts], str]
    covered_by: tuple[str, ...] = ()
    once: bool = False


RULES = (
    # severe
    Rule("system_files", 30, "writing, removing or changing system files", system_files),
    Rule("remote_execution", 25, "running what was just fetched: curl … | sh", remote_execution),
    Rule("exfiltration", 25, "files sent, or over 10 MB, to an unknown host", exfiltration),
    Rule("host_network", 25, "another network namespace than its own", host_network),
    Rule("credential_file", 20, "/etc/passwd, /etc/shadow, keys and tokens in files", credential_file),
    # moderate
    Rule(
        "unknown_host",
        10,
        "a connection to a host that is not known",
        unknown_host,
        ("remote_execution", "exfiltration"),
        once=True,
    ),
    Rule("as_root", 10, "sudo, doas, su", as_root),
    Rule("sensitive_variable", 10, "variables named like secrets, .env files", sensitive_variable),
    Rule("new_keys", 10, "making SSH keys or certificates", new_keys),
    # minor
    Rule("deleted_many", 7, "more than 10 files deleted at once", deleted_many, ("system_files",)),
    Rule("large_download", 7, "over 100 MB received", large_download),
    Rule("config_outside_project", 7, "settings in the home directory", config_outside_project, ("credential_file",)),
    Rule("unknown_registry", 5, "packages from elsewhere than the known registries", unknown_registry),
)


def broken_rules(facts: EventFacts) -> list[tuple[Rule, str]]:
    """Return the rules that an event breaks, each with what it has found."""
    found: list[tuple[Rule, str]] = []
    for rule in RULES:
        what: Optional[str] = rule.find(facts)
        if what and not any(other.name in rule.covered_by for other, _what in found):
            found.append((rule, what[:200]))
    return found
