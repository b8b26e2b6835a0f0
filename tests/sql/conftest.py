"""A dbt project with seeds of its own over a tiny warehouse."""

import shutil

import pytest
from tiny_project import MIXTURES, RECIPES, REPOSITORY, Project, fill

import warehouse


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("dbt")
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(REPOSITORY / name, folder)
    for name in ("sql", "warehouse/licences"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (folder / "sql/seeds/mixtures.csv").write_text(MIXTURES, encoding="utf-8")
    (folder / "sql/seeds/recipes.csv").write_text(RECIPES, encoding="utf-8")
    (folder / "sql/seeds/best_models.csv").write_text("source,model,note\nmany,gpt-4*,\n", encoding="utf-8")
    made = Project(folder)
    fill(warehouse.open(made.root))
    return made
