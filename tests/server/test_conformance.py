"""The conformance suite against our own server, through the real client."""

import json
import os
import re
import signal
import socket
import threading
from collections import Counter
from pathlib import Path

import pytest

from carla_online.cli import main
from carla_online.errors import ConfigError, SimulatorError
from carla_online.server import Server, ServerConfig
from carla_online.server.conformance import CheckPlan, Outcome, run_conformance
from carla_online.server.conformance.checks import GROUPS

DOCS = Path(__file__).resolve().parents[2] / "docs"

# Calls that the client's Python has no function for.
UNSENT = {
    "add_actor_force_at_location",
    "add_actor_impulse_at_location",
    "add_actor_torque",
    "are_gbuffers_enabled",
    "console_command",
    "freeze_traffic_light",
    "get_navigation_mesh",
    "send",
    "set_actor_autopilot",
    "set_actor_dead",
    "set_ignored_vehicles",
}
# Sent only where a map has street lights; ours have none.
NEEDS_LIGHTS = {"update_lights_state"}
# Ours, not CARLA's.
OURS = {"carla_online_control"}


class Recorder:
    """Stands between client and server, and keeps what clients send."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sent = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_client: bool) -> None:
        try:
            while data := source.recv(65536):
                if is_client:
                    self.sent += data
                sink.sendall(data)
        except OSError:
            pass
        finally:
            sink.close()

    def has_sent(self, call: str) -> bool:
        """Whether a request of that name went by: its length and name as `MessagePack` has them."""
        size = len(call)
        head = bytes([0xA0 | size]) if size < 32 else bytes([0xD9, size])
        return head + call.encode() in self.sent

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def run():
    """All groups once: it takes a quarter of a minute because it tries every operation of the API."""
    with Server(ServerConfig(map="GridTown")) as server:
        recorder = Recorder(server.port)
        results = run_conformance(CheckPlan(port=recorder.port))
        recorder.close()
        assert server.returncode is None
        yield results, recorder


def test_every_operation_is_answered_and_none_differs(run):
    results, _ = run
    assert [(r.group, r.operation) for r in results] == [(g.name, c.operation) for g in GROUPS for c in g.checks]
    crashed = [r.operation for r in results if "process ended" in r.detail]
    assert crashed == []
    assert [f"{r.operation}: {r.detail}" for r in results if r.outcome == Outcome.DIFFERS] == []


def test_what_is_not_served_needs_rendering(run):
    results, _ = run
    silent = {r.operation for r in results if r.outcome == Outcome.NOT_SERVED}
    rendered = {
        c.operation
        for g in GROUPS
        for c in g.checks
        if re.match(r"sensor\.(camera|lidar|other\.radar)|enable_gbuffers", c.operation)
    }
    assert silent == rendered


def test_every_call_of_the_protocol_was_sent_by_the_check_that_names_it(run):
    _, recorder = run
    documented = set(re.findall(r"^\| `(\w+)`", (DOCS / "design" / "server-calls.md").read_text(), re.MULTILINE))
    named = {call for group in GROUPS for check in group.checks for call in check.calls}
    assert documented - named - OURS - UNSENT - NEEDS_LIGHTS == set()
    assert named <= documented
    assert [call for call in sorted(named) if not recorder.has_sent(call)] == []
    assert [call for call in sorted(UNSENT) if recorder.has_sent(call)] == []


def test_the_guide_lists_what_a_run_finds(run):
    results, _ = run
    lines = ["| class | operation | answer |", "|---|---|---|"]
    lines += [f"| {r.group} | `{r.operation}` | {r.outcome.value} |" for r in results]
    listed = "\n".join(lines)
    page = DOCS / "guide" / "conformance.md"
    text = page.read_text()
    old = text[text.index(lines[0]) :].strip()
    if os.environ.get("CARLA_ONLINE_WRITE_DOCS"):
        page.write_text(text.replace(old, listed))
        return
    assert old == listed, "docs/guide/conformance.md is old; run this test with CARLA_ONLINE_WRITE_DOCS=1"


def test_the_command_reports_as_table_and_file(tmp_path, capsys):
    report = tmp_path / "report.json"
    with Server(ServerConfig(map="Straight")) as server:
        words = ["conformance", "--port", str(server.port), "--group", "LightManager", "--report", str(report)]
        assert main(words) == 0
    printed = capsys.readouterr().out
    assert "neutral     set_day_night_cycle" in printed
    content = json.loads(report.read_text())
    assert content["counts"] == {"served": 0, "neutral": 2, "not served": 0, "differs": 0}
    assert Counter(result["outcome"] for result in content["results"]) == {"neutral": 2}


def test_wrong_plans_are_refused():
    with pytest.raises(ConfigError, match="no group 'Wheels'"):
        run_conformance(CheckPlan(groups=("Wheels",)))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(SimulatorError, match="Is a CARLA server running"):
        run_conformance(CheckPlan(port=port, groups=("Map",), call_timeout_s=0.5))


def test_a_server_that_hangs_leaves_a_reason_for_what_it_cost():
    with Server(ServerConfig(map="Straight")) as server:
        plan = CheckPlan(port=server.port, groups=("Vehicle",), call_timeout_s=1.0)
        # Stopped for good after its first answer.
        results = run_conformance(plan, on_result=lambda result: os.kill(server.process_id, signal.SIGSTOP))
    assert len(results) == sum(len(g.checks) for g in GROUPS if g.name == "Vehicle")
    assert {r.outcome for r in results[1:]} == {Outcome.NOT_SERVED}
    assert all("time-out" in r.detail for r in results[1:])


def test_a_group_that_takes_too_long_is_ended():
    # A second for each tick: no machine is so fast that a check gets beyond its first.
    with Server(ServerConfig(map="Straight", faults=("slow=1000",))) as server:
        results = run_conformance(CheckPlan(port=server.port, groups=("Sensor",), group_timeout_s=0.2))
    assert len(results) == sum(len(group.checks) for group in GROUPS if group.name == "Sensor")
    assert {result.outcome for result in results} == {Outcome.NOT_SERVED}
    assert all("ended with code -9" in result.detail for result in results)
