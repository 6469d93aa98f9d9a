"""The HTML of a trace's page. tests/browser/test_trace_page.py shows it in a browser."""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from trace_testing import hostile_trace, large_output, many_steps, real_trace, step

from caged.emulator.trace import page as page_module
from caged.emulator.trace.assets import STATIC, script, stylesheet
from caged.emulator.trace.file import Trace, TraceHeader
from caged.emulator.trace.html import Html, element, escaped
from caged.emulator.trace.page import build_page
from caged.emulator.trace.summary import markdown


@pytest.fixture(scope="module")
def trace() -> Trace:
    return real_trace()


@pytest.fixture(scope="module")
def page(trace: Trace) -> str:
    return build_page(trace)


class Reader(HTMLParser):
    """Collects elements, attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.contents: dict[str, list[str]] = {}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.contents.setdefault(self._inside, []).append(data)

    @property
    def text(self) -> str:
        parts = [text for tag, texts in self.contents.items() if tag not in ("script", "style") for text in texts]
        return "".join(parts)


def data_of(page: str) -> dict:
    packed = re.search(r'<script type="text/plain" id="trace-data">([\w+/=]*)</script>', page)
    assert packed
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


def test_page_has_the_trace(page, trace):
    data = data_of(page)
    assert [one["id"] for one in data["steps"]] == [one.id for one in trace.steps]
    assert data["header"]["title"] == trace.header.title
    assert data["markdown"] == markdown(trace)
    assert data["first"] == [one.id for one in trace.steps if one.title == "$ sh run_tests.sh"][-1]


def test_page_shows_the_answer_without_a_script(page, trace):
    text = Reader(page).text
    for part in (
        "AssertionError: assert 1 == 0",
        "assert result.exit_code == 0, result.output",
        "fault snapshots.create 500",
        "nearest: POST /v1/sandboxes: is sandboxes.create, not snapshots.create",
        "===== 1 failed, 1 passed in 0.61s =====",
        "the sum is wrong, repair calc.py",
        "I changed add() so that it adds.",
        f"{len(trace.steps)} steps",
        "5 errors",
    ):
        assert part in text, part


def test_list_without_a_script_has_each_step_and_opens(page, trace):
    inside = page[page.index("<noscript>") : page.index("</noscript>")]
    reader = Reader(inside)
    assert [value for _tag, name, value in reader.attributes if name == "id"] == [
        f"step-{one.id}" for one in sorted(trace.steps, key=lambda one: one.start)
    ]
    assert reader.tags.count("details") > 5
    assert "added 42 packages" in reader.text


def test_list_without_a_script_is_bounded():
    pages = [build_page(trace) for trace in (many_steps(10_000), large_output())]
    for page in pages:
        inside = page[page.index("<noscript>") : page.index("</noscript>")]
        assert len(inside) < 300_000
    assert "9600 more steps are shown with JavaScript" in pages[0]


def test_policy_allows_its_own_script_and_style_by_hash_and_nothing_else(page):
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].replace("&#x27;", "'").split(";"))

    def hash_of(tag: str) -> str:
        content = re.search(rf"<{tag}>(.*?)</{tag.split()[0]}>", page, re.DOTALL)
        assert content
        return f"'sha256-{base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "script-src": hash_of('script type="module"'),
        "style-src": hash_of("style"),
    }
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert "unsafe" not in policy[1]


def test_page_names_nothing_outside(page):
    reader = Reader(page)
    addresses = [
        value for _tag, name, value in reader.attributes if name in ("src", "href", "action", "srcset", "data")
    ]
    assert addresses
    assert all(address.startswith("#") for address in addresses), addresses
    code = script("page.js") + stylesheet()
    assert set(re.findall(r"https?://[\w./]+", code)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\burl\(|@import|\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|EventSource", code)


def test_no_attribute_is_code_and_no_style_is_inline(page):
    for tag, name, _value in Reader(page).attributes:
        assert not name.startswith("on"), (tag, name)
        assert name != "style"


def test_scripts_make_elements_only_from_texts():
    for path in STATIC.glob("*.js"):
        text = path.read_text("utf-8")
        found = re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", text)
        assert found == [], path.name


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "<!--",
    "-->",
    "]]>",
    "</title></style></noscript></textarea><h1>x",
    "&lt;b&gt; &amp; &#60;",
    "\ud800 lone \udfff",
    "\x00\x1b[31m\x7f\x9b\u202e\u2028\ufffe",
    "a\r\nb\tc",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_in_every_field_stay_texts(text):
    harmless, hostile = build_page(hostile_trace("harmless")), build_page(hostile_trace(text))
    hostile.encode("utf-8")
    expected, found = Reader(harmless), Reader(hostile)

    def names(reader: Reader) -> set:
        return {(tag, name) for tag, name, _value in reader.attributes}

    assert set(found.tags) <= set(expected.tags)
    assert found.tags.count("script") == 2
    assert names(found) <= names(expected)
    assert "\x00" not in hostile
    assert data_of(hostile)["steps"][1]["title"] == text
    addresses = [value for _tag, name, value in found.attributes if name == "href"]
    assert all(address.startswith("#") for address in addresses)


def test_title_of_the_document_names_the_outcome_and_the_test(page):
    assert "<title>failed: test_agent_repairs_the_sum - trace</title>" in page


def test_page_of_200_steps_with_a_megabyte_of_output_is_small():
    page = build_page(large_output())
    printed = sum(len(piece[1]) for one in data_of(page)["steps"] for piece in one["detail"].get("output", []))
    assert printed >= 1_000_000
    assert len(page.encode()) < 1_500_000


def test_page_itself_is_small():
    assert len(build_page(Trace(TraceHeader("t"), [])).encode()) < 125_000


def test_page_beyond_its_bounds_leaves_out_what_is_old_and_says_so(monkeypatch):
    monkeypatch.setattr(page_module, "MOST_STEPS", 50)
    monkeypatch.setattr(page_module, "DETAIL_CHARACTERS", 600)
    trace = many_steps(80)
    before = copy.deepcopy(trace)
    page = build_page(trace)
    data = data_of(page)
    assert [one["id"] for one in data["steps"]] == [f"s{i}" for i in range(30, 80)]
    assert data["steps"][1]["detail"] == {"dropped": "the page would be too large"}
    assert data["steps"][-1]["detail"]["output"]
    assert data["steps"][-1]["detail"]["exit_code"] == before.steps[-1].detail["exit_code"]
    text = Reader(page).text
    assert "the newest 50 of 80 steps" in text
    assert re.search(r"leaves out the details of the oldest \d+ steps", text)
    assert trace == before


def test_numbers_that_json_does_not_have_become_null():
    detail = {"cost_usd": float("nan"), "list": [float("inf")], "exit_code": 0}
    data = data_of(build_page(Trace(TraceHeader("t"), [step("s", "prompt", "p", detail=detail)])))
    assert data["steps"][0]["detail"] == {"cost_usd": None, "list": [None], "exit_code": 0}


def test_the_same_trace_gives_the_same_page(trace, page):
    assert build_page(trace) == page


@pytest.mark.parametrize("outcome", ["passed", "skipped", "error", "unknown", "something else"])
def test_other_outcomes(outcome):
    page = build_page(Trace(TraceHeader("x", outcome), []))
    assert f"{outcome}</span>" in page


def test_kept_sandboxes_and_notes_are_shown():
    text = Reader(build_page(Trace(TraceHeader("x", kept={"cage_1": "/tmp/kept"}, notes=["steps were cut"]), []))).text
    assert "cage_1: " in text
    assert "/tmp/kept" in text
    assert "steps were cut" in text


def test_element_escapes_everything_but_its_own():
    made = element("p", "<b>", element("i", "&"), None, title="\"'<", hidden=True, lang=None, data_id=1, class_="c")
    assert made == '<p title="&quot;&#x27;&lt;" hidden data-id="1" class="c">&lt;b&gt;<i>&amp;</i></p>'
    assert isinstance(made, Html)
    assert element("br") == "<br>"
    assert escaped("\x00\ud800\t\n") == "\ufffd\ufffd\t\n"


def test_script_is_one_with_all_modules():
    text = script("page.js")
    for path in STATIC.glob("*.js"):
        assert f"const ${path.stem} = (() => {{" in text, f"{path.name} is not used by page.js"
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    assert "</script" not in text.lower()


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"a.js": 'import x from "./b.js";\n'}, "a.js: write"),
        ({"a.js": "export default 1;\n"}, "a.js: write"),
        ({"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}, "circle"),
        ({"a.js": "const x = '</script>';\n"}, "must not contain"),
    ],
)
def test_modules_of_another_form_are_refused(monkeypatch, tmp_path, files, problem):
    from caged.emulator.trace import assets

    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(assets, "STATIC", tmp_path)
    with pytest.raises(ValueError, match=problem):
        assets.script.__wrapped__("a.js")
