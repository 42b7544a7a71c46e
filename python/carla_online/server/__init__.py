"""A CARLA 0.9.16 server that needs no GPU, in a process of its own.

The unmodified `carla` client connects to it. `carla-online serve` is the same from the command line.
"""

from carla_online.server.launched import LaunchedServer, PortClaim
from carla_online.server.process import Server, ServerConfig

__all__ = ["LaunchedServer", "PortClaim", "Server", "ServerConfig"]
