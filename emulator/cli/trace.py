"""`caged-emulator trace`: looks into traces of tests and of commands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from ..browser import open_in_browser
from ..control.step import KINDS
from ..trace.text import counted, json_text, plain
from .options import config_from, emulator_options
from .tables import json_option, show
from .trace_export import command as export

if TYPE_CHECKING:
    from ..trace.file import Trace
    from ..trace.view import TraceView

#: The pytest plugin's variable for the directory of traces.
DIRECTORY_VARIABLE = "CAGED_TRACE_DIR"
#: Traces that `trace list` shows, the newest; and files that it names because they are not traces.
SHOWN, PROBLEMS = 40, 20
_file_argument = click.argument("file", type=click.Path(path_type=Path))


class _Error(click.ClickException):
    """An error that may name what a trace has: it is printed without escape sequences."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


@click.group("trace")
def command() -> None:
    """Look into traces: files with everything that happened during a test or a command.

    FILE is a trace (.jsonl) or its page (.html).
    """


command.add_command(export)


@command.command("list")
@click.argument("directory", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--last",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Only the N newest; by default {SHOWN}, and all with --json.",
)
@json_option
def list_(directory: Optional[Path], last: Optional[int], as_json: bool) -> None:
    """List the traces in DIRECTORY, with outcome and cause, the newest last.

    By default those of the last run of pytest: in CAGED_TRACE_DIR, or else in pytest's cache directory
    (.pytest_cache/d/caged-traces) here or in the nearest directory above.
    """
    from ..trace.listing import list_traces

    where = directory or _default_directory()
    try:
        entries, problems = list_traces(where)
    except OSError as error:
        raise _Error(f"cannot read {where}: {error.strerror}") from None
    shown = last or (len(entries) if as_json else SHOWN)
    show(entries[-shown:], as_json)
    more = len(entries) - shown
    if more > 0:
        click.echo(f"… {counted(more, 'earlier trace')} not shown; all of them: --last {len(entries)}", err=as_json)
    for problem in problems[:PROBLEMS]:
        click.echo(plain(f"warning: not listed: {problem}"), err=True)
    if len(problems) > PROBLEMS:
        click.echo(f"warning: not listed: {len(problems) - PROBLEMS} more files that are not traces", err=True)
    if not entries:
        click.echo(f"there is no trace in {where}; a test that fails leaves one there", err=True)


@command.command("show")
@_file_argument
@click.option("--step", "identifier", metavar="ID", help="Show one step; the beginning of its id is enough.")
@click.option("--grep", metavar="TEXT", help="Only what has this text, in any case, in its title or its details.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only steps of this kind. Repeatable.")
@click.option("--errors", is_flag=True, help="Only steps that failed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines; of one step, all that is known of it.")
def show_(
    file: Path, identifier: Optional[str], grep: Optional[str], kinds: tuple[str, ...], errors: bool, as_json: bool
) -> None:
    """Show a trace, some of its steps, or one step, in at most 40 lines.

    The ids stand first in the lines; --step ID shows more. With --json: the header and each step that matches,
    without its details; with --step, all that is known of that step.
    """
    if grep == "":
        raise click.UsageError("--grep needs a text")
    from ..trace.view import TraceView, UnknownStep

    trace = _read(file)
    view = TraceView(trace)
    if identifier is None:
        _show_steps(view, file, grep or "", kinds, errors, as_json)
        return
    if kinds or errors:
        raise click.UsageError("--kind and --errors select among all steps; they cannot be combined with --step")
    if grep and as_json:
        raise click.UsageError("--step --json prints all of a step; remove --grep")
    try:
        step = view.find(identifier)
    except UnknownStep as error:
        raise _Error(str(error)) from None
    if as_json:
        click.echo(json_text(asdict(step)))
        return
    lines = view.details(step, grep or "")
    _print(lines or [f"nothing in step {identifier} has {grep!r}"])
    if any("more" in line or "lines before" in line for line in lines if line.lstrip().startswith("…")):
        click.echo("\nall of it: add --json; or find a part with --grep TEXT")


def _show_steps(view: TraceView, file: Path, grep: str, kinds: Sequence[str], errors: bool, as_json: bool) -> None:
    from ..trace.view import step_record

    steps = view.matching(kinds, errors, grep)
    if as_json:
        click.echo(json_text({"type": "trace", **asdict(view.trace.header)}))
        for step in steps:
            click.echo(json_text({"type": "step", **step_record(step)}))
        return
    if not (grep or kinds or errors):
        _print(view.overview())
        click.echo("\nnext: --step ID for one step; --errors, --kind command or --grep TEXT for some")
    elif steps:
        _print(view.list_of(steps, grep))
        click.echo("\nnext: --step ID for one step")
    else:
        click.echo(plain(f"no step of {file} matches"))


