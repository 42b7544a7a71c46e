"""`carla-online distil`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from carla_online.config import merge, read_yaml, validate
from carla_online.errors import ConfigError
from carla_online.imitation import DistilConfig, GoodEpisodes, good_episodes
from carla_online.imitation.fitting import distil as fit
from carla_online.online.experiment import ExperimentConfig, build_baseline, build_policy
from carla_online.online.judge import load_best
from carla_online.policies import ActorPolicy, load_policy

_DESCRIPTION = """\
Learn a policy from a run's good episodes by supervised learning, without driving: complete, finished, without
infraction and without intervention of the safety layer. Nothing of the run is changed. The policy goes through the gate
like any other: carla-online promote."""

_EPILOG = """\
--from says where to start:
  fresh    a new head, as the run's configuration describes it (default)
  best     the run's best policy
  FILE     a policy file of the same baseline

examples:
  carla-online distil runs/first
  carla-online distil runs/first --from best --top-share 0.3 --out runs/first/distilled-2
  carla-online distil runs/first --replay runs/second/replay --config distil.yaml
"""


def distil(arguments: list[str]) -> int:
    """Distils a run's good episodes into a policy file."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    run_dir = Path(options.run)
    file = run_dir / "config.yaml"
    if not file.is_file():
        raise ConfigError(f"{run_dir} isn't a run folder: it has no config.yaml. Check the path.")
    experiment = validate(ExperimentConfig, read_yaml(file), source=str(file))
    config = _config(options)
    out = Path(options.out) if options.out else run_dir / "distilled"
    if (out / "distilled.json").exists():
        raise ConfigError(f"{out} holds a distilled policy already; choose another folder by --out.")
    episodes = good_episodes([run_dir / "replay", *options.replay], config.episodes, seed=config.seed)
    _say(episodes)
    distilled = fit(_start(options.start, run_dir, experiment, episodes, config.seed), episodes, config)
    folder = distilled.save(out)
    record = distilled.record
    print(
        f"validation loss {distilled.loss_before:.4f} -> {distilled.loss_after:.4f} (epoch {record['best_epoch']}, "
        f"{record['training_episodes']} episodes to learn from, {record['validation_episodes']} held back)"
    )
    print(f"policy: {folder / 'policy.safetensors'}")
    return 0


def _start(name: str, run_dir: Path, experiment: ExperimentConfig, episodes: GoodEpisodes, seed: int) -> ActorPolicy:
    """Returns the policy to start from."""
    baseline = build_baseline(experiment)
    if name == "best":
        return load_best(run_dir, baseline=baseline)
    if name != "fresh":
        return load_policy(name, baseline=baseline)
    view = episodes.rows.get("birdseye")
    if view is not None:
        raise ConfigError(
            "a fresh head over views from above has an encoder that has seen nothing, and distillation doesn't train "
            "encoders; start from a policy that has: --from best."
        )
    return build_policy(
        experiment.model_copy(update={"seed": seed}),
        obs_dim=episodes.rows["obs"].shape[1],
        action_dim=episodes.rows["executed_action"].shape[1],
    )


def _config(options: argparse.Namespace) -> DistilConfig:
    """Returns the settings of the file with the command line's options laid over them."""
    given = {"seed": options.seed, "epochs": options.epochs, "lr": options.lr}
    told: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    rule = {"top_share": options.top_share, "oldest_version": options.oldest_version}
    told["episodes"] = {name: value for name, value in rule.items() if value is not None}
    data = read_yaml(Path(options.config)) if options.config else {}
    return validate(DistilConfig, merge(data, told), source=options.config or "command line")


def _say(episodes: GoodEpisodes) -> None:
    told = episodes.to_dict()
    print(f"{told['episodes']} good episodes of {told['episodes_seen']} complete ones, {told['rows']} rows")
    for reason, count in sorted(episodes.left_out.items(), key=lambda each: -each[1]):
        print(f"  left out: {count} for {reason}")
    print(f"  policy versions {episodes.versions[0]} to {episodes.versions[1]}, slices: {told['slices']}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carla-online distil",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="the run's folder; its replay is read")
    parser.add_argument("--out", metavar="DIR", help="where to write (default: RUN/distilled); nothing is overwritten")
    parser.add_argument("--from", dest="start", metavar="POLICY", default="fresh", help="see below")
    parser.add_argument(
        "--replay", metavar="BUFFER", action="append", default=[], help="a further buffer; may be given several times"
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings (DistilConfig)")
    parser.add_argument("--top-share", type=float, metavar="X", help="keep each slice's best share by return, 0 to 1")
    parser.add_argument("--oldest-version", type=int, metavar="N", help="leave out episodes of older policy versions")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the rows, at most")
    parser.add_argument("--lr", type=float, metavar="X", help="learning rate")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of head, split and order")
    return parser
