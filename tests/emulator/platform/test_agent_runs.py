"""The agent programs in a sandbox: on PATH when requested, with a reply that says that it is emulated."""

import threading

import pytest
from cases import each
from emulator_testing import eventually
from sessions_testing import answer_all, script

from caged.emulator.control.agent_command_line import prompt_text
from caged.emulator.control.agents import Reply


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


PROGRAMS = {
    "claude-code": "claude",
    "aider": "aider",
    "codex": "codex",
    "grok": "grok",
    "cline": "cline",
    "continue": "cn",
    "goose": "goose",
}


@pytest.mark.parametrize("agents", [list(PROGRAMS), ["claude"]], ids=["all", "alias"])
def test_an_agent_puts_its_command_on_the_path(api, agents):
    box = api.sandbox(agents=agents)
    for agent in agents:
        name = "claude-code" if agent == "claude" else agent
        program = PROGRAMS[name]
        reply = f"[caged emulator] {name} called no model. Prompt: Fix it\n"
        assert api.output(box, f"{program} -p 'Fix it'") == reply
        assert api.output(box, f"{program} 'Fix it'") == reply


def test_agent_named_twice_or_by_both_names_is_there_once(api):
    box = api.sandbox(agents=["claude", "claude-code", "aider"])
    assert api.output(box, "claude -p x; aider -m y").count("Prompt") == 2
    assert api.log_text(box).count("agent claude-code installed") == 1


def test_without_agents_there_is_no_such_command(api, box):
    result = api.run(box, "PATH=${PATH%%:*} command -v claude aider codex")
    assert result["output"] == ""
    assert result["exit_code"] != 0


def test_the_reply_is_the_same_every_time(api):
    box = api.sandbox(agents=["claude"])
    assert len({api.output(box, "claude -p 'the same'") for _ in range(3)}) == 1


@pytest.mark.parametrize(
    "command",
    ["echo hello | claude -p", "echo hello | claude", "claude -p - <<< hello", "claude -p hello < /dev/null"],
)
def test_the_prompt_may_come_from_standard_input(api, command):
    box = api.sandbox(agents=["claude"])
    assert api.output(box, command).endswith("Prompt: hello\n")


@pytest.mark.parametrize("prompt", ["ä€😀", "two\nlines", "a'b\"c$d`e\\", "-dash first", "x" * 5000])
def test_a_prompt_of_any_text_arrives(api, prompt):
    box = api.sandbox(agents=["claude"], env={"PROMPT": prompt})
    assert api.output(box, 'claude -p -- "$PROMPT"').endswith(f"Prompt: {prompt}\n")


def test_no_prompt_is_a_usage_error(api):
    box = api.sandbox(agents=["claude"])
    result = api.run(box, "claude")
    assert result["exit_code"] == 2
    assert "no prompt" in result["output"]


def test_prompt_is_in_the_log(api):
    box = api.sandbox(agents=["claude"])
    api.output(box, "claude -p 'Fix the bug'")
    assert "claude-code received the prompt: Fix the bug" in [
        line["message"] for line in api.logs(box) if line["type"] == "agent"
    ]


def test_an_agent_works_in_the_init_script_and_in_a_subdirectory(api):
    box = api.sandbox(agents=["claude"], init_script="mkdir d; cd d; claude -p early > reply")
    assert api.read(box, "d/reply").text.endswith("Prompt: early\n")


def test_prompts_at_the_same_time_get_a_reply_each(api):
    box = api.sandbox(agents=["claude"])
    api.output(box, 'for i in $(seq 12); do claude -p "number $i" > out$i & done; wait')
    for number in range(1, 13):
        assert api.read(box, f"out{number}").text.endswith(f"Prompt: number {number}\n")


