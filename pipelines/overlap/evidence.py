"""From the records of the scan to evidence: Spark, no text of training rows is shuffled."""

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from pipelines.overlap import task

_KEYS = ("train_set", "train_file", "train_row", "train_branch", "prompt_id")
_INSTANCE = ("eval_set", "eval_file", "eval_row", "instance_id")


def scan(spark: SparkSession, plan: task.Plan) -> DataFrame:
    """The records of the scan (`task.SCHEMA`): one task for each split, the plan by broadcast."""
    shared = spark.sparkContext.broadcast(plan)

    def run(batches):  # type: ignore[no-untyped-def]
        yield from task.run(shared.value, (number for batch in batches for number in batch.column(0).to_pylist()))

    schema = from_arrow_schema(task.SCHEMA)
    return spark.range(0, len(plan.splits), 1, len(plan.splits)).mapInArrow(run, schema)


def evidence(records: DataFrame, tokenizer: str, ngram: int) -> DataFrame:
    """Pairs to keep, as attr.contamination has them: the best of each row, and the best of each instance."""
    same_instance = Window.partitionBy("train_set", "instance")
    best_first = same_instance.orderBy(
        F.desc_nulls_last("matched_tokens"), "train_file", "train_row", "train_branch", "eval_file", "eval_row"
    )
    return (
        records.where(F.col("record").isin("pair", "count"))
        .withColumn("instance_pairs", F.sum("pairs").over(same_instance))
        .withColumn("place", F.row_number().over(best_first))
        .where((F.col("record") == "pair") & (F.col("row_kept") | (F.col("place") == 1)))
        .select(
            *_KEYS,
            *_INSTANCE,
            "matched_tokens",
            "total_tokens",
            "coverage",
            "kind",
            "train_spans",
            "eval_spans",
            "row_pairs",
            "instance_pairs",
            F.lit(tokenizer).alias("tokenizer"),
            F.lit(ngram).alias("ngram"),
        )
    )


def examples(records: DataFrame, each: int) -> DataFrame:
    """The pairs with the highest coverage of each training set and evaluation, with how the training text begins."""
    best_first = Window.partitionBy("train_set", "eval_set").orderBy(
        F.desc("coverage"), F.desc("total_tokens"), "train_file", "train_row", "train_branch", "eval_file", "eval_row"
    )
    return (
        records.where("record = 'pair'")
        .withColumn("place", F.row_number().over(best_first))
        .where(F.col("place") <= each)
        .select(
            "train_set", "train_file", "train_row", "eval_set", "eval_row", "instance", "coverage", "kind", "detail"
        )
        .orderBy("train_set", "eval_set", "place")
    )


def parts(records: DataFrame) -> DataFrame:
    """How many rows of each training set were read, and how many records could not be; or what failed, in `detail`."""
    return (
        records.where("record in ('part', 'reject', 'failure')")
        .groupBy("train_set")
        .agg(
            F.sum("pairs").cast("long").alias("rows"),
            F.sum("textless").cast("long").alias("textless"),
            F.count_if(F.col("record") == "reject").alias("rejects"),
            F.min(F.when(F.col("record") == "failure", F.col("detail"))).alias("failure"),
        )
        .orderBy("train_set")
    )


def rejects(records: DataFrame) -> DataFrame:
    """Records that could not be read."""
    return records.where("record = 'reject'").select(
        "train_set",
        "train_file",
        "train_row",
        F.get_json_object("detail", "$.reason").alias("reason"),
        F.get_json_object("detail", "$.content").alias("content"),
    )
