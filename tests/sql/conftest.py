"""A dbt project with seeds of its own over a tiny warehouse."""

import pytest
from tiny_project import MIXTURES, RECIPES, Project, copied, fill

import warehouse


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    best = "source,model,note\nmany,gpt-4*,\n"
    made = copied(tmp_path_factory.mktemp("dbt"), mixtures=MIXTURES, recipes=RECIPES, best_models=best)
    fill(warehouse.open(made.root))
    return made
