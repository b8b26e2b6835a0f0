"""Spark: the context and the session, and how a job reads a reference and writes files to commit. The only module here that imports pyspark."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark import SparkConf, SparkContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

# Little is imported here, so that a job can start Java first and import the rest of what it needs while that starts.
if TYPE_CHECKING:
    from py4j.java_gateway import JavaObject

    from warehouse.refs import Resolved

_CONFIGURATION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    # Iceberg says s3://, Hadoop's client is registered for s3a:// alone.
    "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
    "spark.log.level": "ERROR",
    # Tasks write files of their own, and two attempts at one would write the same.
    "spark.speculation": "false",
    # Without a limit the text of a plan that holds others, kept or asked again, takes more memory than the driver has.
    "spark.sql.maxPlanStringLength": "100000",
}


def context(name: str) -> SparkContext:
    """The Spark context of a job that works on files rather than DataFrames. Master and errors are as for `session`."""
    return SparkContext.getOrCreate(SparkConf().setAppName(name).setAll(list(_settings().items())))


def session(name: str, configuration: Mapping[str, str] | None = None) -> SparkSession:
    """The Spark session of a job. The master is spark-submit's (`--master`), else all cores of this machine.

    Raises CaravanError where no Java can be found or fetched.
    """
    builder = SparkSession.builder.appName(name)
    for key, value in {**_settings(), **(configuration or {})}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def _settings() -> dict[str, str]:
    """What every job sets, Java found."""
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit started this process
        return _CONFIGURATION
    from warehouse.java import ensure_java

    ensure_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return {**_CONFIGURATION, "spark.ui.enabled": "false"}


def read(spark: SparkSession, resolved: "Resolved") -> DataFrame:
    """The rows of a reference, columns in the contract's order; empty where it has no files."""
    from warehouse import contracts

    reader = spark.read.schema(contracts.load(resolved.table).spark_ddl())
    if not resolved.files:
        return spark.createDataFrame([], contracts.load(resolved.table).spark_ddl())
    return reader.parquet(*(hadoop(path) for path in resolved.files))


def write(df: DataFrame, directory: str, partition: str | None = None) -> list[str]:
    """Write Parquet under `directory` and return the files. With `partition`, each file holds one value of that column."""
    writer = df.write
    if partition is not None:
        # Spark drops the column that it splits by from the files, so it splits by a copy.
        writer = df.withColumn("_partition", F.col(partition)).write.partitionBy("_partition")
    writer.mode("append").parquet(hadoop(directory))
    return _files(df.sparkSession, directory)


def hadoop(path: str) -> str:
    """A local path says that it is local: on a cluster a bare path means the cluster's file system."""
    return f"file://{path}" if path.startswith("/") else path


def _files(spark: SparkSession, directory: str) -> list[str]:
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    folder: JavaObject = jvm.org.apache.hadoop.fs.Path(hadoop(directory))
    configuration = spark.sparkContext._jsc.hadoopConfiguration()
    listing = folder.getFileSystem(configuration).listFiles(folder, True)
    found = []
    while listing.hasNext():
        path = listing.next().getPath().toString()
        if path.endswith(".parquet"):
            found.append("/" + path.removeprefix("file:").lstrip("/") if path.startswith("file:") else path)
    if directory.startswith("/"):
        # Hadoop's check sums beside local files would be litter in the table's folder.
        for litter in Path(directory).rglob("*.crc"):
            litter.unlink()
    return sorted(found)
