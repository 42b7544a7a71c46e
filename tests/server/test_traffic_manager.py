"""A Traffic Manager that sleeps through a tick, played by two sockets."""

import socket

import pytest


def call(connection, number, name, *arguments):
    """Makes a call of CARLA's protocol; the arguments are packed already."""
    words = bytes([0x90 | (len(arguments) + 1)]) + b"\x91\xc2" + b"".join(arguments)
    connection.sendall(b"\x94\x00" + bytes([number, 0xA0 | len(name)]) + name.encode() + words)
    return connection.recv(4096)


def listener():
    place = socket.create_server(("127.0.0.1", 0))
    place.settimeout(4.0)
    return place, place.getsockname()[1]


def register(connection, port):
    address = b"\x92\xa9127.0.0.1\xcd" + port.to_bytes(2, "big")
    assert b"\xc3" in call(connection, 1, "add_traffic_manager_running", address)


def test_a_manager_that_slept_through_its_clients_tick_is_woken(server, world):
    place, port = listener()
    with place, socket.create_connection(("127.0.0.1", server.port), timeout=5.0) as client:
        register(client, port)
        call(client, 2, "tick_cue")
        caller, _ = place.accept()
        with caller:
            caller.settimeout(4.0)
            assert caller.recv(200) == b"\x94\x00\x00\xb4set_synchronous_mode\x91\xc2"
            caller.sendall(b"\x94\x01\x00\xc0\xc0")
            assert caller.recv(200) == b"\x94\x00\x01\xb4set_synchronous_mode\x91\xc3"
            caller.sendall(b"\x94\x01\x01\xc0\xc0")
            assert caller.recv(200) == b""
        # It makes its step now, and isn't called any more.
        call(client, 3, "get_episode_settings")
        place.settimeout(1.5)
        with pytest.raises(TimeoutError):
            place.accept()


def test_nobody_is_woken_after_anothers_tick(server, world):
    place, port = listener()
    place.settimeout(1.5)
    with place, socket.create_connection(("127.0.0.1", server.port), timeout=5.0) as client:
        register(client, port)
        world.tick()
        with pytest.raises(TimeoutError):
            place.accept()
