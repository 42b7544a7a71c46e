"""Installs the built wheel into a clean environment and runs the README's example and commands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def readme_example() -> str:
    """Returns the Python program that the README shows."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    if not blocks:
        raise SystemExit("error: README.md shows no Python example")
    return str(blocks[0])


def main() -> None:
    """Runs the check; a failing step ends it with its exit code."""
    wheels = sorted((ROOT / "dist").glob("carla_online-*.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        raise SystemExit("error: dist/ holds no wheel; run `make wheel` first")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "env", with_pip=True)
        binaries = folder / "env" / "bin"
        install = [str(binaries / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*install, "-c", str(ROOT / "constraints.txt"), str(wheels[-1])], folder)
        (folder / "example.py").write_text(readme_example(), encoding="utf-8")
        run([str(binaries / "python"), "example.py"], folder)
        run([str(binaries / "carla-online"), "configs"], folder)
        run([str(binaries / "carla-online"), "--help"], folder)
        words = [
            "--runner.total-env-steps",
            "2000",
            "--selection.routes",
            "4",
            "--selection.confirm-routes",
            "4",
            "--suite.routes",
            "4",
            "--quiet",
        ]
        run([str(binaries / "carla-online"), "train", "sac_straight", *words], folder)
        if not (folder / "runs" / "sac_straight" / "report.html").exists():
            raise SystemExit("error: training from the wheel left no report")
    print(f"{wheels[-1].name}: installed into a clean environment, ran the README's example and a training")


def run(words: list[str], folder: Path) -> None:
    """Runs one command in `folder`, away from the source tree."""
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    print("$", " ".join(Path(words[0]).name if index == 0 else word for index, word in enumerate(words)), flush=True)
    result = subprocess.run(words, cwd=folder, env=environment, check=False)
    if result.returncode != 0:
        sys.exit(result.returncode)


if __name__ == "__main__":
    main()
