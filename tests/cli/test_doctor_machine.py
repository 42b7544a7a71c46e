"""`carla-online doctor`: what stands between this machine and a run, each finding with its cure."""

import socket
from pathlib import Path

import pytest

from carla_online.cli import main
from carla_online.cli.configs import load_experiment
from carla_online.online.examine import examine_experiment, row_bytes


def found(config, run_dir=Path("runs/none")):
    return {finding.message.split(":")[0].split(" ")[0]: finding for finding in examine_experiment(config, run_dir)}


def test_the_machine_is_told_with_versions_paths_and_gpus(capsys):
    code = main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("fine: Python 3.")
    assert any("carla-online" in line and "torch" in line and "gymnasium" in line for line in lines)
    assert any("client" in line for line in lines) and any("GPU" in line for line in lines)
    warned = [index for index, line in enumerate(lines) if not line.startswith(("fine", "  cure"))]
    assert all(lines[index + 1].startswith("  cure: ") for index in warned)
    assert code == bool(warned)


def test_memory_and_disk_are_held_against_the_configuration():
    small = found(load_experiment("sac_carla_straight", []))
    assert (small["memory"].severity, small["disk"].severity) == ("fine", "fine")
    large = found(load_experiment("sac_straight", ["--replay.capacity-rows", "900000000", "--runner.workers", "64"]))
    assert large["disk"].severity == "fault" and "replay.capacity_rows" in large["disk"].cure
    assert large["memory"].severity == "warning" and "runner.workers" in large["memory"].cure


def test_the_row_is_as_large_as_the_replay_makes_it(tmp_path):
    from carla_online.envs.contract import REWARD_TERM_NAMES
    from carla_online.replay import ReplayBuffer, ReplaySchema

    schema = ReplaySchema.transitions(144, 2, REWARD_TERM_NAMES)
    with ReplayBuffer.create(tmp_path / "replay", schema, capacity_rows=10_000):
        size = sum(file.stat().st_size for file in (tmp_path / "replay").iterdir())
    assert 10_000 * row_bytes(load_experiment("sac_straight", [])) == pytest.approx(size, rel=0.1)


def test_taken_ports_missing_gpus_and_programs_are_found(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file = tmp_path / "carla.yaml"
        file.write_text(
            "env: {kind: carla, servers: [launch], launch: {command: [/no/CarlaUE4.sh, '{port}', '{gpu}'], "
            f"port_base: {port}, gpus: [97]}}}}\npolicy: {{kind: full}}\n"
        )
        messages = [finding.message for finding in examine_experiment(load_experiment(str(file), []), tmp_path)]
    assert any(f"server 0 would get port {port}, where another program listens" in message for message in messages)
    assert any("there is no program /no/CarlaUE4.sh" in message for message in messages)
    assert any("launch.gpus names [97]" in message for message in messages)


def test_options_without_a_configuration_are_refused(capsys):
    assert main(["doctor", "--seed", "3"]) == 2
    assert "belongs to no configuration" in capsys.readouterr().err
