"""What the tests of alerts share."""

from datetime import datetime, timezone

from internals import call_on_loop, platform_of

#: USD per hour of the default sandbox.
RATE = 0.0275
TYPES = ["budget_exceeded", "cost_anomaly", "agent_stuck", "error_spike", "trust_score_low"]


def alerts(api, **query):
    answer = api.get("/alerts", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["alerts"]


def rule(api, kind):
    (found,) = [found for found in api.get("/alerts/rules").json() if found["type"] == kind]
    return found


def set_rule(api, kind, **body):
    answer = api.put(f"/alerts/rules/{rule(api, kind)['id']}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def platform(api):
    return platform_of(api.emulator)


def record(api, box):
    return platform(api).store.sandboxes[box]


def on_loop(api, call):
    """Runs a plain function on the emulator's loop."""

    async def run():
        return call()

    return call_on_loop(api.emulator, run())


def a_session(api, box, spend=0.0, over=False):
    """An agent session of a sandbox, as it is when an agent has got a prompt."""
    sandbox, sessions = record(api, box), platform(api).agent_sessions

    def begin():
        session = sessions.begin(sandbox, "claude-code", None)
        sessions.spend(sandbox, session, 0, 0, spend)
        if over:
            sessions.end(sandbox, session, completed=True)
        return session

    return on_loop(api, begin)


def trust(api, box, session, before, score):
    signals = platform(api).signals
    sandbox = record(api, box)
    on_loop(api, lambda: signals.send("trust_changed", sandbox=sandbox, session=session, before=before, score=score))


def error_events(api, clock, box, count, session_id=""):
    at = datetime.fromtimestamp(clock.now, timezone.utc).isoformat()
    event = {"type": "error", "timestamp": at, "sandbox_id": box, "payload": {"message": "boom"}}
    answer = api.post("/events/ingest", json={"events": [event] * count})
    assert answer.json() == {"accepted": count, "errors": 0}
