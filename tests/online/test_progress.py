"""The progress display says the same on a terminal and in a log, and stays out of the way."""

from __future__ import annotations

import io

from rich.console import Console

from carla_online.online.progress import Progress


def run(*, terminal, steps, enabled=True, values=None):
    output = io.StringIO()
    now = [0.0]
    console = Console(file=output, force_terminal=terminal, width=120, soft_wrap=not terminal)
    with Progress(1000, console, enabled=enabled, clock=lambda: now[0]) as progress:
        for step in steps:
            now[0] += 1.0
            progress.update(step, values or {"train/q_mean": 3.25, "train/entropy": float("nan")})
        progress.message("[bold] isn't markup")
    return output.getvalue()


def test_a_log_gets_a_line_every_ten_seconds():
    text = run(terminal=False, steps=range(10, 1001, 10))
    lines = text.splitlines()
    assert len(lines) == 12  # at 1, 11, ..., 91 s, the message, and the last one
    assert lines[1] == ("110 of 1,000 env steps (11%), 2 min left; env steps/s 10, entropy not a number, Q 3.25")
    assert lines[-1].startswith("1,000 of 1,000 env steps (100%), done")
    assert "[bold] isn't markup" in lines


def test_a_terminal_shows_a_bar_with_the_figures():
    text = run(terminal=True, steps=[100, 200, 300])
    assert "300 / 1,000 env steps" in text
    assert "7 s left" in text
    assert "3.25" in text


def test_nothing_is_shown_when_disabled_or_before_the_first_step():
    assert run(terminal=False, steps=[10, 20], enabled=False) == ""
    assert run(terminal=False, steps=[]) == "[bold] isn't markup\n"


def test_time_left_counts_interruptions_and_the_speed_does_not():
    output = io.StringIO()
    now = [0.0]
    with Progress(400, Console(file=output, width=200), clock=lambda: now[0]) as progress:
        progress.update(0, {})
        now[0] = 10.0
        progress.update(100, {"time/env_steps_per_s": 10.0})
        now[0] = 40.0  # an evaluation of 20 s
        progress.update(200, {"time/env_steps_per_s": 10.0})
    assert "200 of 400 env steps (50%), 40 s left; env steps/s 10" in output.getvalue()
