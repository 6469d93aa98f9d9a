"""The library that the inspector includes is the one that its authors have published."""

from __future__ import annotations

import hashlib

import pytest

from caged.emulator.inspector.assets import STATIC

#: Files of the npm package @xterm/xterm 6.0.0: lib/xterm.mjs, css/xterm.css and LICENSE.
XTERM = {
    "xterm.js": "b336ec65a086c056d4804b3d4c2347da5663d3f23c3f25be866467bd8857ad59",
    "xterm.css": "854a7c0fb70e8b1a083c16797ab827299fb18744f5ad34f227b48337e33293c6",
    "xterm-LICENSE.txt": "b569f629d00f2626a8100df2a1798210535621e42164dfd426a6fe5aac7b0ccd",
}


@pytest.mark.parametrize("name", XTERM)
def test_xterm_is_unchanged(name):
    assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == XTERM[name]


def test_only_the_page_of_a_terminal_loads_xterm():
    importing = {path.name for path in STATIC.glob("*.js") if '"./xterm.js"' in path.read_text("utf-8")}
    assert importing == {"terminal.js"}
    loading = {path.name for path in STATIC.glob("*.js") if '"./terminal.js"' in path.read_text("utf-8")}
    assert loading == {"inspector.js"}
    text = (STATIC / "inspector.js").read_text("utf-8")
    assert 'getElementById("terminal")) import("./terminal.js")' in text
