"""Soups: golden weights, and what cannot be averaged."""

import shutil

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from trainers import merge  # noqa: E402
from warehouse.errors import CaravanError  # noqa: E402


@pytest.fixture
def two(tiny, tmp_path):
    """The tiny model, and the same with every weight doubled and one more."""
    shutil.copytree(tiny, tmp_path / "a")
    shutil.copytree(tiny, tmp_path / "b")
    weights = load_file(tiny / "model.safetensors")
    save_file({name: 2 * w + 1 for name, w in weights.items()}, tmp_path / "b/model.safetensors", {"format": "pt"})
    return tmp_path / "a", tmp_path / "b", weights


def test_golden(two, tmp_path, capsys):
    a, b, weights = two
    merge.main([str(a), str(b), "--weights", "3", "1", "--output", str(tmp_path / "soup")])
    found = load_file(tmp_path / "soup/model.safetensors")
    assert found.keys() == weights.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(found[name], 0.75 * weight + 0.25 * (2 * weight + 1))
    assert "wrote" in capsys.readouterr().out and "| 0.7500 |" in (tmp_path / "soup/README.md").read_text()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoTokenizer.from_pretrained(tmp_path / "soup")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "soup")
    torch.testing.assert_close(model.model.norm.weight, found["model.norm.weight"])


def test_a_sweep_ends_at_its_checkpoints(two, tmp_path):
    a, b, weights = two
    merge.main([str(a), str(b), "--sweep", "3", "--output", str(tmp_path / "sweep")])
    assert sorted(path.name for path in (tmp_path / "sweep").iterdir()) == ["0.00", "0.50", "1.00"]
    for folder, right in (("0.00", weights), ("1.00", load_file(b / "model.safetensors"))):
        found = load_file(tmp_path / "sweep" / folder / "model.safetensors")
        assert all(torch.equal(found[name], weight) for name, weight in right.items())


def test_bfloat16_is_summed_in_float32():
    parts = [torch.full((4,), 1 + 2**-7, dtype=torch.bfloat16)] * 64
    assert torch.equal(merge.average(parts, [1 / 64] * 64), parts[0])


def test_what_does_not_match_is_refused(two, tmp_path):
    a, b, weights = two
    save_file({**weights, "model.norm.weight": torch.ones(5)}, b / "model.safetensors")
    with pytest.raises(CaravanError, match=r"model.norm.weight is \(32,\) and \(5,\), and so are 0 more"):
        merge.main([str(a), str(b), "--output", str(tmp_path / "soup")])
    with pytest.raises(CaravanError, match="2 checkpoints and 3 weights"):
        merge.main([str(a), str(b), "--weights", "1", "2", "3", "--output", str(tmp_path / "soup")])
    with pytest.raises(CaravanError, match="no weights in safetensors"):
        merge.main([str(a), str(tmp_path), "--output", str(tmp_path / "soup")])
    (tmp_path / "soup").mkdir()
    with pytest.raises(CaravanError, match="is there already"):
        merge.main([str(a), str(a), "--output", str(tmp_path / "soup")])
