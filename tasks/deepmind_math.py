"""DeepMind Mathematics (Saxton et al. 2019): prompt, extraction, equality (EVALS: 0-shot with three example answers a category, macro
average over 56 categories), verifier, and its generator as a source of as many instances as wanted, for training and for evaluation.
"""

import re
from collections.abc import Iterator, Sequence

from tasks import workers
from tasks.aggregate import macro
from tasks.deepmind_examples import ANSWERS
from tasks.math.extraction import boxed
from tasks.math.latex import readings
from tasks.math.parser import Node
from tasks.math.trees import same
from tasks.math.values import TooLargeError
from tasks.rules import Rule, extract
from tasks.task import Instance, Prompt, Sampling, Shot, Task
from tasks.verdict import Verdict, decided
from tasks.verifier import Verifier

VERSION = "1"
TAIL = 10_000  # characters at the end of a response that are searched
DIFFICULTIES = ("train", "train-easy", "train-medium", "train-hard", "interpolate", "extrapolate")
RULES = (
    Rule("therefore", re.compile(r"(?i)Therefore, the final answer is (.*?)\. I hope it is correct.")),
    Rule("final_answer", re.compile(r"(?i)the final answer is:?[ \t]*([^\n]+)")),
    Rule("answer", re.compile(r"(?i)answer is:?[ \t]*([^\n]+)")),
)
_SAME_WORDS = {"yes": "true", "no": "false"}
_SENTENCE_END = re.compile(r"\.(?:\s|$)")
_AROUND = re.compile(r"^[\s$*`]+|[\s$*`.]+$|^\\[(\[]|\\[)\]]$")
_CHUNK = 10
_SECONDS = 120.0


def _clean(answer: str) -> str:
    """An answer without what stands around it in Markdown and LaTeX."""
    inside = boxed(answer)
    if inside is not None:
        return inside.strip()
    for _ in range(3):
        answer = _AROUND.sub("", answer)
    return answer


def _said(answer: str, rule: str) -> str:
    """The answer of a rule that takes the rest of a line: its first sentence."""
    if rule != "therefore":
        answer = _SENTENCE_END.split(answer, maxsplit=1)[0]
    return _clean(answer)


def _plain(answer: str) -> str:
    word = answer.strip().casefold()
    return _SAME_WORDS.get(word, word)


def _letters(node: Node) -> Node:
    """A tree in which `e` and `i` are variables, as they are in these problems."""
    if node[0] == "const" and node[1] in ("e", "i"):
        return ("sym", node[1])
    return tuple(_letters(part) if isinstance(part, tuple) else part for part in node)


def _equal(answer: str, wanted: str) -> bool:
    """Whether two formulas have the same value; of lists, each in its place. Raises TooLargeError and CallError."""
    for left in map(_letters, readings(answer)):
        for right in map(_letters, readings(wanted)):
            lists = left[0] == right[0] == "seq"
            pairs = list(zip(left[1:], right[1:], strict=False)) if lists else [(left, right)]
            if (not lists or len(left) == len(right)) and all(same(*pair) for pair in pairs):
                return True
    return False


def check(response: str, ground_truth: str) -> Verdict:
    """Whether the answer of a response is the ground truth: in the same words (`yes` for `True`), or as a formula of the same value."""
    answer, rule = extract(response[-TAIL:], RULES)
    if answer is None:
        return decided(False, None, rule, "no answer found")
    answer = _said(answer, rule)
    wanted = ground_truth.strip()
    if _plain(answer) == _plain(wanted):
        return decided(True, answer, rule, "the same text")
    try:
        equal = _equal(answer, wanted)
    except (TooLargeError, workers.CallError) as problem:
        return decided(False, answer, rule, str(problem))
    return decided(equal, answer, rule, "the same value" if equal else "another value")


def shots(instance: Instance) -> tuple[Shot, ...]:
    """Three example answers of the instance's category (`subset`), each as the assistant's turn of a Shot."""
    return tuple(Shot("", answer) for answer in ANSWERS[instance.subset or ""])


def prompt(instance: Instance, examples: Sequence[Shot]) -> Prompt:
    """One turn: what to do, the form of three answers, the problem.

    Reads the field `question` and the reference, unlike other tasks, which read the record: the published records hold Python's
    notation of bytes, which ingestion has mended in these alone.
    """
    forms = "\n".join(f"Therefore, the final answer is {shot.assistant}. I hope it is correct." for shot in examples)
    return Prompt(
        messages=(
            (
                "user",
                "Work out the answer to the problem below, step by step. End with exactly this sentence, with the bare number, expression"
                " or label of the answer in place of [answer]: Therefore, the final answer is [answer]. I hope it is correct.\n\n"
                f"This is what the last sentence looks like for three other problems of this kind:\n{forms}\n\n"
                f"Problem: {instance.fields['question'].strip()}",
            ),
        )
    )


def categories(difficulty: str = "interpolate") -> list[str]:
    """The categories that the generator has at a difficulty: 56, or 15 for "extrapolate". Raises as `generate`."""
    _known(difficulty)
    return list(workers.call("tasks.worker_mathematics:categories", difficulty, seconds=_SECONDS))


def generate(
    category: str, count: int, seed: int, difficulty: str = "interpolate", first: int = 0
) -> Iterator[Instance]:
    """`count` new instances of a category, from number `first` on; the same wherever and in whatever portions they are made.

    Difficulties: "train" (or its thirds "train-easy", "train-medium", "train-hard") for rewards, "interpolate" and "extrapolate" for
    evaluation. The field is `question`, the reference the answer, the subset the category. Needs the package mathematics-dataset.
    Raises ValueError for a category or difficulty that does not exist, ImportError without the package.
    """
    if category not in categories(difficulty):
        raise ValueError(f"category {category!r} does not exist at difficulty {difficulty!r}")
    for start in range(first, first + count, _CHUNK):
        size = min(_CHUNK, first + count - start)
        rows = workers.call(
            "tasks.worker_mathematics:generate", category, difficulty, seed, start, size, seconds=_SECONDS
        )
        for number, (question, answer) in enumerate(rows, start):
            yield Instance({"question": question}, answer, category, id=f"{category}-{difficulty}-{seed}-{number}")


def _known(difficulty: str) -> None:
    if difficulty not in DIFFICULTIES:
        raise ValueError(f"difficulty must be one of {', '.join(DIFFICULTIES)}: {difficulty!r}")


TASKS = (
    Task(
        name="deepmind_math",
        version=VERSION,
        suite="unseen",
        prompt=prompt,
        sampling=Sampling(max_tokens=2048),
        metric="exact_match",
        aggregate=macro,
        verify=lambda instance, response: check(response, instance.reference),
        shots=shots,
    ),
)
VERIFIERS = (
    Verifier("deepmind_math", VERSION, check, "the answer to a DeepMind Mathematics problem, as text or by value"),
)
