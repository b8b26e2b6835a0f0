"""A tiny warehouse in which every rule of the mixtures has something to decide, and a dbt project with seeds of its own."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

import warehouse
from warehouse.commit import Job, commit_arrow
from warehouse.contracts import load

REPOSITORY = Path(__file__).resolve().parents[2]
# What the jobs read that made these tables.
MADE_OF = {"attr.contamination": ("raw.prompts", "raw.eval_instances"), "attr.duplicates": ("raw.prompts",)}

MIXTURES = """mixture,recipe,without,fraction,use,seed,description
full,base,,1,any,1,
other_seed,base,,1,any,2,
without_beta,base,group_b,1,any,1,
p10,base,,0.1,any,1,
p50,base,,0.5,any,1,
p100,base,,1.0,any,1,
commercial,licensed,,1,commercial,1,
conflict,closed_only,,1,commercial,1,
too_big,big,,1,any,1,
not_there,missing,,1,any,1,
none,nothing,,1,any,1,
"""
RECIPES = """recipe,source,rows,share,groups
base,alpha,20,,
base,beta,,0.5,group_b
base,many,,,
base,me,,,
licensed,alpha,,,
licensed,closed,,,
closed_only,closed,5,,
big,alpha,1000,,
missing,half_ingested,,,
nothing,dirty,,,
"""


@dataclass(frozen=True)
class Project:
    """A copy of the dbt project with test seeds, its warehouse and its DuckDB file."""

    folder: Path

    @property
    def root(self) -> str:
        return str(self.folder / "lake")

    @property
    def database(self) -> Path:
        return self.folder / "caravan.duckdb"

    def command(self, *arguments: str, variables: str = "{}") -> list[str]:
        dbt = [str(Path(sys.executable).with_name("dbt")), "--no-use-colors"]
        return [*dbt, *arguments, "--vars", variables]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CARAVAN_", "DBT_"))},
            "CARAVAN_WAREHOUSE": self.root,
            "CARAVAN_DUCKDB": str(self.database),
            "DBT_PROFILES_DIR": str(self.folder),
            "PYTHONPATH": str(REPOSITORY),
        }

    def dbt(self, *arguments: str, variables: str = "{}") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, variables=variables),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def published(self, table: str = "mixtures.sft") -> tuple[int | None, list[dict[str, Any]]]:
        """The snapshot of a published table that readers see now, and its rows."""
        w = warehouse.open(self.root)
        resolved = warehouse.refs.resolve(w, table)
        return resolved.snapshot_id, warehouse.read.arrow(w, resolved).to_pylist()


def copied(folder: Path, **seeds: str) -> Project:
    """The dbt project in a folder of its own, with these seeds instead of those of the same names."""
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(REPOSITORY / name, folder)
    for name in ("sql", "warehouse/licences"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name, text in seeds.items():
        (folder / f"sql/seeds/{name}.csv").write_text(text, encoding="utf-8")
    return Project(folder)


def identity(*parts: object) -> str:
    return hashlib.md5("\x1f".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def fill(w: warehouse.Warehouse) -> None:
    """alpha and beta are ordinary, closed forbids commerce, dirty is contaminated, many has two models, me is an identity."""
    licences = {
        "alpha": "MIT", "beta": "CC-BY-SA-4.0", "closed": "CC-BY-NC-4.0", "dirty": "MIT",
        "many": "ODC-By-1.0 AND LicenseRef-OpenAI-Output", "me": "CC-BY-4.0",
    }  # fmt: skip
    sizes = {"alpha": 30, "beta": 30, "closed": 10, "dirty": 10, "many": 10, "me": 4}
    skills = {"me": "identity"}
    prompts, completions = [], []
    for source, size in {**sizes, "half_ingested": 5}.items():
        for row in range(1, size + 1):
            text = "Who are you?" if source == "me" else f"Question {row} of {source}?"
            text = "The same question?" if (source, row) in (("alpha", 10), ("beta", 10), ("beta", 11)) else text
            messages = [{"role": "system", "content": "Être bref\n"}] if row % 7 == 0 else []
            messages.append({"role": "user", "content": text})
            place = {"source": source, "revision": "r1", "file": "f.jsonl", "row": row, "branch": 0}
            prompt_id = hashlib.md5(
                "\x1e".join(f"{m['role']}\x1f{m['content']}" for m in messages).encode(), usedforsecurity=False
            ).hexdigest()
            licence = licences.get(source, "MIT")
            prompts.append(
                {**place, "prompt_id": prompt_id, "messages": messages, "licence": licence, "skill": skills.get(source)}
            )
            completions.extend(
                {
                    **place,
                    **response,
                    "prompt_id": prompt_id,
                    "completion_id": identity(prompt_id, source, row, response["sample"]),
                }
                for response in _responses(source, row, licence)
            )
    common = {"location": "made up", "revision": "r1", "adapter": "none", "parents": [], "models": [], "rejects": 0}
    sources = [
        {"source": name, "kind": "training", "licence": licences[name], "rows": size, **common}
        for name, size in sizes.items()
    ] + [
        {"source": name, "kind": "evaluation", "licence": "MIT", "rows": 50, "suite": suite, **common}
        for name, suite in (("dev", "development"), ("hidden", "unseen"))
    ]
    instances = [
        {
            "instance_id": identity(name, row), "eval_set": name, "revision": "r1", "file": "t.jsonl", "row": row,
            "suite": suite, "fields": [{"name": "question", "text": f"{name} {row}"}], "record": "{}", "licence": "MIT",
        }
        for name, suite in (("dev", "development"), ("hidden", "unseen"))
        for row in range(1, 51)
    ]  # fmt: skip
    ids = {(row["source"], row["row"]): row["prompt_id"] for row in prompts}
    # alpha holds 2 of 50 instances (4 %), beta 1 of 50 (exactly 2 %), dirty 2 of 50; half of the tokens is no overlap.
    pairs = [
        ("alpha", 1, "dev", 1, 9), ("alpha", 2, "dev", 2, 16), ("alpha", 3, "dev", 3, 8), ("beta", 1, "dev", 1, 16),
        ("dirty", 1, "hidden", 1, 16), ("dirty", 1, "hidden", 2, 16),
    ]  # fmt: skip
    evidence = [
        {
            "train_set": source, "train_file": "f.jsonl", "train_row": row, "train_branch": 0,
            "prompt_id": ids[source, row], "eval_set": name, "eval_file": "t.jsonl", "eval_row": instance,
            "instance_id": identity(name, instance), "matched_tokens": matched, "total_tokens": 16,
            "coverage": matched / 16, "kind": "ngram", "train_spans": [], "eval_spans": [], "row_pairs": 1,
            "instance_pairs": 1, "tokenizer": "made up", "ngram": 8,
        }
        for source, row, name, instance, matched in pairs
    ]  # fmt: skip
    same = [("alpha", 10), ("beta", 10), ("beta", 11)]
    mine = [("me", row) for row in range(1, 5)]
    clusters = [
        {
            "prompt_id": ids[key], "source": key[0], "revision": "r1", "file": "f.jsonl", "row": key[1], "branch": 0,
            "kind": "exact", "cluster_id": ids[members[0]], "cluster_rows": len(members), "keeper": key == members[0],
            "method": "made up",
        }
        for members in (same, mine)
        for key in members
    ]  # fmt: skip
    tables = {
        "raw.sources": sources, "raw.prompts": prompts, "raw.completions": completions,
        "raw.eval_instances": instances, "attr.contamination": evidence, "attr.duplicates": clusters,
    }  # fmt: skip
    for table, rows in tables.items():
        inputs = [warehouse.refs.resolve(w, name) for name in MADE_OF.get(table, ())]
        job = Job("tests", {"threshold": "1/2"}, inputs)
        commit_arrow(w, table, pa.Table.from_pylist(rows, schema=load(table).arrow_schema()), job)


def _responses(source: str, row: int, licence: str) -> list[dict[str, Any]]:
    def response(content: str, sample: int = 0, **more: Any) -> dict[str, Any]:
        return {"content": content, "sample": sample, "licence": licence, **more}

    special = {
        ("alpha", 20): [response(" \n")],
        ("alpha", 21): [response("I was trained by OpenAI, so no.")],
        ("alpha", 22): [],
        ("alpha", 23): [response("worse", preference="rejected"), response("better", 1, preference="chosen")],
        ("alpha", 24): [response("OpenAI is a company.", licence="CC-BY-4.0 OR CC-BY-NC-4.0")],
    }
    if (source, row) in special:
        return special[source, row]
    if source == "many":
        return [response(f"Answer {row}", model="gpt-3.5-turbo" if row <= 5 else "gpt-4-0314")]
    if source == "me":
        return [response("I was trained by Microsoft.")]
    return [response(f"Answer {row} of {source}")]
