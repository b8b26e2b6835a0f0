"""The peers of benchmarks.decontaminate: tools from PyPI that look for evaluations in training text, on the same files.

decontaminate (decon), a library in Rust: `decon.detect(decon.Config(training_dir, evals_dir, report_output_dir, ...))`.
    Training text: JSON lines; the field is `content_key`. Threads take a file each. Evaluations: JSON lines with eval_key,
    eval_instance_index, split, question, doc_id, fingerprint.
    "closest" comes as near to more than half of an instance's 8-grams as its settings go: 15-grams of Unicode words, of
    which every second one is a space, at every position, threshold 0.5, the same for short instances, none of them left
    out that has such a gram. "default" are its own: 5-grams of BPE tokens, every tenth position, threshold 0.8.
corpus-assay, Rust behind a command line: `corpus-assay run --config YAML --input *.parquet --text-key prompt`.
    Each evaluation is a JSON file that the configuration names (`dataset: json`, `data_files`). Processes take a file each.
    Its coverage is of the document, not of the instance, so 8-grams with one hit are as near as it comes: that flags more
    than the definition does.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.corpus import CACHE, REPOSITORY, Corpus
from warehouse.errors import CaravanError

VENV = REPOSITORY / ".cache" / "peers"
PACKAGES = {"decontaminate": "0.3.0.post4", "corpus-assay": "0.1.0"}
DECON = {
    "closest": {
        "ngram_size": 15,
        "tokenizer": "uniseg",
        "sample_every_m_tokens": 1,
        "contamination_score_threshold": 0.5,
        "eval_min_token_length": 15,
        "eval_min_unique_word_count": 1,
        "perfect_match_decay_start": 0,
        "perfect_match_decay_end": 0,
        "eval_dedup": False,
    },
    "default": {},
}
ASSAY = {"ngram": 8, "min_hits": 1, "min_coverage": 0.0}
_DECON_CODE = "import decon, json, sys; print(decon.detect(decon.Config(**json.loads(sys.argv[1]))))"


@dataclass(frozen=True)
class Peer:
    """A command that reads the whole corpus and finds what it calls contaminated."""

    name: str
    settings: dict[str, object]
    cores: int
    command: list[str]
    output: Path  # a folder, deleted before each run
    environment: dict[str, str] = field(default_factory=dict)


def install() -> Path:
    """The Python of an environment that holds the peers. Raises CaravanError, with why, where there can be none."""
    python = VENV / "bin" / "python"
    if not (VENV / "installed").exists():
        shutil.rmtree(VENV, ignore_errors=True)
        _run([_newer_python(), "-m", "venv", str(VENV)])
        _run([str(python), "-m", "pip", "install", "-q", *(f"{name}=={version}" for name, version in PACKAGES.items())])
        (VENV / "installed").touch()
    return python


def _newer_python() -> str:
    """A Python ≥ 3.12, this one or one on PATH that starts (a version manager's stand-in need not)."""
    if sys.version_info >= (3, 12):
        return sys.executable
    for name in ("python3.12", "python3.13"):
        for folder in os.get_exec_path():
            path = shutil.which(name, path=folder)
            if (
                path
                and subprocess.run([path, "-c", "import venv, ensurepip"], check=False, capture_output=True).returncode
                == 0
            ):
                return path
    raise CaravanError("The peers need Python 3.12 or 3.13, and there is none on PATH. Put its folder there.")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise CaravanError(f"{' '.join(command)} failed:\n{done.stdout}")


def peers(corpus: Corpus, python: Path, each: tuple[int, ...]) -> list[Peer]:
    """Each peer on each number of cores, the corpus in the format that it takes."""
    inputs = _inputs(corpus)
    found = []
    for cores in each:
        for name, settings in DECON.items():
            output = inputs / f"decon-{name}-{cores}"
            places = {"training_dir": inputs / "train", "evals_dir": inputs / "evals", "report_output_dir": output}
            given = {
                **{key: str(path) for key, path in places.items()},
                **settings,
                "content_key": "prompt",
                "worker_threads": cores,
            }
            command = [str(python), "-c", _DECON_CODE, json.dumps(given)]
            found.append(Peer(f"decon, {name} settings", settings, cores, command, output))
        output = inputs / f"assay-{cores}"
        command = [
            *(str(python.parent / "corpus-assay"), "run", "--config", str(inputs / "assay.yaml"), "--allow-unpinned"),
            *("--input", str(corpus.train[0].parent), "--text-key", "prompt", "--id-key", "id"),
            *("--workers", str(cores), "--out-dir", str(output), "--index-cache-dir", str(output / "index")),
        ]
        # Everything that it keeps is deleted with the output, so that each run builds the index.
        environment = {"HF_HOME": str(output / "hub"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
        found.append(Peer("corpus-assay", dict(ASSAY), cores, command, output, environment))
    return found


def flagged(peer: Peer) -> int:
    """How many training rows a run flagged."""
    if peer.name == "corpus-assay":
        return int(json.loads((peer.output / "_FINAL_SUMMARY.json").read_text(encoding="utf-8"))["total_contaminated"])
    rows = set()
    for report in peer.output.glob("*.jsonl"):
        for line in report.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            rows.add((found["training_file"], found["training_line"]))
    return len(rows)


def _inputs(corpus: Corpus) -> Path:
    """The corpus as the peers take it, in the cache."""
    folder = CACHE / f"{Path(corpus.folder).name}-peers"
    if (folder / "assay.yaml").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("train", "evals"):
        (folder / part).mkdir(parents=True)
    for file in corpus.train:
        prompts = pq.read_table(file, columns=["prompt"])["prompt"].to_pylist()
        with (folder / "train" / f"{file.stem}.jsonl").open("w", encoding="utf-8") as lines:
            lines.writelines(json.dumps({"prompt": prompt}, ensure_ascii=False) + "\n" for prompt in prompts)
    number = 0
    for file in corpus.evals:
        with file.open(encoding="utf-8") as source, (folder / "evals" / file.name).open("w", encoding="utf-8") as lines:
            for index, line in enumerate(source):
                question = json.loads(line)["prompt"]
                record = {
                    "eval_key": file.stem,
                    "eval_instance_index": index,
                    "split": "test",
                    "question": question,
                    "doc_id": number,
                    "fingerprint": hashlib.sha256(question.encode()).hexdigest()[:16],
                }
                lines.write(json.dumps(record, ensure_ascii=False) + "\n")
                number += 1
    benchmarks = [
        {
            "name": file.stem,
            "dataset": "json",
            "data_files": {"test": str(file)},
            "splits": ["test"],
            "fields": ["prompt"],
        }
        for file in corpus.evals
    ]
    # JSON is YAML.
    (folder / "assay.yaml").write_text(json.dumps({"benchmarks": benchmarks, **ASSAY}), encoding="utf-8")
    return folder
