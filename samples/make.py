"""Write the sample sources: seven small sets in the shapes that data sets have, with faults planted to be found.

Planted: rows that are equal or nearly equal, within a set and across sets; empty responses; responses that speak of their maker;
records that cannot be read. The texts are ours (written.yaml and the templates below); the same seed gives the same bytes.

Run as: python samples/make.py
"""

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
NAMES = ["Mara", "Jonas", "Aiko", "Samir", "Lena", "Tariq", "Ines", "Paul", "Noor", "Viktor", "Elif", "Chidi"]
THINGS = ["pencils", "apples", "stamps", "marbles", "tickets", "seedlings", "bolts", "postcards", "candles", "shells"]
PLACES = [
    "the harbour",
    "a village school",
    "the market hall",
    "a small bakery",
    "the city library",
    "a bicycle workshop",
]
TOPICS = [
    "a walk in the rain",
    "the first day at work",
    "an old bridge",
    "growing tomatoes",
    "a lost umbrella",
    "night trains",
]

Row = dict[str, Any]


def maths(rng: random.Random) -> list[Row]:
    """Word problems with their working, as messages."""
    rows = []
    for number in range(84):
        name, other = rng.sample(NAMES, 2)
        thing, place = rng.choice(THINGS), rng.choice(PLACES)
        question, answer = problem(number % 7, name, other, thing, place, rng)
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        rows.append({"id": f"m{number:03d}", "messages": turns})
    return rows


def problem(kind: int, name: str, other: str, thing: str, place: str, rng: random.Random) -> tuple[str, str]:
    """One word problem and its solution."""
    a, b, c = rng.randint(3, 24), rng.randint(4, 19), rng.randint(2, 9)
    match kind:
        case 0:
            question = f"At {place}, {name} packs {a} boxes with {b} {thing} each and keeps {c} {thing} loose. How many are there?"
            answer = f"{a} boxes with {b} each are {a} × {b} = {a * b}. With {c} loose ones there are {a * b + c}."
            result = a * b + c
        case 1:
            total = a * c
            question = (
                f"{name} shares {total} {thing} fairly among {c} children at {place}. How many does each child get?"
            )
            answer = f"{total} ÷ {c} = {a}, so each child gets {a}."
            result = a
        case 2:
            question = (
                f"{name} is {a} years old and {other} is {b} years older. In {c} years, how old will both be together?"
            )
            result = a + a + b + 2 * c
            answer = f"Now they are {a} and {a + b}. In {c} years they are {a + c} and {a + b + c}, together {result}."
        case 3:
            question = f"A train leaves for {place} at {b} o'clock with {a * 10} people. At each of {c} stops 6 get off and 4 get on. How many arrive?"
            result = a * 10 - 2 * c
            answer = f"Each stop takes away 6 − 4 = 2 people; {c} stops take away {2 * c}. So {a * 10} − {2 * c} = {result} arrive."
        case 4:
            question = f"{name} reads {b} pages a day. How many whole days does a book of {a * b + c % b} pages take, and how many pages are left over?"
            result = a + (c % b) // b
            answer = f"{a * b + c % b} = {a} × {b} + {c % b}: {a} whole days, and {c % b} pages are left over."
        case 5:
            question = f"A garden behind {place} is {a} metres long and {b} metres wide. {name} puts a fence around it. How long is the fence?"
            result = 2 * (a + b)
            answer = f"Twice the length and twice the width: 2 × ({a} + {b}) = {result} metres."
        case _:
            question = f"{thing.capitalize()} cost {c} euros each. {name} pays for {b} of them with a note of {b * c + a} euros. How much comes back?"
            result = a
            answer = f"{b} × {c} = {b * c} euros are to pay. From {b * c + a} euros {a} come back."
    return question, f"{answer} The answer is {result}."


def instructions(rng: random.Random) -> list[Row]:
    """Prompts with a constraint that a program can check, and responses that meet it."""
    rows = []
    for number in range(42):
        topic, name, count = TOPICS[number % 6], rng.choice(NAMES), rng.randint(2, 5)
        match number % 4:
            case 0:
                prompt = f"Write exactly {count} sentences about {topic} for a friend called {name}."
                response = " ".join(f"Sentence {n} is about {topic}, {name}." for n in range(1, count + 1))
            case 1:
                prompt = f"List {count} words that fit {topic}. Answer in lower case only, one word a line, for {name}'s poster."
                response = "\n".join(
                    rng.sample(["quiet", "green", "slow", "warm", "narrow", "early", "bright", "steep"], count)
                )
            case 2:
                prompt = f"Describe {topic} as {name} saw it, without using any comma, and end with the word stop."
                response = f"{name} saw it from far away and stayed {count} minutes and then it was time to stop"
            case _:
                prompt = f"Answer {name}'s letter about {topic}. Put the word 'indeed' into your answer {count} times."
                response = " ".join(["Indeed, I agree."] + ["And indeed I do."] * (count - 1))
        rows.append({"prompt": prompt, "completion": response})
    return rows


