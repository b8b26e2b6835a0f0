"""Data sets of the Hugging Face hub, streamed shard by shard through `datasets`; nothing is downloaded whole."""

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.readers import Record
from pipelines.registry import Source
from warehouse.errors import CaravanError


@dataclass(frozen=True)
class Shard:
    """Shard `index` of `count` of a split of a data set at a commit; `count` is what `datasets` says the files allow."""

    hub: str
    config: str | None
    split: str
    revision: str | None
    options: Mapping[str, Any]
    index: int
    count: int

    @property
    def file(self) -> str:
        """Its name in the tables."""
        parts = (self.config, self.split, f"{self.index:05d}-of-{self.count:05d}")
        return "/".join(part for part in parts if part)


def is_local(source: Source) -> bool:
    """Whether the hub id is a folder on this machine, which `datasets` reads the same way."""
    return os.path.isdir(source.hub or "")


def commit_of(source: Source) -> str:
    """The commit of the hub repository that the source's revision is now. Raises CaravanError where it cannot be asked."""
    try:
        from huggingface_hub import HfApi

        sha = HfApi().dataset_info(source.hub or "", revision=source.revision).sha
    except Exception as error:
        raise _explained(source.hub or "", error, source.gated) from error
    return str(sha)


def shards(source: Source, revision: str) -> list[Shard]:
    """The shards of a source's split; of all its configurations where `config` is "*"."""
    at = None if is_local(source) else revision
    configs = [source.config] if source.config != "*" else _configs(source, at)
    found = []
    for config in configs:
        whole = Shard(source.hub or "", config, source.split, at, dict(source.options), 0, 1)
        count = _open(whole, source.gated).num_shards
        found += [Shard(whole.hub, config, source.split, at, whole.options, i, count) for i in range(count)]
    return found


def records(shard: Shard) -> Iterator[Record]:
    """The records of a shard, streamed and numbered from 1."""
    stream = _open(shard, gated=False)
    if shard.count > 1:
        stream = stream.shard(num_shards=shard.count, index=shard.index)
    try:
        for row, value in enumerate(stream, 1):
            yield Record(row, value)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise _explained(shard.hub, error, gated=False) from error


def _configs(source: Source, revision: str | None) -> list[str]:
    try:
        from datasets import get_dataset_config_names

        return sorted(get_dataset_config_names(source.hub or "", revision=revision))
    except Exception as error:
        raise _explained(source.hub or "", error, source.gated) from error


def _open(shard: Shard, gated: bool) -> Any:
    try:
        from datasets import load_dataset

        return load_dataset(
            shard.hub, shard.config, split=shard.split, revision=shard.revision, streaming=True, **shard.options
        )
    except Exception as error:
        raise _explained(shard.hub, error, gated) from error


def _explained(name: str, error: Exception, gated: bool) -> CaravanError:
    """What a failure of the hub means for the user; the libraries raise many types for the same few causes."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    said = str(error).strip().split("\n")[0][:300]
    if isinstance(error, ImportError):
        return CaravanError(
            f"Reading {name} needs the packages datasets and huggingface-hub ({said}): pip install 'caravan-recipe[hub]'."
        )
    if (
        gated and kinds & {"GatedRepoError", "DatasetNotFoundError", "RepositoryNotFoundError", "HfHubHTTPError"}
    ) or "GatedRepoError" in kinds:
        return CaravanError(
            f"The data set {name} is gated. Accept its terms at https://huggingface.co/datasets/{name}, then log in with "
            "`hf auth login` or set HF_TOKEN (on every executor), and run this again; or download it and give the files with --input."
        )
    if kinds & {"RevisionNotFoundError"}:
        return CaravanError(f"The data set {name} has no such revision ({said}). Correct `revision` in the registry.")
    if kinds & {"DatasetNotFoundError", "RepositoryNotFoundError", "HFValidationError"}:
        return CaravanError(
            f"There is no data set {name} on the hub, or it is private ({said}). Check the id, or log in with `hf auth login`."
        )
    if kinds & {
        "ConnectionError",
        "OfflineModeIsEnabled",
        "LocalEntryNotFoundError",
        "TransportError",
        "TimeoutError",
        "HfHubHTTPError",
    }:
        return CaravanError(
            f"The Hugging Face hub could not be reached for {name} ({type(error).__name__}: {said}). Check the network, or download "
            "the data set elsewhere and give its files with --input."
        )
    return CaravanError(
        f"Reading {name} through datasets failed: {type(error).__name__}: {said}. Check config, split and options in the registry."
    )
