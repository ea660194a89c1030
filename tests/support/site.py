"""The documentation site, built as `make docs` builds it."""

import subprocess
import sys
from pathlib import Path

from tools.environment import ROOT


def build(place: Path) -> None:
    """Build the site into an empty folder; every warning of MkDocs is an error."""
    command = [sys.executable, "-m", "tools.setup", "docs", "--site-dir", str(place)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
