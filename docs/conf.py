"""Sphinx settings: sphinx-build docs docs/_build (needs sphinx, myst-parser and furo)."""

project = "carla-online"
author = "The carla-online developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
exclude_patterns = ["_build"]