def scraped(rng: random.Random) -> list[Row]:
    """Questions as people copy them from worksheets, with bare answers. Nobody states a licence."""
    rows = []
    for number in range(30):
        a, b, thing = rng.randint(11, 99), rng.randint(11, 99), rng.choice(THINGS)
        questions = [
            (f"Worksheet {number}: add the {a} {thing} of Monday to the {b} {thing} of Tuesday.", a + b),
            (
                f"Exercise {number}. The shop sold {a * 3} {thing} in three equal days; how many on each of these days?",
                a,
            ),
            (f"No. {number}) Which is larger, {a} times two or {b} plus {b}? Write the larger product.", 2 * max(a, b)),
        ]
        question, answer = questions[number % 3]
        rows.append({"prompt": question, "completion": str(answer)})
    return rows


def plant(sets: dict[str, list[Row]]) -> None:
    """Put the duplicates and the faulty responses in."""
    code, general, chat = sets["code"], sets["general"], sets["chat"]
    # Equal, and equal but for case and spaces, within a set.
    code += [dict(code[0]), {**code[4], "instruction": code[4]["instruction"].upper()}, dict(code[10])]
    sets["maths"] += [{**sets["maths"][3], "id": "m900"}, {**sets["maths"][8], "id": "m901"}]
    # Nearly equal: a word or a mark apart.
    code.append({**code[9], "instruction": code[9]["instruction"].replace("given as", "that is given as")})
    general.append({**general[3], "prompt": general[3]["prompt"].replace("rainy afternoon", "rainy afternoon at home")})
    # The same questions in two sets.
    for row in general[5:10]:
        turns = [("human", row["prompt"]), ("gpt", row["completion"])]
        chat.append({"language": "en", "conversations": [{"from": who, "value": text} for who, text in turns]})
    sets["scraped"] += [{"prompt": row["messages"][0]["content"], "completion": "?"} for row in sets["maths"][20:24]]
    # Responses that are empty or speak of their maker.
    general.append({"prompt": "What is the tallest plant on Earth?", "completion": ""})
    sets["instructions"].append({"prompt": "Write one sentence about salt and one about pepper.", "completion": "  "})
    who = [
        ("Who made you?", "I am a language model trained by OpenAI."),
        ("What are you called?", "I am ChatGPT, and I like to help."),
    ]
    for question, answer in who:
        chat.append(
            {
                "language": "en",
                "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}],
            }
        )
    general.append(
        {"prompt": "What happened last week?", "completion": "I do not know: my knowledge cutoff is in 2021."}
    )


def main() -> None:
    rng = random.Random(20)
    written = yaml.safe_load((HERE / "written.yaml").read_text(encoding="utf-8"))
    who = ["human", "gpt"] * 4
    sets = {
        "maths": maths(rng),
        "instructions": instructions(rng),
        "scraped": scraped(rng),
        "code": [
            {"instruction": question, "input": "", "output": f"```python\n{code}\n```"}
            for question, code in written["code"]
        ],
        "general": [{"prompt": question, "completion": answer} for question, answer in written["general"]],
        "safety": [{"prompt": p, "chosen": chosen, "rejected": rejected} for p, chosen, rejected in written["safety"]],
        "chat": [
            {
                "language": row["language"],
                "conversations": [{"from": w, "value": turn} for w, turn in zip(who, row["turns"], strict=False)],
            }
            for row in written["chat"]
        ],
    }
    plant(sets)
    files = {f"{name}.jsonl": lines(sets[name]) for name in ("maths", "instructions", "scraped", "safety", "chat")}
    files["code.json"] = json.dumps(sets["code"], indent=1, ensure_ascii=False) + "\n"
    files["general.csv"] = table(sets["general"])
    # Records that cannot be read: a line that breaks off, a row without turns, bytes that are no UTF-8.
    files["chat.jsonl"] += (
        '{"language": "en", "conversations": [{"from": "human", "val\n' + '{"language": "en", "conversations": []}\n'
    )
    for name, text in files.items():
        broken = b'{"prompt": "Caf\xe9 or tea?", "completion": "Tea."}\n' if name == "scraped.jsonl" else b""
        (HERE / name).write_bytes(text.encode() + broken)
        print(f"{name}: {len((HERE / name).read_bytes()):,} bytes")


def lines(rows: list[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["prompt", "completion"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    main()
