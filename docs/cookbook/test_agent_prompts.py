"""Assert the prompt that your code gave the agent and with which options, and see what the platform made of it."""

from caged import Caged, ExecResult, Sandbox
from caged.emulator import AccountView


def review(client: Caged, box: Sandbox, path: str) -> ExecResult:  # code under test
    return client.sandboxes.exec(box.id, f'claude -p "Review {path}" --output-format json')


def test_the_prompt_names_the_file(caged: Caged, caged_emulator: AccountView) -> None:
    box = caged.sandboxes.create(agents=["claude"])
    caged_emulator.agent("claude").reply("Looks good.", tokens_in=1200, tokens_out=30, cost_usd=0.02)
    review(caged, box, "app.py")
    (prompt,) = caged_emulator.agent("claude").prompts
    assert (prompt.prompt, prompt.reply) == ("Review app.py", "Looks good.")
    assert "--output-format" in prompt.arguments
    session = caged.sessions.list().data[0]
    assert (session.id, session.tokens_in, session.llm_cost) == (prompt.session, 1200, 0.02)
