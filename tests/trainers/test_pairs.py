"""Losses over pairs, computed of a model in float64: the same as TRL's, and the same however pairs are cut, packed, padded and passed."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from trainers import chat as chats  # noqa: E402
from trainers import data, dpo, models, reward_model, sources  # noqa: E402
from trainers.config import Dpo, Model, RewardModel  # noqa: E402
from trainers.dpo import Cached, Live, Preference  # noqa: E402
from trainers.loop import Units  # noqa: E402
from trainers.losses import Counts  # noqa: E402
from trainers.preference import response_logprobs  # noqa: E402
from trainers.reward_model import Ranking  # noqa: E402
from warehouse.errors import CaravanError  # noqa: E402

CPU = torch.device("cpu")
PAIRS = 6
KINDS = {
    "dpo": {"beta": 0.1, "smoothing": 0.1},
    "dpo_norm": {"beta": 5.0},
    "simpo": {"beta": 2.0, "margin": 1.0},
    "ipo": {"beta": 0.5},
}
TRL = {"dpo": "sigmoid", "dpo_norm": "sigmoid_norm", "ipo": "ipo"}


class Engine:
    """As much of one as an objective needs."""

    def __init__(self, scorer):
        self.scorer = scorer


@pytest.fixture(scope="module")
def examples(tokenizer, pairs_file, tmp_path_factory):
    how = data.How(chats.of(tokenizer, "tulu"), 384, pairs=True)
    found = data.tokens(sources.find([str(pairs_file)]), how, tmp_path_factory.mktemp("tokens"), 1, quiet=True)
    assert len(found) > 2 * 3 * PAIRS
    return found


def recipe(kind, path, **changes):
    engine = {"tokens_per_part": 768, **changes.pop("engine", {})}
    return kind.model_validate(
        {
            "stage": "dpo" if kind is Dpo else "reward_model",
            "model": {"path": str(path), "precision": "fp64"},
            "data": {"max_length": 384},
            "engine": engine,
            **changes,
        }
    )


def units(made, examples, pad=2):
    return Units(made, examples, pad, CPU)


def preference(made, of, reference=None):
    """The objective and the model that it is computed of, whose head is not the reference's."""
    scorer = models.of(made)
    with torch.no_grad():
        scorer.head.mul_(1.5)
    if made.train.loss != "simpo" and reference is None:
        reference = Live(made, CPU)
    return Preference(made.train, of, reference), Engine(scorer)


def step(objective, engine, of, parts):
    """Sums and gradients of a step in these parts."""
    counts = Counts(0, sum(map(len, parts)), len(parts))
    total = torch.zeros(len(objective.names), dtype=torch.float64)
    engine.scorer.zero_grad()
    shares = 0.0
    for part in parts:
        share, sums = objective.part(engine, of.batches(part), np.array(part, dtype=np.int64), counts)
        share.backward()
        shares, total = shares + share.item(), total + sums
    metrics = objective.metrics(dict(zip(objective.names, total.tolist(), strict=True)), counts)
    assert metrics["loss"] == pytest.approx(shares, rel=1e-12)
    return metrics, {n: p.grad.clone() for n, p in engine.scorer.named_parameters() if p.grad is not None}


def assert_same(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-10, abs=1e-12)
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


WHOLE, CUT = [list(range(PAIRS))], [[4, 0], [], [1, 2, 5], [3]]


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_is_one_step(tiny, examples, kind):
    how = {"loss": kind, **KINDS[kind]}
    made = recipe(Dpo, tiny, train=how)
    of = units(made, examples)
    right = step(*preference(made, of), of, WHOLE)
    assert right[0]["loss"] > 0.01 and max(g.abs().max() for g in right[1].values()) > 1e-3
    assert_same(step(*preference(made, of), of, CUT), right)
    for engine in ({"forward": "concatenated"}, {"packing": False}, {"packing": False, "forward": "concatenated"}):
        other = recipe(Dpo, tiny, train=how, engine=engine)
        of_other = units(other, examples)
        assert_same(step(*preference(other, of_other), of_other, CUT), right)


def test_one_step_of_a_reward_model_is_one_step(tiny, examples):
    made = recipe(RewardModel, tiny)
    of = units(made, examples)
    right = step(Ranking(of), Engine(models.rater(made)), of, WHOLE)
    assert "score.weight" in next(name for name in right[1] if "score" in name)
    assert_same(step(Ranking(of), Engine(models.rater(made)), of, CUT), right)
    for engine in ({"forward": "concatenated"}, {"packing": False}, {"packing": False, "forward": "concatenated"}):
        other = recipe(RewardModel, tiny, engine=engine)
        of_other = units(other, examples)
        assert_same(step(Ranking(of_other), Engine(models.rater(other)), of_other, CUT), right)


