"""The registry: nothing overwritten, nothing lost by a kill, one promoter at a time, damage told with its cure."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from heads import shifted_head
from judged import evidence_for
from promoter import policy_like

from carla_online.errors import PolicyError, PromotionRefused, RegistryError
from carla_online.policies import ScriptedBaselineConfig, policy_to_bytes, scripted_baseline, wrap_baseline
from carla_online.promotion import Registry, load_champion

PROMOTER = Path(__file__).parents[1] / "support" / "promoter.py"
BASELINE = scripted_baseline()


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def registry(tmp_path):
    return Registry.open_or_create(tmp_path / "registry", baseline=BASELINE)


def add(registry, number=0):
    return registry.add(policy_like(number), baseline_fingerprint=None, label=f"policy {number}")


def promoted(registry, number):
    version = add(registry, number)
    evidence = evidence_for(version.sha256, champion=registry.champion_id)
    assert registry.settle(version.id, evidence, reason=f"why {number}", by="tester").event == "promoted"
    return version.id


def test_the_frozen_baseline_is_the_first_champion(registry):
    assert registry.champion_id == "baseline"
    assert load_champion(registry.path).fingerprint == BASELINE.fingerprint
    other = scripted_baseline(ScriptedBaselineConfig(headway_s=1.0))
    with pytest.raises(PolicyError, match="stands on the baseline"):
        registry.baseline(other)
    assert Registry.open_or_create(registry.path, baseline=other).record == registry.record  # an old one stays


def test_a_version_is_named_by_its_bytes_and_never_written_twice(registry):
    first = add(registry)
    before = contents(registry.path)
    assert registry.add(policy_like(0), baseline_fingerprint=None, label="again", note="other") == first
    assert contents(registry.path) == before
    assert first.id == hashlib.sha256(policy_like(0)).hexdigest()[:12]
    assert registry.version(first.id[:4]) == first


def test_promotions_keep_lineage_log_and_everything_that_was_there(registry):
    ids, seen = [], {}
    for number in range(3):
        ids.append(promoted(registry, number))
        now = contents(registry.path)
        for path, data in seen.items():
            if path.name != "champion":
                assert now[path].startswith(data)  # the log grows, all else stays
        seen = now
    assert registry.champion_id == ids[-1] == (registry.path / "champion").read_text().strip()
    assert [version.id for version in registry.lineage(ids[-1])] == ids[::-1]
    assert [(entry.number, entry.event, entry.by) for entry in registry.log()] == [
        (number, "promoted", "tester") for number in (1, 2, 3)
    ]
    assert registry.evidence(registry.log()[1])["champion"] == ids[0]
    assert registry.verify() == []


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"gain": 0.0}, "better by more than 2.0 points is not shown"),
        ({"champion": "0" * 12}, "the champion changed"),
        ({"kind": "world"}, "embedded world alone"),
        ({"sha256": "f" * 64}, "another policy"),
    ],
)
def test_without_evidence_there_is_no_promotion(registry, told, said):
    version = add(registry)
    evidence = evidence_for(**{"sha256": version.sha256, **told})
    entry = registry.settle(version.id, evidence, reason="please")
    assert (entry.event, entry.champion) == ("refused", "baseline")
    assert said in entry.reason
    assert registry.champion_id == "baseline"
    assert registry.evidence(entry)["candidate_sha256"] == evidence.candidate_sha256  # kept all the same
    allowed = registry.settle(version.id, evidence_for(version.sha256, kind="world", allowed=True), reason="demo")
    assert (allowed.event, allowed.evidence) == ("promoted", "evidence-0002.json")


def test_an_earlier_champion_comes_back_with_a_reason_and_nobody_else(registry):
    first, second = promoted(registry, 0), promoted(registry, 1)
    refused = add(registry, 2)
    with pytest.raises(PromotionRefused, match="never was champion"):
        registry.rollback(refused.id, reason="why not")
    with pytest.raises(PromotionRefused, match="champion already"):
        registry.rollback(second, reason="once more")
    with pytest.raises(PromotionRefused, match="needs a reason"):
        registry.rollback(first, reason=" ")
    assert registry.rollback(first[:6], reason="brakes for shadows", by="tester").event == "rolled_back"
    assert registry.champion_id == first
    assert registry.rollback("baseline", reason="to the start").champion == "baseline"
    assert registry.champion_id == "baseline"
    assert [entry.event for entry in registry.log()] == ["promoted", "promoted", "rolled_back", "rolled_back"]


def test_the_champion_is_loaded_with_its_baseline(registry):
    policy = shifted_head(BASELINE, 40, throttle=0.1)
    version = registry.add(policy_to_bytes(policy), baseline_fingerprint=BASELINE.fingerprint, label="head")
    registry.settle(version.id, evidence_for(version.sha256), reason="test")
    assert policy_to_bytes(load_champion(registry.path)) == policy_to_bytes(policy)


def test_a_live_baseline_must_be_handed_over(tmp_path):
    live = wrap_baseline(lambda obs: obs[:, :2], name="mine")
    registry = Registry.open_or_create(tmp_path / "registry", baseline=live)
    with pytest.raises(PolicyError, match="live Python object"):
        load_champion(registry)
    assert load_champion(registry, baseline=live) is live


def damage_line(path):
    lines = path.read_bytes().splitlines(keepends=True)
    return b"".join([lines[0].replace(b"why 0", b"why 9"), *lines[1:]])


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("promotions.jsonl", damage_line, "line 2 is damaged or was changed"),
        ("promotions.jsonl", lambda path: path.read_bytes().splitlines(keepends=True)[0], "was changed or lost lines"),
        ("promotions.jsonl", lambda path: b"[" * 100_000 + b"\n", "line 1 is damaged"),
        ("promotions.jsonl", lambda path: b'{"number": 1}\n', "line 1 is damaged"),
        ("champion", lambda path: b"../../etc\n", "was changed or lost lines"),
        ("champion", lambda path: b"\xff\xfe", "was changed or lost lines"),
        ("versions/*/policy.safetensors", lambda path: path.read_bytes()[:-1], "is damaged"),
        ("versions/*/version.json", lambda path: b"{", "Restore it from a copy"),
        ("versions/*/version.json", lambda path: b"[]", "not a mapping"),
        ("versions/*/version.json", lambda path: b'{"format": 7}', "format 7"),
        ("versions/*/evidence-0001.json", lambda path: path.read_bytes() + b" ", "isn't the evidence"),
    ],
)
def test_damage_is_told_by_file_and_cure(registry, name, change, said):
    for number in range(3):
        promoted(registry, number)
    path = sorted(registry.path.glob(name))[0]
    path.chmod(0o644)
    path.write_bytes(change(path))
    faults = registry.verify()
    assert any(said in fault and path.name in fault for fault in faults), faults


@pytest.mark.parametrize("name", ["../../x", "", "*", "ffff", "/etc/passwd", "abc"])
def test_a_name_that_isnt_a_versions_is_refused(registry, name):
    promoted(registry, 0)
    before = contents(registry.path)
    with pytest.raises(RegistryError):
        registry.rollback(name, reason="hostile")
    assert contents(registry.path) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RegistryError, match="isn't empty"):
        Registry.open_or_create(tmp_path, baseline=BASELINE)
    with pytest.raises(RegistryError, match="isn't a registry"):
        Registry(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def start(registry, mode, first):
    words = [sys.executable, str(PROMOTER), str(registry.path), mode, str(first)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ})


def test_a_kill_at_any_moment_loses_no_decision_that_was_told(registry):
    rng = random.Random(5)
    told = []
    for attempt in range(4):
        process = start(registry, "loop", 1_000 * attempt)
        assert process.stdout is not None
        told.append(process.stdout.readline().split()[1].decode())  # it works
        end_s = time.monotonic() + rng.uniform(0.0, 0.25)
        while time.monotonic() < end_s:
            assert registry.champion_id != "baseline"  # readers take no lock and are never in the way
        process.kill()
        rest, _ = process.communicate()
        told += [line.split()[1].decode() for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
        opened = Registry(registry.path)
        logged = [entry.version for entry in opened.log()]
        assert set(told) <= set(logged)
        assert opened.verify() == []
        assert opened.champion_id == logged[-1]
        assert (registry.path / "champion").read_text().strip() in logged[-2:]
    assert len(told) > 4
    promoted(registry, 99_999)  # and it goes on
    assert not list((registry.path / "versions").glob(".*.tmp"))


def test_a_torn_last_line_is_cut_off_by_the_next_writer(registry):
    promoted(registry, 0)
    log = registry.path / "promotions.jsonl"
    log.write_bytes(log.read_bytes() + b'{"number": 2, "event": "promo')
    assert len(registry.log()) == 1
    promoted(registry, 1)
    assert [json.loads(line)["number"] for line in log.read_text().splitlines()] == [1, 2]


def test_of_promoters_who_compared_with_the_same_champion_one_wins(registry):
    promoted(registry, 0)
    processes = [start(registry, "once", 10 + number) for number in range(3)]
    for process in processes:
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    events = [process.communicate(timeout=120)[0].split()[0] for process in processes]
    assert sorted(events) == [b"promoted", b"refused", b"refused"]
    assert [entry.event for entry in registry.log()].count("promoted") == 2
    assert sum("the champion changed" in entry.reason for entry in registry.log()) == 2
    assert registry.verify() == []


def test_a_busy_registry_says_so(registry):
    import fcntl

    with (registry.path / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RegistryError, match="another process"):
            Registry(registry.path, lock_timeout_s=0.1).rollback("baseline", reason="now")
        assert registry.champion_id == "baseline"  # readers don't wait
