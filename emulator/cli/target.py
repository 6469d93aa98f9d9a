"""Which emulator a command controls."""

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
    """The emulator that a command controls.

    Attributes:
        found: What its locator says; None for one of another user or another machine.
    """

    base_url: str
    admin_key: str
    found: Optional[DiscoveredEmulator] = None

    def local(self, command: str) -> DiscoveredEmulator:
        """What the locator says, for a command that needs the emulator's process or files."""
        if self.found is None:
            raise click.ClickException(
                f"{self.base_url} is not an emulator that you have started on this machine; use `caged-emulator"
                f" {command}` where it runs"
            )
        return self.found

    def variables(self) -> dict[str, str]:
        """The environment variables of a program that uses the emulator.

        Raises:
            EmulatorError: It does not answer.
        """
        if self.found is not None:
            return self.found.variables()
        from ..control_client.remote import RemoteEmulator

        with plain_warnings(), RemoteEmulator(self.base_url, self.admin_key) as emulator:
            return environment_variables(self.base_url, emulator.api_key, self.admin_key)


@dataclass(frozen=True)
class TargetSelection:
    """The options and environment variables that name an emulator.

    In this order: `--url` and `--admin-key`, or `--port` and `--pid`; CAGED_EMULATOR_URL and CAGED_EMULATOR_ADMIN_KEY,
    which `caged-emulator exec` sets for its command; the only emulator of this user that runs on this machine.
    """

    port: Optional[int] = None
    pid: Optional[int] = None
    url: Optional[str] = None
    admin_key: Optional[str] = None

    @property
    def is_explicit(self) -> bool:
        """Whether an option names the emulator."""
        return (self.port, self.pid, self.url, self.admin_key) != (None, None, None, None)

    def named(self) -> Optional[Target]:
        """The emulator that an option or the environment names by its URL; None when neither does.

        Raises:
            click.UsageError: A URL without a key, a key without a URL, or options that exclude each other.
        """
        if self.port is not None or self.pid is not None:
            if self.url is not None or self.admin_key is not None:
                raise click.UsageError("--port and --pid cannot be combined with --url and --admin-key; use one pair")
            return None
        url, key = self.url or _variable(URL_VARIABLE), self.admin_key or self._key_of_environment()
        if url is None:
            if self.admin_key is not None:
                raise click.UsageError(f"--admin-key needs the emulator's URL: add --url, or set {URL_VARIABLE}")
            return None  # a key alone in the environment is the one that `serve` uses
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
        """The key of the environment, which is sent to the URL of the environment and to no other."""
        url = _variable(URL_VARIABLE)
        if self.url is not None and url is not None and url.rstrip("/") != self.url.rstrip("/"):
            return None
        return _variable(KEY_VARIABLE)

    def choose(self) -> Target:
        """The emulator to control.

        Raises:
            click.ClickException: There is none, or more than one; the text says what to do.
        """
        target = self.named()
        if target is not None:
            return target
        found = find_running()
        if not found:
            raise no_emulator_error()
        matching = [one for one in found if self.port in (None, one.port) and self.pid in (None, one.pid)]
        if len(matching) == 1:
            return Target(matching[0].base_url, matching[0].admin_key, matching[0])
        listed = "\n".join(
            f"  --pid {one.pid}  --port {one.port}  {one.base_url} ({one.kind})" for one in matching or found
        )
        if matching:
            raise click.ClickException(
                f"{len(matching)} emulators are running; say which with --port or --pid:\n{listed}"
            )
        given = ((self.port, f"port {self.port}"), (self.pid, f"process number {self.pid}"))
        named = " and ".join(text for value, text in given if value is not None)
        raise click.ClickException(f"no emulator of yours has {named}; running are:\n{listed}")


def _variable(name: str) -> Optional[str]:
    return os.environ.get(name) or None


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--url`, `--admin-key`, `--port` and `--pid`; the command gets them as `selection`."""

    @click.option("--url", metavar="URL", help=f"Control the emulator at this URL. [env: {URL_VARIABLE}]")
    @click.option("--admin-key", metavar="KEY", help=f"The admin key of that emulator. [env: {KEY_VARIABLE}]")
    @click.option("--port", type=int, help="Control your emulator that listens on this port.")
    @click.option("--pid", type=int, help="Control your emulator with this process number.")
    @functools.wraps(command)
    def targeted(
        url: Optional[str], admin_key: Optional[str], port: Optional[int], pid: Optional[int], **options: Any
    ) -> Any:
        return command(selection=TargetSelection(port, pid, url, admin_key), **options)

    return targeted


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print the warning of an insecure connection as one line."""
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


def no_emulator_error() -> click.ClickException:
    """The error of a command that found no running emulator."""
    return click.ClickException(
        "no emulator of yours is running; start one with `caged-emulator serve`, or run a command with one of its own:"
        f" `caged-emulator exec -- COMMAND` (looked in {describe_directories()}). One that runs elsewhere is named by"
        f" --url and --admin-key, or {URL_VARIABLE} and {KEY_VARIABLE}"
    )
