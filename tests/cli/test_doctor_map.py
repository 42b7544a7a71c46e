"""`carla-online doctor map` on a healthy map, on broken ones, and on what is no map."""

import re

import pytest

from carla_online._native import examine_map, write_map
from carla_online.cli import main

HEALTHY = write_map("grid", columns=2, rows=2)
CROSS = write_map("four_way")
STRAIGHT = write_map("straight")

# The mark of a driving lane: whether a pavement's permits a change is nobody's matter.
KERB = 'type="solid" weight="standard" color="white" width="0.15" laneChange="none"'

# What is broken, by replacing the first text by the second, and the rule that has to find it.
FAULTS = [
    (CROSS, 'junction name="junction" id="1000000"', 'junction name="junction" id="3"', "shared-id"),
    (STRAIGHT, "<line/>", '<spiral curvStart="0.01" curvEnd="0.01"/>', "constant-spiral"),
    (CROSS, 'name="street"', 'name="street" rule="LHT"', "left-hand"),
    (CROSS, '<control signalId="2000001"', '<control signalId="77"', "signal-unknown"),
    (CROSS, KERB, KERB.replace(' laneChange="none"', ""), "no-lane-change"),
    (CROSS, KERB, KERB.replace("none", "increase"), "one-sided-change"),
    (CROSS, "<outline>", "<outlines><outline>", "unreadable"),
    (CROSS, 'type="crosswalk"', 'type="-1"', "crosswalk-type"),
    (CROSS, '<controller id="3000000" type="0" sequence="0"/>', "", "no-controller"),
    (CROSS, '<validity fromLane="-1" toLane="-1"/>', "", "no-validity"),
    (CROSS, "<geoReference>", "<geo>", "unreadable"),
    (STRAIGHT, "</planView>", "", "unreadable"),
    (STRAIGHT, 'x="0" y="', 'x="50000" y="', "far-away"),
    (CROSS, '<speed max="13.88888888888889" unit="m/s"/>', "", "no-speed"),
]


@pytest.mark.parametrize(("text", "old", "new", "rule"), FAULTS, ids=[fault[3] + fault[1][:12] for fault in FAULTS])
def test_each_fault_is_found_by_its_rule(text, old, new, rule):
    assert old in text
    before = {finding.rule for finding in examine_map(text)}
    after = {finding.rule: finding for finding in examine_map(text.replace(old, new, 1))}
    assert rule not in before
    assert rule in after
    assert after[rule].cure and after[rule].place and after[rule].count >= 1


def test_wrapped_outlines_repeated_links_and_gaps_are_found():
    rules = lambda text: {finding.rule for finding in examine_map(text)}  # noqa: E731
    wrapped = CROSS.replace("<outline>", "<outlines><outline>").replace("</outline>", "</outline></outlines>")
    assert "wrapped-outline" in rules(wrapped)
    start = CROSS.index("<connection ")
    connection = CROSS[start : CROSS.index("</connection>", start) + len("</connection>")]
    assert "repeated-connection" in rules(CROSS.replace(connection, connection * 2))
    before, after = CROSS.split('name="connection"', 1)
    shifted = re.sub(r' x="([^"]+)"', lambda found: f' x="{float(found[1]) + 2.0}"', after, count=1)
    assert "gap" in rules(before + 'name="connection"' + shifted)
    assert "round-length" in rules(re.sub(r'length="[^"]+" id="0"', 'length="200" id="0"', STRAIGHT))


def test_the_command_prints_findings_with_cures_and_says_so_by_its_exit_code(tmp_path, capsys):
    healthy, broken = tmp_path / "healthy.xodr", tmp_path / "broken.xodr"
    healthy.write_text(HEALTHY)
    broken.write_text(CROSS.replace(' laneChange="none"', ""))
    assert main(["doctor", "map", str(healthy)]) == 0
    assert "0 faults, 0 warnings, 0 notes" in capsys.readouterr().out
    assert main(["doctor", "map", str(broken)]) == 1
    out = capsys.readouterr().out
    assert "warning: no-lane-change" in out and "cure: write laneChange" in out and re.search(r"and \d+ more", out)


def test_what_is_no_map_is_a_finding_or_a_named_error(tmp_path, capsys):
    assert [finding.rule for finding in examine_map("no map at all")] == ["unreadable"]
    binary = tmp_path / "binary.xodr"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, message in ((tmp_path / "none.xodr", "doesn't exist"), (tmp_path, "is a folder"), (binary, "UTF-8")):
        assert main(["doctor", "map", str(path)]) == 2
        assert message in capsys.readouterr().err
