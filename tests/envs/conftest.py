"""Set-up of the environment tests."""

import sys
from pathlib import Path

import carla_online.envs  # noqa: F401 - registers the ids

sys.path.insert(0, str(Path(__file__).parent))  # numbered.py, an environment that several files use
