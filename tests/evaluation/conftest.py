"""Route tables made by hand."""

from __future__ import annotations

import pytest
from route_tables import build_table


@pytest.fixture(scope="session")
def make_table():
    return build_table
