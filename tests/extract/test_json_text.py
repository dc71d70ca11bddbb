"""Where one record ends and the next begins, in whatever way a CRM writes its JSON."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.extract.api.json_text import Malformed, read_listing

_KEYS = st.sampled_from(["id", "a", "},{", '"', "ü", "\\"])
_WHOLE = st.integers(-(2**63), 2**63 - 1)
_SCALARS = st.one_of(
    st.none(), st.booleans(), _WHOLE, st.text(max_size=4), st.sampled_from(['"},{"id":', "]", "{"])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=12,
)
# Most records begin alike, and hold objects that begin so, too: that is what misleads.
_RECORDS = st.one_of(
    st.dictionaries(_KEYS, _VALUES, max_size=3), _VALUES.map(lambda v: {"id": 1, "of": [v, v]})
)


@given(
    records=st.lists(st.one_of(_RECORDS, _VALUES), max_size=8),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (" ,\n ", " : ")]),
    indent=st.sampled_from([None, None, 1]),
    is_plain=st.booleans(),
)
def test_every_record_is_told_with_its_own_text(
    records: list[Any], separators: tuple[str, str], indent: int | None, is_plain: bool
) -> None:
    told = {"before": {"id": 0}, "r": records, "after": [{"id": 9}, {"id": 8}]}
    text = json.dumps(told, separators=separators, indent=indent, ensure_ascii=not is_plain)
    found = read_listing(text, "r")
    assert [raw.value for raw in found.records] == records
    assert [json.loads(raw.text) for raw in found.records] == records
    assert found.fields == {"before": {"id": 0}, "after": [{"id": 9}, {"id": 8}]}
    # The texts stand in the answer one behind the other, with nothing but a comma and blanks between them.
    start = text.index("[", text.index('"r"')) + 1
    for raw in found.records:
        at = text.index(raw.text, start)
        assert not text[start:at].strip(" \n,")
        start = at + len(raw.text)
    assert text[start:].lstrip()[0] == "]"


def test_a_number_of_more_than_64_bits_keeps_its_digits_in_the_text() -> None:
    (raw,) = read_listing('{"r":[{"id":-9223372036854775809}]}', "r").records
    assert raw.text == '{"id":-9223372036854775809}'


@pytest.mark.parametrize(
    "inside",
    [
        '{"id":2}x',
        '{"id":2',
        '{"id":2}]',
        '{"id":NaN}',
        '{"id":2,}',
        '{"id":2} {"id":3}',
        '{"id":"\n"}',
        '{"id":2},',
    ],
)
def test_a_broken_record_among_good_ones_is_no_answer(inside: str) -> None:
    with pytest.raises(Malformed):
        read_listing('{"r":[{"id":0},{"id":1},' + inside + ',{"id":4},{"id":5}]}', "r")


def test_what_only_the_stricter_parser_refuses_is_taken() -> None:
    text = '{"r":[{"id":0},{"id":1,"x":"\\ud800"},{"id":2,"x":1e999},{"id":3}]}'
    found = read_listing(text, "r").records
    assert [raw.text for raw in found] == [
        '{"id":0}', '{"id":1,"x":"\\ud800"}', '{"id":2,"x":1e999}', '{"id":3}'
    ]  # fmt: skip
    assert found[1].value["x"] == "\ud800"


def test_blanks_that_only_some_records_have_belong_to_none() -> None:
    found = read_listing('{"r":[{"id":1},{"id":2} ,{"id":3}\n,{"id":4} ]}', "r").records
    assert [raw.text for raw in found] == ['{"id":1}', '{"id":2}', '{"id":3}', '{"id":4}']


def test_a_record_full_of_objects_like_itself_is_not_tried_at_each_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []
    loads = orjson.loads
    monkeypatch.setattr(orjson, "loads", lambda text: tried.append(text) or loads(text))
    record = '{"id":1,"of":[' + ",".join(['{"id":2}'] * 500) + "]}"
    found = read_listing('{"r":[' + ",".join([record] * 20) + "]}", "r").records
    assert [raw.text for raw in found] == [record] * 20
    assert len(tried) <= 3 * 20
