"""E-mail addresses as pseudonyms, made with the key that `business.hash_owner_emails` names.

A value that is an e-mail address alone becomes `email-` and twelve hexadecimal digits of its HMAC-SHA-256.
The same address gives the same pseudonym, whatever its case, so what is joined by addresses is joined as
before.
"""

import hashlib
import hmac
import json
import re
from functools import lru_cache

SHORTEST_KEY = 16
_ADDRESS = re.compile(r"[^\s@\"<>(),;:\\]+@[^\s@\"<>(),;:\\]+\.[^\W\d_]{2,}")
# A whole string of a JSON text that holds an at sign, written as itself or as an escape.
_STRING = re.compile(r'"(?:[^"\\@]|\\.)*?(?:@|\\u0040)(?:[^"\\]|\\.)*"')
_CONTENT_ID = re.compile(r"[0-9a-f]{32}")


class OwnerEmails:
    """The pseudonyms of one key. `check` tells keys apart without telling the key."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self.check = self._digest("the key of this landing")
        self._pseudonym = lru_cache(maxsize=50_000)(self._new_pseudonym)

    def text(self, value: str) -> str:
        """The pseudonym of a value that is an e-mail address alone; any other value as it is."""
        plain = value.strip()
        return self._pseudonym(plain.lower()) if _ADDRESS.fullmatch(plain) else value

    def in_json(self, text: str) -> str:
        """A JSON text with pseudonyms in place of addresses; every other byte as it was."""
        if "@" not in text and "\\u0040" not in text:
            return text
        return _STRING.sub(self._in_string, text)

    def record_id(self, record_id: str, *, is_changed: bool) -> str:
        """The id of a record that held an address, or not.

        An id that was made of the record's content gets the key, too: it would let the address be guessed.
        """
        if is_changed and _CONTENT_ID.fullmatch(record_id):
            return self._digest(record_id)[:32]
        return self.text(record_id)

    def _in_string(self, found: re.Match[str]) -> str:
        value = json.loads(found[0], strict=False)
        hashed = self.text(value)
        return found[0] if hashed == value else json.dumps(hashed)

    def _new_pseudonym(self, address: str) -> str:
        return f"email-{self._digest(address)[:12]}"

    def _digest(self, text: str) -> str:
        return hmac.new(self._key, text.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()
