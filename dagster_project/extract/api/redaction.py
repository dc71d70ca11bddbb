"""Secrets never reach a log: every record of every logger passes here, whatever its level."""

import base64
import json
import logging
import threading
import traceback
from urllib.parse import quote

MASK = "[redacted]"
# A shorter text would be found inside ordinary words; no vendor issues such a credential.
_SHORTEST = 6


class Redactor:
    """The secrets of this process, and the text without them."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def add(self, *secrets: str) -> None:
        """From now on mask these, also as they look in an address, in JSON and in base64."""
        forms = {form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret)}
        with self._lock:
            # The longest first: a secret may hold another one.
            self._forms = tuple(sorted({*self._forms, *forms}, key=len, reverse=True))

    def clean(self, text: str) -> str:
        """The text with every known secret masked."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    @property
    def is_empty(self) -> bool:
        """Whether no secret is known yet."""
        return not self._forms


SECRETS = Redactor()


def install() -> None:
    """Mask secrets in all log records of this process from now on; a second call changes nothing."""
    inner = logging.getLogRecordFactory()
    if getattr(inner, "masks_secrets", False):
        return

    def factory(*args: object, **kwargs: object) -> logging.LogRecord:
        return _masked(inner(*args, **kwargs))

    factory.masks_secrets = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(factory)


def _masked(record: logging.LogRecord) -> logging.LogRecord:
    if SECRETS.is_empty:
        return record
    try:
        text = record.getMessage()
    except (TypeError, ValueError, KeyError):
        text = f"{record.msg} {record.args}"
    clean = SECRETS.clean(text)
    if clean != text:
        record.msg, record.args = clean, None
    if record.exc_info and record.exc_info[0] is not None:
        # Formatters take `exc_text` where it is set, and never look at the exception again.
        record.exc_text = SECRETS.clean("".join(traceback.format_exception(*record.exc_info))).rstrip()
    return record


def _forms(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], encoded}
