"""Golden records: what each shape becomes, and the reasons why a record is refused."""

import json

import pytest

from pipelines.adapters import ADAPTERS, ROLES, Unreadable, adapt
from pipelines.adapters.clean import CLEAN
from pipelines.adapters.evaluation import instance
from pipelines.adapters.languages import tag
from pipelines.transform import prompt_id

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}


def read(adapter, record, fields=None, constants=None, clean=()):
    return adapt(adapter, record, fields or {}, constants or {}, clean)


def one(adapter, record, **options):
    (prompt,) = read(adapter, record, **options)
    return [(m["role"], m["content"]) for m in prompt.messages], [c.content for c in prompt.completions]


U, A, S = "user", "assistant", "system"
GOLDEN = [
    ("messages", {"messages": [USER, ANSWER]}, [(U, "Hi")], ["Hello"]),
    ("messages", {"messages": [USER]}, [(U, "Hi")], []),
    ("messages", {"messages": [USER, ANSWER, USER]}, [(U, "Hi"), (A, "Hello"), (U, "Hi")], []),
    ("messages", {"messages": [USER, ANSWER, ANSWER]}, [(U, "Hi")], ["Hello\n\nHello"]),
    ("messages", {"messages": [ANSWER, USER], "system": "Be kind"}, [(S, "Be kind"), (A, "Hello"), (U, "Hi")], []),
    (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}]}]},
        [(U, "ab")],
        [],
    ),
    (
        "sharegpt",
        {
            "system": "Be kind",
            "conversations": [
                {"from": "human", "value": "Hi"},
                {"from": "gpt", "value": "Hello"},
                {"from": "human", "value": "Bye"},
            ],
        },
        [(S, "Be kind"), (U, "Hi"), (A, "Hello"), (U, "Bye")],
        [],
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "User", "value": "Hi"}, {"from": "Assistant", "value": "Yo"}]},
        [(U, "Hi")],
        ["Yo"],
    ),
    ("alpaca", {"instruction": "Add", "input": "1 2", "output": "3"}, [(U, "Add\n1 2")], ["3"]),
    ("alpaca", {"instruction": "Say", "input": "", "response": ""}, [(U, "Say")], [""]),
    ("alpaca", {"instruction": "Say"}, [(U, "Say")], []),
    (
        "alpaca",
        {"instruction": "C", "input": "", "output": "D", "history": [["A", "B"]], "system": "S"},
        [(S, "S"), (U, "A"), (A, "B"), (U, "C")],
        ["D"],
    ),
    ("prompt_completion", {"prompt": "Q", "completion": "A"}, [(U, "Q")], ["A"]),
    ("prompt_completion", {"prompt": "Q", "completion": ["A", "B"]}, [(U, "Q")], ["A", "B"]),
    ("prompt_completion", {"prompt": "Q", "completion": None}, [(U, "Q")], []),
    ("prompt_completion", {"prompt": [USER, ANSWER, USER]}, [(U, "Hi"), (A, "Hello"), (U, "Hi")], []),
    ("flan", {"question": "1+1?", "answer": "2", "rationale": "Count."}, [(U, "1+1?")], ["Count.\nSo the answer is 2"]),
    ("flan", {"question": "1+1?", "answer": 2}, [(U, "1+1?")], ["2"]),
    ("text", {"text": "line"}, [(U, "line")], []),
    ("text", {"text": "line", "pair": "other"}, [(U, "line")], ["other"]),
    ("preference", {"prompt": "Q", "chosen": "C", "rejected": "R"}, [(U, "Q")], ["C", "R"]),
    (
        "preference",
        {"chosen": [USER, ANSWER], "rejected": [USER, {"role": A, "content": "No"}]},
        [(U, "Hi")],
        ["Hello", "No"],
    ),
    ("preference", {"prompt": [USER], "chosen": ANSWER, "rejected": ANSWER}, [(U, "Hi")], ["Hello", "Hello"]),
    (
        "hh",
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Who are you?\n\nAssistant: A model.",
            "rejected": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Who are you?\n\nAssistant: ",
        },
        [(U, "Hi"), (A, "Hello"), (U, "Who are you?")],
        ["A model.", ""],
    ),
]


