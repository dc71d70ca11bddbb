"""What was already said about a source: a state of things is told when it begins, not every night again."""

import json
import os
from collections.abc import Sequence
from pathlib import Path


class ToldOnce:
    """Texts by entity and topic in a small file, which may be lost: then they are told once more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = _kept(path)

    def news(self, entity: str, topic: str, now: Sequence[str]) -> list[str]:
        """Those of `now` that were not said before; what no longer holds is forgotten."""
        before = self._told.get(entity, {}).get(topic, [])
        current = list(dict.fromkeys(now))
        if current != before:
            self._told.setdefault(entity, {})[topic] = current
            self._save()
        return [text for text in current if text not in before]

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(self._told, indent=1, ensure_ascii=False), encoding="utf-8")
        os.replace(draft, self._path)


def _kept(path: Path) -> dict[str, dict[str, list[str]]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
