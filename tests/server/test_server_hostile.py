"""Bytes that no client sends."""

import random
import socket
import struct

import carla
import psutil

from carla_online._native import server_calls

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


def pack(value: object) -> bytes:
    """MessagePack of what a fuzzer draws."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode()
        return b"\xda" + struct.pack(">H", len(text)) + text
    if isinstance(value, bytes):
        return b"\xc5" + struct.pack(">H", len(value)) + value
    assert isinstance(value, list)
    return b"\xdc" + struct.pack(">H", len(value)) + b"".join(map(pack, value))


def draw_value(draw: random.Random, depth: int = 0) -> object:
    """A value of a random kind; numbers that arithmetic stumbles over are frequent."""
    numbers = [0, 1, -1, 2**31, -(2**63), 2**62, 0.0, -1.5, 1e38, 1e308, float("nan"), float("inf"), float("-inf")]
    texts = ["", "vehicle.audi.tt", "../../etc/passwd", "Straight", "0", "x" * 300, "\u00e4\u20ac"]
    kind = draw.randrange(8 if depth < 4 else 5)
    if kind < 2:
        return draw.choice(numbers)
    if kind == 2:
        return draw.choice(texts)
    if kind == 3:
        return draw.choice([None, True, False])
    if kind == 4:
        return draw.randbytes(draw.randrange(30))
    return [draw_value(draw, depth + 1) for _ in range(draw.randrange(8))]


def test_every_call_with_nonsense_for_arguments_is_answered(server):
    draw = random.Random(11)
    names = [name for name, _ in server_calls()]
    for _ in range(6):
        message = b""
        for number, name in enumerate(draw.sample(names, len(names))):
            # Many calls begin with the id of an actor: some that exist.
            arguments = [draw.randrange(40)] if draw.random() < 0.5 else []
            arguments += [draw_value(draw) for _ in range(draw.randrange(6))]
            message += b"\x94\x00" + pack(number) + pack(name) + pack([[draw.random() < 0.2], *arguments])
        message += b"\x94\x00" + pack(999) + pack("version") + pack([[False]])
        with socket.create_connection(("127.0.0.1", server.port), timeout=20.0) as connection:
            connection.sendall(message)
            seen = b""
            while b"0.9.16" not in seen[-64:]:
                part = connection.recv(1 << 20)
                assert part, "the server has closed the connection"
                seen += part
    client = carla.Client("127.0.0.1", server.port)
    client.set_timeout(20.0)
    client.load_world("Straight")
    assert client.get_server_version() == "0.9.16"
