"""Trust scores: GET /v1/trust/sandboxes/{id} (wire-contract.md 3.1, wire-other-clients.md 2.1)."""

from __future__ import annotations

from starlette.responses import Response

from ..control.clock import rfc3339
from .operation import Call, EmptyBody, Model, Operations, json_reply

operations = Operations()


class TrustScoreOut(Model):
    """The trust score of an agent session, from 0 to 100. The sandbox's log has the reason of each deduction."""

    session_id: str
    score: int
    updated_at: str


@operations.add("GET", "/v1/trust/sandboxes/{id}", "sandboxes.trust_scores", reply=list[TrustScoreOut])
async def scores(call: Call[EmptyBody]) -> Response:
    """One score for each agent session, newest first."""
    sandbox = call.platform.sandboxes.get(call.account, call.param("id"))
    return json_reply(
        [
            TrustScoreOut(
                session_id=session.id, score=session.trust_score, updated_at=rfc3339(session.trust_updated_at)
            )
            for session in call.platform.agent_sessions.of_sandbox(sandbox)
        ]
    )