@command.command("open")
@_file_argument
def open_(file: Path) -> None:
    """Open the page of a trace in a browser, and print its path.

    The page is made where there is none, or an older one than the trace. Without a browser only the path is printed.
    """
    if file.suffix in (".html", ".jsonl"):
        page, lines = file.with_suffix(".html"), file.with_suffix(".jsonl")
    else:
        page, lines = file.with_name(f"{file.name}.html"), file
    if not _is_current(page, lines):
        from ..trace.page import write_page

        trace = _read(file)
        try:
            write_page(trace, page)
        except OSError as error:
            raise _Error(f"cannot write the page {page}: {error.strerror}") from None
    click.echo(plain(str(page)))
    open_in_browser(page.absolute().as_uri())


@command.command("record", context_settings={"allow_interspersed_args": False})
@emulator_options(port=0)
@click.option(
    "-o",
    "--output",
    default="caged-trace.jsonl",
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The trace; its page has the same name with .html. A trace that is there is replaced.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print the emulator's whole log to stderr.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] COMMAND...")
def record(words: tuple[str, ...], output: Path, verbose: bool, **settings: Any) -> None:
    """Run a command with an emulator of its own, and write a trace of everything that happens there.

    It is run as by `caged-emulator exec`: with the same variables, the terminal, the signals, and its exit code. The
    trace is also written when the command fails, is killed, or Ctrl-C ends it. Secrets are redacted in it.

        caged-emulator trace record -o agent.jsonl -- npm test
    """
    from .trace_recording import record as run_recorded

    raise SystemExit(run_recorded(words, output, config_from(settings), verbose))


@command.command("shell")
@_file_argument
@click.option("--sandbox", metavar="ID", help="Which one, when the trace has several.")
def shell(file: Path, sandbox: Optional[str]) -> None:
    """Open a shell in the files of a sandbox as they were at the end of the test.

    pytest keeps sandboxes with --caged-keep-failed. Changes are lost when the shell ends.
    """
    from ..control.names import suggestion
    from .shell import open_from_archive

    kept = _read(file).header.kept
    if not kept:
        raise _Error(f"no sandbox of {file} was kept; run the test again with `pytest --caged-keep-failed`")
    if sandbox is None and len(kept) > 1:
        raise _Error(f"{len(kept)} sandboxes were kept; say which with --sandbox: {', '.join(kept)}")
    chosen = sandbox or next(iter(kept))
    if chosen not in kept:
        hint = suggestion(chosen, kept)
        raise _Error(f"sandbox {chosen!r} was not kept{hint}")
    archive = Path(kept[chosen])
    if not archive.is_file():
        raise _Error(f"the archive of sandbox {chosen} is gone: {archive}; a later run of pytest removes it")
    open_from_archive(chosen, archive)


def _default_directory() -> Path:
    from ..trace.listing import CACHED, find_directory

    chosen = os.environ.get(DIRECTORY_VARIABLE)
    if chosen:
        if not Path(chosen).is_dir():
            raise _Error(f"{DIRECTORY_VARIABLE} names {chosen}, which is not a directory")
        return Path(chosen)
    try:
        here = Path.cwd()
    except OSError as error:
        raise _Error(f"the current directory cannot be read: {error.strerror}") from None
    found = find_directory(here)
    if found is None:
        raise _Error(
            f"there is no {CACHED} in {here} or above: no test that uses caged has failed there; for traces"
            " elsewhere, name the directory"
        )
    return found.relative_to(here) if here in found.parents else found


def _read(file: Path) -> Trace:
    """Read a trace, by its name or by that of its page."""
    from ..trace.file import Trace, TraceError

    path = file.with_suffix(".jsonl") if file.suffix == ".html" else file
    try:
        return Trace.read(path)
    except TraceError as error:
        raise _Error(str(error)) from None
    except OSError as error:
        if path != file and not path.exists() and file.exists():
            raise _Error(f"{path}, the trace that belongs to {file.name}, is missing") from None
        raise _Error(f"cannot read {path}: {error.strerror}") from None


def _print(lines: Sequence[str]) -> None:
    """Print lines, without escape sequences, which a sandbox or an agent may have chosen."""
    for line in lines:
        click.echo(plain(line.replace("\r", "\u240d")).replace("\n", " "))


def _is_current(page: Path, lines: Path) -> bool:
    """Whether there is a page that is not older than its trace, which is written just before it."""
    try:
        return page.stat().st_mtime >= lines.stat().st_mtime
    except OSError:
        return page.is_file()
