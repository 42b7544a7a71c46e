"""Compares a CARLA server with what CARLA 0.9.16's Python API promises, through the real client.

It runs against any server: ours, or a real CARLA. Each operation of the API is tried once and answered with one of four
words; what was measured stands beside it. Nothing in it knows which server it talks to.
"""

from carla_online.server.conformance.outcome import Outcome, Result
from carla_online.server.conformance.report import read_table, write_json
from carla_online.server.conformance.runner import CheckPlan, run_conformance

__all__ = ["CheckPlan", "Outcome", "Result", "read_table", "run_conformance", "write_json"]
