"""`caged-emulator sweep`: lists and destroys what live runs of the pytest plugin left in a real account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

import click

from .tables import json_option, show

if TYPE_CHECKING:
    from caged import Caged
    from caged._runs import Run

#: Timeout of the command that reads a sandbox's run id.
_EXEC_SECONDS = 30
#: (kind, id)
Resource = tuple[str, str]


@dataclass(frozen=True)
class Leftover:
    """What a run left, as --json prints it.

    Attributes:
        run: Id of the run.
        kind: `sandbox`, `snapshot` or `key`.
        id: Its id.
        description: What it is; None where this API key does not find it, because it was created with another one.
    """

    run: str
    kind: str
    id: str
    description: Optional[str]


@click.command("sweep")
@click.option("--live", is_flag=True, help="Required: this command uses a real account.")
@click.option("--run", "run_id", metavar="ID", help="Only this run; also searches the account's running sandboxes.")
@click.option("--destroy", is_flag=True, help="Destroy what the run left.")
@json_option
@click.option("--base-url", envvar="CAGED_BASE_URL", help="URL of the API. [default: https://api.caged.dev]")
@click.option("--api-key", envvar="CAGED_API_KEY", help="API key of the account.")
def command(
    live: bool, run_id: Optional[str], destroy: bool, as_json: bool, base_url: Optional[str], api_key: Optional[str]
) -> None:
    """List what live runs of tests (pytest --caged-target=live) created and left, for example when they were killed.

    It reads the ledgers of this user's runs on this machine. With --run it also finds running sandboxes of the account
    that have that id in their environment, and snapshots that have it in their description, also of a run on another
    machine. With --json it prints what was found, whether or not it is destroyed then; remarks go to stderr.
    """
    from caged import Caged, CagedError
    from caged._constants import DEFAULT_BASE_URL

    if not live:
        raise click.UsageError("sweep uses a real account; add --live")
    if destroy and not run_id:
        raise click.UsageError("--destroy needs --run ID: it destroys what one run left, and nothing else")
    if not api_key:
        raise click.UsageError("no API key: pass --api-key or set CAGED_API_KEY")
    url = (base_url or DEFAULT_BASE_URL).rstrip("/")
    try:
        with Caged(api_key=api_key, base_url=url) as client:
            swept = [_Sweep(client, run, api_key, as_json) for run in _chosen(url, run_id)]
            for sweep in swept:
                sweep.search(in_account=run_id is not None)
                sweep.report()
                if destroy:
                    sweep.destroy()
    except CagedError as error:
        raise click.ClickException(f"{url}: {error}") from error
    if not swept and not as_json:
        click.echo(f"no run left anything at {url}")
    if any(sweep.refused for sweep in swept):
        raise SystemExit(1)


def _chosen(url: str, run_id: Optional[str]) -> list[Run]:
    from caged import _runs

    if run_id is None:
        every = _runs.runs()
        for path in [run.path for run in every if run.empty and not run.running]:
            _runs.remove_if_empty(path)
        elsewhere = {run.base_url for run in every if run.base_url != url and not run.empty}
        for other in sorted(elsewhere):
            click.echo(f"runs against {other} left something, too: sweep --live --base-url {other}", err=True)
        return [run for run in every if run.base_url == url and not run.empty]
    try:
        run = _runs.find(run_id)
    except ValueError as error:
        raise click.UsageError(f"--run: {error}") from error
    if run is None:
        return [_runs.Run(run_id, None)]
    if run.base_url != url:
        raise click.UsageError(f"run {run_id} was against {run.base_url}: say --base-url {run.base_url}")
    return [run]


class _Sweep:
    """What one run left."""

    def __init__(self, client: Caged, run: Run, api_key: str, as_json: bool) -> None:
        from caged._runs import fingerprint

        self._as_json = as_json
        self._client = client
        self._run = run
        self._same_key = run.key == fingerprint(api_key)
        self._left: dict[Resource, str] = {}
        self._unknown: list[Resource] = []
        self._paused = 0
        self.refused = False

    # --- searching

    def search(self, in_account: bool) -> None:
        """Find what the ledger names and, with `in_account`, what carries the run's id."""
        for kind, id in self._run.held:
            description = self._describe(kind, id)
            if description is not None:
                self._left[kind, id] = description
            elif self._same_key:
                self._gone(kind, id)
            else:
                self._unknown.append((kind, id))
        if in_account:
            self._search_account()

    def _describe(self, kind: str, id: str) -> Optional[str]:
        """A resource in one line; None when it does not exist any more."""
        from caged import CagedNotFoundError

        if kind == "key":
            return next((key.name for key in self._client.account.list_keys() if key.id == id), None)
        try:
            if kind == "snapshot":
                snapshot = self._client.snapshots.get(id)
                return f"of {snapshot.sandbox_id}, {snapshot.created_at}"
            sandbox = self._client.sandboxes.get(id)
        except CagedNotFoundError:
            return None
        return f"{sandbox.status}, {sandbox.template}, {sandbox.created_at}"

    def _search_account(self) -> None:
        """Find the account's sandboxes and snapshots that carry the run's id."""
        from caged import CagedError
        from caged._runs import DESCRIPTION, VARIABLE

        for box in self._client.sandboxes.list():
            found = ("sandbox", box.id) in self._left
            if not found and box.status == "running":
                try:
                    result = self._client.sandboxes.exec(box.id, f'printf %s "${VARIABLE}"', timeout=_EXEC_SECONDS)
                    found = result.output == self._run.id
                except CagedError as error:
                    click.echo(f"the run of {box.id} cannot be read: {error}", err=True)
            elif not found:
                self._paused += 1
            if found:
                self._left.setdefault(("sandbox", box.id), f"{box.status}, {box.template}, {box.created_at}")
            for snapshot in self._client.snapshots.list(box.id):
                # An automatic one has no description; it belongs to the run of its sandbox.
                if snapshot.description == f"{DESCRIPTION}{self._run.id}" or (found and snapshot.trigger == "auto"):
                    self._left.setdefault(("snapshot", snapshot.id), f"of {box.id}, {snapshot.created_at}")

    def _gone(self, kind: str, id: str) -> None:
        from caged._runs import note_removed

        if self._run.path is not None:
            note_removed(self._run, kind, id)

    # --- reporting

    def report(self) -> None:
        """Print what was found."""
        run = self._run
        if self._as_json:
            show([Leftover(run.id, kind, id, text) for (kind, id), text in self._left.items()], as_json=True)
            show([Leftover(run.id, kind, id, None) for kind, id in self._unknown], as_json=True)
            self._report_unsearched(err=True)
            return
        began = f" (began {run.began}{', still running' if run.running else ''})" if run.path is not None else ""
        click.echo(f"{run.id}{began}:" if self._left else f"{run.id}{began}: nothing is left")
        for (kind, id), description in self._left.items():
            click.echo(f"  {kind} {id}: {description}")
        for kind, id in self._unknown:
            click.echo(f"  {kind} {id}: not found with this API key; it was created with another one")
        self._report_unsearched()

    def _report_unsearched(self, err: bool = False) -> None:
        """Print what may exist besides. `err`: to stderr."""
        if self._run.unanswered:
            more = f"{self._run.unanswered} more may exist, of unanswered requests"
            click.echo(f"  {more}; --run {self._run.id} searches for them", err=err)
        if self._paused:
            click.echo(f"  {self._paused} other sandboxes are not running, so their run cannot be read", err=err)

    # --- destroying

    def destroy(self) -> None:
        """Destroy what was found."""
        from caged import CagedError, CagedNotFoundError, _runs

        if self._run.running:
            raise click.ClickException(f"run {self._run.id} is still running; end it first")
        calls = {
            "snapshot": self._client.snapshots.delete,
            "sandbox": self._client.sandboxes.destroy,
            "key": self._client.account.revoke_key,
        }
        for kind, id in sorted(self._left, key=lambda resource: _runs.KINDS.index(resource[0])):
            try:
                calls[kind](id)
                click.echo(f"destroyed {kind} {id}", err=self._as_json)
            except CagedNotFoundError:
                pass
            except CagedError as error:
                click.echo(f"{kind} {id}: {error}", err=True)
                self.refused = True
                continue
            self._gone(kind, id)
        _runs.remove_if_empty(self._run.path, unanswered=True)
