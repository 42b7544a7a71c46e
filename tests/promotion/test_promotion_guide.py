"""The guide's examples run as they stand, where the folders that they name exist."""

import re
from pathlib import Path

import numpy as np
from driven_replay import SHORT, drive
from heads import obs_dim_of, shifted_head

from carla_online.policies import DeltaPolicy, scripted_baseline
from carla_online.promotion import Registry

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "promotion.md"


def test_every_example_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    baseline, obs_dim = scripted_baseline(), obs_dim_of(SHORT)
    Registry.open_or_create("registry", baseline=baseline)
    for name in ("first", "second"):
        drive(Path("runs") / name, shifted_head(baseline, obs_dim, throttle=0.1), steps=200)
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    names: dict[str, object] = {"obs": np.zeros((4, obs_dim), np.float32)}
    exec(compile(blocks[0], str(GUIDE), "exec"), names)
    assert names["action"].shape == (4, 2)
    names["policy"] = DeltaPolicy(baseline, obs_dim=obs_dim, hidden_sizes=(16,))
    exec(compile(blocks[1], str(GUIDE), "exec"), names)
    assert {path.name for path in Path("runs/distilled").iterdir()} == {"policy.safetensors", "distilled.json"}
    assert capsys.readouterr().out.startswith(str(names["episodes"].count))
