"""Estimates and the budget that is not passed."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import spend
from inference.models import Card, Price
from inference.request import Request
from inference.spend import Budget, Exhausted
from warehouse.errors import CaravanError

TODAY = datetime.now(UTC).date()
CARD = Card(
    "m",
    "openai",
    "MIT",
    ("http://here/v1",),
    prices=(
        Price(date(2020, 1, 1), 99, 99),
        Price(TODAY - timedelta(days=1), 1, 10),
        Price(TODAY + timedelta(days=2), 50, 50),
    ),
    batch_discount=0.5,
)
ASKED = Request("openai", "m", ({"role": "user", "content": "x" * 84},), parameters={"max_tokens": 1000})


def test_the_worst_case_is_a_bound_at_todays_price():
    tokens = 84 + 2 * spend.TOKENS_A_TURN
    assert spend.most_tokens(ASKED, CARD) == (tokens, 1000)
    assert spend.worst(ASKED, CARD) == pytest.approx((tokens * 1 + 1000 * 10) / 1e6)
    assert spend.worst(ASKED, CARD, batch=True) == pytest.approx((tokens * 1 + 1000 * 10) / 2e6)


@given(st.text(max_size=50))
def test_no_tokenizer_makes_more_tokens_than_bytes(text: str):
    raw = Request("openai", "m", prompt=text.encode("utf-8", "replace").decode())
    assert spend.most_tokens(raw, CARD)[0] >= len(raw.prompt.encode()) + 1


def test_what_cannot_be_known_is_said():
    free = Request("openai", "m", prompt="x")
    assert spend.worst(free, CARD) is None
    with pytest.raises(CaravanError, match="max_tokens"):
        spend.needed(free, CARD)
    with pytest.raises(CaravanError, match="'u' has none"):
        spend.needed(ASKED, Card("u", "openai", "MIT"))
    assert spend.needed(free, Card("m", "openai", "MIT", prices=CARD.prices, output=7)) > 0


def test_estimates_by_model():
    unpriced = Card("u", "openai", "MIT", CARD.urls)
    other = Request("openai", "u", prompt="hello")
    found = spend.estimate([ASKED, ASKED, other], {"m": CARD, "u": unpriced})
    assert (found["m"].requests, found["u"].requests) == (2, 1)
    assert found["m"].worst == pytest.approx(2 * spend.needed(ASKED, CARD))
    assert found["m"].likely is not None and 0 < found["m"].likely < found["m"].worst
    assert (found["u"].likely, found["u"].worst) == (None, None)
    half = spend.estimate([ASKED], {"m": CARD}, batch=True)["m"]
    assert half.likely == pytest.approx(found["m"].likely / 4)


def test_a_budget_waits_for_what_is_released():
    async def run() -> list[str]:
        budget, order = Budget(1.0), []
        await budget.reserve(0.6)

        async def other() -> None:
            await budget.reserve(0.6)
            order.append("reserved")

        waiting = asyncio.create_task(other())
        await asyncio.sleep(0.01)
        order.append("released")
        budget.spent += 0.1
        budget.release(0.6)
        await waiting
        budget.spent += 0.5
        budget.release(0.6)
        with pytest.raises(Exhausted):
            await budget.reserve(0.5)
        budget.doubtful += 0.4
        with pytest.raises(Exhausted):
            await budget.reserve(0.01)
        return order

    assert asyncio.run(run()) == ["released", "reserved"]


def test_no_budget_no_limit():
    budget = Budget(None)
    asyncio.run(budget.reserve(1e9))
    budget.release(1e9)
