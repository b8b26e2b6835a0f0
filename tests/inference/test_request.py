"""A request's id names its content, and nothing else."""

import hashlib
import json
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.request import OURS, Request, Response, canonical
from warehouse.errors import CaravanError

TURN = ({"role": "user", "content": 'Grüß Gott, 你好 \u0000 \u2028 "quoted" \\'},)
CHAT = Request("openai", "gpt", TURN, parameters={"temperature": 0.7, "max_tokens": 10})
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)


def test_the_id_is_the_md5_of_canonical_json():
    fields = {
        "messages": [{"content": TURN[0]["content"], "role": "user"}],
        "model": "gpt",
        "parameters": {"max_tokens": 10, "temperature": 0.7},
        "prompt": None,
        "provider": "openai",
        "sample": 0,
        "template": "",
    }
    told = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)  # keys are in order above
    assert CHAT.canonical() == told
    assert CHAT.request_id == hashlib.md5(told.encode("utf-8")).hexdigest()


def test_every_field_counts():
    others = [
        replace(CHAT, provider="anthropic"),
        replace(CHAT, model="gpt2"),
        replace(CHAT, messages=({"role": "system", "content": TURN[0]["content"]},)),
        replace(CHAT, messages=None, prompt=TURN[0]["content"]),
        replace(CHAT, parameters={"temperature": 0.7}),
        replace(CHAT, sample=1),
        replace(CHAT, template="a@1"),
    ]
    assert len({CHAT.request_id, *(other.request_id for other in others)}) == len(others) + 1


@given(
    st.lists(st.tuples(TEXT, TEXT), min_size=1),
    st.dictionaries(TEXT.filter(lambda t: t not in OURS), VALUES),
    st.integers(0, 9),
)
def test_a_row_and_a_pickle_say_all(turns: list[tuple[str, str]], parameters: dict, sample: int):
    asked = Request("anthropic", "m", tuple({"role": r, "content": c} for r, c in turns), None, parameters, sample, "t")
    for other in (Request.from_row(asked.row()), pickle.loads(pickle.dumps(asked))):
        assert other == asked
        assert other.request_id == asked.request_id
    reordered = Request(
        "anthropic",
        "m",
        tuple({"content": c, "role": r} for r, c in turns),
        None,
        dict(reversed(parameters.items())),
        sample,
        "t",
    )
    assert reordered.request_id == asked.request_id


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"provider": "cohere", "prompt": "x"}, "openai, anthropic"),
        ({"provider": "openai"}, "messages or a prompt"),
        ({"provider": "openai", "prompt": "x", "messages": TURN}, "messages or a prompt"),
        ({"provider": "openai", "messages": ({"role": "user", "content": "x", "name": "y"},)}, "role and content"),
        ({"provider": "openai", "prompt": "x", "parameters": {"temperature": float("nan")}}, "JSON"),
        ({"provider": "openai", "prompt": "x", "parameters": {"n": 3}}, "sample"),
        ({"provider": "openai", "prompt": "x", "parameters": {"stream": True}}, "stream"),
    ],
)
def test_what_is_no_request(fields: dict, words: str):
    with pytest.raises(CaravanError, match=words):
        Request(model="m", **fields)


def test_floats_are_written_as_python_does():
    assert canonical({"b": 1e-5, "a": [0.1, 1.0, 1, -0.0, 1e22]}) == '{"a":[0.1,1.0,1,-0.0,1e+22],"b":1e-05}'


def test_a_response_survives_json():
    from datetime import UTC, datetime

    answer = Response("0" * 32, "ok", "tëxt", cost=0.25, received_at=datetime.now(UTC))
    assert Response.from_json(json.loads(json.dumps(answer.to_json()))) == answer


def test_halves_of_surrogate_pairs_are_no_text():
    with pytest.raises(CaravanError, match="what JSON can say"):
        Request("openai", "m", prompt="a\ud83d")
