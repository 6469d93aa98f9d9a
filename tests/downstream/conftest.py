"""Projects and clients that use the package as their users do."""

import sys
from pathlib import Path

# The helpers of the emulator's tests are used here too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "emulator"))

# Separate projects with their own settings. The tests in this directory run them; our suite does not collect them.
collect_ignore = ["sample_project", "trust_project"]
