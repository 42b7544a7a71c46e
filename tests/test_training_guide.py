"""The commands of the training guide work, in the order in which they stand there."""

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "guide" / "training.md"


def test_the_guides_commands_run(tmp_path):
    block = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[0]
    lines = [line for line in block.splitlines() if line]
    assert len(lines) == 5
    for line in lines:
        command, *words = line.split()
        assert command == "carla-online"
        result = subprocess.run(
            [sys.executable, "-m", "carla_online.cli", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
    run_dir = tmp_path / "runs" / "sac_straight"
    assert (run_dir / "report.html").stat().st_size > 50_000
    assert {"config.yaml", "metrics.jsonl", "checkpoints", "policies", "replay", "evaluation"} <= {
        path.name for path in run_dir.iterdir()
    }
