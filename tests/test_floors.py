"""Imports point downward: a floor imports only from floors below it."""

import ast
from pathlib import Path

import carla_online

FLOORS = [
    "cli",
    "promotion imitation",
    "online",
    "evaluation",
    "learners",
    "policies",
    "envs",
    "replay advantage server standin",
    "_native",
    "errors config files lazy",
]
RANK = {name: rank for rank, names in enumerate(FLOORS) for name in names.split()}
PACKAGE = Path(carla_online.__file__).parent


def imported_floors(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("carla_online"):
            parts = node.module.split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("carla_online.")}
    return names & RANK.keys()


def test_no_import_points_upward():
    upward = []
    files = [file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE]
    assert len(files) > 30
    for file in files:
        floor = file.relative_to(PACKAGE).parts[0]
        upward += [
            f"{file.relative_to(PACKAGE)} -> {name}" for name in imported_floors(file) if RANK[name] < RANK[floor]
        ]
    assert upward == []


def test_only_the_command_and_the_progress_display_print():
    printing = []
    for file in PACKAGE.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        if any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls):
            printing.append(file.relative_to(PACKAGE))
    assert printing
    assert [file for file in printing if file.parts[0] != "cli"] == []
