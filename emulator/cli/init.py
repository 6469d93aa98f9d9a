"""`caged-emulator init`: writes a scenario to start from."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("init")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path), default="caged-scenario.toml")
def command(path: Path) -> None:
    """Write a commented scenario to PATH, which must not exist yet."""
    from ..scenario.starter import NAME, STARTER

    if path.suffix != ".toml":
        raise click.ClickException(f"the scenario is written as TOML; name a file like {path.with_suffix('.toml')}")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(STARTER.replace(NAME, str(path)))
    except FileExistsError:
        raise click.ClickException(f"{path} is there already; name another file, or remove it first") from None
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"{path} is written; `caged-emulator serve --scenario {path}` starts with it")
