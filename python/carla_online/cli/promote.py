"""`carla-online promote`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from carla_online.config import read_yaml, validate
from carla_online.errors import ConfigError
from carla_online.evaluation.suite import SuiteConfig
from carla_online.evaluation.suites import SuiteSetConfig
from carla_online.policies import Baseline, load_baseline, scripted_baseline
from carla_online.promotion import Candidate, GateConfig, GateResult, Registry, decide, load_gate_suite, read_candidate

_DEFAULT_SUITE = "scenario_runner"
_OWN_SUITE = "run"
_NOT_PROMOTED = 3

_DESCRIPTION = """\
Let a candidate stand before the gate: it drives the routes of a suite, and so do the champion and the frozen baseline.
It becomes champion if it is shown to be better than both by more than the suite's smallest useful effect, and nothing
has become worse: finished routes, collisions per km, any slice. Driving stops as soon as the verdict is clear.

POLICY_OR_RUN is a policy file, a run's folder (its best policy) or what carla-online distil wrote. The candidate is
kept in the registry with the evidence beside it, promoted or not. A registry that doesn't exist is made; the frozen
baseline is its first champion."""

_EPILOG = """\
exit codes:
  0  promoted
  1  it failed: damaged files, a simulator that can't be reached, a busy registry
  2  the input was wrong
  3  not promoted; the evidence says why

examples:
  carla-online promote runs/first --registry registry --suite scenario_runner
  carla-online promote runs/first --registry registry --suite run --allow-embedded
  carla-online promote runs/first/distilled --registry registry --suite my_suite.yaml --set 1 --reason "less braking"
"""


def promote(arguments: list[str]) -> int:
    """Judges a candidate; 0 if it became champion, 3 if not."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    candidate = read_candidate(Path(options.candidate))
    suite = _suite(options.suite, candidate)
    config = validate(GateConfig, read_yaml(Path(options.gate)) if options.gate else {}, source=str(options.gate))
    registry = Registry.open_or_create(options.registry, baseline=_baseline(options.baseline, candidate))
    promotion = decide.promote(
        candidate,
        registry,
        suite=suite,
        config=config,
        set_number=options.set,
        allow_embedded=options.allow_embedded,
        reason=options.reason,
        by=options.by,
        on_batch=None if options.quiet else _say,
    )
    print(promotion.result)
    decision = promotion.decision
    where = registry.path / "versions" / promotion.version.id / str(decision.evidence)
    print(f"evidence: {where}")
    if promotion.is_promoted:
        print(f"{promotion.version.id} is champion")
        return 0
    why = f": {decision.reason}" if promotion.result.passed else ""  # else told above, a line each
    print(f"{promotion.version.id} isn't promoted{why}\nchampion: {decision.champion}")
    return _NOT_PROMOTED


def _say(result: GateResult) -> None:
    """Tells how far the evidence is."""
    told = ", ".join(
        f"{each.verdict.difference.mean:+.1f} points against the {each.against}" for each in result.comparisons
    )
    count = len(result.tables["candidate"])
    print(f"  {count} of {result.routes.count} routes: {told}", flush=True)


def _suite(name: str, candidate: Candidate) -> SuiteConfig | SuiteSetConfig:
    if name != _OWN_SUITE:
        return load_gate_suite(name)
    if candidate.suite is None:
        raise ConfigError(
            "--suite run takes the suite of the candidate's run, but a policy file has none; name a suite or a file."
        )
    return candidate.suite


def _baseline(name: str | None, candidate: Candidate) -> Baseline:
    """Returns the frozen baseline of a registry that is new; an existing one has its own."""
    if name is not None:
        return scripted_baseline() if name == "scripted" else load_baseline(name)
    if candidate.policy.baseline is None:
        raise ConfigError("this policy has no baseline of its own to be compared with: name one by --baseline.")
    return candidate.policy.baseline


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="carla-online promote",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "candidate", metavar="POLICY_OR_RUN", help="a policy file, a run's folder, a distilled policy's"
    )
    parser.add_argument("--registry", metavar="DIR", required=True, help="the folder of versions")
    parser.add_argument(
        "--suite",
        metavar="NAME_OR_FILE",
        default=_DEFAULT_SUITE,
        help="a shipped suite, a YAML file, or `run` for the candidate's own run's (default: %(default)s)",
    )
    parser.add_argument("--set", type=int, metavar="N", help="another set of held-out routes (default: the suite's)")
    parser.add_argument("--gate", metavar="FILE", help="YAML file of the gate's settings (default: the gate's own)")
    parser.add_argument(
        "--allow-embedded", action="store_true", help="a verdict from the embedded world alone may make a champion"
    )
    parser.add_argument(
        "--baseline",
        metavar="NAME_OR_FILE",
        help="for a new registry: `scripted`, or a TorchScript or ONNX file (default: the candidate's own baseline)",
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="why; kept with the version and in the log")
    parser.add_argument("--by", metavar="NAME", help="who promotes (default: the login's name)")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    return parser
