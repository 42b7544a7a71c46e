"""The command `carla-online`."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final

from carla_online.errors import CarlaOnlineError, ConfigError, PromotionRefused

_HELP = """\
carla-online: online reinforcement learning for driving policies in CARLA

  carla-online train CONFIG [options]     fine-tune a policy while it drives; CONFIG is a shipped name or a YAML file
  carla-online train --resume RUN         go on where a run stopped, or was killed
  carla-online evaluate RUN               drive baseline and fine-tuned policy over the same held-out routes
  carla-online report RUN                 write RUN/report.html
  carla-online distil RUN                 learn a policy from a run's good episodes, without driving
  carla-online promote POLICY_OR_RUN      let a candidate stand against champion and baseline; no evidence, no promotion
  carla-online registry DIR [ACTION]      list versions, champion, decisions; show, rollback, verify
  carla-online replay ACTION BUFFER       inspect, verify, export or compact a replay buffer
  carla-online configs                    list the shipped configurations
  carla-online serve [options]            serve CARLA 0.9.16's protocol to the unmodified client, without a GPU
  carla-online conformance [options]      compare a CARLA server, ours or a real one, with the Python API's promises
  carla-online agents                     print the folder of CARLA's package agents: yours, or else our stand-in
  carla-online doctor [CONFIG]            what stands between this machine and a run, each finding with its cure
  carla-online doctor map FILE            look over an OpenDRIVE map before it reaches CARLA
  carla-online validate-dynamics LOG      compare the vehicle model with a drive that CARLA's recorder has logged

Start here:
  carla-online train sac_straight --seed 3
  carla-online train sac_straight --learner.actor-lr 1e-4
  carla-online train sac_straight --help  shows every option of that configuration with its meaning

Stop a run with Ctrl-C: it writes a checkpoint first. `carla-online COMMAND --help` tells more.
Exit codes: 0 done, 1 it failed, 2 the input was wrong, 3 the candidate was not promoted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit code: 0 done, 1 it failed, 2 the input was wrong, 3 not promoted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_HELP, end="")
        return 0
    if words[0] == "--version":
        import carla_online

        print(carla_online.__version__)
        return 0
    try:
        return _command(words[0])(words[1:])
    except CarlaOnlineError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        if isinstance(error, PromotionRefused):
            return 3
        return 2 if isinstance(error, ConfigError) else 1
    except OSError as error:
        print(f"error: {_describe(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; what was acknowledged is kept, the newest checkpoint stands", file=sys.stderr)
        return 130


def _describe(error: OSError) -> str:
    """Returns what the operating system refused, on which file, and what to do about a full disk."""
    where = f": {error.filename}" if error.filename else ""
    cure = (
        ". Free some disk space and resume the run" if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} else ""
    )
    return f"{error.strerror or error}{where}{cure}"


_HOMES: Final = {
    "train": "train",
    "evaluate": "evaluate",
    "report": "report",
    "distil": "distil",
    "promote": "promote",
    "registry": "registry",
    "replay": "replay",
    "configs": "train:list_configs",
    "serve": "serve",
    "conformance": "conformance",
    "agents": "agents",
    "doctor": "doctor",
    "validate-dynamics": "validate_dynamics",
}
"""Where each command is: a module of this package, and the function unless it is called like the module."""


def _command(name: str) -> Callable[[list[str]], int]:
    if name not in _HOMES:
        raise ConfigError(f"there is no command {name!r}. Commands: {', '.join(_HOMES)}.")
    module, _, function = _HOMES[name].partition(":")
    command: Callable[[list[str]], int] = getattr(import_module(f"{__name__}.{module}"), function or module)
    return command
