"""YAML in, validated and frozen pydantic models out. Each schema stands beside the part it configures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from tyro.constructors import PrimitiveConstructorSpec

from carla_online.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration schema: frozen, complete, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


ConfigT = TypeVar("ConfigT", bound=BaseModel)


class _Yaml12Loader(yaml.SafeLoader):
    """Safe loader with YAML 1.2's numbers and booleans: `1e-4` is a float, `on` is a string."""


_Yaml12Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    list("-+0123456789."),
)


def _parse_value(words: list[str]) -> Any:
    try:
        return yaml.load(words[0], Loader=_Yaml12Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


NameOrParts = Annotated[
    str | dict[str, Any],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME|{KEY: VALUE}",
        instance_from_str=_parse_value,
        is_instance=lambda value: isinstance(value, str | dict),
        str_from_instance=lambda value: [yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()],
    ),
]
"""A preset's name, or a mapping of values; on the command line the mapping is written as in YAML."""


def _refuse_duplicates(loader: _Yaml12Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands twice; keep one", key_node.start_mark
            )
        seen.add(key)
    return dict(loader.construct_pairs(node, deep=True))


_Yaml12Loader.add_constructor("tag:yaml.org,2002:map", _refuse_duplicates)


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads one YAML mapping.

    Args:
        path: The file; at most 1 MB.

    Returns:
        The mapping, with plain Python values.

    Raises:
        ConfigError: The file is missing, too large, not YAML, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"config file not found: {path}. Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read the config file {path}: {error}") from error
    if len(text) > 1_000_000:
        raise ConfigError(f"the config file {path} has {len(text)} characters; at most 1,000,000 are read.")
    try:
        data = yaml.load(text, Loader=_Yaml12Loader)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"the config file {path} isn't valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise ConfigError(f"the config file {path} must hold a mapping of names to values, not {type(data).__name__}.")
    return data


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `base` with `override` laid over it, mapping by mapping; lists and scalars are replaced."""
    merged = dict(base)
    for key, value in override.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def validate(model: type[ConfigT], data: Mapping[str, Any], *, source: str) -> ConfigT:
    """Validates `data` against `model`.

    Args:
        model: The schema.
        data: Plain values.
        source: Where the data came from, for the message.

    Returns:
        The frozen configuration.

    Raises:
        ConfigError: With every fault on a line of its own: key, what is wrong, and the value.
    """
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise ConfigError("\n".join(describe_errors(error, source=source, data=data))) from None


def describe_errors(error: ValidationError, *, source: str, data: Mapping[str, Any] | None = None) -> list[str]:
    """Returns one line for each fault that pydantic found; keys are named as they stand in `data`, if given."""
    lines = []
    for fault in error.errors(include_url=False):
        key = ".".join(_written_key(fault["loc"], data)) or "(the whole config)"
        if fault["type"] == "extra_forbidden":
            lines.append(f"{source}: {key}: unknown key; remove it or correct its spelling")
        elif fault["type"] == "missing":
            lines.append(f"{source}: {key}: required, but missing")
        else:
            lines.append(f"{source}: {key}: {fault['msg'][:1].lower()}{fault['msg'][1:]} (got {fault['input']!r})")
    return lines


def _written_key(location: tuple[int | str, ...], data: object) -> list[str]:
    """Returns the parts of a key without those that pydantic adds for a section's `kind`."""
    key, section = [], data
    for index, part in enumerate(location):
        is_last = index + 1 == len(location)
        if isinstance(section, Mapping) and part not in section and section.get("kind", part) == part and not is_last:
            continue
        key.append(str(part))
        section = section.get(part) if isinstance(section, Mapping) else None
    return key


def to_yaml(config: BaseModel) -> str:
    """Returns the complete configuration as YAML text that loads back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
