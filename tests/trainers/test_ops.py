"""Log-probabilities in chunks: equal to log_softmax, gradients checked numerically, and the memory that they take."""

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from trainers.ops import IGNORED, chunk_of, linear_log_prob  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2]


def tensors(tokens=13, width=5, vocabulary=11, kind=torch.float64):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=generator, dtype=kind, requires_grad=True)
    weight = torch.randn(vocabulary, width, generator=generator, dtype=kind, requires_grad=True)
    targets = torch.randint(vocabulary, (tokens,), generator=generator)
    targets[::4] = IGNORED
    return hidden, weight, targets


def plain(hidden, weight, targets, temperature):
    """The definition."""
    logs = (hidden @ weight.T / temperature).log_softmax(-1)
    kept = targets != IGNORED
    logprob = logs.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return logprob * kept, -(logs.exp() * logs).sum(-1) * kept


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("chunk", [1, 3, 13, None])
def test_equal_to_log_softmax(chunk, temperature):
    hidden, weight, targets = tensors()
    found = linear_log_prob(hidden, weight, targets, temperature=temperature, chunk=chunk, entropy=True)
    expected = plain(hidden, weight, targets, temperature)
    factors = torch.randn(2, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for each, right in zip(found, expected, strict=True):
        torch.testing.assert_close(each, right, rtol=1e-12, atol=1e-12)
    ours = torch.autograd.grad(sum((f * e).sum() for f, e in zip(factors, found, strict=True)), [hidden, weight])
    theirs = torch.autograd.grad(sum((f * e).sum() for f, e in zip(factors, expected, strict=True)), [hidden, weight])
    for each, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(each, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("entropy", [False, True])
def test_gradcheck(entropy):
    hidden, weight, targets = tensors(tokens=6, width=3, vocabulary=5)

    def results(h, w):
        found = linear_log_prob(h, w, targets, temperature=0.9, chunk=2, entropy=entropy)
        return found if entropy else found[0]

    assert torch.autograd.gradcheck(results, (hidden, weight))


def test_golden_values():
    """By hand: logits (0, log 3) and (log 4, 0), targets 1 and 1, a target that is ignored."""
    hidden = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]], dtype=torch.float64)
    weight = torch.tensor([[0.0, 4.0], [3.0, 1.0]], dtype=torch.float64).log().nan_to_num(neginf=0.0)
    found, entropy = linear_log_prob(hidden, weight, torch.tensor([1, 1, IGNORED]), entropy=True)
    expected = torch.tensor([3 / 4, 1 / 5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(found, expected.log(), rtol=1e-14, atol=1e-15)
    entropies = [-sum(p * torch.tensor(p).double().log() for p in share) for share in ((0.75, 0.25), (0.8, 0.2))]
    torch.testing.assert_close(
        entropy, torch.stack([*entropies, torch.zeros((), dtype=torch.float64)]), rtol=1e-7, atol=0
    )


def test_shapes_and_nothing_to_train():
    hidden, weight, targets = tensors(tokens=12)
    found, none = linear_log_prob(hidden.view(3, 4, 5), weight, targets.view(3, 4))
    assert found.shape == (3, 4) and none is None
    nothing, _ = linear_log_prob(hidden, weight, torch.full((12,), IGNORED))
    nothing.sum().backward()
    assert nothing.abs().sum() == 0 and hidden.grad.abs().sum() == 0 and weight.grad.abs().sum() == 0


def test_bfloat16_is_reduced_in_float32():
    hidden, weight, targets = tensors(tokens=64, width=64, vocabulary=1000, kind=torch.float32)
    exact, _ = plain(hidden, weight / 8, targets, 1.0)
    found, _ = linear_log_prob(hidden.bfloat16(), weight / 8, targets, chunk=16)
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 0.05
    found.sum().backward()
    assert hidden.grad.dtype == torch.float32 and weight.grad.dtype == torch.float32
    right = torch.autograd.grad(exact.sum(), [hidden, weight])
    for each, exact_grad in zip((hidden.grad, weight.grad), right, strict=True):
        assert (each - exact_grad).norm() < 0.02 * exact_grad.norm()


PEAK = """
import sys, torch
def peak():
    # What getrusage says begins with what the parent of this process had.
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
torch.manual_seed(0)
hidden, weight = torch.randn(1024, 64, requires_grad=True), torch.randn(49152, 64, requires_grad=True)
targets = torch.randint(49152, (1024,))
torch.mm(hidden[:8], weight[:8].T).sum().backward()
open("/proc/self/clear_refs", "w").write("5")
before = peak()
if sys.argv[1] == "plain":
    torch.nn.functional.cross_entropy(hidden @ weight.T, targets, reduction="sum").backward()
else:
    from trainers.ops import linear_log_prob
    linear_log_prob(hidden, weight, targets)[0].sum().neg().backward()
print(peak() - before)
"""


def test_logits_are_never_whole():
    """Peak memory of a process over 1,024 tokens of a vocabulary of 49,152, whose logits are 192 MiB in float32."""
    peaks = {}
    for way in ("plain", "chunks"):
        done = subprocess.run(
            [sys.executable, "-c", PEAK, way], capture_output=True, text=True, check=True, cwd=REPOSITORY
        )
        peaks[way] = int(done.stdout) / 1024
    print(peaks)
    assert peaks["plain"] > 192 > peaks["chunks"]
    assert chunk_of(49_152) * 49_152 * 4 <= 64 << 20