@pytest.mark.parametrize(("adapter", "record", "messages", "completions"), GOLDEN)
def test_golden_records(adapter, record, messages, completions):
    assert one(adapter, record) == (messages, completions)


REFUSED = [
    ("messages", {"text": "x"}, "no column 'messages' for the messages; the columns are: text"),
    ("messages", {"messages": None}, "is null"),
    ("messages", {"messages": []}, "is empty"),
    ("messages", {"messages": "Hi"}, "messages is text; a list of turns"),
    ("messages", {"messages": ["Hi"]}, "turn 1 is text, not an object"),
    ("messages", {"messages": [ANSWER]}, "no user turn with any text"),
    ("messages", {"messages": [{"role": "user", "content": "  "}]}, "no user turn with any text"),
    ("messages", {"messages": [{"role": "user", "content": None}]}, r"content of turn 1 \(user\) is null"),
    ("messages", {"messages": [{"role": "tool", "content": "x"}]}, "turn 1 has the role 'tool'; known are: .*user"),
    (
        "messages",
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "an image, a file or a tool call",
    ),
    ("messages", {"messages": [USER, {"role": "system", "content": "x"}, ANSWER]}, "a system turn stands between"),
    ("alpaca", {"instruction": 3}, "instruction is a number, not text"),
    ("alpaca", {"instruction": "A", "history": ["B"]}, "history is not a list"),
    ("alpaca", {"instruction": "A", "output": {"x": 1}}, "output is an object, not text"),
    ("prompt_completion", {"question": "Q"}, "no column 'prompt' for the prompt; the columns are: question"),
    ("prompt_completion", {"prompt": ""}, "no user turn with any text"),
    ("prompt_completion", {"prompt": 3}, "the prompt is a number"),
    ("preference", {"prompt": "Q", "chosen": "C"}, "no column 'rejected'"),
    ("preference", {"prompt": "Q", "chosen": "C", "rejected": 1.5, "score_rejected": "high"}, "'high' is not a number"),
    (
        "preference",
        {"chosen": [USER, ANSWER, USER], "rejected": [USER, ANSWER]},
        "chosen conversation does not end with an assistant",
    ),
    ("hh", {"chosen": "Hi", "rejected": "Hi"}, "no 'Human:' or 'Assistant:' turn"),
    ("hh", {"chosen": "\n\nHuman: Hi", "rejected": "\n\nHuman: Hi"}, "does not end with an assistant turn"),
    ("nested", {"a": {"b": 3}}, "under 'b' is a number"),
    ("nested", {"a": []}, "no text in the object"),
    ("oasst_tree", {"id": 1}, "no message with a text at the root"),
    ("flan", {"question": "Q"}, "no column 'answer'"),
]


@pytest.mark.parametrize(("adapter", "record", "reason"), REFUSED)
def test_refused_records(adapter, record, reason):
    with pytest.raises(Unreadable, match=reason):
        read(adapter, record)


def test_every_adapter_has_roles_and_a_golden_record():
    assert set(ROLES) == set(ADAPTERS)
    tried = {adapter for adapter, *_ in GOLDEN} | {"oasst_tree", "oasst_messages", "nested"}
    assert tried == set(ADAPTERS)


def test_prompt_id_is_that_of_the_contract():
    import hashlib

    expected = hashlib.md5(b"system\x1fBe kind\x1euser\x1fHi").hexdigest()
    assert prompt_id([{"role": "system", "content": "Be kind"}, USER]) == expected


