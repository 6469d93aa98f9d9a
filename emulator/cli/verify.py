"""`caged-emulator verify`: checks a server against the platform's contract."""

from ..verify.command import verify as command

__all__ = ["command"]
