"""`caged-emulator verify`: where a server differs from the platform's contract."""

from ..verify.command import verify as command

__all__ = ["command"]
