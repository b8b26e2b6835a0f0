"""How different the prompts of a source are from each other: figures that are the same for the same rows, whatever the machine.

Distinct n-grams and duplicates depend on how many texts there are, so sources are compared on equally many, chosen by hash.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines import duplicates
from pipelines.synthesis.choice import ranked

LONGEST = 4  # words of an n-gram
COMPARED = 500  # texts that are compared each with each
THRESHOLD = 0.8  # least Jaccard similarity of near duplicates


@dataclass(frozen=True)
class Diversity:
    """Figures of a source over `prompts` texts, most of them shares.

    `distinct` are distinct n-grams of words over all n-grams, n from 1 to LONGEST. `similarity` is the mean Jaccard similarity of
    the words of two texts, `nearest` that of a text and the one most like it, both over the first COMPARED texts. `equal` and `near`
    are the texts that are repetitions of another: equal after normalisation, or in its cluster of near duplicates.
    """

    source: str
    prompts: int
    words: float  # mean of a text
    distinct: tuple[float, ...]
    similarity: float
    nearest: float
    equal: float
    near: float


def sample(prompts: DataFrame, source: str, size: int, seed: int) -> DataFrame:
    """raw.prompts -> normalised rows of `size` prompts of the source, with their `place`."""
    rows = duplicates.normalised(duplicates.user_turns(prompts.where(F.col("source") == source)))
    keyed = rows.withColumn("key", F.concat_ws("\x1f", "file", "row", "branch"))
    return ranked(keyed, "key", seed).where(F.col("place") < size)


def measured(rows: DataFrame, source: str) -> Diversity:
    """The figures of the rows of `sample`."""
    tokens = rows.select(F.regexp_extract_all("text", F.lit(r"(?U)\w+"), F.lit(0)).alias("tokens"))
    size, words = tokens.agg(F.count("*"), F.sum(F.size("tokens"))).collect()[0]
    compared = rows.where(F.col("place") < COMPARED).orderBy("place").select("text").collect()
    similarity, nearest = self_similarity([row.text for row in compared])
    found = duplicates.within(rows.drop("place", "key"), THRESHOLD)
    dropped = {row.kind: row["count"] for row in found.where("not keeper").groupBy("kind").count().collect()}
    return Diversity(
        source,
        size,
        round(words / size, 1),
        tuple(_distinct(tokens, n) for n in range(1, LONGEST + 1)),
        similarity,
        nearest,
        round(dropped.get("exact", 0) / size, 4),
        round(dropped.get("near", 0) / size, 4),
    )


def self_similarity(texts: Sequence[str]) -> tuple[float, float]:
    """(mean Jaccard similarity of two texts' words, mean of each text's with the most similar other); (0, 0) for less than two."""
    if len(texts) < 2:
        return 0.0, 0.0
    words = [set(text.split()) for text in texts]
    place = {word: index for index, word in enumerate(sorted(set().union(*words)))}
    has = np.zeros((len(texts), len(place)), dtype=np.float32)
    for row, own in enumerate(words):
        has[row, [place[word] for word in own]] = 1
    both = has @ has.T  # whole numbers far below 2**24: exact
    sizes = has.sum(axis=1)
    jaccard = both / (sizes[:, None] + sizes[None, :] - both)
    np.fill_diagonal(jaccard, 0)
    count = len(texts)
    mean = float(jaccard.astype(np.float64).sum()) / (count * (count - 1))
    return round(mean, 4), round(float(jaccard.max(axis=1).astype(np.float64).mean()), 4)


def _distinct(tokens: DataFrame, n: int) -> float:
    """Distinct n-grams over all n-grams."""
    starts = F.sequence(F.lit(1), F.size("tokens") - (n - 1))
    grams = F.transform(starts, lambda start: F.array_join(F.slice("tokens", start, n), " "))
    every = tokens.where(F.size("tokens") >= n).select(F.explode(grams).alias("gram"))
    total, distinct = every.agg(F.count("*"), F.count_distinct("gram")).collect()[0]
    return round(distinct / total, 4) if total else 0.0
