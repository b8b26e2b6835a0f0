"""Loss and gradient of a step in float64: the same however the step is cut into parts, packed, padded, chunked and spread over ranks."""

import pytest

torch = pytest.importorskip("torch")

from trainers import chat as chats  # noqa: E402
from trainers import models, ops, recompute  # noqa: E402
from trainers.attention import block_mask  # noqa: E402
from trainers.batches import packed, padded  # noqa: E402
from trainers.config import Lora, Model  # noqa: E402
from trainers.losses import MODES, Counts, reduce  # noqa: E402

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(scope="module")
def examples(tokenizer, conversations):
    """Eight short conversations of unequal lengths and numbers of trained tokens."""
    encoded = chats.of(tokenizer, "tulu").encode(conversations)
    chosen = [each for each in encoded if 20 < len(each.tokens) < 300 and each.trained[1:].any()][:8]
    assert len({len(each.tokens) for each in chosen}) >= 6
    return chosen


def scorer(tiny, packing=True, kept="nothing", lora=None):
    model = models.load(Model(path=str(tiny), precision="fp64"), 0, packing=packing, recompute=kept)
    return models.Scorer(models.adapt(model, lora, 0) if lora else model)


def step(model, batches, mode, parts=None):
    """Loss and gradients of the parts of a step, added up."""
    counts = Counts(
        sum(int(batch.mask.sum()) for batch in batches),
        sum(len(batch.sequence[batch.mask].unique()) for batch in batches),
        len(batches),
    )
    model.zero_grad()
    total = 0.0
    for batch in batches:
        share = reduce(-model(batch), batch.mask, mode, counts, batch.sequence)
        share.backward()
        total += share.item()
    return total, {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def assert_same(found, expected, **close):
    torch.testing.assert_close(found[0], expected[0], **(close or CLOSE))
    for name, grad in expected[1].items():
        torch.testing.assert_close(found[1][name], grad, **(close or CLOSE), msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("mode", ["sum", "token_mean", "seq_mean"])
def test_one_step_is_one_step(tiny, examples, mode):
    packing, padding = scorer(tiny), scorer(tiny, packing=False)
    alone = step(packing, [packed([each]) for each in examples], mode)
    assert alone[0] > 1
    assert_same(step(packing, [packed(examples)], mode), alone)
    assert_same(step(packing, [packed(examples[:3]), packed(examples[3:])], mode), alone)
    for side in ("left", "right"):
        assert_same(step(padding, [padded(examples, 2, side)], mode), alone)
        assert_same(step(padding, [padded(examples[:5], 2, side), padded(examples[5:], 2, side)], mode), alone)


@pytest.mark.parametrize("lora", [None, Lora(rank=4, dropout=0.1)])
def test_what_is_kept(tiny, examples, monkeypatch, lora):
    """Computed a second time, dropout included, or kept. As wide as it is, the model has products of both kinds; real ones are wider."""
    monkeypatch.setattr(recompute, "LONG", 32)
    found = {}
    for packing, batch in ((True, packed(examples)), (False, padded(examples, 2))):
        for kept in ("nothing", "cheap", "all"):
            model = scorer(tiny, packing, kept, lora)
            torch.manual_seed(0)
            for name, param in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(param)  # of zeros, the other matrix would have no gradient
            found[packing, kept] = step(model, [batch], "sum")
            assert_same(found[packing, kept], found[packing, "nothing"])
    if not lora:
        assert_same(found[False, "cheap"], found[True, "cheap"])


def test_against_transformers_own_loss(tiny, examples):
    """The definition, without any of our code: logits of each conversation, cross-entropy of its trained tokens, summed."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float64, attn_implementation="sdpa")
    total = torch.zeros((), dtype=torch.float64)
    for each in examples:
        tokens = torch.tensor(each.tokens.astype("int64"))[None]
        labels = tokens.masked_fill(torch.tensor(each.trained)[None] == 0, -100)
        logits = model(tokens).logits[0, :-1]
        total = total + torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum", ignore_index=-100)
    total.backward()
    theirs = {f"model.{name}": p.grad for name, p in model.named_parameters()}
    assert_same(step(scorer(tiny), [packed(examples)], "sum"), (total.item(), theirs))


def test_chunks(tiny, examples, monkeypatch):
    whole = step(scorer(tiny), [packed(examples)], "sum")
    for chunk in (1, 7, 64):
        monkeypatch.setitem(ops.CHUNK, "cpu", chunk * 1000)
        assert_same(step(scorer(tiny), [packed(examples)], "sum"), whole)


def test_a_window(other, examples):
    """Of 16 tokens, which all of the examples are longer than: as transformers computes each alone."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(other, dtype=torch.float64, attn_implementation="sdpa")
    ours, batch = scorer(other), packed(examples)
    expected = []
    for each in examples:
        tokens = torch.tensor(each.tokens.astype("int64"))[None]
        expected.append(model(tokens).logits[0].log_softmax(-1))
    found = ours(batch)[batch.mask]
    right = torch.cat(expected).gather(-1, batch.targets[0].clamp(min=0)[:, None])[:, 0][batch.mask[0]]
    torch.testing.assert_close(found, right, **CLOSE)


def test_sequences_do_not_see_one_another(tiny, examples):
    """The packed function is attention under the mask over the whole row, and a mask of ones is not."""
    from transformers import AutoModelForCausalLM

    batch = packed(examples[:4])
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float64, attn_implementation="sdpa")
    inputs = {"input_ids": batch.tokens, "position_ids": batch.positions}
    ours = scorer(tiny)
    masked = model(**inputs, attention_mask=block_mask(batch.starts)).logits
    open_mask = torch.ones(1, 1, *[batch.tokens.shape[1]] * 2, dtype=torch.bool).tril()
    leaking = model(**inputs, attention_mask=open_mask).logits
    starts = {"cu_seq_lens_q": batch.starts, "cu_seq_lens_k": batch.starts}
    found = ours.model(**inputs, **starts, max_length_q=batch.longest, max_length_k=batch.longest).logits
    torch.testing.assert_close(found, masked, **CLOSE)
    assert (found - leaking).abs().max() > 1e-3


def test_the_mean_of_means(tiny, examples):
    """`tulu_microbatch_mean` depends on how a step is cut, which `token_mean` and `sum` do not."""
    model = scorer(tiny)
    cuts = ([packed(examples)], [packed(examples[:1]), packed(examples[1:])], [packed([each]) for each in examples])
    losses = {mode: [step(model, cut, mode)[0] for cut in cuts] for mode in MODES}
    for mode in ("sum", "token_mean", "seq_mean"):
        assert max(losses[mode]) - min(losses[mode]) < 1e-10 * losses[mode][0]
    wrong = losses["tulu_microbatch_mean"]
    assert abs(wrong[0] - losses["token_mean"][0]) < 1e-10
    assert abs(wrong[1] - wrong[0]) > 1e-4 and abs(wrong[2] - wrong[0]) > 1e-4
    # By hand: the mean over parts of the means of parts.
    means = [step(model, [packed([each])], "token_mean")[0] for each in examples]
    assert abs(wrong[2] - sum(means) / len(means)) < 1e-10


def test_reduction_by_hand():
    losses = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]], dtype=torch.float64)
    mask = torch.tensor([[True, False, True, True, True]])
    sequence = torch.tensor([[0, 0, 0, 1, 1]])
    counts = Counts(tokens=8, sequences=4, parts=2)  # as much again in another part
    found = {mode: reduce(losses, mask, mode, counts, sequence).item() for mode in MODES}
    assert found == {
        "sum": 13,
        "token_mean": 13 / 8,
        "seq_mean": (2 + 4.5) / 4,
        "tulu_microbatch_mean": 13 / 4 / 2,
    }
