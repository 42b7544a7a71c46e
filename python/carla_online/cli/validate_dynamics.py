"""`carla-online validate-dynamics`."""

from __future__ import annotations

import argparse
from pathlib import Path

from carla_online.envs.carla.dynamics import compare_models
from carla_online.envs.carla.recording import read_drives
from carla_online.errors import ConfigError


def validate_dynamics(arguments: list[str]) -> int:
    """Prints how far the ego's dynamics and two published models are off on a recorded drive."""
    parser = argparse.ArgumentParser(
        prog="carla-online validate-dynamics",
        description="Drive the embedded world's vehicle model through a recorded drive, open loop, and print the "
        "errors beside those of two published models.",
    )
    parser.add_argument("log", metavar="LOG", help="a log of CARLA's recorder, made with additional_data=True")
    parser.add_argument(
        "--actor", type=int, help="number of the vehicle; the first Lincoln MKZ, or the first, if not given"
    )
    options = parser.parse_args(arguments)
    drives = read_drives(Path(options.log))
    chosen = [drive for drive in drives if options.actor in (None, drive.actor)]
    if not chosen:
        numbers = ", ".join(f"{drive.actor} ({drive.name})" for drive in drives)
        raise ConfigError(f"{options.log} has no vehicle {options.actor}; the vehicles are {numbers}.")
    drive = next((drive for drive in chosen if "mkz" in drive.name), chosen[0])
    print(f"{options.log}: {drive.name}, actor {drive.actor}, {drive.time_s[-1] - drive.time_s[0]:.1f} s")
    if "lincoln.mkz" not in drive.name:
        print("note: the model is a Lincoln MKZ 2017; this vehicle is another one")
    for length_s in (1.0, 2.0):
        count, found = compare_models(drive, length_s)
        print(f"\nafter {length_s:.0f} s, {count} windows, root mean square error")
        for name, errors in found.items():
            print(f"  {name:26} {errors.speed_mps:6.2f} m/s {errors.heading_deg:7.2f} deg")
    return 0