def test_a_reference_that_is_known(tiny, examples):
    """Log-probabilities that were computed before are, to the bit, those of a model that computes them with each part."""
    for packing in (True, False):
        made = recipe(Dpo, tiny, engine={"packing": packing})
        of = units(made, examples)
        pairs = np.arange(PAIRS)
        known = torch.stack(Live(made, CPU)(of.batches(pairs), pairs), 1)
        everything = torch.full((len(of.lengths), 2), float("nan"), dtype=torch.float64)
        everything[pairs] = known
        live = step(*preference(made, of), of, WHOLE)
        cached = step(*preference(made, of, Cached(everything)), of, WHOLE)
        assert cached[0] == live[0]
        assert all(torch.equal(cached[1][name], gradient) for name, gradient in live[1].items())


def test_scores_are_those_of_transformers(tiny, examples):
    """Of each conversation alone, at its last token and not at padding, whichever side that is on."""
    from trainers.batches import padded

    made = recipe(RewardModel, tiny)
    rater, alone = models.rater(made).eval(), models.rater(recipe(RewardModel, tiny, engine={"packing": False})).eval()
    expected = [
        alone.model(torch.tensor(examples[i].tokens.astype("int64"))[None]).logits[0, 0].item() for i in range(8)
    ]
    assert np.std(expected) > 1e-3
    (chosen, rejected) = (rater(batch) for batch in units(made, examples).batches([0, 1, 2, 3]))
    assert torch.stack([chosen, rejected], 1).flatten().tolist() == pytest.approx(expected, rel=1e-10)
    for side in ("left", "right"):
        batch = padded([examples[i] for i in range(8)], 2, side)
        assert alone(batch).tolist() == pytest.approx(expected, rel=1e-10)


