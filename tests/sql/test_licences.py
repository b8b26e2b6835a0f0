"""Licence expressions: combination, permitted use, and agreement of Python with the dbt seed's table."""

import itertools

import pytest

from warehouse.errors import CaravanError
from warehouse.licences import PermittedUse, combine, permitted, table


@pytest.mark.parametrize(
    ("expressions", "combined"),
    [
        (["MIT"], "MIT"),
        (["ODC-BY-1.0", "odc-by-1.0"], "ODC-By-1.0"),
        (["MIT", "CC-BY-NC-4.0", "Apache-2.0 AND MIT"], "CC-BY-NC-4.0 AND Apache-2.0 AND MIT"),
        (["MIT OR CC-BY-NC-4.0"], "CC-BY-NC-4.0 OR MIT"),
        (["MIT OR CC-BY-NC-4.0", "CC-BY-SA-4.0"], "CC-BY-SA-4.0 AND (CC-BY-NC-4.0 OR MIT)"),
        (["MIT AND (Apache-2.0 OR GPL-3.0-only AND CC-BY-4.0)"], None),
    ],
)
def test_combination_is_the_same_in_every_order(expressions: list[str], combined: str | None) -> None:
    results = {combine(order) for order in itertools.permutations(expressions)}
    assert len(results) == 1
    (result,) = results
    assert combine([result]) == result
    assert combined in (None, result)


def test_and_binds_tighter_than_or() -> None:
    assert combine(["MIT OR Apache-2.0 AND CC-BY-NC-4.0"]) == "(Apache-2.0 OR MIT) AND (CC-BY-NC-4.0 OR MIT)"
    assert permitted("MIT OR Apache-2.0 AND CC-BY-NC-4.0").commercial
    assert not permitted("(MIT OR Apache-2.0) AND CC-BY-NC-4.0").commercial


def test_permitted_use_is_the_strictest_of_all_terms() -> None:
    assert permitted("MIT") == PermittedUse(True, True, False, ())
    assert permitted("CC-BY-SA-4.0 AND CC0-1.0") == PermittedUse(True, True, True, ())
    assert permitted("ODC-By-1.0 AND LicenseRef-OpenAI-Output") == PermittedUse(False, True, False, ("openai",))
    assert permitted("CC-BY-NC-4.0 OR CC0-1.0") == PermittedUse(True, False, False, ())


@pytest.mark.parametrize("expression", ["", "AND MIT", "MIT AND", "(MIT", "MIT)", "MIT Apache-2.0"])
def test_unreadable_expression(expression: str) -> None:
    with pytest.raises(CaravanError, match="SPDX licence expression"):
        permitted(expression)


def test_unknown_licence_names_the_row_to_add() -> None:
    with pytest.raises(CaravanError, match=r"'Made-Up-1.0'.*licences\.csv"):
        combine(["MIT AND Made-Up-1.0"])


def test_non_commercial_licences_are_stricter_than_all_that_allow_commerce() -> None:
    licences = table().values()
    assert max(one.strictness for one in licences if one.permits.commercial) < min(
        one.strictness for one in licences if not one.permits.commercial
    )
