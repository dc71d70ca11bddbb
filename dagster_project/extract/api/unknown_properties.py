"""Properties that pipeline.yaml names and the CRM does not show: told once, with the nearest that it does."""

import difflib
import logging
import re
from collections.abc import Iterable

from dagster_project.extract.api.http import Client

logger = logging.getLogger(__name__)

# Nearer than this two names differ by a slip, not by meaning.
_NEAR = 0.75


def warn_of_unknown(client: Client, entity: str, asked: Iterable[str], known: Iterable[str]) -> None:
    """Warn of the names in `asked` that are not among the properties that this user can read."""
    known = tuple(known)
    by_letters = {_letters(name): name for name in known}
    told = []
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(_letters(name), by_letters, n=1, cutoff=_NEAR)
            told.append(f"{name!r}" + (f" (did you mean {by_letters[near[0]]!r}?)" if near else ""))
    text = f"{client.account}: {entity} show no property {', '.join(told)}: it is none, or cannot be read"
    if told and text not in client.api_warnings:
        client.api_warnings.add(text)
        logger.warning("%s", text)


def _letters(name: str) -> str:
    """A name as it is compared: Salesforce ends all custom ones alike."""
    return re.sub(r"_+c$", "", name.lower())
