"""Environments in processes: nobody waits for the slow, the dead are replaced alone, every step keeps its identity."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import faulty
import numpy as np
import pytest
from faulty import ID, NumberedFaultyEnv
from gymnasium.vector import AutoresetMode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carla_online.envs.contract import INFO_KEYS, capabilities
from carla_online.envs.transitions import TransitionSource
from carla_online.envs.workers import AsyncBatch, SupervisionConfig, make_async_vector_env, port_of, worker_env
from carla_online.envs.workers.incidents import IncidentLog
from carla_online.envs.world import WorldEnv, WorldVectorEnv
from carla_online.errors import ConfigError, SimulatorError, SimulatorTimeout

# A step takes microseconds, but this machine may be busy with ten other things.
PATIENT = {"step_deadline_s": 20.0, "backoff_s": 0.05, "max_failures_per_1000_steps": 1e6}
EAGER = PATIENT | {"step_deadline_s": 2.0}


def makers(count, **kwargs):
    return [lambda: NumberedFaultyEnv(**kwargs)] * count


def rows_of(results):
    return {int(i): obs.astype(int) for i, obs in zip(results.env_ids, results.obs, strict=True)}


class TestSendAndRecv:
    def test_the_first_that_are_ready_come_first_and_a_slow_reset_stops_nobody(self):
        fns = [lambda: NumberedFaultyEnv(), lambda: NumberedFaultyEnv(reset_s=3.0, only=[1])]
        with_slow = AsyncBatch([fns[0], fns[1], fns[0]], supervision=SupervisionConfig(**PATIENT))
        try:
            with_slow.reset(seed=0)
            with_slow.recv()
            with_slow.reset(seed=1)
            fast = 0
            while fast < 40:
                results = with_slow.recv(1)
                assert 1 not in results.env_ids, "the two fast ones take forty steps within three seconds"
                fast += len(results.env_ids)
                with_slow.send(np.zeros((len(results.env_ids), 1)), results.env_ids)
            assert 1 in rows_of(with_slow.recv())
        finally:
            with_slow.close()

    def test_wrong_calls_are_refused_with_the_cure(self):
        batch = AsyncBatch(makers(1))
        try:
            with pytest.raises(ConfigError, match="call reset"):
                batch.recv()
            batch.reset(seed=0)
            batch.recv()
            with pytest.raises(ConfigError, match=r"shape \[1, 1\], got \[2, 1\]"):
                batch.send(np.zeros((2, 1)))
            with pytest.raises(ConfigError, match="out of range"):
                batch.send(np.zeros((1, 1)), [3])
            batch.send(np.zeros((1, 1)))
            with pytest.raises(ConfigError, match="sent twice"):
                batch.send(np.zeros((1, 1)))
            batch.recv()
        finally:
            batch.close()

    def test_a_reset_drops_the_answer_that_is_under_way(self):
        batch = AsyncBatch([lambda: NumberedFaultyEnv(step_s=0.3)], supervision=SupervisionConfig(**PATIENT))
        try:
            batch.reset(seed=0)
            first = rows_of(batch.recv())[0]
            pids = batch.pids
            batch.send(np.zeros((1, 1)))
            batch.reset()
            results = batch.recv()
            assert results.is_reset[0] and rows_of(results)[0][2] == 0 and rows_of(results)[0][1] != first[1]
            assert batch.pids == pids and batch.in_flight == 0
        finally:
            batch.close()

    def test_recv_has_a_deadline_and_loses_nothing_by_it(self):
        batch = AsyncBatch([lambda: NumberedFaultyEnv(step_s=1.0)], supervision=SupervisionConfig(**PATIENT))
        try:
            batch.reset(seed=0)
            batch.recv()
            batch.send(np.zeros((1, 1)))
            with pytest.raises(SimulatorTimeout, match="0 of 1 environments answered within 0.1 s"):
                batch.recv(timeout_s=0.1)
            assert rows_of(batch.recv())[0][2] == 1
        finally:
            batch.close()


@pytest.mark.parametrize(
    ("kind", "seen"), [("crash", "crash"), ("hang", "timeout"), ("freeze", "timeout"), ("raise", "error")]
)
def test_a_failure_truncates_its_own_episode_alone(kind, seen, tmp_path):
    env = make_async_vector_env(
        ID, 2, kind=kind, at_step=3, only=[1], length=5, once=str(tmp_path / "done"), autoreset_mode="NEXT_STEP",
        supervision=SupervisionConfig(**EAGER), log_dir=tmp_path / "logs",
    )  # fmt: skip
    try:
        before, _ = env.reset(seed=3)
        for _ in range(2):
            before, _, _, _, info = env.step(np.zeros((2, 1)))
            assert info["sim_failure"].tolist() == ["", ""]
        pids = env.batch.pids
        obs, reward, terminated, truncated, info = env.step(np.zeros((2, 1)))
        assert info["sim_failure"].tolist() == ["", seen]
        assert (terminated.tolist(), truncated.tolist(), reward[1]) == ([False, False], [False, True], 0.0)
        np.testing.assert_array_equal(obs[1], before[1])
        obs, _, _, _, info = env.step(np.zeros((2, 1)))
        assert (obs[:, 2].tolist(), info["sim_failure"].tolist()) == ([4.0, 0.0], ["", ""])
        assert env.batch.pids[0] == pids[0] and env.batch.pids[1] != pids[1]
        assert obs[1, 1] == before[1, 1], "the episode is tried once more"
        lines = (tmp_path / "logs" / "incidents.jsonl").read_text().splitlines()
        assert len(lines) == 1 and f'"kind": "{seen}"' in lines[0]
        if kind == "raise":
            assert "the simulator said no" in (tmp_path / "logs" / "env-1.stderr").read_text()
    finally:
        env.close()


def test_a_worker_killed_between_two_calls_loses_its_episode_as_truncated():
    env = make_async_vector_env(ID, 1, supervision=SupervisionConfig(**PATIENT))
    try:
        env.reset(seed=0)
        env.step(np.zeros((1, 1)))
        os.kill(env.batch.pids[0], signal.SIGKILL)
        _, reward, terminated, truncated, info = env.step(np.zeros((1, 1)))
        assert (reward[0], terminated[0], truncated[0], info["sim_failure"][0]) == (0.0, False, True, "crash")
        obs, *_ = env.step(np.zeros((1, 1)))
        assert obs[0, 2] == 0
    finally:
        env.close()


def test_an_episode_that_ended_two_workers_is_driven_no_more():
    env = make_async_vector_env(ID, 1, length=4, killer=3, kind="crash", supervision=SupervisionConfig(**PATIENT))
    try:
        env.reset(seed=5)
        deaths, driven = [], set()
        while len(driven) < 10:
            obs, _, _, truncated, info = env.step(np.zeros((1, 1)))
            if info["sim_failure"][0]:
                deaths.append(int(obs[0, 1]))
            elif truncated[0] or obs[0, 2] == 4:
                driven.add(int(obs[0, 1]))
        assert deaths and all(episode % 7 == 3 for episode in deaths)
        assert all(deaths.count(episode) == 2 for episode in set(deaths))
        assert not driven & set(deaths)
        assert env.batch.incidents.counts["quarantined"] == len(set(deaths))
    finally:
        env.close()


def test_workers_are_recycled_by_episodes_and_by_memory_without_losing_a_step():
    supervision = SupervisionConfig(**PATIENT, recycle_episodes=2)
    env = make_async_vector_env(ID, 1, length=3, supervision=supervision)
    try:
        env.reset(seed=0)
        steps = [int(env.step(np.zeros((1, 1)))[0][0, 2]) for _ in range(16)]
        assert steps == [1, 2, 3, 0] * 4
        assert env.batch.restarts == [2] and env.batch.incidents.failures == 0
    finally:
        env.close()
    env = make_async_vector_env(ID, 1, length=3, supervision=SupervisionConfig(**PATIENT, recycle_memory_mb=1))
    try:
        env.reset(seed=0)
        for _ in range(4):
            env.step(np.zeros((1, 1)))
        assert env.batch.incidents.counts == {"recycled": 1} and "MB resident" in env.batch.incidents.report()
    finally:
        env.close()


def test_failures_that_have_become_the_rule_stop_everything_with_a_report():
    supervision = SupervisionConfig(**PATIENT | {"max_failures_in_a_row": 3, "quarantine_after": 100})
    env = make_async_vector_env(ID, 1, at_step=1, kind="raise", supervision=supervision)
    try:
        env.reset(seed=0)
        with pytest.raises(SimulatorError, match="(?s)failed 3 times in a row.*3 error.*the simulator said no"):
            for _ in range(10):
                env.step(np.zeros((1, 1)))
    finally:
        env.close()


def test_an_environment_that_cant_be_made_is_no_simulator_failure():
    with pytest.raises(SimulatorError, match="can't be made: TypeError"):
        make_async_vector_env(ID, 1, colour="red")


def test_the_rate_of_failures_is_judged_from_a_number_on():
    log = IncidentLog(SupervisionConfig(max_failures_per_1000_steps=10, judge_from_failures=3))
    for number in range(3):
        log.check(0, steps=100)
        log.add(number, "crash", "ended", steps=100)
    with pytest.raises(SimulatorError, match="30.0 per 1,000, above the limit of 10"):
        log.check(0, steps=100)
    log.check(0, steps=1_000)


def test_waits_double_up_to_the_limit_and_begin_anew_after_a_step():
    log = IncidentLog(SupervisionConfig(backoff_s=1.0, max_backoff_s=5.0))
    waits = []
    for _ in range(5):
        log.add(0, "crash", "ended", steps=0)
        waits.append(log.backoff_s(0))
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0]
    log.worked(0)
    log.add(0, "crash", "ended", steps=0)
    assert log.backoff_s(0) == 1.0


def test_port_blocks_dont_touch():
    config = SupervisionConfig(port_base=2000, port_block=20)
    assert [port_of(index, config) for index in range(3)] == [2000, 2020, 2040]
    with pytest.raises(ConfigError, match="beyond 65535"):
        port_of(4000, config)
    from carla_online.envs.world import WorldEnvConfig

    same = worker_env(WorldEnvConfig(), 3, 4, config, log_dir=Path())
    assert same == WorldEnvConfig(), "a backend without a port keeps its configuration"


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_transitions_are_complete_in_every_autoreset_mode_although_workers_die(mode):
    """Each (episode, step) is followed by (episode, step + 1), ended episodes end as they should, and none terminates
    that a failure cut."""
    env = make_async_vector_env(
        ID, 2, kind="crash", rate=0.03, length=6, autoreset_mode=mode, supervision=SupervisionConfig(**PATIENT)
    )
    source = TransitionSource(env)
    try:
        obs, _ = source.reset(seed=11)
        failures = seen = 0
        while seen < 60 or failures < 2:
            step = source.step(np.zeros((2, 1), np.float32))
            for row in np.flatnonzero(step.valid):
                before, after = obs[row].astype(int), step.next_obs[row].astype(int)
                if step.info["sim_failure"][row]:
                    failures += 1
                    assert step.truncated[row] and not step.terminated[row] and step.reward[row] == 0
                    np.testing.assert_array_equal(before, after)
                    continue
                seen += 1
                assert (after[1], after[2]) == (before[1], before[2] + 1)
                assert step.reward[row] == np.float32(after[1] % 97 + after[2] / 100)
                ended = after[2] == 6
                assert step.terminated[row] == (ended and after[1] % 2 == 1)
                assert step.truncated[row] == (ended and after[1] % 2 == 0)
            obs = step.obs
    finally:
        source.close()


def test_worlds_in_processes_are_the_worlds_of_one_process_bit_for_bit():
    env = make_async_vector_env("CarlaOnline/World-v0", 2, supervision=SupervisionConfig(**PATIENT))
    ours = WorldVectorEnv(2)
    try:
        a, info_a = env.reset(seed=7)
        b, info_b = ours.reset(seed=7)
        random = np.random.default_rng(0)
        for _ in range(300):
            np.testing.assert_array_equal(a, b)
            for key in INFO_KEYS:
                np.testing.assert_array_equal(info_a[key.name], info_b[key.name], err_msg=key.name)
            action = random.uniform(-1, 1, (2, 2)).astype(np.float32)
            a, reward_a, over_a, cut_a, info_a = env.step(action)
            b, reward_b, over_b, cut_b, info_b = ours.step(action)
            np.testing.assert_array_equal(reward_a, reward_b)
            assert (over_a.tolist(), cut_a.tolist()) == (over_b.tolist(), cut_b.tolist())
        assert capabilities(env).scene
        np.testing.assert_array_equal(env.scene(1).actors, ours.scene(1).actors)
        lines_a, lines_b = env.road(1), ours.road(1)
        assert [line.points.tolist() for line in lines_a] == [line.points.tolist() for line in lines_b]
    finally:
        env.close()
        ours.close()


def test_a_worker_that_dies_before_it_tells_a_scene_loses_its_episode_as_truncated():
    env = make_async_vector_env("CarlaOnline/World-v0", 1, supervision=SupervisionConfig(**PATIENT))
    try:
        env.reset(seed=0)
        env.batch.send(np.zeros((1, 2)))
        with pytest.raises(ConfigError, match="owes an answer"):
            env.scene(0)
        env.batch.recv()
        os.kill(env.batch.pids[0], signal.SIGKILL)
        for reason in ("failed when it was asked", "being started again"):
            with pytest.raises(SimulatorError, match=reason):
                env.scene(0)
        _, _, terminated, truncated, info = env.step(np.zeros((1, 2)))
        assert (terminated[0], truncated[0], bool(info["sim_failure"][0])) == (False, True, True)
        env.step(np.zeros((1, 2)))
        assert env.scene(0).ego.shape == (6,)
    finally:
        env.close()


def test_a_child_that_only_steps_doesnt_import_torch():
    def make():
        env = WorldEnv()
        assert "torch" not in sys.modules
        return env

    AsyncBatch([make]).close()


def test_workers_die_with_their_parent_even_while_they_hang_in_native_code(tmp_path):
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(faulty.__file__).parent)!r})
import numpy as np
from carla_online.envs.workers import make_async_vector_env
env = make_async_vector_env({ID!r}, 1, kind="freeze", at_step=1, once={str(tmp_path / "frozen")!r})
env.reset(seed=0)
print(env.batch.pids[0], flush=True)
env.batch.send(np.zeros((1, 1)))
while not os.path.exists({str(tmp_path / "frozen")!r}):
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL, done
    pid = int(done.stdout)
    deadline_s = time.monotonic() + 30
    while _is_running(pid):
        assert time.monotonic() < deadline_s, "the worker outlived its parent"
        time.sleep(0.05)


def _is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def three():
    batch = AsyncBatch(makers(3, length=4), supervision=SupervisionConfig(**PATIENT))
    yield batch
    batch.close()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_order_of_calls_keeps_every_environments_own_sequence(three, data):
    three.reset(seed=data.draw(st.integers(0, 100)))
    last = {}
    for _ in range(30):
        results = three.recv(data.draw(st.integers(1, 3)))
        for place, index in enumerate(results.env_ids.tolist()):
            _, episode, step, worker = results.obs[place].astype(int)
            assert worker == index
            if results.is_reset[place]:
                assert step == 0 and last.get(index, (0, 4))[1] == 4
            else:
                assert (episode, step - 1) == last[index]
            last[index] = (episode, step)
        three.send(np.zeros((len(results.env_ids), 1)), results.env_ids)


def test_the_guides_example_runs():
    guide = Path(__file__).parents[2] / "docs" / "guide" / "workers.md"
    (example,) = re.findall(r"^```python\n(.*?)^```$", guide.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    exec(compile(example, str(guide), "exec"), {"__name__": "__main__"})
