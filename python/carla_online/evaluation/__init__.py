"""Suites, paired comparison and the report: whether a policy drives better, and how anybody can see that."""

from carla_online.evaluation.actor import ActingPolicy, Actor, as_actor
from carla_online.evaluation.compare import Criterion, Interval, Verdict, better, better_where_driven, paired_interval
from carla_online.evaluation.metric_rows import read_events, read_metrics
from carla_online.evaluation.records import Evaluation, Role, evaluate, load_evaluation, load_evaluations
from carla_online.evaluation.report import write_report
from carla_online.evaluation.rollout import ReturnTable, env_factory, evaluate_returns, evaluate_routes
from carla_online.evaluation.suite import SuiteConfig
from carla_online.evaluation.table import RouteSummary, RouteTable
from carla_online.evaluation.trace import TraceRecorder, load_trace

__all__ = [
    "SuiteConfig",
    "RouteTable",
    "RouteSummary",
    "ReturnTable",
    "evaluate_routes",
    "evaluate_returns",
    "env_factory",
    "TraceRecorder",
    "load_trace",
    "ActingPolicy",
    "Actor",
    "as_actor",
    "better",
    "better_where_driven",
    "paired_interval",
    "Verdict",
    "Criterion",
    "Interval",
    "evaluate",
    "Evaluation",
    "Role",
    "load_evaluation",
    "load_evaluations",
    "read_metrics",
    "read_events",
    "write_report",
]
