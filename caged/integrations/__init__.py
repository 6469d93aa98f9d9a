"""Sandboxes for agent frameworks: one module for each, and an extra of the same name that installs the framework.

A module imports its framework, so it is imported by those who use it and never by ``import caged``:

    pip install 'caged[pydantic-ai]'
    from caged.integrations.pydantic_ai import CagedWorkspace
"""
