"""The tests that deviate, against deepagents' own backend for the local machine."""

from __future__ import annotations

import pytest
from deepagents.backends import LocalShellBackend
from langchain_tests.integration_tests import SandboxIntegrationTests


class TestOwnBackend(SandboxIntegrationTests):
    root = ""

    @property
    def sandbox_root_dir(self) -> str:
        return self.root

    @pytest.fixture(scope="class")
    def sandbox(self, tmp_path_factory: pytest.TempPathFactory) -> LocalShellBackend:
        directory = str(tmp_path_factory.mktemp("own_backend"))
        type(self).root = directory
        return LocalShellBackend(root_dir=directory, virtual_mode=False, inherit_env=True)

    @pytest.fixture(autouse=True)
    def sandbox_test_root(self, sandbox: LocalShellBackend, request: pytest.FixtureRequest) -> str:
        return self.sandbox_path(request.node.name)