def test_the_head_is_drawn_by_the_seed(tmp_path, tokenizer):
    """From a normal distribution of standard deviation 1 / √(d + 1), and nothing is dropped."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64, hidden_size=1024, intermediate_size=8, num_hidden_layers=1, attention_dropout=0.5
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    heads = [models.load(Model(path=str(tmp_path)), seed, scalar=True, dropout=False) for seed in (1, 1, 2)]
    first, again, other = (made.score.weight.detach().float() for made in heads)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.std().item() == pytest.approx((1024 + 1) ** -0.5, rel=0.1) and abs(first.mean()) < 0.003
    assert heads[0].config.attention_dropout == 0
    assert models.of(recipe(Dpo, tmp_path)).model.config.attention_dropout == 0


@pytest.fixture(scope="module")
def batch_of_trl(tiny, examples):
    """Pairs whose sides share the tokens of their prompt, as TRL wants them, and their numbers."""
    found, numbers = [], []
    for pair in range(len(examples) // 2):
        sides = [examples[2 * pair], examples[2 * pair + 1]]
        prompts = [side.tokens[: side.trained.argmax()].tolist() for side in sides]
        if prompts[0] == prompts[1]:
            ids = [side.tokens[len(prompts[0]) :].tolist() for side in sides]
            found.append({"prompt_ids": prompts[0], "chosen_ids": ids[0], "rejected_ids": ids[1]})
            numbers.append(pair)
    assert len(found) >= PAIRS
    return found[:PAIRS], numbers[:PAIRS]


@pytest.mark.parametrize("kind", TRL)
def test_equal_to_trl(tiny, examples, batch_of_trl, tokenizer, tmp_path, kind):
    """Loss and gradient of its DPOTrainer, whose reference is another model than its policy."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    rows, numbers = batch_of_trl
    how = {"loss": kind, "beta": KINDS[kind]["beta"]}
    made = recipe(Dpo, tiny, train=how)
    of = units(made, examples)
    objective, engine = preference(made, of)
    found, gradient = step(objective, engine, of, [numbers])
    theirs = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float64)
    theirs.load_state_dict(engine.scorer.model.state_dict())
    trainer = DPOTrainer(
        theirs,
        AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float64),
        args=DPOConfig(
            str(tmp_path), loss_type=[TRL[kind]], beta=how["beta"], use_cpu=True, bf16=False, report_to=[],
            gradient_checkpointing=False, max_length=384,
        ),
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=tokenizer,
    )  # fmt: skip
    loss = trainer.compute_loss(theirs, trainer.data_collator(rows))
    loss.backward()
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-5)
    right = {f"model.{name}": p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    for name in gradient:
        torch.testing.assert_close(gradient[name], right[name].double(), rtol=1e-4, atol=2e-6)


def test_simpo_is_equal_to_trl(tiny, examples, batch_of_trl):
    from types import SimpleNamespace

    from trl.experimental.cpo import CPOTrainer

    _, numbers = batch_of_trl
    made = recipe(Dpo, tiny, train={"loss": "simpo", **KINDS["simpo"]})
    of = units(made, examples)
    objective, engine = preference(made, of)
    found, _ = step(objective, engine, of, [numbers])
    means = []
    engine.scorer.model.set_attn_implementation("sdpa")
    for side in (0, 1):
        for number in numbers:
            example = examples[2 * number + side]
            tokens = torch.tensor(example.tokens.astype("int64"))[None]
            labels = tokens.masked_fill(torch.tensor(example.trained)[None] == 0, -100)
            means.append(CPOTrainer.get_batch_logps(engine.scorer.model(tokens).logits, labels, average_log_prob=True))
    # γ of the CPOTrainer is a share of β, as in the paper's table; here it is γ itself.
    beta, margin = KINDS["simpo"]["beta"], KINDS["simpo"]["margin"]
    trainer = SimpleNamespace(
        beta=beta, simpo_gamma=margin, loss_type="simpo", label_smoothing=0.0, alpha=0.0, cpo_alpha=0.0,
        accelerator=SimpleNamespace(device=CPU),
    )  # fmt: skip
    losses, *_ = CPOTrainer.cpo_loss(trainer, torch.cat(means[: len(numbers)]), torch.cat(means[len(numbers) :]))
    assert found["loss"] == pytest.approx(losses.mean().item(), rel=1e-5)


def test_prompts_stay_on_one_side(tiny, tokenizer, pairs_file, tmp_path):
    """Rows that are held out share no prompt with rows that are trained on, however their responses begin."""
    rows = [json.loads(line) for line in pairs_file.read_text().splitlines()]
    lines = [json.dumps(row) for row in rows]
    for row in rows:
        for side in ("chosen", "rejected"):
            row[side][-1]["content"] = "\n" + row[side][-1]["content"]
    lines += [json.dumps(row) for row in rows]
    path = tmp_path / "twice.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    how = data.How(chats.of(tokenizer, "tulu"), 384, pairs=True)
    found = data.tokens(sources.find([str(path)]), how, tmp_path / "tokens", 1, quiet=True)
    of = units(recipe(Dpo, tiny), found)

    def prompts(pairs):
        return {json.dumps(rows[(found.origin(2 * int(pair))["row"] - 1) % len(rows)]["chosen"][:-1]) for pair in pairs}

    held_out, chosen = of.apart(20)
    assert len(held_out) >= 20 and sorted([*held_out, *chosen]) == list(range(len(found) // 2))
    assert not prompts(held_out) & prompts(chosen)
    assert of.apart(0)[1].tolist() == list(range(len(found) // 2))
    with pytest.raises(CaravanError, match=r"would be held out: data\.held_out is 500"):
        of.apart(500)


def test_what_is_told(tiny, examples):
    """Metrics of a step, against each response by itself."""
    made = recipe(Dpo, tiny, train={"beta": 5.0})
    of = units(made, examples)
    objective, engine = preference(made, of)
    found, _ = step(objective, engine, of, WHOLE)
    policy, reference, sizes = [], [], []
    for i in range(2 * PAIRS):
        batch = of.batches([i // 2])[i % 2]
        policy.append(response_logprobs(engine.scorer, batch, 1).item())
        reference.append(response_logprobs(objective.reference.scorer, batch, 1).item())
        sizes.append(int(examples[i].trained[1:].sum()))
    reward = 5.0 * (np.array(policy) - reference) / sizes
    margin = reward[::2] - reward[1::2]
    expected = {
        "accuracy": (margin > 0).mean(), "margin": margin.mean(), "reward_chosen": reward[::2].mean(),
        "reward_rejected": reward[1::2].mean(), "logprob_chosen": np.mean(policy[::2]),
        "logprob_rejected": np.mean(policy[1::2]), "tokens_chosen": np.mean(sizes[::2]),
        "tokens_rejected": np.mean(sizes[1::2]), "drift_chosen": np.mean(policy[::2]) - np.mean(reference[::2]),
        "drift_rejected": np.mean(policy[1::2]) - np.mean(reference[1::2]),
    }  # fmt: skip
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-10), name
    source = np.array([examples.origin(2 * pair)["source"] for pair in range(PAIRS)])
    for name in set(source):
        assert found[f"margin/{name}"] == pytest.approx(margin[source == name].mean(), rel=1e-10)
        assert found[f"accuracy/{name}"] == pytest.approx((margin[source == name] > 0).mean())
    assert dpo.STAGE.kind is Dpo and reward_model.STAGE.kind is RewardModel
