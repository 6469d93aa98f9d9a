"""`python -m caged.emulator` is the `caged-emulator` command."""

from .cli import main

main(prog_name="caged-emulator")
