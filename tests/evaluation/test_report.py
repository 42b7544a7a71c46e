"""The report is one self-contained, well-formed file that says what it lacks and lets no text become markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from carla_online.envs.contract import REWARD_TERM_NAMES
from carla_online.errors import EvaluationError
from carla_online.evaluation import Evaluation, SuiteConfig, load_evaluations, write_report
from carla_online.evaluation.report.markup import json_block, tag
from carla_online.evaluation.report.numbers import percent, short, signed, ticks

HOSTILE = "<script>alert('x')</script>\"&\u2028"
VOID = {"meta", "input", "br", "hr"}


class Checker(HTMLParser):
    """Collects elements and text, and checks that every element is closed where it should be."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, name, attributes):
        self.seen.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.seen.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)


def parse(path):
    page = Checker()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page, " ".join(" ".join(page.text).split())


def write_run(run_dir, make_table, *, gain=20.0, label="fine-tuned"):
    suite = SuiteConfig(name="straight", routes=40)
    scores = np.linspace(40.0, 75.0, 40)
    baseline = make_table(scores=scores, seeds=suite.seeds())
    tuned = make_table(scores=scores + gain, seeds=suite.seeds())
    Evaluation("baseline-0", "baseline", "baseline", suite, baseline).save(run_dir)
    Evaluation("fine-tuned-0", label, "candidate", suite, tuned, "baseline-0", step=5_000).save(run_dir)
    grid = make_table(scores=scores + 1.0, seeds=suite.seeds())
    Evaluation("tuned-0", "baseline, tuned", "tuned_baseline", suite, grid, "baseline-0").save(run_dir)
    rows = [
        {"step": step, "train/entropy": -step / 1000, "train/q_mean": None, "own/tag": 1}
        for step in range(10, 3010, 10)
    ]
    rows.append({"step": 3000, "guard": f"rolled back {label}"})
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run_dir / "config.yaml").write_text(f"name: {json.dumps(label)}\n")
    (run_dir / "run.json").write_text(json.dumps({"seed": 3, "machine": label}))
    frame = {"ego": [0, 0, 0, 2, 1, 9], "actors": [], "action": [0, 1], "reward": 0.1, "time_s": 0.1}
    frame |= {"terms": [0.0] * len(REWARD_TERM_NAMES), "completion": 0.5, "timed_driving_score": 50.0}
    trace = {"format": 1, "seed": "7", "label": label, "reward_terms": list(REWARD_TERM_NAMES), "road": []}
    (run_dir / "trace.json").write_text(json.dumps({**trace, "frames": [frame, frame]}))


def test_missing_routes_are_said_and_left_out_and_fewer_routes_are_not_taken_for_them(tmp_path, make_table):
    suite = SuiteConfig(name="straight", routes=40)
    seeds = suite.seeds()
    table = make_table(scores=np.linspace(40.0, 75.0, 40), seeds=seeds)
    Evaluation("baseline-0", "baseline", "baseline", suite, table).save(tmp_path)
    driven, lost = table.select(seeds[1:]), (int(seeds[0]),)
    Evaluation("fine-tuned-0", "fine-tuned", "candidate", suite, driven, "baseline-0", missing=lost).save(tmp_path)
    Evaluation("half-0", "half", "other", suite, table.select(seeds[:20]), "baseline-0").save(tmp_path)
    found, faults = load_evaluations(tmp_path)
    verdict = next(evaluation for evaluation in found if evaluation.name == "fine-tuned-0").verdict
    assert (verdict.candidate.routes, verdict.difference.mean) == (39, 0.0)
    assert [fault for fault in faults if "half-0 can't be compared" in fault and "different routes" in fault] == faults
    _, text = parse(write_report(tmp_path))
    assert "fine-tuned: 1 routes are missing, on which the simulator failed." in text


def test_a_complete_run_gives_verdict_tables_curves_and_animation(make_table, tmp_path):
    write_run(tmp_path, make_table)
    page, text = parse(write_report(tmp_path))
    assert "The fine-tuned policy drives better than the baseline: timed driving score 57.5 \u2192 77.5" in text
    assert "(+20.0, 95 % interval +20.0 to +20.0) on 40 routes" in text
    assert "+1.0 [+1.0, +1.0]" in text
    assert "fine-tuned against baseline, tuned: timed driving score 58.5 -> 77.5" in text
    assert "after 5,000 env steps" in text
    assert "Policy entropy" in text
    assert "own/tag" in text
    assert "Q values" not in text  # nothing but NaN
    assert "step 3,000 guard: rolled back" in text
    assert "Not in this report" not in text
    names = [name for name, _ in page.seen]
    assert names.count("canvas") == 1
    assert sum(attributes.get("class") == "gain" for _, attributes in page.seen) == 40


