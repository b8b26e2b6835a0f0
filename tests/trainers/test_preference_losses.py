"""Losses over pairs, held to numbers worked out from the papers' equations, to their gradients, and to what must not change them."""

import math

import pytest

torch = pytest.importorskip("torch")

from trainers import preference  # noqa: E402
from trainers.preference import Responses, bradley_terry, losses, per_sequence, rewards  # noqa: E402

# log π, log π_ref and |y| of three pairs of responses.
CHOSEN = Responses(
    *(torch.tensor(v, dtype=torch.float64) for v in ([-12.5, -80.0, -3.25], [5, 40, 2], [-14.0, -79.0, -3.25]))
)
REJECTED = Responses(
    *(torch.tensor(v, dtype=torch.float64) for v in ([-20.0, -30.0, -7.5], [8, 12, 3], [-18.0, -33.0, -6.0]))
)
# d = r_c - r_r by hand: dpo 0.1 (1.5 + 2), 0.1 (-1 - 3), 0.1 (0 + 1.5); dpo_norm 5 (0.3 + 0.25), 5 (-0.025 - 0.25), 5 (0 + 0.5);
# simpo 2 (-2.5 + 2.5) - 1, 2 (-2 + 2.5) - 1, 2 (-1.625 + 2.5) - 1; ipo the means' distance less 1 / (2 · 0.5).
DISTANCES = {
    ("dpo", 0.1, 0.0): [0.35, -0.4, 0.15],
    ("dpo_norm", 5.0, 0.0): [2.75, -1.375, 2.5],
    ("simpo", 2.0, 1.0): [-1.0, 0.0, 0.75],
    ("ipo", 0.5, 0.0): [-0.45, -1.275, -0.5],
}
# To 17 digits, by decimal arithmetic.
GOLDEN = {
    ("dpo", 0.1, 0.0): [0.533382155418777, 0.9130152523999526, 0.6209570477895321],
    ("dpo_norm", 5.0, 0.0): [0.061967589003198625, 1.600412651601648, 0.07888973429254963],
    ("simpo", 2.0, 1.0): [1.3132616875182228, 0.6931471805599453, 0.38687100611489994],
    ("ipo", 0.5, 0.0): [0.2025, 1.625625, 0.25],
}


def of(kind, beta, margin=0.0, smoothing=0.0, chosen=CHOSEN, rejected=REJECTED):
    return losses(kind, rewards(kind, chosen, beta), rewards(kind, rejected, beta), beta, margin, smoothing)


@pytest.mark.parametrize("how", GOLDEN, ids=lambda how: how[0])
def test_golden(how):
    kind, beta, margin = how
    expected = [d * d if kind == "ipo" else math.log1p(math.exp(-d)) for d in DISTANCES[how]]
    assert of(kind, beta, margin).tolist() == pytest.approx(expected, rel=1e-14)
    assert expected == pytest.approx(GOLDEN[how], rel=1e-14)


def test_smoothing():
    (found,) = of("dpo", 0.1, smoothing=0.2)[:1].tolist()
    assert found == pytest.approx(0.8 * math.log1p(math.exp(-0.35)) + 0.2 * math.log1p(math.exp(0.35)), rel=1e-14)
    swapped = of("dpo", 0.1, smoothing=0.8, chosen=REJECTED, rejected=CHOSEN)
    assert swapped.tolist() == pytest.approx(of("dpo", 0.1, smoothing=0.2).tolist(), rel=1e-14)


@pytest.mark.parametrize("kind", preference.KINDS)
def test_gradients(kind):
    """Those of finite differences; and a chosen response gains what a rejected one of its length loses."""
    logprobs = [each.logprob.clone().requires_grad_() for each in (CHOSEN, REJECTED)]

    def total(chosen, rejected):
        sides = (
            Responses(chosen, CHOSEN.tokens, CHOSEN.reference),
            Responses(rejected, CHOSEN.tokens, REJECTED.reference),
        )
        return of(kind, 0.5, chosen=sides[0], rejected=sides[1])

    assert torch.autograd.gradcheck(total, logprobs)
    total(*logprobs).sum().backward()
    assert logprobs[0].grad.tolist() == pytest.approx((-logprobs[1].grad).tolist(), rel=1e-14)


def test_the_reference_itself_is_indifferent():
    """Before the first step the policy is the reference: every pair costs log 2, for every kind that has one but IPO."""
    same = [Responses(each.reference, each.tokens, each.reference) for each in (CHOSEN, REJECTED)]
    for kind in ("dpo", "dpo_norm"):
        assert of(kind, 5.0, chosen=same[0], rejected=same[1]).tolist() == pytest.approx([math.log(2)] * 3, rel=1e-15)


def test_far_apart_scores_stay_finite():
    """Where σ is 0 or 1 in floating point."""
    apart = torch.tensor([1e4, -1e4], dtype=torch.float32, requires_grad=True)
    found = bradley_terry(apart, torch.zeros(2))
    found.sum().backward()
    assert found.tolist() == [0.0, 1e4]
    assert apart.grad.tolist() == [0.0, -1.0]


def test_sums_over_sequences():
    values = torch.arange(6, dtype=torch.float64).reshape(2, 3)
    sequence = torch.tensor([[0, 0, 2], [2, 2, 0]])
    assert per_sequence(values, sequence, 4).tolist() == [6.0, 0.0, 9.0, 0.0]
