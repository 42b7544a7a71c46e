"""HTML that can't be injected: text becomes markup only through `tag`, which escapes it."""

from __future__ import annotations

import html
import json
from typing import Any, Final

from carla_online.evaluation.files import finite

_VOID: Final = frozenset({"br", "hr", "input", "meta", "line", "path", "polyline", "rect", "circle", "polygon"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | Html | float | None


def tag(name: str, /, *children: Child | list[Html], **attributes: str | float | bool | None) -> Html:
    """Returns an element.

    Args:
        name: Name of the element; written in code, never taken from data.
        *children: Text, which is escaped; `Html`, which isn't; lists of `Html`; `None` is left out.
        **attributes: Values are escaped; `_` in a name becomes `-`, a trailing one is dropped (`class_`); `None` and
            `False` leave the attribute out, `True` writes it without a value.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    if name in _VOID:
        return Html(f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Child | list[Html]) -> Html:
    """Returns the children behind one another, text escaped."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, list):
            parts.append(join(*child))
        else:
            parts.append(child if isinstance(child, Html) else html.escape(str(child)))
    return Html("".join(parts))


def json_block(identifier: str, data: Any) -> Html:
    """Returns data for a script as inert JSON; no text in it can end the element."""
    text = json.dumps(finite(data), allow_nan=False, separators=(",", ":"))
    safe = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Html(f'<script type="application/json" id="{html.escape(identifier)}">{safe}</script>')


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
