"""What stands between this machine and a run: versions, paths, ports, GPUs, memory and disk, each with its cure."""

from __future__ import annotations

import importlib.util
import math
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from carla_online.envs.carla import CarlaEnvConfig
from carla_online.envs.carla.config import LAUNCH, SERVE
from carla_online.envs.carla.examine import Finding, examine_client, examine_server
from carla_online.envs.contract import REWARD_TERM_NAMES
from carla_online.errors import MissingExtra
from carla_online.online.experiment import ExperimentConfig
from carla_online.replay import ReplaySchema
from carla_online.server.launched import is_free

_PACKAGES: Final = ("numpy", "torch", "gymnasium")
_LEARNER_MB: Final = 1_000
_WORKER_MB: Final = 600
"""A process that has imported torch and drives one world."""
_SERVE_MB: Final = 100
_CARLA_MB: Final = 5_000
"""A rendering CARLA server; the towns differ, and it grows."""
_OBS_DIM: Final = 144
_PORTS_EACH: Final = 3


def examine_machine() -> Iterator[Finding]:
    """Looks at Python, the packages, CARLA's client, `agents` and ScenarioRunner, and the GPUs."""
    yield _python()
    versions = ", ".join(f"{name} {version(name)}" for name in ("carla-online", *_PACKAGES) if _is_installed(name))
    yield Finding("fine", versions)
    yield from examine_client()
    if importlib.util.find_spec("srunner") is None:
        yield Finding(
            "warning",
            "ScenarioRunner's `srunner` can't be imported; only scenarios need it",
            "clone scenario_runner v0.9.16 and add its folder to PYTHONPATH",
        )
    gpus = list_gpus()
    yield Finding("fine", f"GPUs: {'; '.join(gpus)}" if gpus else "no NVIDIA GPU; carla-online serve needs none")


def examine_experiment(config: ExperimentConfig, run_dir: Path) -> Iterator[Finding]:
    """Looks at what a run of this configuration needs: servers, ports, GPUs, memory, disk.

    Args:
        config: The experiment.
        run_dir: Where it will be kept.
    """
    if isinstance(config.env, CarlaEnvConfig):
        yield from _examine_servers(config.env)
    yield _memory(config)
    yield _disk(config, run_dir)


def list_gpus() -> list[str]:
    """Returns a line for each NVIDIA GPU: number, bus, memory; in the order of their bus, as servers count them."""
    words = ["nvidia-smi", "--query-gpu=index,pci.bus_id,name,memory.total", "--format=csv,noheader"]
    try:
        out = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in out.splitlines() if line.strip()]


def _python() -> Finding:
    seen = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    if sys.version_info >= (3, 11) and has_lock and sys.platform == "linux":
        return Finding("fine", seen)
    return Finding("fault", seen, "use Linux and a Python of 3.11 or later with the GIL")


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _examine_servers(env: CarlaEnvConfig) -> Iterator[Finding]:
    for index, server in enumerate(env.servers):
        if server not in (SERVE, LAUNCH):
            try:
                yield from examine_server(server)
            except MissingExtra as error:
                yield Finding("fault", f"{server} can't be asked", str(error))
        else:
            yield from _examine_ports(env, index)
    program = env.launch.command[0] if env.launch.command else ""
    if program and shutil.which(program) is None:
        yield Finding(
            "fault", f"launch.command: there is no program {program}", "correct the path, or make it executable"
        )
    known = len(list_gpus())
    lost = [gpu for gpu in env.launch.gpus if gpu >= known]
    if lost:
        yield Finding(
            "fault", f"launch.gpus names {lost}, this machine has {known}", "name those that nvidia-smi lists"
        )


def _examine_ports(env: CarlaEnvConfig, index: int) -> Iterator[Finding]:
    first = env.launch.command_port_of(index) if env.servers[index] == LAUNCH else env.launch.port_of(index)
    if first is None:
        return
    taken = [port for port in range(first, first + _PORTS_EACH) if not is_free(port)]
    if taken:
        yield Finding(
            "fault",
            f"server {index} would get port {taken[0]}, where another program listens",
            "end it, or set another launch.port_base",
        )


def _memory(config: ExperimentConfig) -> Finding:
    env = config.env
    servers = env.servers if isinstance(env, CarlaEnvConfig) else ()
    needed_mb = _LEARNER_MB + config.runner.workers * _WORKER_MB
    needed_mb += servers.count(SERVE) * _SERVE_MB + servers.count(LAUNCH) * _CARLA_MB
    free_mb = available_memory_mb()
    text = f"memory: {free_mb / 1000:.1f} GB available, about {needed_mb / 1000:.1f} GB needed"
    if free_mb >= needed_mb:
        return Finding("fine", text)
    return Finding("warning", text, "take fewer runner.workers or servers, or free memory")


def _disk(config: ExperimentConfig, run_dir: Path) -> Finding:
    folder = next(each for each in (run_dir, *run_dir.absolute().parents) if each.is_dir())
    needed_bytes = config.replay.capacity_rows * row_bytes(config)
    if (run_dir / "replay").is_dir():
        return Finding("fine", f"disk: {run_dir / 'replay'} is there, and has its space already")
    free_bytes = shutil.disk_usage(folder).free
    text = f"disk: {free_bytes / 1e9:.1f} GB free at {folder}, the replay reserves about {needed_bytes / 1e9:.1f} GB"
    if free_bytes > 1.1 * needed_bytes:
        return Finding("fine", text)
    return Finding("fault", text, "lower replay.capacity_rows, or set runner.run_dir to a larger disk")


def row_bytes(config: ExperimentConfig) -> int:
    """Returns about how many bytes a transition takes on the disk."""
    sides = {"vector": None, "birdseye_small": 96, "birdseye_carl": 256}
    view = None if config.env.kind == "gymnasium" else sides[config.env.observation]
    schema = ReplaySchema.transitions(_OBS_DIM, 2, REWARD_TERM_NAMES, birdseye_px=view)
    size = sum(field.numpy_dtype.itemsize * math.prod(field.shape) for field in schema.fields)
    return 64 * math.ceil(1.05 * size / 64)


def available_memory_mb() -> float:
    """Returns the megabytes that programs can still take."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / 1000
