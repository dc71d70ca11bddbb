"""What has changed in the definitions between two runs, in words: setting by setting."""

import json
from collections.abc import Iterator
from typing import Any

_NOT_SET = "not set"


def changed_settings(before: str, after: str) -> list[str]:
    """The settings that differ between two texts of `settings_json`, each as "name: before → after"."""
    old, new = (dict(_leaves(json.loads(text))) for text in (before, after))
    return [
        f"{name}: {_shown(old.get(name))} → {_shown(new.get(name))}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _shown(value: Any) -> str:
    return _NOT_SET if value is None or value == [] else f"{value}"
