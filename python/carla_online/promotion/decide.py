"""From a candidate to champion, or not: drive, judge, keep the evidence, decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from carla_online.errors import PromotionRefused
from carla_online.evaluation.suite import SuiteConfig
from carla_online.evaluation.suites import SuiteSetConfig
from carla_online.policies.actor import ActorPolicy
from carla_online.policies.baseline import Baseline
from carla_online.promotion.candidate import Candidate
from carla_online.promotion.config import GateConfig
from carla_online.promotion.evidence import Evidence
from carla_online.promotion.gate import GateResult, run_gate
from carla_online.promotion.records import BASELINE_ID, LogEntry, VersionRecord
from carla_online.promotion.registry import Registry
from carla_online.promotion.routes import gate_routes
from carla_online.promotion.watches import reward_hacking


@dataclass(frozen=True, slots=True, eq=False)
class Promotion:
    """What came of a candidate."""

    version: VersionRecord
    """The candidate in the registry; it stays there even if refused, with the evidence beside it."""
    result: GateResult
    """What the gate found."""
    decision: LogEntry
    """The log's line."""

    @property
    def is_promoted(self) -> bool:
        """Whether it is champion now."""
        return self.decision.event == "promoted"


def promote(
    candidate: Candidate,
    registry: Registry,
    *,
    suite: SuiteConfig | SuiteSetConfig,
    config: GateConfig | None = None,
    set_number: int | None = None,
    allow_embedded: bool = False,
    baseline: Baseline | None = None,
    reason: str = "",
    by: str | None = None,
    on_batch: Callable[[GateResult], None] | None = None,
) -> Promotion:
    """Drives a candidate against champion and frozen baseline, keeps the evidence, and decides.

    The registry is locked only while the decision is written. If somebody else's candidate became champion meanwhile,
    this one is refused: it wasn't compared with that one.

    Args:
        candidate: Who wants to become champion.
        registry: Where versions are kept.
        suite: The routes and the rule, fixed before training.
        config: Settings of the gate.
        set_number: Another set of held-out routes than the suite's.
        allow_embedded: Let a verdict from the embedded world alone make a champion.
        baseline: The frozen baseline, where the registry doesn't say how to build it.
        reason: Why it should become champion; kept as the version's note, too.
        by: Who asks; the login's name if not given.
        on_batch: Called after each batch of routes with what is known so far.

    Returns:
        The version, what was found, and the decision.

    Raises:
        PromotionRefused: It is champion already.
        RegistryError: The registry is damaged or busy.
        EvaluationError: Nothing could be driven, or there are no driving scores.
        ConfigError: The suite's seeds aren't evaluation seeds.
    """
    routes = gate_routes(suite, set_number=set_number)
    config = config or GateConfig()
    frozen = registry.baseline(baseline)
    champion_id = registry.champion_id
    own = candidate.policy.baseline
    version = registry.add(
        candidate.data,
        baseline_fingerprint=None if own is None else own.fingerprint,
        label=candidate.label,
        note=reason,
        config=candidate.config,
        origin=candidate.origin,
    )
    if version.id == champion_id:
        raise PromotionRefused(f"{version.id} is champion already; there is nothing to compare it with but itself.")
    result = run_gate(
        candidate.policy,
        baseline=frozen,
        champion=None if champion_id == BASELINE_ID else registry.policy(champion_id, baseline=baseline),
        routes=routes,
        config=config,
        watches=(reward_hacking(candidate.metrics, config, last_step=candidate.last_step),),
        on_batch=on_batch,
    )
    evidence = Evidence(result, version.sha256, champion_id, frozen.fingerprint, allow_embedded)
    decision = registry.settle(version.id, evidence, reason=reason or "passed the gate", by=by)
    return Promotion(version, result, decision)


def load_champion(registry: Registry | str | Path, *, baseline: Baseline | None = None) -> ActorPolicy | Baseline:
    """Returns the policy that a registry calls champion; the frozen baseline as long as nobody has beaten it.

    Args:
        registry: The registry, or its folder.
        baseline: The frozen baseline, where the files don't say how to build it (a live Python object).

    Raises:
        RegistryError: There is no registry, or something in it is damaged.
        PolicyError: The baseline can't be built, or is another one.
    """
    opened = registry if isinstance(registry, Registry) else Registry(registry)
    champion = opened.champion_id
    return opened.baseline(baseline) if champion == BASELINE_ID else opened.policy(champion, baseline=baseline)
