import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "demo"


@pytest.mark.usefixtures("command_environment")
def test_the_demo_runs_and_draws_its_results(case: str, tmp_path: Path) -> None:
    # A copy, since the demo writes beside itself.
    shutil.copytree(DEMO, tmp_path / "demo", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, tmp_path / "demo" / "run.py"],
        env={**os.environ, "SIMQUERY_CASE": case},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dropped" in done.stdout
    for name in ("chelsea-cosine", "coffee-modified"):
        assert (tmp_path / "demo-result" / f"{name}.png").stat().st_size > 100_000
