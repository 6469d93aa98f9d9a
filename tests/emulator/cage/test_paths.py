"""Level `process` translates paths: those in commands to paths of the host, and those in output back."""

import os
from pathlib import Path

import pytest
from cases import each

from caged.emulator.cage.paths import Layout, split, usable_base

HOME = "/var/tmp/caged-run-x/sandboxes/cage_1"


@pytest.fixture
def layout():
    return Layout(Path(HOME))


#: Placeholders in the table for the host's directories of /workspace, /root, /tmp and /opt/caged.
PLACES = {"Ⓦ": "workspace", "Ⓡ": "root", "Ⓣ": "tmp", "Ⓞ": "opt"}
REWRITTEN = [
    ("cd /workspace", "cd Ⓦ"),
    ("cat /workspace/a.txt", "cat Ⓦ/a.txt"),
    ("/workspace/run.sh", "Ⓦ/run.sh"),
    ("ls /workspace /workspace/b", "ls Ⓦ Ⓦ/b"),
    ("ls /workspace/", "ls Ⓦ/"),
    ("ls /root /tmp /opt/caged/bin", "ls Ⓡ Ⓣ Ⓞ/bin"),
    ("cat </workspace/a >/workspace/b", "cat <Ⓦ/a >Ⓦ/b"),
    ("cat a >>/workspace/b 2>/workspace/e", "cat a >>Ⓦ/b 2>Ⓦ/e"),
    ("a;/workspace/b", "a;Ⓦ/b"),
    ("a&&/workspace/b||/workspace/c|/workspace/d&", "a&&Ⓦ/b||Ⓦ/c|Ⓦ/d&"),
    ("(cd /workspace)", "(cd Ⓦ)"),
    ("$(/workspace/x)", "$(Ⓦ/x)"),
    ("`/workspace/x`", "`Ⓦ/x`"),
    ("{ /workspace/x; }", "{ Ⓦ/x; }"),
    ("for f in /workspace/*; do :; done", "for f in Ⓦ/*; do :; done"),
    ("ls /workspace/?.py /workspace/[ab]", "ls Ⓦ/?.py Ⓦ/[ab]"),
    ("ls {/workspace,/tmp}", "ls {Ⓦ,Ⓣ}"),
    ("DIR=/workspace make", "DIR=Ⓦ make"),
    ("make --dir=/workspace/x", "make --dir=Ⓦ/x"),
    ("PATH=/workspace/bin:/root/bin:$PATH", "PATH=Ⓦ/bin:Ⓡ/bin:$PATH"),
    ("gcc -I/workspace/include -L/tmp", "gcc -IⓌ/include -LⓉ"),
    ('cat "/workspace/a b"', 'cat "Ⓦ/a b"'),
    ("cat '/workspace/a b'", "cat 'Ⓦ/a b'"),
    ('echo "see /workspace/x"', 'echo "see Ⓦ/x"'),
    ("python -c 'open(\"/workspace/x\")'", "python -c 'open(\"Ⓦ/x\")'"),
    ("python -c \"open('/workspace/x')\"", "python -c \"open('Ⓦ/x')\""),
    ("python -c \"open(r'/workspace/x')\"", "python -c \"open(r'Ⓦ/x')\""),
    ("python -c \"p = f'/workspace/{x}'\"", "python -c \"p = f'Ⓦ/{x}'\""),
    ("python -c \"f(b'/tmp/x', ['/tmp'])\"", "python -c \"f(b'Ⓣ/x', ['Ⓣ'])\""),
    ('echo \'{"path": "/workspace/x"}\'', 'echo \'{"path": "Ⓦ/x"}\''),
    ("curl -d @/workspace/x", "curl -d @Ⓦ/x"),
    ("cat <<E\n/workspace\nE", "cat <<E\nⓌ\nE"),
    ("test -e /workspace\\ x", "test -e Ⓦ\\ x"),
    ("[[ /workspace == /workspace ]]", "[[ Ⓦ == Ⓦ ]]"),
    ("git -C /workspace status", "git -C Ⓦ status"),
    ("rsync a:/workspace/x", "rsync a:Ⓦ/x"),
    ("cd\t/workspace\n", "cd\tⓌ\n"),
    ("cd /workspace$X", "cd Ⓦ$X"),
    ("cp x{,.bak} /workspace!", "cp x{,.bak} Ⓦ!"),
    ("find /workspace -name x", "find Ⓦ -name x"),
]
KEPT = [
    "",
    "workspace",
    "cd workspace/x",
    "/workspaces",
    "/workspace2/x",
    "/workspace-old",
    "/workspace.bak",
    "/workspace_x",
    "/home/workspace",
    "/home/me/workspace/x",
    "/my/tmp",
    "/var/tmp/x",
    "./workspace",
    "a/workspace",
    "../workspace",
    "$HOME/workspace",
    "${HOME}/tmp",
    '"$HOME"/workspace',
    "'x'/tmp",
    "~/workspace",
    "~root/tmp",
    "https://example.com/workspace/x",
    "https://example.com/tmp",
    "git@host/tmp",
    "s3://bucket/root/x",
    "//tmp",
    "/rooted",
    "/tmpfile",
    "/opt/caged2",
    "/opt/cagedx",
    "/opt",
    "/opt/other/caged",
    "/roo",
    "x/root",
    "/usr/local/tmp/x",
    "s/tmp/x/",
    "sed s,a/tmp,b,",
]


