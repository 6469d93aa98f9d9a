"""`caged-emulator trace export`: converts a trace for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from ..output_file import replacement
from ..trace.file import Trace, TraceError
from ..trace.text import json_text, plain


@click.command("export")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--otlp",
    "target",
    required=True,
    metavar="OUT",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Write OTLP/JSON, which OpenTelemetry's collector and viewers of traces read, to OUT; - is the output.",
)
def command(file: Path, target: Path) -> None:
    """Convert FILE."""
    from ..trace.otlp import build_otlp

    file = file.with_suffix(".jsonl") if file.suffix == ".html" else file
    try:
        trace = Trace.read(file)
    except (OSError, TraceError) as error:
        raise click.ClickException(plain(str(error))) from None
    text = json_text(build_otlp(trace))
    if str(target) == "-":
        click.echo(text)
        return
    if target.exists() and target.samefile(file):
        raise click.UsageError(f"--otlp {target} is the trace itself; name another file")
    try:
        with replacement(target) as beside:
            beside.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error.strerror or error}") from None
