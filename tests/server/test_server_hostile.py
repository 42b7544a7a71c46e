"""Bytes that no client sends."""

import random
import socket
import struct

import carla
import psutil

HANDSHAKE_S = 2.0


def send(port: int, data: bytes) -> bytes:
    """Sends bytes and returns what comes back until the server closes or falls silent."""
    seen = b""
    with socket.create_connection(("127.0.0.1", port), timeout=HANDSHAKE_S) as connection:
        connection.settimeout(0.3)
        try:
            connection.sendall(data)
            while part := connection.recv(65536):
                seen += part
        except OSError:
            pass
    return seen


def call(number: int, name: str, arguments: bytes) -> bytes:
    """Packs `[0, number, name, [[false], ...]]` around arguments that are packed already."""
    return b"\x94\x00" + bytes([number, 0xA0 | len(name)]) + name.encode() + arguments


def test_garbage_on_both_ports_leaves_the_server_as_it_was(server):
    memory = psutil.Process(server.process_id).memory_info
    draw = random.Random(7)
    before = memory().rss
    for _ in range(60):
        data = draw.randbytes(draw.randrange(1, 400))
        send(server.port, data)
        send(server.port + 1, data)
    announced = [
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 5000,
        b"\xdb\x7f\xff\xff\xff" + b"x" * 5000,
    ]
    for data in announced:
        send(server.port, data)
    assert memory().rss - before < 64 << 20
    client = carla.Client("127.0.0.1", server.port)
    client.set_timeout(20.0)
    assert client.get_server_version() == "0.9.16"


def test_wrong_arguments_are_answered_and_the_connection_lives_on(server):
    nonsense = [
        b"\x91\x91\xc2",
        b"\x92\x91\xc2\xc0",
        b"\x93\x91\xc2\xa1x\xc3",
        b"\x94\x91\xc2\xcb" + struct.pack(">d", float("nan")) + b"\xc0\xc0",
    ]
    names = ["spawn_actor", "apply_batch", "set_episode_settings", "load_new_episode", "get_actors_by_id", "tick_cu"]
    data = b"".join(
        call(i, name, arguments) for i, (name, arguments) in enumerate((n, a) for n in names for a in nonsense)
    )
    answers = send(server.port, data + call(99, "version", b"\x91\x91\xc2"))
    assert answers.endswith(b"\xa60.9.16")
    assert answers.count(b"\x94\x01") >= 25


def test_a_message_is_understood_however_slowly_it_comes(server):
    data = call(5, "version", b"\x91\x91\xc2")
    with socket.create_connection(("127.0.0.1", server.port), timeout=HANDSHAKE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            connection.sendall(bytes([byte]))
        assert connection.recv(100) == b"\x94\x01\x05\xc0\x91\x92\x01\xa60.9.16"
