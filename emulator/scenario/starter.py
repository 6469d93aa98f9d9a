"""What `caged-emulator init` writes."""

#: By which the starter calls itself.
NAME = "caged-scenario.toml"

STARTER = """\
# A scenario: what an emulator starts with. It is loaded completely or not at all.
#
#     caged-emulator serve --scenario caged-scenario.toml
#     caged-emulator exec --scenario caged-scenario.toml -- npm test
#     emulator.load_scenario("caged-scenario.toml")            # in a test
#
# Every entry is a call, and its keys are that call's options. Everything is optional.

# Time stands until a test moves it.
# [clock]
# freeze = "2030-01-01T00:00:00Z"

# A sandbox for each entry. Besides `name`, `files`, `commands` and `state`: the options of sandboxes.create.
[[sandboxes]]
name = "web"                      # printed with the id at the start; faults and stubs may name it
template = "python-312"
agents = ["claude"]
budget = 5.00                     # USD
env = { CI = "1" }
commands = ["git init -q"]        # each has to succeed
# state = "paused"

[sandboxes.files]
"/workspace/app.py" = "print('hello')\\n"
# "/workspace/data.json" = { from = "data.json" }   # a file beside this one, read by whoever loads it

# More API keys, beside the emulator's own.
[[keys]]
name = "reader"
scope = "read_only"

# Commands that are answered instead of run: the exact text, a glob with *, or a regular expression, as in
# match = { regex = "^npm (ci|install)" }
[[stubs]]
match = "npm install"
output = "added 42 packages\\n"
optional = true                   # not reported when it is never used

# Programs that are answered wherever they are called, also inside scripts.
[[programs]]
program = "npm"
args = "run build*"
output = "built\\n"
optional = true

# What agents answer, in turn; `reply_to` by the prompt.
[agents.claude]
replies = [
    { text = "I have fixed it.", files = { "/workspace/fix.py" = "fixed = True\\n" }, cost_usd = 0.02 },
    "There is nothing left to do.",
]

# Calls that go wrong.
# [[faults]]
# operation = "sandboxes.exec"
# sandbox = "web"
# status = 503
# times = 2
"""
