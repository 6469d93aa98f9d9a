"""An emulator in a process of its own, as it is for most clients."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def served_emulator() -> Iterator[tuple[str, str]]:
    """Its URL, and the API key of its first account."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "ready")
        words = [sys.executable, "-m", "caged.emulator", "serve", "--port", "0", "--ready-file", str(ready)]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as serving:
            try:
                deadline = time.monotonic() + 20
                while not ready.exists():
                    assert serving.poll() is None, "the emulator did not start"
                    assert time.monotonic() < deadline, "the emulator was not ready within 20 s"
                    time.sleep(0.01)
                served = json.loads(ready.read_text())
                yield served["base_url"], served["api_key"]
            finally:
                serving.terminate()
