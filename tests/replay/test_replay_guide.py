"""The replay guide's code runs as it stands there."""

import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "replay.md"


def test_the_guides_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    exec(compile("\n".join(blocks).replace("1_000_000", "10_000"), str(GUIDE), "exec"), names)
    assert set(names["out"]["step_id"].tolist()) <= set(range(8))
    names["buffer"].close()