def test_nothing_is_loaded_from_elsewhere(make_table, tmp_path):
    write_run(tmp_path, make_table)
    path = write_report(tmp_path, tmp_path / "elsewhere" / "page.html")
    page, _ = parse(path)
    assert not re.search(r"https?:|@import|url\(|//cdn", path.read_text(encoding="utf-8"))
    assert not any({"src", "href", "srcset"} & set(attributes) for _, attributes in page.seen)
    assert not any(name.startswith("on") for _, attributes in page.seen for name in attributes)


def test_hostile_names_stay_text(make_table, tmp_path):
    write_run(tmp_path, make_table, label=HOSTILE)
    page, text = parse(write_report(tmp_path))
    assert [name for name, _ in page.seen].count("script") == 2  # the trace and the page's own
    assert "alert('x')" in text
    data = re.search(r'<script type="application/json" id="trace">(.*?)</script>', write_report(tmp_path).read_text())
    assert json.loads(data[1])["label"] == HOSTILE
    assert "<" not in json_block("x", {"a": "</script><b>"})[len('<script type="application/json" id="x">') : -9]
    assert tag("p", "<b>", title='"') == '<p title="&quot;">&lt;b&gt;</p>'


def test_a_loss_is_called_a_loss(make_table, tmp_path):
    for name, gain in (("worse", -5.0), ("little", 1.0)):
        (tmp_path / name).mkdir()
        write_run(tmp_path / name, make_table, gain=gain)
    assert "The fine-tuned policy drives worse than the baseline" in parse(write_report(tmp_path / "worse"))[1]
    text = parse(write_report(tmp_path / "little"))[1]
    assert "isn't shown to drive better" in text
    assert "not above the smallest useful effect +2.0" in text


def test_an_empty_run_names_everything_it_lacks(tmp_path):
    _, text = parse(write_report(tmp_path))
    for piece in ("config.yaml", "metrics.jsonl", "trace.json", "run.json", "evaluation"):
        assert piece in text
    assert "Nothing can be said about better or worse" in text
    with pytest.raises(EvaluationError, match="isn't a folder"):
        write_report(tmp_path / "nowhere")


def test_damaged_pieces_are_left_out_and_named(make_table, tmp_path):
    write_run(tmp_path, make_table)
    (tmp_path / "trace.json").write_text('{"format": 1, "road": 5}')
    (tmp_path / "run.json").write_text('{"a":' * 400 + "1" + "}" * 400)
    (tmp_path / "metrics.jsonl").write_text('{"step":1,"time_s":1e999,"a":1' + "0" * 400 + ',"b":[[]],"c":2}\n')
    (tmp_path / "evaluation" / "broken.json").write_text('{"format": 1, "name": "x"}')
    (tmp_path / "evaluation" / "baseline-0.json").unlink()
    _, text = parse(write_report(tmp_path))
    assert "There is no animation" in text
    assert "Versions, seed and machine aren't known: run.json is nested more than 50 deep" in text
    assert "broken.json: label, role, suite, table missing" in text
    assert "fine-tuned-0 was compared with 'baseline-0', whose results aren't in this run" in text


def test_a_verdict_in_a_file_is_never_believed(make_table, tmp_path):
    write_run(tmp_path, make_table, gain=-30.0)
    path = tmp_path / "evaluation" / "fine-tuned-0.json"
    data = json.loads(path.read_text())
    data["verdict"] = {"is_better": True, "text": "better"}
    path.write_text(json.dumps(data))
    evaluations, faults = load_evaluations(tmp_path)
    assert faults == []
    assert [evaluation.is_better for evaluation in evaluations] == [False, False, False]


def test_numbers_are_rounded_for_people():
    assert [short(value) for value in (0.0, 0.01234, 3.14159, 1250.0, 45_000.0, 2.1e6, -0.5, float("nan"))] == [
        "0", "0.0123", "3.14", "1,250", "45k", "2.1M", "\u22120.5", "\u2013",
    ]  # fmt: skip
    assert (percent(0.99), percent(0.985), signed(-1.25)) == ("99 %", "98.5 %", "\u22121.2")
    assert ticks(0.0, 100.0) == [0.0, 25.0, 50.0, 75.0, 100.0]
    assert ticks(-0.3, 0.3) == pytest.approx([-0.2, 0.0, 0.2])
