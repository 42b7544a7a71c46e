"""Rows that prove themselves: every value of a row follows from its number.

Number = stream * STREAM_SPAN + k, where k counts the rows of the stream.
"""

import os

import numpy as np

from carla_online.replay import Field, ReplayBuffer, ReplaySchema

OBS_DIM = 16
STREAM_SPAN = 1 << 20
EPISODE_ROWS = 37
GAMMA = 0.5

SCHEMA = ReplaySchema(
    (
        Field("obs", "f32", (OBS_DIM,), linked=True),
        Field("note", "u8", (3,)),
        Field("reward", "f32"),
        Field("terminated", "bool"),
        Field("truncated", "bool"),
        Field("episode_id", "u64"),
        Field("step_id", "u64"),
    )
)


def obs_of(numbers):
    """Observations of rows, float32 [n, OBS_DIM]; whole numbers below 2^24, so exact."""
    values = np.asarray(numbers, np.uint64).astype(np.int64)[:, None] * 7 + np.arange(OBS_DIM)
    return (values % (1 << 23)).astype(np.float32)


def rows_of(numbers):
    """Every field of the rows of these numbers."""
    numbers = np.asarray(numbers, np.uint64)
    k = numbers % STREAM_SPAN
    return {
        "obs": obs_of(numbers),
        "note": (numbers[:, None] % np.array([251, 241, 239], np.uint64)).astype(np.uint8),
        "reward": (numbers % 11).astype(np.float32),
        "terminated": k % (2 * EPISODE_ROWS) == 2 * EPISODE_ROWS - 1,
        "truncated": k % (2 * EPISODE_ROWS) == EPISODE_ROWS - 1,
        "episode_id": numbers // STREAM_SPAN * STREAM_SPAN + k // EPISODE_ROWS,
        "step_id": numbers,
    }


def next_of(numbers):
    """The next values of the rows of these numbers."""
    return {"obs": obs_of(np.asarray(numbers, np.uint64) + np.uint64(1))}


def append(writer, numbers, mask=None):
    """Append the rows of these numbers, one a stream."""
    writer.append(rows_of(numbers), next_of(numbers), mask=mask)


def check_fields(batch, *, cut=()):
    """Every field follows from `step_id`; rows of `cut` may be truncated by recovery."""
    numbers = batch["step_id"]
    for name, expected in rows_of(numbers).items():
        wrong = np.flatnonzero((batch[name] != expected).reshape(len(numbers), -1).any(axis=1))
        if name == "truncated":
            wrong = [index for index in wrong if int(numbers[index]) not in cut]
        assert len(wrong) == 0, f"{name} of rows {numbers[wrong][:5]} is torn: {batch[name][wrong][:5]}"


def check_returns(batch, n_step, *, cut=()):
    """Returns and next values are those of a whole number of rows within the episode, at most n_step."""
    check_fields(batch, cut=cut)
    numbers = batch["step_id"].astype(np.int64)
    matched = np.zeros(len(numbers), bool)
    reward, alive = np.zeros(len(numbers)), np.ones(len(numbers), bool)
    for reach in range(1, n_step + 1):
        row = rows_of(numbers + reach - 1)
        reward += GAMMA ** (reach - 1) * row["reward"]
        discount = np.where(row["terminated"], 0.0, GAMMA**reach)
        matched |= (
            alive
            & (batch["n_step_reward"] == reward.astype(np.float32))
            & (batch["discount"] == discount.astype(np.float32))
            & (batch["next_obs"] == obs_of(numbers + reach)).all(axis=1)
        )
        alive &= ~(row["terminated"] | row["truncated"])
    assert matched.all(), f"wrong returns of rows {numbers[~matched][:5]}"


def last_numbers(buffer, streams):
    """The highest stored number of each stream, -1 relative to the stream's start where there is none."""
    last = np.arange(streams, dtype=np.int64) * STREAM_SPAN - 1
    for chunk in buffer.read_rows():
        for number in chunk["step_id"].astype(np.int64):
            if (stream := number // STREAM_SPAN) < streams:
                last[stream] = max(last[stream], number)
    return last


def append_forever(directory, first_stream, streams, acknowledged):
    """Append rows until killed; after each append, note in a file up to which number rows are acknowledged."""
    with ReplayBuffer.open(directory) as buffer, buffer.writer(streams=streams, first_stream=first_stream) as writer:
        numbers = last_numbers(buffer, first_stream + streams)[first_stream:] + 1
        note = os.open(acknowledged, os.O_RDWR | os.O_CREAT)
        while True:
            append(writer, numbers)
            os.pwrite(note, numbers.astype(np.int64).tobytes(), 0)
            numbers += 1