def test_rlvr_records():
    (math,) = read("messages", {"messages": [USER], "ground_truth": "8", "dataset": "MATH", "constraint": None})
    assert (math.verifier, math.ground_truth, math.constraints) == ("math", "8", None)
    truth = json.dumps({"func_name": "validate_lowercase", "N": None, "quantifier": "at least"})
    (ifeval,) = read(
        "messages", {"messages": [USER], "ground_truth": truth, "dataset": "ifeval", "constraint": "lower"}
    )
    assert ifeval.constraints == [{"id": "validate_lowercase", "arguments": '{"quantifier": "at least"}'}]
    assert (ifeval.verifier, ifeval.ground_truth) == ("ifeval", truth)


def test_a_dialogue_of_10_000_turns():
    conversation = [{"from": ("human", "gpt")[i % 2], "value": f"turn {i}"} for i in range(10_000)]
    (prompt,) = read("sharegpt", {"conversations": conversation})
    assert len(prompt.messages) == 9_999 and prompt.completions[0].content == "turn 9999"
    flat = [
        {
            "message_id": str(i),
            "parent_id": str(i - 1) if i else None,
            "text": f"turn {i}",
            "role": ("prompter", "assistant")[i % 2],
        }
        for i in range(10_000)
    ]
    (prompt,) = read("oasst_messages", {"records": flat})
    assert len(prompt.messages) == 9_999 and prompt.completions[0].content == "turn 9999"


def message(name, role, replies=(), rank=None, **more):
    return {"message_id": name, "text": name, "role": role, "replies": list(replies), "rank": rank, **more}


def test_trees_give_the_best_answer_at_each_step_and_every_follow_up():
    root = message(
        "q1",
        "prompter",
        [
            message("worse", "assistant", [message("lost", "prompter")], rank=1),
            message(
                "best",
                "assistant",
                [
                    message("q2", "prompter", [message("a2", "assistant", rank=0, synthetic=True, model_name="m")]),
                    message("q3", "prompter"),
                    message("q4", "prompter", [message("gone", "assistant", deleted=True)]),
                ],
                rank=0,
            ),
            message("rejected", "assistant", rank=None, review_result=False),
        ],
        lang="pt-BR",
    )
    for record in (root, {"message_tree_id": "x", "prompt": root}):
        prompts = read("oasst_tree", record)
        assert [
            ([m["content"] for m in p.messages], [(c.content, c.model) for c in p.completions]) for p in prompts
        ] == [
            (["q1", "best", "q2"], [("a2", "m")]),
            (["q1"], [("best", "human")]),  # q3 and q4 have no answer: the conversation up to them, once
        ]
        assert {p.language for p in prompts} == {"pt-BR"}
    (alone,) = read("oasst_tree", message("q", "prompter"))
    assert alone.completions == []
    with pytest.raises(Unreadable, match="deleted or rejected"):
        read("oasst_tree", message("q", "prompter", deleted=True))
    with pytest.raises(Unreadable, match="parent of message b is not in its tree"):
        read("oasst_messages", {"records": [{"message_id": "b", "parent_id": "a", "text": "x", "role": "prompter"}]})


def test_preferences_carry_scores_models_and_sides():
    record = {
        "prompt": "Q",
        "chosen": "C",
        "rejected": "R",
        "meta": {"c": "4.5"},
        "score_rejected": "",
        "chosen_model": "gpt-4",
        "by": "m",
    }
    (prompt,) = read("preference", record, {"score_chosen": "meta.c", "model": "by"})
    chosen, rejected = prompt.completions
    assert (chosen.preference, chosen.score, chosen.model) == ("chosen", 4.5, "gpt-4")
    assert (rejected.preference, rejected.score, rejected.model) == ("rejected", None, "m")


def test_transcripts_that_part_before_the_last_turn_are_two_conversations():
    record = {
        "chosen": "\n\nHuman: A\n\nAssistant: B\n\nHuman: C\n\nAssistant: D",
        "rejected": "\n\nHuman: A\n\nAssistant: X",
    }
    chosen, rejected = read("hh", record)
    assert (len(chosen.messages), chosen.completions[0].preference) == (3, "chosen")
    assert (len(rejected.messages), rejected.completions[0].preference) == (1, "rejected")


