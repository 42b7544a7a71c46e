"""Lets `python -m carla_online.cli` be the command."""

import sys

from carla_online.cli import main

sys.exit(main())
