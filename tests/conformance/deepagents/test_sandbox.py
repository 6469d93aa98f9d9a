"""LangChain's suite for sandboxes of deepagents, unchanged, against a sandbox of the emulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_tests.integration_tests import SandboxIntegrationTests

from caged.integrations.deepagents import CagedSandbox
from caged.pytest_plugin import CagedFactory


class TestCagedSandbox(SandboxIntegrationTests):
    @pytest.fixture(scope="class")
    def sandbox(self, caged_factory: CagedFactory) -> Iterator[CagedSandbox]:
        with caged_factory.account() as account:
            client = account.client()
            yield CagedSandbox(client.sandboxes.bind(client.sandboxes.create("python-312").id))
