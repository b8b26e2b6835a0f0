"""What models are trained as they are, and what is refused before anything is trained wrongly."""

import pytest

torch = pytest.importorskip("torch")

import transformers  # noqa: E402

from tests.trainers.test_checkpoints import engine  # noqa: E402
from trainers import batches, models, sft, stage  # noqa: E402
from trainers.chat import Encoded  # noqa: E402
from trainers.config import Model, Sft  # noqa: E402
from trainers.ranks import Ranks  # noqa: E402
from warehouse.errors import CaravanError  # noqa: E402

CPU = torch.device("cpu")
SMALL = {
    "vocab_size": 500,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}


def recipe(folder, **engine):
    return Sft.model_validate(
        {
            "stage": "sft",
            "model": {"path": str(folder), "random": True, "precision": "fp32"},
            "engine": {"tokens_per_part": 4096, **engine},
        }
    )


def saved(tmp_path, kind, **changes):
    getattr(transformers, kind)(**{**SMALL, **changes}).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("LlamaConfig", {}),
        ("Qwen3Config", {"tie_word_embeddings": True}),
        ("MistralConfig", {"sliding_window": 8}),
        ("Gemma3TextConfig", {"sliding_window": 8}),
        ("OlmoeConfig", {"num_experts": 4, "num_experts_per_tok": 2}),
    ],
)
@pytest.mark.parametrize("packing", [True, False])
def test_models_that_are_trained(tmp_path, kind, changes, packing):
    stage.start(sft.STAGE, recipe(saved(tmp_path, kind, **changes), packing=packing), Ranks())


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("GptOssConfig", {"num_local_experts": 2, "num_experts_per_tok": 1}, "takes s_aux"),
        ("Gemma2Config", {"final_logit_softcapping": None}, "takes softcap"),
        ("Gemma2Config", {}, "final_logit_softcapping = 30"),
        ("GraniteConfig", {"logits_scaling": 4.0}, "logits_scaling = 4"),
        ("Llama4TextConfig", {"num_local_experts": 2, "intermediate_size_mlp": 32}, "chunks of a sequence"),
    ],
)
def test_models_that_are_refused(tmp_path, kind, changes, said):
    with pytest.raises(CaravanError, match=said):
        stage.start(sft.STAGE, recipe(saved(tmp_path, kind, **changes)), Ranks())


@pytest.fixture
def scorer(tiny):
    return models.Scorer(models.load(Model(path=str(tiny), precision="fp32"), 0))


def test_what_is_lost_after_the_logits_is_found(scorer, monkeypatch):
    """As FalconH1 multiplies its logits by a setting of its own name."""
    model, forward = scorer.model, type(scorer.model).forward

    def multiplied(self, **inputs):
        found = forward(self, **inputs)
        found.logits = found.logits * 0.5
        return found

    models.probe(scorer, model, True, CPU)
    monkeypatch.setattr(type(model), "forward", multiplied)
    with pytest.raises(CaravanError, match="not what LlamaForCausalLM itself gives"):
        models.probe(scorer, model, True, CPU)


def test_what_one_sequence_sees_of_another_is_found(scorer):
    def one_sequence(module, given):
        given[0].positions.copy_(torch.arange(given[0].positions.numel())[None])

    models.probe(scorer, scorer.model, True, CPU)
    scorer.model.set_attn_implementation("sdpa")  # which goes by positions
    scorer.register_forward_pre_hook(one_sequence)
    with pytest.raises(CaravanError, match="of packed sequences is not what"):
        models.probe(scorer, scorer.model, True, CPU)


def test_tokens_without_an_embedding(scorer):
    models.check_tokens(scorer.model, 999)
    with pytest.raises(CaravanError, match="makes a token 1,000 and the model has embeddings of 1,000"):
        models.check_tokens(scorer.model, 1000)


def test_compiled_is_what_is_called(tmp_path, monkeypatch):
    """A graph is built of the decoder, and its gradients are those of the plain one."""
    folder = saved(tmp_path, "LlamaConfig", num_hidden_layers=1)
    compile_module, graphs = torch.nn.Module.compile, []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    # Which graphs there are is the question; what a backend makes of them is torch's.
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compile_module(self, backend=count, **how))
    tokens = torch.randint(500, (40,), generator=torch.Generator().manual_seed(0)).numpy().astype("uint32")
    batch = batches.packed([Encoded(part, (part >= 0).astype("uint8"), 0) for part in (tokens[:25], tokens[25:])])
    found = []
    for compiled in (False, True):
        made = stage.start(sft.STAGE, recipe(folder, compile=compiled), Ranks())
        made.backward(made.scorer(batch).sum(), last=True)
        found.append([param.grad for param in made.params])
        assert bool(graphs) == compiled
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_no_number_is_no_step(tiny, where):
    made = engine(tiny)
    before = [param.detach().clone() for param in made.params]
    share = sum(param.sum() for param in made.params)
    made.backward(share * float("nan") if where == "loss" else (share - share).sqrt(), last=True)
    assert not torch.tensor(made.step(1e-3)).isfinite()
    assert all(torch.equal(param, old) for param, old in zip(made.params, before, strict=True))


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_gpu
@pytest.mark.parametrize("window", [None, 64])
def test_the_kernel_of_a_gpu(window):
    """Of sequences of different lengths, beside each by itself in float32."""
    from trainers.attention import packed_attention

    torch.manual_seed(0)
    lengths = [1, 130, 77, 300]
    starts = torch.tensor([0, *torch.tensor(lengths).cumsum(0)], dtype=torch.int32, device="cuda")
    q, k, v = (torch.randn(1, heads, sum(lengths), 64, device="cuda") for heads in (8, 2, 2))
    how = {"cu_seq_lens_q": starts, "cu_seq_lens_k": starts, "max_length_q": 300, "max_length_k": 300}
    how["sliding_window"] = window
    module = torch.nn.Module()
    right, _ = packed_attention(module, q, k, v, None, **how)
    found, _ = packed_attention(module, *(each.bfloat16() for each in (q, k, v)), None, **how)
    assert (found.float() - right).norm() < 0.01 * right.norm()


@needs_gpu
def test_bfloat16_on_a_gpu_beside_float32():
    from trainers.ops import linear_log_prob

    torch.manual_seed(0)
    hidden, weight = torch.randn(700, 64, device="cuda"), torch.randn(5000, 64, device="cuda") / 8
    targets = torch.randint(5000, (700,), device="cuda")
    found = []
    for kind in (torch.float32, torch.bfloat16):
        inputs = [each.to(kind).requires_grad_() for each in (hidden, weight)]
        logprob, _ = linear_log_prob(*inputs, targets, chunk=100)
        found.append([logprob, *torch.autograd.grad(logprob.sum(), inputs)])
    for right, each in zip(*found, strict=True):
        assert (each.float() - right).norm() < 0.02 * right.norm()
