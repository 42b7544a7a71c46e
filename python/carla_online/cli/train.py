"""`carla-online train` and `carla-online configs`."""

from __future__ import annotations

import argparse
from pathlib import Path

from carla_online.cli.configs import load_experiment, shipped_configs
from carla_online.config import read_yaml, validate
from carla_online.errors import ConfigError
from carla_online.evaluation.report import write_report
from carla_online.online.experiment import ExperimentConfig, run_directory
from carla_online.online.judge import judge
from carla_online.online.runner import LAST_POLICY
from carla_online.online.start import open_run

_DESCRIPTION = """\
Fine-tune a policy online. CONFIG is a shipped configuration (carla-online configs) or a YAML file; options after it
override single values and are listed by `carla-online train CONFIG --help`."""

_EXAMPLES = """\
examples:
  carla-online train sac_straight --seed 3
  carla-online train sac_straight --learner.actor-lr 1e-4 --runner.total-env-steps 500000
  carla-online train my.yaml --run-dir runs/second
  carla-online train --resume runs/second
  carla-online train sac_straight --offline runs/second/replay --run-dir runs/offline
"""


def train(arguments: list[str]) -> int:
    """Trains, evaluates before and after on the same routes, and writes the report."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        _parser().print_help()
        return 0 if arguments else 2
    # CONFIG comes first: argparse can't tell it from the value of an option that only tyro knows.
    name, words = (None, arguments) if arguments[0].startswith("-") else (arguments[0], arguments[1:])
    options, overrides = _parser().parse_known_args(words)
    config, run_dir = _resolve(name, options, overrides)
    with open_run(config, run_dir=run_dir, show_progress=not options.quiet) as runner:
        total = config.runner.total_env_steps
        if options.extend:
            total = runner.extended_total(total)
        runner.run(total)
        was_stopped = runner.env_steps < total
    if was_stopped:
        return 0
    if config.replay.offline:
        print(f"policy: {run_dir / LAST_POLICY}")
    elif config.env.kind != "gymnasium":
        verdict = judge(config, run_dir)
        print(verdict)
    report = write_report(run_dir)
    print(f"report: {report}")
    return 0


def list_configs(arguments: list[str]) -> int:
    """Prints the shipped configurations with the first comment line of each."""
    for name, path in shipped_configs().items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        print(f"{name:16} {first.lstrip('# ') if first.startswith('#') else ''}")
    return 0


def _resolve(name: str | None, options: argparse.Namespace, overrides: list[str]) -> tuple[ExperimentConfig, Path]:
    if options.resume is None:
        if name is None:
            raise ConfigError(
                "say first what to train: carla-online train CONFIG [options], or carla-online train --resume RUN."
            )
        config = _offline(load_experiment(name, overrides), options.offline)
        return config, Path(options.run_dir) if options.run_dir else run_directory(config)
    if name is not None or options.run_dir is not None or options.offline:
        raise ConfigError(
            "--resume takes the run's own configuration and folder; leave out CONFIG, --run-dir and --offline."
        )
    if overrides:
        raise ConfigError(f"--resume takes the run's own configuration; leave out {' '.join(overrides)}.")
    run_dir = Path(options.resume)
    if not (run_dir / "config.yaml").is_file():
        raise ConfigError(f"{run_dir} isn't a run folder: it has no config.yaml. Check the path.")
    file = run_dir / "config.yaml"
    return validate(ExperimentConfig, read_yaml(file), source=str(file)), run_dir


def _offline(config: ExperimentConfig, buffers: list[str]) -> ExperimentConfig:
    """Returns the configuration with the buffers as its only source, all alike."""
    if not buffers:
        return config
    shares = {str(Path(buffer).absolute()): 1.0 / len(set(buffers)) for buffer in buffers}
    data = config.model_dump(mode="json")
    data["replay"] |= {"earlier": shares, "offline": True}
    return validate(ExperimentConfig, data, source="--offline")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carla-online train",
        usage="carla-online train CONFIG [--run-dir DIR] [--offline BUFFER] [--extend] [--quiet] [--key VALUE ...]\n"
        "       carla-online train --resume RUN [--quiet]",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder, exactly if it can be")
    parser.add_argument("--run-dir", metavar="DIR", help="where to keep the run (default: runs/NAME)")
    parser.add_argument(
        "--offline",
        metavar="BUFFER",
        action="append",
        default=[],
        help="learn from this replay alone, without an environment; may be given several times",
    )
    parser.add_argument("--extend", action="store_true", help="if the run has finished, add one more budget of steps")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    return parser
