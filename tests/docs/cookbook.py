"""The cookbook as a page: which recipes there are, by theme, and what docs/cookbook.md says of them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
FOLDER, PAGE = DOCS / "cookbook", DOCS / "cookbook.md"

#: Theme -> (title, file), in the order of the page.
THEMES = {
    "Calls that fail": {
        "Retry on 503": "test_retry_on_503.py",
        "Rate limit": "test_rate_limit.py",
        "The connection drops after the call was done": "test_lost_answer.py",
        "Slow network": "test_slow_network.py",
        "No answer ever": "test_hang.py",
        "Truncated download": "test_truncated_download.py",
        "A proxy's error page": "test_bad_gateway.py",
        "Flaky, but repeatably": "test_flaky.py",
    },
    "Sandboxes that fail": {
        "Only one sandbox of two is broken": "test_one_of_two_is_broken.py",
        "Create ends in error": "test_create_ends_in_error.py",
        "Sandbox dies mid-exec": "test_sandbox_dies_mid_exec.py",
        "Snapshot fails": "test_snapshot_fails.py",
        "Terminal closes mid-stream": "test_terminal_closes.py",
    },
    "Time and money": {
        "Idle pause": "test_idle_pause.py",
        "Agent runs over budget": "test_agent_over_budget.py",
        "Budget alerts in order": "test_budget_alerts.py",
        "Spend": "test_spend.py",
        "Stable timestamps": "test_frozen_timestamps.py",
        "Ticket expired": "test_ticket_expired.py",
        "Download URL expired": "test_download_url_expired.py",
    },
    "Commands and agents": {
        "Stub `npm install`": "test_npm_install.py",
        "Fake repository": "test_pushed_branch.py",
        "A program inside a script": "test_program_in_a_script.py",
        "Agent edits files": "test_agent_edits_files.py",
        "Agent conversation": "test_agent_conversation.py",
        "Agent answers by prompt": "test_agent_by_prompt.py",
        "Assert prompts": "test_agent_prompts.py",
    },
    "Seeing what happened": {
        "Assert what ran": "test_what_ran.py",
        "Requests in the journal": "test_requests.py",
        "Preview of a server": "test_preview.py",
        "Faults that never triggered": "test_fault_that_never_triggered.py",
        "Leaks": "test_leaks.py",
        "Keep what a failed test left": "test_keep_failed.py",
    },
    "Where to begin from": {
        "The same ids twice": "test_same_ids.py",
        "A scenario": "test_scenario.py",
        "A sandbox that is prepared once": "test_prepared_sandbox.py",
        "State survives a restart": "test_restart.py",
        "Export and import": "test_export.py",
    },
    "One emulator for many, and for any language": {
        "Two workers, one emulator": "test_two_workers.py",
        "An account per worker": "test_account_per_worker.py",
        "A sandbox for a whole module": "test_shared_sandbox.py",
        "Use an emulator that runs already": "test_attach.py",
        "Around any command": "test_around_any_command.py",
        "From a Node test": "from_node.test.mjs",
        "From a shell script": "from_a_shell.sh",
        "Without pytest": "without_pytest.py",
        "Verify a server": "test_verify.py",
    },
}

HEAD = """\
# Cookbook

Short recipes for the test double. Each is a file in `docs/cookbook/` that this project's own suite runs as it stands; \
those whose names begin with `test_` run with `pytest FILE`. `scripts/cookbook` writes this page.
"""
_LANGUAGES = {".py": "python", ".mjs": "js", ".sh": "bash"}


@dataclass(frozen=True)
class Recipe:
    """`sentence`: what it is for. `code`: the rest of the file."""

    title: str
    file: Path
    sentence: str
    code: str


def recipes() -> dict[str, list[Recipe]]:
    """By theme. ValueError for a file that does not begin with its sentence."""
    return {theme: [_read(title, FOLDER / name) for title, name in names.items()] for theme, names in THEMES.items()}


def _read(title: str, file: Path) -> Recipe:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        sentence = ast.get_docstring(ast.parse(text)) or ""
        code = text.split('"""', 2)[2]
    else:
        first, _, code = text.partition("\n")
        sentence = first.lstrip("/# ")
    if not sentence.endswith(".") or "\n" in sentence:
        raise ValueError(f"{file}: begins with {sentence!r}; one sentence on one line says what it is for")
    return Recipe(title, file, sentence, code.strip("\n"))


def page() -> str:
    """docs/cookbook.md, whole."""
    themes = recipes()
    parts = [HEAD]
    for theme, found in themes.items():
        parts.append("\n".join([f"**{theme}**\n", *(f"- [{one.title}](#{_anchor(one.title)})" for one in found), ""]))
    for theme, found in themes.items():
        parts.append(f"## {theme}\n")
        parts += [_shown(recipe) for recipe in found]
    return "\n".join(parts)


def _shown(recipe: Recipe) -> str:
    place = f"[`{recipe.file.name}`](cookbook/{recipe.file.name})"
    language = _LANGUAGES[recipe.file.suffix]
    return f"### {recipe.title}\n\n{recipe.sentence} ({place})\n\n```{language}\n{recipe.code}\n```\n"


def _anchor(title: str) -> str:
    """As GitHub makes it."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")