def test_columns_named_on_the_command_line():
    record = {"passage": "P", "question": "Q", "a": "x", "b": "y", "ma": "m1", "mb": "m2", "best": 2.0}
    fields = {"prompt": ["passage", "question"], "completion": ["a", "b"], "model": ["ma", "mb"], "preferred": "best"}
    (prompt,) = read("prompt_completion", record, fields)
    assert prompt.messages == [{"role": "user", "content": "P\n\nQ"}]
    assert [(c.content, c.model, c.preference) for c in prompt.completions] == [
        ("x", "m1", "rejected"),
        ("y", "m2", "chosen"),
    ]
    for neither in (0, 1.5):
        (tie,) = read("prompt_completion", {**record, "best": neither}, fields)
        assert {c.preference for c in tie.completions} == {None}
    assert one("prompt_completion", {"x": "", "y": "Y"}, fields={"prompt": "x|y"})[0] == [("user", "Y")]


def test_roles_that_all_adapters_know():
    record = {
        "prompt": "Q",
        "completion": "A",
        "lang": "swh",
        "who": "A tailor",
        "truth": ["1"],
        "c": ["title", {"id": "x", "arguments": {"n": 1}}],
    }
    fields = {"language": "lang", "persona": "who", "ground_truth": "truth", "constraints": "c"}
    (prompt,) = read("prompt_completion", record, fields, {"model": "human", "verifier": "v", "skill": "s"})
    assert (prompt.language, prompt.ground_truth, prompt.verifier, prompt.skill) == ("sw", '["1"]', "v", "s")
    assert len(prompt.persona_id) == 32
    assert prompt.constraints == [{"id": "title", "arguments": None}, {"id": "x", "arguments": '{"n": 1}'}]
    assert prompt.completions[0].model == "human"


def test_instances_of_alpaca_and_leaves_of_nested_topics_are_branches():
    record = {"instruction": "I", "instances": [{"input": "", "output": "1"}, {"input": "x", "output": "2"}]}
    assert [p.messages[0]["content"] for p in read("alpaca", record)] == ["I", "I\nx"]
    prompts = read("nested", {"a": {"b": ["1", "2"]}, " c": ["3"]}, {"constraint": "$key"})
    assert [(p.messages[0]["content"], p.constraints[0]["id"]) for p in prompts] == [("1", "b"), ("2", "b"), ("3", "c")]


@pytest.mark.parametrize(
    ("repair", "before", "after"),
    [
        ("escapes", r"a\nb\\n\t", "a\nb\\n\t"),
        ("line_breaks", r"a\n\boxed{1}", "a\n\\boxed{1}"),
        ("end_of_text", "x<|endoftext|>", "x"),
        ("bytes_literal", "b'Solve 2 = x.\\n'", "Solve 2 = x."),
        ("bytes_literal", "b'open", "b'open"),
        ("json_string", '"{\\n\\"a\\"}"', '{\n"a"}'),
        ("json_string", '"\\ud83d"', '"\\ud83d"'),
        ("json_string", '"said" she', '"said" she'),
    ],
)
def test_repairs(repair, before, after):
    assert CLEAN[repair](before) == after


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("English", "en"),
        ("eng", "en"),
        ("arb", "ar"),
        ("pt-BR", "pt-BR"),
        ("Klingon", None),
        ("", None),
        (None, None),
        ("tha", "th"),
    ],
)
def test_languages(stated, expected):
    assert tag(stated) == expected


def test_evaluation_instances():
    record = {"passage": None, "q": {"text": "Why?"}, "answer": 2, "topic": "t"}
    found = instance(record, {"passage": "passage", "question": "q.text"}, "answer", "topic")
    assert (found.fields, found.reference, found.subset) == ([("question", "Why?")], "2", "t")
    assert json.loads(found.record) == record
    for match, reason in [
        ({"x": "x"}, "no column 'x' to match; the columns are: passage"),
        ({"p": "passage"}, "nothing to match"),
        ({"a": "answer"}, "not text"),
    ]:
        with pytest.raises(Unreadable, match=reason):
            instance(record, match, None, None)
