"""The judge: replies read strictly, questions that are the same each time, a job that neither pays twice nor makes scores up."""

import json

import pytest

from pipelines.judging.replies import Rating, ratings


def reply(*entries, **more):
    return json.dumps(
        {"ratings": [{"response": n, "rationale": "so", "rating": rating} for n, rating in entries], **more}
    )


def scores(text, count=2):
    return [one.score for one in ratings(text, count)]


def problems(text, count=2):
    return [one.problem for one in ratings(text, count)]


GOOD = reply((1, 4), (2, 2))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (GOOD, [4, 2]),
        (reply((2, 2), (1, 4)), [4, 2]),
        (reply((1, 1), (2, 5)), [1, 5]),
        (reply((1, "4"), (2, 2.0)), [4, 2]),
        (reply(("1", 4), ("2", 2)), [4, 2]),
        (f"Here are my ratings.\n```json\n{GOOD}\n```\nI hope they help!", [4, 2]),
        (f'I think {{about}} this: {{"a": 1}} and so {GOOD}', [4, 2]),
        (reply((1, 4), (2, 2), note={"ratings": "none"}), [4, 2]),
        (GOOD.replace('"so"', '"a \\"{quoted}\\" word, 5/5"'), [4, 2]),
        (json.dumps({"ratings": [{"response": 2, "rating": 3}, {"rating": 1, "response": 1}]}), [1, 3]),
    ],
)
def test_ratings_that_are_plain(text, found):
    assert scores(text) == found
    assert problems(text) == [None, None]


@pytest.mark.parametrize(
    ("rating", "shown"),
    [
        ("N/A", '"N/A"'),
        (0, "0"),
        (6, "6"),
        (-1, "-1"),
        (4.5, "4.5"),
        ("4/5", '"4/5"'),
        ("four", '"four"'),
        ("", '""'),
        ("٤", '"٤"'),
        (None, "null"),
        (True, "true"),
        ([4], "[4]"),
        (1e300, "1e+300"),
        ("9" * 5000, '"' + "9" * 59),
    ],
)
def test_a_rating_that_is_none(rating, shown):
    """It costs its own response the score, never becomes one, and leaves the others theirs."""
    first, second = ratings(reply((1, rating), (2, 5)), 2)
    assert first == Rating(None, "so", f"the rating {shown} is no whole number from 1 to 5")
    assert second == Rating(5, "so")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the reply is empty"),
        ("  \n", "the reply is empty"),
        (None, "the reply is empty"),
        ("I cannot rate these.", "the reply holds no list of ratings in JSON"),
        ("Response 1: 4\nResponse 2: 2", "the reply holds no list of ratings in JSON"),
        ("[4, 2]", "the reply holds no list of ratings in JSON"),
        (GOOD[:-1], "the reply holds no list of ratings in JSON"),
        (GOOD[:-20], "the reply holds no list of ratings in JSON"),
        (GOOD[: len(GOOD) // 2], "the reply holds no list of ratings in JSON"),
        ("'".join(GOOD.split('"')), "the reply holds no list of ratings in JSON"),
        (GOOD.replace("4", "NaN"), "the reply holds no list of ratings in JSON"),
        (GOOD.replace('"rating": 4', '"rating": 4, "rating": 2'), "the reply holds no list of ratings in JSON"),
        (json.dumps({"result": json.loads(GOOD)}), "the reply holds no list of ratings in JSON"),
        ("{" * 5000, "the reply holds no list of ratings in JSON"),
        ('{"ratings": ' + "[" * 100_000, "the reply holds no list of ratings in JSON"),
        (GOOD + GOOD, "the reply holds more than one list of ratings"),
        (f"First {reply((1, 3))} or rather {GOOD}", "the reply holds more than one list of ratings"),
        ('{"ratings": [4, 2]}', "the ratings are no list of objects"),
        ('{"ratings": {"1": 4, "2": 2}}', "the ratings are no list of objects"),
        (reply((0, 4), (1, 2)), "the reply rates a response 0, and there are 2"),
        (reply((1, 4), (2, 2), (3, 5)), "the reply rates a response 3, and there are 2"),
        (reply(("first", 4), (2, 2)), 'the reply rates a response "first", and there are 2'),
        (reply((True, 4), (2, 2)), "the reply rates a response true, and there are 2"),
        (json.dumps({"ratings": [{"rating": 4}, {"rating": 2}]}), "the reply rates a response null, and there are 2"),
    ],
)
def test_a_reply_that_cannot_be_used(text, words):
    assert ratings(text, 2) == [Rating(None, problem=words)] * 2


def test_what_is_missing_or_doubled():
    assert ratings(reply((2, 4)), 3) == [
        Rating(None, problem="not rated"),
        Rating(4, "so"),
        Rating(None, problem="not rated"),
    ]
    # Twice the same number may be a slip of the response's number as well.
    assert problems(reply((1, 4), (1, 4), (2, 3))) == ["rated more than once", None]
    assert problems(reply((1, 4), (1, 2))) == ["rated more than once", "not rated"]
    assert problems('{"ratings": []}') == ["not rated"] * 2
    assert ratings('{"ratings": [{"response": 1}]}', 1) == [Rating(None, problem="no rating")]
    assert ratings('{"ratings": [{"response": 1, "rating": 3, "rationale": 7}]}', 1) == [Rating(3)]


def test_the_example_of_the_templates_is_no_reply():
    """A weak judge repeats what it was told; that must never count as a score."""
    from pipelines import templates

    for name in templates.names("judge/"):
        text = templates.template(name).text
        assert scores(text, 1) == [None]
        assert scores(text.splitlines()[-1], 1) == [None]
