"""Shared by all tests: one torch thread, hypothesis profiles by CARLA_ONLINE_HYPOTHESIS (fast, slow)."""

import os

import hypothesis
import torch

torch.set_num_threads(1)

hypothesis.settings.register_profile("fast", max_examples=40, deadline=None, derandomize=True)
hypothesis.settings.register_profile("slow", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("CARLA_ONLINE_HYPOTHESIS", "fast"))
