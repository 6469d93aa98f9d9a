"""The platform fails in the middle of the agent's work, and the agent goes on."""

from __future__ import annotations

import asyncio
from typing import Any

from program import agent, solve
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from caged import AsyncCaged
