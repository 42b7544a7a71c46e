"""Sphinx settings; `make docs` builds the pages."""

project = "carla-online"
author = "The carla-online developers"
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
