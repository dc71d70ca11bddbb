"""An e-mail address alone becomes a pseudonym, always the same; everything else stays as it is."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.owner_emails import OwnerEmails

KEY = "a key of the tests, long enough"
EMAILS = OwnerEmails(KEY)
addresses = st.from_regex(r"[a-z0-9.+_äß-]{1,12}@([a-z0-9-]{1,8}\.){1,2}[a-z]{2,6}", fullmatch=True)
texts = st.one_of(
    addresses,
    st.text(),
    st.builds("{} {}".format, st.text(), addresses),
    st.sampled_from(["a@b", "@", "\\", '"', '"ann@example.com', "ann@example.com\\", "u0040", "\\u0040"]),
)
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


def mapped(value: Any) -> Any:
    """The plain way: go through the parsed document, and name each string."""
    if isinstance(value, str):
        return EMAILS.text(value)
    if isinstance(value, list):
        return [mapped(item) for item in value]
    if isinstance(value, dict):
        return {EMAILS.text(key): mapped(item) for key, item in value.items()}
    return value


def test_the_pseudonym_is_the_keyed_hash_that_openssl_gives() -> None:
    # printf 'ann@example.com' | openssl dgst -sha256 -hmac 'a key of the tests, long enough'
    assert EMAILS.text("ann@example.com") == "email-e8e14297ec8b"


@given(addresses)
def test_an_address_has_one_pseudonym_whatever_its_case_and_the_blanks_around_it(address: str) -> None:
    pseudonym = EMAILS.text(address)
    assert re.fullmatch(r"email-[0-9a-f]{12}", pseudonym)
    assert EMAILS.text(f" \t{address} ") == pseudonym
    assert address.upper().lower() != address or EMAILS.text(address.upper()) == pseudonym
    assert EMAILS.text(pseudonym) == pseudonym
    assert OwnerEmails("another key of the tests").text(address) != pseudonym


@given(st.sets(addresses, min_size=2, max_size=50))
def test_two_addresses_have_two_pseudonyms(several: set[str]) -> None:
    assert len({EMAILS.text(address) for address in several}) == len(several)


@pytest.mark.parametrize(
    "value",
    [
        "Ann Smith",
        "Ann <ann@example.com>",
        "ann@example.com, tom@example.com",
        "https://x.example/@ann",
        "ann@@b.de",
        "price@2.50",
        "10@5",
        "a@b",
        "@",
        "",
    ],
)
def test_names_and_longer_texts_stay(value: str) -> None:
    assert EMAILS.text(value) == value


@settings(max_examples=200)
@given(documents, st.booleans())
def test_a_json_text_is_changed_as_its_parsed_values_are(document: Any, ascii_only: bool) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only)
    assert json.loads(EMAILS.in_json(text)) == mapped(document)


def test_all_other_bytes_of_a_json_text_stay() -> None:
    text = '{"amount": 1234.50,  "n":12345678901234567890.10,"who":"Ann\\u0040Example.com", "x" : "a@b" }'
    changed = text.replace('"Ann\\u0040Example.com"', '"email-e8e14297ec8b"')
    assert EMAILS.in_json(text) == changed
    escaped = text.replace('"a@b"', "null")
    assert EMAILS.in_json(escaped) == changed.replace('"a@b"', "null")


def test_an_id_made_of_content_with_an_address_is_made_anew_with_the_key() -> None:
    content = "0123456789abcdef" * 2
    assert EMAILS.record_id(content, is_changed=False) == content
    made = EMAILS.record_id(content, is_changed=True)
    assert re.fullmatch(r"[0-9a-f]{32}", made) and made != content
    assert OwnerEmails("another key of the tests").record_id(content, is_changed=True) != made
    assert EMAILS.record_id("77", is_changed=True) == "77"
    assert EMAILS.record_id("ann@example.com", is_changed=True) == EMAILS.text("ann@example.com")