@each(("command", "expected"), REWRITTEN)
def test_path_at_start_of_word_or_value_is_translated(layout, command, expected):
    for mark, place in PLACES.items():
        expected = expected.replace(mark, f"{HOME}/{place}")
    assert layout.to_host_text(command) == expected


@each("command", KEPT)
def test_text_that_only_looks_like_sandbox_path_is_unchanged(layout, command):
    assert layout.to_host_text(command) == command
    assert layout.to_host_text(f"echo {command}") == f"echo {command}"


def test_translating_twice_equals_translating_once(layout):
    once = layout.to_host_text("cp /workspace/a /tmp/b")
    assert layout.to_host_text(once) == once


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"", b""),
        (b"nothing here /tmp /workspace", b"nothing here /tmp /workspace"),
        (b"H/workspace\n", b"/workspace\n"),
        (b"H/workspace/a: H/tmp/b", b"/workspace/a: /tmp/b"),
        (b"H/root/.bashrc", b"/root/.bashrc"),
        (b"H/opt/bin/claude", b"/opt/caged/bin/claude"),
        (b"H", b"/"),
        (b"H\n", b"/\n"),
        (b"H/", b"/"),
        (b"(H/workspace)", b"(/workspace)"),
        (b"file://H/workspace/x", b"file:///workspace/x"),
        (b"\xff\x00H/workspace\xfe", b"\xff\x00/workspace\xfe"),
        (b"a=H/workspace:H/tmp", b"a=/workspace:/tmp"),
    ],
)
def test_paths_of_host_in_output_are_translated_back(layout, output, expected):
    assert layout.to_sandbox_text(output.replace(b"H", HOME.encode())) == expected


@each("command", [command for command, _ in REWRITTEN if "opt" not in command])
def test_output_that_repeats_command_shows_original_command(layout, command):
    assert layout.to_sandbox_text(os.fsencode(layout.to_host_text(command))) == os.fsencode(command)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/workspace/a", ("workspace", "a")),
        ("a", ("workspace", "a")),
        ("", ("workspace",)),
        (".", ("workspace",)),
        ("/", ()),
        ("//workspace///a/./b/", ("workspace", "a", "b")),
        ("../a", ("workspace", "..", "a")),
        ("/a/../b", ("a", "..", "b")),
        ("...", ("workspace", "...")),
        (" ", ("workspace", " ")),
    ],
)
def test_path_is_split_into_components(path, parts):
    assert split(path) == parts


@pytest.mark.parametrize("target", ["/workspace/x", "/workspace", "/tmp/x", "/root/x"])
def test_link_target_is_translated_in_both_directions(layout, target):
    assert layout.link_to_host(target) == HOME + target
    assert layout.link_to_sandbox(HOME + target) == target


@pytest.mark.parametrize("target", ["relative", "../x", "/etc/passwd", "/workspacex", "/opt/caged/x", HOME + "x", "/"])
def test_other_link_targets_are_unchanged(layout, target):
    assert layout.link_to_host(target) == target
    assert layout.link_to_sandbox(target) == target


@pytest.mark.parametrize("path", ["/tmp", "/var/tmp/x-1_2.3+@", "/"])
def test_plain_absolute_path_is_usable_for_sandboxes(path):
    assert usable_base(path)


@pytest.mark.parametrize("path", ["tmp", "/a b", "/a'b", "/a$b", "/a\nb", "/ä", "", "/a;b", "/a*", "/tmp\n"])
def test_path_that_needs_quotes_is_not_usable_for_sandboxes(path):
    assert not usable_base(path)


# --- end to end, at the level that `auto` selects


@pytest.mark.shared_sandbox
@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("echo x > /workspace/f; cat /workspace/f; realpath f", "x\n/workspace/f\n"),
        ("cd /tmp && pwd", "/tmp\n"),
        ("cd ~ && pwd", "/root\n"),
        ("echo $HOME $TMPDIR", "/root /tmp\n"),
        ("ls -d /workspace/../tmp", "/workspace/../tmp\n"),
        ("python3 -c 'import os; print(os.getcwd())'", "/workspace\n"),
        ("bash -c 'cd /workspace; pwd'", "/workspace\n"),
        ("cat /workspace/missing 2>&1 | sed s/^cat..//", "/workspace/missing: No such file or directory\n"),
        ("git init -q && git rev-parse --show-toplevel", "/workspace\n"),
        ("ln -s /workspace/f l; readlink l", "/workspace/f\n"),
    ],
)
def test_command_sees_paths_of_sandbox(api, box, command, output):
    assert api.output(box, command) == output


def test_paths_in_env_of_sandbox_work(api):
    box = api.sandbox(env={"DIR": "/workspace/d", "PYTHONPATH": "/workspace/lib:/root/lib"})
    assert api.output(box, 'mkdir "$DIR" && ls /workspace && echo $PYTHONPATH') == "d\n/workspace/lib:/root/lib\n"