def test_prompt_in_a_paused_sandbox_is_answered_after_the_resume(api):
    box = api.sandbox(agents=["claude"])
    results = []
    thread = threading.Thread(
        target=lambda: results.append(api.run(box, "touch begun; until [ -e go ]; do sleep 0.01; done; claude -p late"))
    )
    thread.start()
    eventually(lambda: api.read(box, "begun").status_code == 200, "the command to begin")
    api.post(f"/sandboxes/{box}/pause")
    api.post(f"/sandboxes/{box}/resume")
    api.write(box, "go", "")
    thread.join(60)
    assert results[0]["output"].endswith("Prompt: late\n")


def test_function_of_a_reply_gets_the_prompt_with_its_arguments(api):
    prompts = script(api, Reply("scripted\n", 3))
    box = api.sandbox(agents=["codex"])
    result = api.run(box, "codex exec --model o3 'Do it'")
    assert (result["output"], result["exit_code"]) == ("scripted\n", 3)
    (prompt,) = prompts
    assert (prompt.agent, prompt.program, prompt.text, prompt.sandbox_id) == ("codex", "codex", "Do it", box)
    assert list(prompt.arguments) == ["exec", "--model", "o3", "Do it"]


@each(
    ("line", "stdin", "text"),
    [
        ("claude -p PROMPT", "", "PROMPT"),
        ("claude PROMPT", "", "PROMPT"),
        ("claude -p PROMPT --dangerously-skip-permissions", "", "PROMPT"),
        ("claude --dangerously-skip-permissions -p PROMPT", "", "PROMPT"),
        ("claude --output-format json -p PROMPT", "", "PROMPT"),
        ("claude --output-format=json -p PROMPT", "", "PROMPT"),
        ("claude --model opus PROMPT", "", "PROMPT"),
        ("claude -p -- --PROMPT", "", "--PROMPT"),
        ("claude -p", "PROMPT\n", "PROMPT"),
        ("claude", "", None),
        ("claude -p", "  \n", None),
        ("codex exec PROMPT", "", "PROMPT"),
        ("codex e --sandbox read-only PROMPT", "", "PROMPT"),
        ("codex exec -", "PROMPT", "PROMPT"),
        ("codex exec --json resume ses_1 PROMPT", "", "PROMPT"),
        ("codex exec resume --model o3 ses_1 -", "PROMPT", "PROMPT"),
        ("codex exec resume --last PROMPT", "", "PROMPT"),
        ("codex PROMPT", "", "PROMPT"),
        ("aider --message PROMPT", "", "PROMPT"),
        ("aider -m PROMPT", "", "PROMPT"),
        ("aider --message=PROMPT", "", "PROMPT"),
        ("goose run -t PROMPT", "", "PROMPT"),
        ("goose run --text PROMPT", "", "PROMPT"),
        ("grok -p PROMPT", "", "PROMPT"),
        ("cline task PROMPT", "", "PROMPT"),
        ("cn -p PROMPT", "", "PROMPT"),
        ("aider -m", "", None),
    ],
)
def test_the_prompt_is_found_in_a_command_line(line, stdin, text):
    program, *arguments = line.split()
    assert prompt_text(program, arguments, stdin) == text


def test_a_prompt_larger_than_one_read_arrives_whole(api):
    box = api.sandbox(agents=["claude"])
    assert api.output(box, "head -c 600000 /dev/zero | tr '\\0' x | claude | wc -c").strip() == str(
        len("[caged emulator] claude-code called no model. Prompt: \n") + 600_000
    )


def test_a_reply_that_raises_is_an_exit_code_and_a_line_in_the_log(own_emulator, new_api):
    emulator = own_emulator(isolation="process")
    api = new_api(emulator)

    def broken(_prompt, _box) -> Reply:
        raise ValueError("no idea")

    answer_all(api, broken)
    result = api.run(api.sandbox(agents=["claude"]), "claude -p hi")
    assert result["exit_code"] == 1
    assert "no idea" in result["output"]
    assert any("no idea" in line for line in emulator.log_tail())
