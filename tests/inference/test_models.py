"""Model cards: the built-in ones, a user's own, prices by date, and what is said of a card that is wrong."""

from datetime import date

import pytest

from inference.models import NOBODY, Card, Price, cards, cost, find, price
from pipelines import registry
from warehouse import licences
from warehouse.errors import CaravanError

KEY = "sk-planted-4f2b77c1d0e94aa8b3"


@pytest.fixture
def own(tmp_path):
    """Cards with a user's file of this text."""

    def read(text):
        path = tmp_path / "own.toml"
        path.write_text(text, encoding="utf-8")
        return cards(path)

    return read


def test_built_in_cards_hold_together():
    built_in = cards()
    assert {"gpt-4o-2024-08-06", "claude-3-5-sonnet-20240620", "llama-3.1-8b-instruct"} <= set(built_in)
    for name, card in built_in.items():
        assert card.name == name
        assert card.terms, f"{name} says nothing of its terms"
        assert all(each.input <= each.output for each in card.prices)
        assert [each.since for each in card.prices] == sorted({each.since for each in card.prices})
        hosted = bool(card.urls)
        assert (card.key is not None, card.batch_discount == 0.5) == (hosted, hosted)
        assert hosted or not card.prices, f"{name}: weights that anybody may serve have no price"


def test_what_binds_the_text_agrees_with_the_terms_that_ingestion_uses():
    terms = registry.load().terms
    for card in cards().values():
        known = registry.terms_of(card.served, terms)
        if known is None:
            # No pattern knows the name: the card alone says so, and a licence of weights binds nothing.
            continue
        assert licences.combine([card.text_licence or "CC0-1.0"]) == licences.combine(known or ["CC0-1.0"]), card.name


def test_a_price_holds_from_its_day_on():
    card = cards()["gpt-4o"]
    assert price(card, date(2024, 5, 12)) is None
    assert price(card, date(2024, 10, 1)) == Price(date(2024, 5, 13), 5.0, 15.0)
    assert price(card, date(2024, 10, 2)) == Price(date(2024, 10, 2), 2.5, 10.0)


def test_cost_of_tokens_alone_and_in_a_batch():
    card, day = cards()["gpt-4o-mini-2024-07-18"], date(2025, 1, 1)
    assert cost(card, 1_000_000, 500_000, day) == pytest.approx(0.15 + 0.30)
    assert cost(card, 1_000_000, 500_000, day, batch=True) == pytest.approx(0.225)
    assert cost(cards()["llama-3.1-8b-instruct"], 10, 10, day) is None
    undiscounted = Card("x", "openai", "Apache-2.0", prices=(Price(date(2024, 1, 1), 1.0, 2.0),))
    assert cost(undiscounted, 1_000_000, 0, day, batch=True) == 1.0


def test_a_user_adds_a_card_and_completes_a_built_in_one(own):
    found = own(
        """
        [model.my-checkpoint]
        provider = "openai"
        urls = ["http://gpu1:8000/v1/", "http://gpu2:8000/v1"]
        licence = "LicenseRef-Llama-3.1-Community"
        prices = [{ since = 2025-01-31, input = 0, output = 0.5 }]
        renames = { max_tokens = "max_completion_tokens" }

        [model."llama-3.1-8b-instruct"]
        urls = "http://localhost:8000/v1"
        """
    )
    mine = found["my-checkpoint"]
    assert mine.urls == ("http://gpu1:8000/v1", "http://gpu2:8000/v1")
    assert (mine.served, mine.secret(), mine.renames) == (
        "my-checkpoint",
        NOBODY,
        {"max_tokens": "max_completion_tokens"},
    )
    assert cost(mine, 10, 2_000_000, date(2025, 2, 1)) == 1.0
    llama = find(found, "llama-3.1-8b-instruct")
    assert (llama.urls, llama.served) == (("http://localhost:8000/v1",), "meta-llama/Llama-3.1-8B-Instruct")
    assert llama.licence == cards()["llama-3.1-8b-instruct"].licence


def test_a_user_takes_a_key_of_a_built_in_card_away(own):
    assert own('[model.gpt-4o]\nkey = ""')["gpt-4o"].secret() == NOBODY


def test_the_key_comes_from_the_environment(monkeypatch):
    card = cards()["gpt-4o"]
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(CaravanError, match="export OPENAI_API_KEY"):
        card.secret()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert card.secret() == KEY
    assert KEY not in repr(card)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[model.x]\nprovider = 'openai'\nlicence = 'MIT'\nurl = 'http://x'",
            r"own.toml: the key 'url' of \[model.x\] is unknown",
        ),
        ("[model.x]\nlicence = 'MIT'", r"'provider' of \[model.x\] is missing"),
        ("[model.x]\nprovider = 'openai'", r"'licence' of \[model.x\] is missing"),
        ("[model.x]\nprovider = 'cohere'\nlicence = 'MIT'", "one of openai, anthropic"),
        ("[model.x]\nprovider = 'openai'\nlicence = 'Mine'", "'licence' of .*'Mine'"),
        ("[model.gpt-4o]\ncontext = '8k'", "'context' .* kind int"),
        ("[model.gpt-4o]\ncontext = true", "'context' .* kind int"),
        ("[model.gpt-4o]\nbatch_discount = 50", "a share from 0 to 1"),
        ("[model.gpt-4o]\nrequests_per_minute = 0", "whole number from 1"),
        ("[model.gpt-4o]\nurls = ['localhost:8000']", "begin with http"),
        ("[model.gpt-4o]\nprices = [{ input = 1, output = 2 }]", "'prices' .* since = "),
        ("[model.llama-3.1]\nprovider = 'openai'", "in quotes where the name has a dot"),
        ("[modell.x]", "'modell' is no model card"),
        ("[model.x\n", "own.toml is not valid TOML"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(own, text, words):
    with pytest.raises(CaravanError, match=words):
        own(text)


@pytest.mark.parametrize(
    "text", [f"key = '{KEY}'", f"urls = ['https://me:{KEY}@host/v1']", f"urls = ['https://host/v1?key={KEY}']"]
)
def test_a_key_in_a_card_is_refused_and_not_repeated(own, text):
    with pytest.raises(CaravanError, match=r"environment variable|credentials") as refused:
        own(f"[model.gpt-4o]\n{text}")
    assert KEY not in str(refused.value)


def test_an_unknown_model_gets_a_hint_and_a_missing_file_its_name(tmp_path):
    with pytest.raises(CaravanError, match=r"no model card 'gpt-4o-2024-08-60'. Did you mean gpt-4o-2024-08-06"):
        find(cards(), "gpt-4o-2024-08-60")
    with pytest.raises(CaravanError, match=r'has no urls.*\[model."llama-3.1-8b-instruct"\]'):
        find(cards(), "llama-3.1-8b-instruct")
    with pytest.raises(CaravanError, match="no file of model cards"):
        cards(tmp_path / "none.toml")
