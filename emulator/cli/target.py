"""Which emulator a command is about."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Optional

import click

from ..discovery import DiscoveredEmulator, describe_directories, environment_variables, find_running

URL_VARIABLE = "CAGED_EMULATOR_URL"
KEY_VARIABLE = "CAGED_EMULATOR_ADMIN_KEY"


@dataclass(frozen=True)
class Target:
    """A running emulator. `found`: its locator; None for one that is not this user's or not on this machine."""

    base_url: str
    admin_key: str
    found: Optional[DiscoveredEmulator] = None

    def local(self, command: str) -> DiscoveredEmulator:
        """The locator, for a command that needs the emulator's process or files."""
        if self.found is None:
            raise click.ClickException(
                f"{self.base_url} is not an emulator that you have started on this machine; use `caged-emulator"
                f" {command}` where it runs"
            )
        return self.found

    def variables(self) -> dict[str, str]:
        """What a program needs in its environment to use the emulator. EmulatorError when it does not answer."""
        if self.found is not None:
            return self.found.variables()
        from ..control_client.remote import RemoteEmulator

        with plain_warnings(), RemoteEmulator(self.base_url, self.admin_key) as emulator:
            return environment_variables(self.base_url, emulator.api_key, self.admin_key)


@dataclass(frozen=True)
class TargetSelection:
    """What the command line and the environment say about the emulator that is meant.

    In this order: `--url` and `--admin-key`, or `--port` and `--pid`; CAGED_EMULATOR_URL and CAGED_EMULATOR_ADMIN_KEY,
    which `caged-emulator exec` sets for its command; the only emulator of this user that runs on this machine."""

    port: Optional[int] = None
    pid: Optional[int] = None
    url: Optional[str] = None
    admin_key: Optional[str] = None

    @property
    def is_explicit(self) -> bool:
        """Whether the command line says which emulator is meant."""
        return (self.port, self.pid, self.url, self.admin_key) != (None, None, None, None)

    def named(self) -> Optional[Target]:
        """The emulator that is named by its URL, on the command line or in the environment; None when none is. A
        ClickException names the missing half of a pair."""
        if self.port is not None or self.pid is not None:
            if self.url is not None or self.admin_key is not None:
                raise click.UsageError("--port and --pid choose a running emulator; they go without --url, --admin-key")
            return None
        url, key = self.url or _variable(URL_VARIABLE), self.admin_key or self._key_of_environment()
        if url is None:
            if self.admin_key is not None:
                raise click.UsageError(f"--admin-key needs the emulator's URL: add --url, or set {URL_VARIABLE}")
            return None  # a key alone is the one that `serve` takes
        if key is None:
            source = "--url" if self.url is not None else URL_VARIABLE
            raise click.UsageError(
                f"{source} ({url}) needs the emulator's admin key: add --admin-key, or set {KEY_VARIABLE} with"
                f" {URL_VARIABLE}"
            )
        url = url.rstrip("/")
        found = next((one for one in find_running() if (one.base_url, one.admin_key) == (url, key)), None)
        return Target(url, key, found)

    def _key_of_environment(self) -> Optional[str]:
        """A key goes to the URL that it stands beside, and to no other."""
        beside = _variable(URL_VARIABLE)
        if self.url is not None and beside is not None and beside.rstrip("/") != self.url.rstrip("/"):
            return None
        return _variable(KEY_VARIABLE)

    def choose(self) -> Target:
        """The emulator that is meant. A ClickException says what to do when there is none, or more than one."""
        target = self.named()
        if target is not None:
            return target
        found = find_running()
        if not found:
            raise none_runs()
        fitting = [one for one in found if self.port in (None, one.port) and self.pid in (None, one.pid)]
        if len(fitting) == 1:
            return Target(fitting[0].base_url, fitting[0].admin_key, fitting[0])
        listed = "\n".join(
            f"  --pid {one.pid}  --port {one.port}  {one.base_url} ({one.kind})" for one in fitting or found
        )
        if fitting:
            raise click.ClickException(
                f"{len(fitting)} emulators are running; say which with --port or --pid:\n{listed}"
            )
        given = ((self.port, f"port {self.port}"), (self.pid, f"process number {self.pid}"))
        meant = " and ".join(text for value, text in given if value is not None)
        raise click.ClickException(f"no emulator of yours has {meant}; running are:\n{listed}")


def _variable(name: str) -> Optional[str]:
    return os.environ.get(name) or None


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--url`, `--admin-key`, `--port` and `--pid`; the command gets them as `wanted`."""

    @click.option("--url", metavar="URL", help=f"The one at this URL. [{URL_VARIABLE}]")
    @click.option("--admin-key", metavar="KEY", help=f"Its admin key. [{KEY_VARIABLE}]")
    @click.option("--port", type=int, help="The one of yours that listens on this port.")
    @click.option("--pid", type=int, help="The one of yours with this process number.")
    @functools.wraps(command)
    def targeted(
        url: Optional[str], admin_key: Optional[str], port: Optional[int], pid: Optional[int], **options: Any
    ) -> Any:
        return command(selection=TargetSelection(port, pid, url, admin_key), **options)

    return targeted


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show the warning of an insecure connection as one line."""
    from ..control_client.connection import InsecureConnectionWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always", InsecureConnectionWarning)
        show = warnings.showwarning

        def echo(message: Any, category: type[Warning], *rest: Any, **options: Any) -> None:
            if issubclass(category, InsecureConnectionWarning):
                click.echo(f"warning: {message}", err=True)
            else:
                show(message, category, *rest, **options)

        warnings.showwarning = echo
        yield


def none_runs() -> click.ClickException:
    return click.ClickException(
        "no emulator of yours is running; start one with `caged-emulator serve`, or run a command with one of its own:"
        f" `caged-emulator exec -- COMMAND` (looked in {describe_directories()}). One that runs elsewhere is named by"
        f" --url and --admin-key, or {URL_VARIABLE} and {KEY_VARIABLE}"
    )
