"""Collecting in worker processes: they drive with the newest weights and append to the replay; this process learns."""

from carla_online.online.workers.intake import WorkersIntake

__all__ = ["WorkersIntake"]
