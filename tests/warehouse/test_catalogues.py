"""Where the warehouse lies and what keeps its catalogue."""

from pathlib import Path

import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from warehouse_rows import JOB, contents, prompts

import warehouse
from warehouse.commit import commit_arrow
from warehouse.errors import CaravanError
from warehouse.settings import settings


def test_the_root_is_the_argument_else_the_environment_else_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CARAVAN_WAREHOUSE", raising=False)
    monkeypatch.delenv("CARAVAN_CATALOGUE", raising=False)
    assert settings().root == str(tmp_path / "lake")
    monkeypatch.setenv("CARAVAN_WAREHOUSE", "other")
    assert settings().root == str(tmp_path / "other")
    assert settings("third").root == settings(f"file://{tmp_path}/third").root == str(tmp_path / "third")
    assert settings().catalogue.startswith(f"sqlite:///{tmp_path}/other/catalogue.db")


def test_an_object_store_needs_a_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARAVAN_CATALOGUE", raising=False)
    with pytest.raises(CaravanError, match="CARAVAN_CATALOGUE"):
        settings("s3://bucket/lake")
    monkeypatch.setenv("CARAVAN_CATALOGUE", "postgresql+psycopg2://u@h/d")
    assert settings("s3://bucket/lake/").root == "s3://bucket/lake"
    assert not settings("s3://bucket/lake").local


def test_a_catalogue_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_CATALOGUE", "postgresql+psycopg2://me:hush@127.0.0.1:9/none")
    with pytest.raises(CaravanError, match="cannot be opened") as caught:
        warehouse.open(str(tmp_path))
    assert "hush" not in str(caught.value) and "me@127.0.0.1:9" in str(caught.value)
    monkeypatch.setenv("CARAVAN_CATALOGUE", "http://127.0.0.1:9/")
    with pytest.raises(CaravanError, match=r"http://127\.0\.0\.1:9/ cannot be opened"):
        warehouse.open(str(tmp_path))
    monkeypatch.setenv("CARAVAN_CATALOGUE", "nonsense")
    with pytest.raises(CaravanError, match="nonsense cannot be opened"):
        warehouse.open(str(tmp_path))


def test_two_programs_see_one_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARAVAN_CATALOGUE", raising=False)
    first, second = warehouse.open(str(tmp_path)), warehouse.open(str(tmp_path))
    commit_arrow(first, "raw.prompts", prompts("a", 1), JOB)
    assert contents(second, "raw.prompts") == [("a", 1, "hello 1")]
    assert isinstance(first.catalogue, SqlCatalog) and RestCatalog is not type(first.catalogue)
