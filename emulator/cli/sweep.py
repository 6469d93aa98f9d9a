"""`caged-emulator sweep`: what live runs of the pytest plugin left in a real account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import click

if TYPE_CHECKING:
    from caged import Caged
    from caged._runs import Run

_ASK_SECONDS = 30
Thing = tuple[str, str]


@click.command("sweep")
@click.option("--live", is_flag=True, help="Has to be said: it looks at a real account.")
@click.option("--run", "run_id", metavar="ID", help="Only of this run; asks the account's running sandboxes, too.")
@click.option("--destroy", is_flag=True, help="Destroy what is left of the run.")
@click.option("--base-url", envvar="CAGED_BASE_URL", help="The API [https://api.caged.dev].")
@click.option("--api-key", envvar="CAGED_API_KEY", help="The account's key.")
def command(live: bool, run_id: Optional[str], destroy: bool, base_url: Optional[str], api_key: Optional[str]) -> None:
    """List what live runs of tests (pytest --caged-target=live) created and left, for example when they were killed.

    Known are the runs of this user on this machine, by their ledgers. With --run, running sandboxes of the account that
    have that id in their environment count too, and snapshots that have it in their description: so the leftovers of a
    run on another machine are found.
    """
    from caged import Caged, CagedError
    from caged._constants import DEFAULT_BASE_URL

    if not live:
        raise click.UsageError("sweep looks at a real account; say --live")
    if destroy and not run_id:
        raise click.UsageError("--destroy needs --run ID: what is left of one run is destroyed, and nothing else")
    if not api_key:
        raise click.UsageError("no API key: pass --api-key or set CAGED_API_KEY")
    url = (base_url or DEFAULT_BASE_URL).rstrip("/")
    try:
        with Caged(api_key=api_key, base_url=url) as client:
            swept = [_Sweep(client, run, api_key) for run in _chosen(url, run_id)]
            for sweep in swept:
                sweep.look(ask=run_id is not None)
                sweep.tell()
                if destroy:
                    sweep.destroy()
    except CagedError as error:
        raise click.ClickException(f"{url}: {error}") from error
    if not swept:
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
            click.echo(f"there are runs against {other}, too: sweep --live --base-url {other}", err=True)
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
    """Of one run."""

    def __init__(self, client: Caged, run: Run, api_key: str) -> None:
        from caged._runs import fingerprint

        self._client = client
        self._run = run
        self._same_key = run.key == fingerprint(api_key)
        self._left: dict[Thing, str] = {}
        self._unknown: list[Thing] = []
        self._paused = 0
        self.refused = False

    # --- looking

    def look(self, ask: bool) -> None:
        for kind, id in self._run.held:
            what = self._there(kind, id)
            if what is not None:
                self._left[kind, id] = what
            elif self._same_key:
                self._gone(kind, id)
            else:
                self._unknown.append((kind, id))
        if ask:
            self._ask()

    def _there(self, kind: str, id: str) -> Optional[str]:
        """What it is like; None when it is gone."""
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

    def _ask(self) -> None:
        """The account's sandboxes, whose they are."""
        from caged import CagedError
        from caged._runs import DESCRIPTION, VARIABLE

        for box in self._client.sandboxes.list():
            found = ("sandbox", box.id) in self._left
            if not found and box.status == "running":
                try:
                    said = self._client.sandboxes.exec(box.id, f'printf %s "${VARIABLE}"', timeout=_ASK_SECONDS)
                    found = said.output == self._run.id
                except CagedError as error:
                    click.echo(f"{box.id} does not say whose it is: {error}", err=True)
            elif not found:
                self._paused += 1
            if found:
                self._left.setdefault(("sandbox", box.id), f"{box.status}, {box.template}, {box.created_at}")
            for snapshot in self._client.snapshots.list(box.id):
                # An automatic one has no description, and goes with its sandbox.
                if snapshot.description == f"{DESCRIPTION}{self._run.id}" or (found and snapshot.trigger == "auto"):
                    self._left.setdefault(("snapshot", snapshot.id), f"of {box.id}, {snapshot.created_at}")

    def _gone(self, kind: str, id: str) -> None:
        from caged._runs import note_gone

        if self._run.path is not None:
            note_gone(self._run, kind, id)

    # --- telling

    def tell(self) -> None:
        run = self._run
        began = f" (began {run.began}{', still running' if run.running else ''})" if run.path is not None else ""
        click.echo(f"{run.id}{began}:" if self._left else f"{run.id}{began}: nothing is left")
        for (kind, id), what in self._left.items():
            click.echo(f"  {kind} {id}: {what}")
        for kind, id in self._unknown:
            click.echo(f"  {kind} {id}: not there for this API key; it was created with another one")
        if run.unanswered:
            click.echo(f"  {run.unanswered} more may have been created unanswered; --run {run.id} looks for them")
        if self._paused:
            click.echo(f"  {self._paused} other sandboxes do not run and were not asked whose they are")

    # --- destroying

    def destroy(self) -> None:
        from caged import CagedError, CagedNotFoundError, _runs

        if self._run.running:
            raise click.ClickException(f"run {self._run.id} is still running; end it first")
        calls = {
            "snapshot": self._client.snapshots.delete,
            "sandbox": self._client.sandboxes.destroy,
            "key": self._client.account.revoke_key,
        }
        for kind, id in sorted(self._left, key=lambda thing: _runs.KINDS.index(thing[0])):
            try:
                calls[kind](id)
                click.echo(f"destroyed {kind} {id}")
            except CagedNotFoundError:
                pass
            except CagedError as error:
                click.echo(f"{kind} {id}: {error}", err=True)
                self.refused = True
                continue
            self._gone(kind, id)
        _runs.remove_if_empty(self._run.path, unanswered=True)
