"""Patterns and loops over a client's input need linear time, and input that is too long is refused by name."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from cases import each

import caged.emulator
from caged._settings import resolve
from caged._workspace.binding import Binding
from caged.emulator.cage.git import CloneError, Repo, _git_or_raise
from caged.emulator.cage.paths import Layout
from caged.emulator.control.credentials import redact_credentials
from caged.emulator.control.patterns import TextPattern
from caged.emulator.control.redaction import LONGEST, Redactor, redact
from caged.emulator.history import Event
from caged.emulator.json_values import has_more_values
from caged.emulator.persistence import record_rules
from caged.emulator.persistence.field_validation import Rule
from caged.emulator.platform import limits, trust_rules
from caged.emulator.platform.event_redaction import TEXT, EventRedactor
from caged.emulator.platform.mcp.glob import Glob
from caged.emulator.platform.mcp.protocol import ProtocolError, decode
from caged.emulator.platform.shell_words import steps
from caged.emulator.platform.stream_transcript import StreamTranscript

ROOT = Path(caged.emulator.__file__).parent
#: Each is the worst input for some pattern when it is repeated.
FRAGMENTS = [
    "a",
    "1",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\u0000",
    ".",
    "..",
    "/",
    "/.",
    "-",
    "_",
    ":",
    "=",
    "@",
    "'",
    '"',
    "\\",
    '\\"',
    "'\"",
    "`",
    "$",
    "$(",
    "a.",
    "a/",
    "a:",
    "a=",
    "a@",
    "1.",
    "/a/",
    "a b",
    "; ",
    "| ",
    "> ",
    "a>",
    "http://",
    "http:",
    "://",
    "git+",
    "ssh://a@",
    "curl ",
    "curl |",
    "curl | sh ",
    "| tee a ",
    "eval $(",
    "sudo ",
    "python",
    "python3.",
    "printenv ",
    "$KEY",
    "/proc/a",
    "gpg ",
    "openssl ",
    "ip ",
    "--net",
    ".ssh/id_",
    "/.env",
    "/.env.a",
    "/.cache",
    "node_modules",
    "127.1",
    "a.localhost",
    "*",
    "[a",
    "]",
    "/root/.",
    '"token":"',
    '"token" ',
    '"token":"\\',
    "caged_sk_",
    "signature=",
    "/billing/portal/",
    "__CAGED_BEGIN_0123456789abcdef__",
    "__CAGED_EXIT_0123456789abcdef__",
    "__CAGED_EXIT_0123456789abcdef__ 1",
    "/workspace",
    " /workspace",
    "'/root'",
    "2020-01-01T00:00:00.1",
]
#: Used on file names, and on the path that a test gives to a fault.
BOUNDED = {"cage.bytecode_sweep._CACHE_FILE", "control.routes._GLOB_TOKEN"}
#: Calls of `re` with a literal pattern, by file, and why their input is short or harmless.
IN_PLACE = {
    "cage/inside/limits.py": "the kernel's version",
    "cage/host_view.py": "the emulator's own list of what a sandbox sees of the host",
    "cage/mount_table.py": "what the kernel says of the host's mounts",
    "cage/probe_failures.py": "the error of a mount of the emulator's own",
    "cage/toolchains.py": "what an interpreter says of its version",
    "control/patterns.py": "a test's own patterns",
    "cage/proxy.py": "a port, or a host of bounded length",
    "cli/derived_options.py": "a test's own patterns",
    "scenario/loaded_scenario.py": "a scenario, which the developer wrote",
    "platform/shell_words.py": "one word, from its beginning",
    "platform/logins.py": "an address of bounded length",
    "persistence/field_validation.py": "the rules of records: see FUNCTIONS",
    "platform/notifications.py": "a URL of bounded length",
    "platform/stream_transcript.py": "a marker with a number that does not repeat, and white space up to a digit",
    "inspector/control_parts.py": "the word `re.compile` in a text: no pattern is used",
    "inspector/forms.py": "help texts of the emulator's own options",
    "inspector/pages/sandbox.py": "one class of characters, over a whole segment of a path",
    "trace/otlp.py": "the beginning of a word",
    "trace/assets.py": "the emulator's own modules for browsers",
    "trace/summary.py": "single characters",
    "platform/mcp/glob.py": "pieces of a pattern between its stars, against one name",
    "verify/assertions.py": "what another server answers to `verify`",
}


def patterns() -> Iterator[tuple[str, str, re.Pattern[Any]]]:
    """Yield (module.NAME, method that the module calls on it, pattern) of each named pattern."""
    for found in pkgutil.walk_packages([str(ROOT)], "caged.emulator."):
        if ".cli." in found.name or found.name.endswith("__main__") or ".verify." in found.name:
            continue
        module = importlib.import_module(found.name)
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern) and re.search(rf"^{name} = re\.compile", source, re.MULTILINE):
                where = f"{found.name[len('caged.emulator.') :]}.{name}"
                for method in sorted(set(re.findall(rf"\b{name}\.(\w+)", source)) - {"pattern"}):
                    yield where, method, value


@pytest.fixture(scope="module")
def named() -> list[tuple[str, str, re.Pattern[Any]]]:
    """The patterns whose input has no bound. Not found when tests are collected, which each worker does."""
    return [found for found in patterns() if found[0] not in BOUNDED]


def test_all_inline_patterns_are_listed(named: list[tuple[str, str, re.Pattern[Any]]]):
    assert len({name for name, _method, _pattern in named}) > 25
    in_place = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"\bre\.(compile|match|search|sub|fullmatch|split|findall|finditer)\(", line)
        and not re.match(r"\w+ = re\.compile", line)
    }
    assert in_place - set(IN_PLACE) == set(), "patterns that no line above accounts for"
    assert set(IN_PLACE) - in_place == set(), "lines above for files without such a pattern"
    assert {name for name, _method, _pattern in patterns()} >= BOUNDED, "names above that no pattern has"


USES: dict[str, Callable[[Any, Any], object]] = {
    "sub": lambda pattern, subject: pattern.sub(lambda found: found[0], subject),
    "finditer": lambda pattern, subject: sum(1 for _ in pattern.finditer(subject)),
}


def cpu_seconds(act: Callable[[], object]) -> float:
    """Return the CPU time of one call, in seconds, which the load of the machine does not change."""
    begun = time.process_time()
    act()
    return time.process_time() - begun


@each("fragment", FRAGMENTS)
def test_every_pattern_needs_linear_time(fragment: str, named: list[tuple[str, str, re.Pattern[Any]]], long_form: bool):
    """A quadratic pattern takes at least ten seconds for one of these texts, a linear one some milliseconds."""
    size = 256 * 1024 if long_form else 24 * 1024
    for name, method, pattern in named:
        subject: Any = (fragment * (size // len(fragment) + 1))[:size] + "!"
        if isinstance(pattern.pattern, bytes):
            subject = subject.encode()
        act = USES.get(method, lambda pattern, subject: getattr(pattern, method)(subject))  # noqa: B023
        for _attempt in range(3):
            took = cpu_seconds(lambda: act(pattern, subject))  # noqa: B023
            if took < 0.4:
                break
        assert took < 0.4, f"{name}.{method} of {fragment!r}: {took:.1f} s"


# --- functions


def _charges(command: str) -> None:
    data = EventRedactor(()).redact({"command": command})
    trust_rules.broken_rules(trust_rules.EventFacts(Event("e", "a", "s", "t", 1, "command", "", 0.0, data), ()))


def _clone_error(text: str) -> None:
    async def fail(*_arguments: object, **_options: object) -> object:
        return SimpleNamespace(code=1, error=None, output=text.encode())

    with pytest.raises(CloneError):
        asyncio.run(_git_or_raise(SimpleNamespace(program=fail), ["clone"], {}))  # type: ignore[arg-type]


def _typed(text: str) -> None:
    stubs = SimpleNamespace(has_any=lambda sandbox: True)
    clock, recorder = SimpleNamespace(stopwatch=lambda: 0.0), None
    live = SimpleNamespace(of=lambda sandbox: SimpleNamespace(cage=None))
    sandbox = SimpleNamespace(account_id="a", id="b")
    transcript = StreamTranscript(clock, live, recorder, stubs, sandbox)  # type: ignore[arg-type]
    asyncio.run(transcript.handle_input(text))


def _redact(text: str) -> None:
    redactor = Redactor()
    redactor.add(["a" * LONGEST * 2, "b" * 20, "x"])
    redactor.redact(text.encode())


def _redact_alike(text: str) -> None:
    """Many long values with the same prefix."""
    redactor = Redactor()
    redactor.add("a" * (LONGEST * 2 + number) for number in range(450))
    redactor.redact(text.encode())


def _failed_script(text: str) -> None:
    Binding(resolve("key", "http://127.0.0.1:1", 1, 0), "box").failure(text)


def _glob(text: str) -> None:
    Glob("*a*a*a*a*b").matches(text)


def _mcp(text: str) -> None:
    with pytest.raises(ProtocolError):
        decode(text)


LAYOUT = Layout(Path("/tmp/place"))


def _rules(text: str) -> None:
    for fields in (*record_rules.RULES.values(), *record_rules.ENTRIES.values(), record_rules.HISTORY):
        for rule in fields.rules.values():
            if isinstance(rule, Rule):
                for value in (text, [text], {text: text}):
                    rule.is_valid(value)


FUNCTIONS: dict[str, tuple[Callable[[str], object], list[str]]] = {
    "steps": (lambda text: list(steps(text)), ["sudo ", "\\a", "a;", "'", "\"'", "env A=1 ", "sh -c 'a;", "> a ", "-"]),
    "rules": (
        _charges,
        ["> a ", "curl ", "rm a;", "a;", "sudo ", "curl http://a.b;", "\\a", "ssh a.a.", "/a/../"],
    ),
    "charges of a pipe": (lambda text: _charges("curl " * 99 + "|" + text), [" ", "python3", "tee a "]),
    "credentials": (
        lambda text: redact_credentials(text.encode()),
        ['"token":"', '\\"token\\":\\"', "\\", '"token" ', "caged_sk_", "signature="],
    ),
    "redact": (lambda text: redact(text, ["x" * 30] * 100, TEXT), ["x", "caged_sk_"]),
    "redacted": (_redact, ["a", "ab", "b"]),
    "redacted, many alike": (_redact_alike, ["a", "a" * LONGEST + "b"]),
    "clone error": (_clone_error, [" ", "\n", " \n", "\t", "a "]),
    "split credentials": (lambda text: Repo("https://" + text).split_credentials(), ["a", ":", "@", "a@", "a:", "%41"]),
    "rules of records": (_rules, ["a", "..", "/", "../", "a=", "@", "https://a.", "0", "65535", ":", "[", "-"]),
    "host paths": (LAYOUT.to_host_text, ["/workspace ", "/", " /workspace", "'/root'", "a"]),
    "sandbox paths": (lambda text: LAYOUT.to_sandbox_text(text.encode()), ["/tmp/place", "/tmp/place/op"]),
    "typed": (_typed, ["__CAGED_BEGIN_0123456789abcdef__", "__CAGED_BEGIN_", "a\n", "\n"]),
    "failed script": (_failed_script, ["a", "a: ", "a: not found", "a: not found "]),
    "glob": (_glob, ["a", "ab", "b"]),
    "JSON values": (lambda text: has_more_values(text, 10**9), ['"', '\\"', '"a",', "[", ",", "{", "\\"]),
    "MCP message": (lambda text: _mcp(text * 4), ["[", "[],", "{", "{},", "1,"]),
    "event": (lambda text: EventRedactor(["x" * 20] * 100).redact({text: [text, {"a": text}]}), ["x", "a"]),
    "event's values": (lambda text: EventRedactor(()).redact(list(text)), ["ab"]),
}
CASES = [(name, act, fragment) for name, (act, fragments) in FUNCTIONS.items() for fragment in fragments]


@each("name, act, fragment", CASES)
def test_function_needs_linear_time(name: str, act: Callable[[str], object], fragment: str, long_form: bool):
    """Eight times the input: a quadratic function would take 64 times as long."""
    size = 1024**2 if long_form else 256 * 1024
    large = (fragment * (size // len(fragment) + 1))[:size]
    for _attempt in range(3):
        took = cpu_seconds(lambda: act(large))
        if took < 0.1:
            return  # whatever an eighth takes
        small = min(cpu_seconds(lambda: act(large[: len(large) // 8])) for _ in range(2))
        if took < 32 * small + 0.1:
            return
    pytest.fail(f"{name}: {small * 1000:.1f} ms for an eighth, {took * 1000:.1f} ms for all of it")


@pytest.mark.parametrize("fragment", ["[a", "[", "[]", "a[!"])
def test_glob_with_many_brackets_compiles_fast(fragment: str):
    glob = fragment * 8000
    assert cpu_seconds(lambda: TextPattern(glob).matches("x")) < 1


@pytest.mark.parametrize("query", ["commands?sandbox=", "commands?source=", "prompts?agent=", "events?type="])
def test_query_with_many_brackets_is_answered_fast(emulator, query: str):
    url = f"{emulator.base_url}/_emulator/journal/{query}{'[a' * 8000}"
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    begun = time.monotonic()
    answer = httpx.get(url, headers=headers, trust_env=False, verify=False, timeout=60)
    assert answer.status_code < 500
    assert time.monotonic() - begun < 10


# --- over the wire


@pytest.mark.parametrize("name", ["path", "operation", "method"])
def test_too_long_pattern_of_fault_or_query_is_refused(emulator, name: str):
    given = {name: "/" + "*a" * 20_000}
    for act in (lambda: emulator.faults.add(status=500, **given), lambda: emulator.journal.requests(**given)):
        began = time.process_time()
        with pytest.raises(ValueError, match=f"{name}: has 40,001 characters; at most 1,000 are allowed"):
            act()
        assert time.process_time() - began < 1


@each("size", [20_000, 60_000, 1_000_000])
@each("url", ["{}", "https://{}", "a+{}", "https://{}@host/x", "ssh://{}", "https://u:{}", "{}://"])
def test_too_long_repository_url_is_refused_fast(api, url: str, size: int):
    begun = time.process_time()
    answer = api.post("/sandboxes", json={"template": "minimal", "repo": url.format("a" * size)})
    assert time.process_time() - begun < 5
    assert answer.status_code == 400
    assert re.search(rf"repo: has [\d,]+ characters; at most {limits.REPO_CHARACTERS:,} are allowed", answer.text)


LONG_FIELDS = {
    "repo_token": ("x" * 9000, "8,192 characters"),
    "repo_branch": ("x" * 5000, "4,096 characters"),
    "repo_commit": ("x" * 5000, "4,096 characters"),
    "repo_subdir": ("x" * 5000, "4,096 characters"),
    "init_script": ("x" * 1_100_000, "1,048,576 characters"),
    "template": ("x" * 70_000, "65,536 characters"),
    "allowlist": (["a"] * 1001, "1,000 entries"),
    "secrets": (["a"] * 1001, "1,000 entries"),
    "packages": (["a"] * 1001, "1,000 entries"),
    "agents": (["claude"] * 1001, "1,000 entries"),
    "env": ({f"V{number}": "" for number in range(5001)}, "5,000 entries"),
}


@pytest.mark.parametrize("field", LONG_FIELDS)
def test_too_long_field_is_refused_with_name_and_limit(api, field: str):
    value, limit = LONG_FIELDS[field]
    answer = api.post("/sandboxes", json={"template": "minimal", field: value})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"{field}: has ")
    assert f"at most {limit.split()[0]} are allowed" in answer.text


@pytest.mark.parametrize("field", ["allowlist", "secrets", "packages"])
def test_too_long_entry_is_refused_with_its_index(api, field: str):
    answer = api.post("/sandboxes", json={"template": "minimal", field: ["a", "x" * 5000]})
    assert (answer.status_code, answer.json()["detail"].split(" has ")[0]) == (400, f"{field}.1:")


def test_too_large_environment_is_refused(api):
    env = {f"V{number}": "x" * 100_000 for number in range(11)}
    answer = api.post("/sandboxes", json={"template": "minimal", "env": env})
    assert answer.status_code == 400
    assert "env: has 1,100" in answer.text
    assert "at most 1,048,576 are allowed" in answer.text


def test_password_in_repository_url_is_redacted(api):
    api.post("/sandboxes", json={"template": "minimal", "repo": "https://user:p%40ssw0rd@127.0.0.1:1/x"})
    (request,) = api.emulator.journal.requests(operation="sandboxes.create", account=api.account_id)
    assert "ssw0rd" not in request.request
    assert "https://***@127.0.0.1:1/x" in request.request
