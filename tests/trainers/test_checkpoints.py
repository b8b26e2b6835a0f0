"""Checkpoints: shards of many ranks read by one, what stays and what goes, and what is left of a kill."""

import pytest

torch = pytest.importorskip("torch")

from trainers import checkpoints, models  # noqa: E402
from trainers.checkpoints import State  # noqa: E402
from trainers.config import Model, Save, Train  # noqa: E402
from trainers.engines import Torch  # noqa: E402
from trainers.packing import Cursor  # noqa: E402
from trainers.ranks import Ranks  # noqa: E402
from warehouse.errors import CaravanError  # noqa: E402


def engine(tiny, precision="fp32"):
    return Torch(models.Scorer(models.load(Model(path=str(tiny), precision=precision), 0)), Train(), Ranks())


def step(made, seed):
    """A step along a gradient drawn by the seed."""
    generator = torch.Generator().manual_seed(seed)
    share = sum((p * torch.randn(p.shape, generator=generator, dtype=p.dtype)).sum() for p in made.params)
    made.backward(share, last=True)
    made.step(1e-3)


def state(number, loss=None):
    return State(number, Cursor(0, number), 10 * number, 5 * number, 1.0, 1, loss)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_shards_of_three_ranks_are_one_state(tiny, tmp_path, precision):
    made = engine(tiny, precision=precision)
    step(made, 0)
    for rank in range(3):
        made.ranks = Ranks(rank, 3)
        made.save(tmp_path)
    made.ranks = Ranks()
    sizes = [path.stat().st_size for path in sorted(tmp_path.glob("*.safetensors"))]
    assert len(sizes) == 3 and max(sizes) < 2 * min(sizes)
    again = engine(tiny, precision=precision)
    again.load(tmp_path)
    for each in (made, again):
        step(each, 1)
    for (name, tensor), (_, other) in zip(made._state(), again._state(), strict=True):
        assert torch.equal(tensor, other), name
    assert all(torch.equal(a, b) for a, b in zip(made.params, again.params, strict=True))


def test_masters_keep_what_bfloat16_loses(tiny):
    """At 3e-7 a weight in bfloat16 does not move; its master does, and in the end so does the weight."""
    made = engine(tiny, precision="bf16")
    before = [param.detach().clone() for param in made.params]
    for _ in range(3):
        share = sum(p.sum() for p in made.params)
        made.backward(share, last=True)
        made.step(3e-7)
    moved = torch.cat([(m.detach() - b.float()).flatten() for m, b in zip(made.masters, before, strict=True)])
    assert (moved < 0).all() and moved.mean().item() == pytest.approx(-9e-7, rel=0.1)
    large = [torch.equal(p[b.abs() > 0.01], b[b.abs() > 0.01]) for p, b in zip(made.params, before, strict=True)]
    assert all(large)


def test_the_last_and_the_best_stay(tiny, tmp_path):
    made = engine(tiny)
    step(made, 0)
    keep = Save(keep_last=2, keep_best=1)
    for number, loss in enumerate([3.0, 1.0, 2.0, 2.5, 2.4], 1):
        checkpoints.write(tmp_path, made, state(number, loss), Ranks(), keep)
    assert list(checkpoints.all_of(tmp_path)) == [2, 4, 5]
    assert checkpoints.best(tmp_path).name == "step-00000002"
    assert State.read(checkpoints.last(tmp_path)) == state(5, 2.4)


def test_what_a_kill_left_is_no_checkpoint(tiny, tmp_path):
    made = engine(tiny)
    step(made, 0)
    (tmp_path / ".step-00000009.part").mkdir(parents=True)
    assert checkpoints.last(tmp_path) is None
    checkpoints.write(tmp_path, made, state(1), Ranks(), Save())
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_file_of_the_network_that_cannot_be_removed_is_left(tiny, tmp_path):
    made = engine(tiny)
    (tmp_path / ".nfs0001").write_text("")
    checkpoints.write(tmp_path, made, state(1), Ranks(), Save())
    assert list(checkpoints.all_of(tmp_path)) == [1]


def test_a_kill_between_rename_and_removal(tiny, tmp_path, monkeypatch):
    """The newest is complete, the one that was to go is gone for good with the next."""
    made, keep = engine(tiny), Save(keep_last=1, keep_best=0)
    checkpoints.write(tmp_path, made, state(1), Ranks(), keep)

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as moment:
        moment.setattr(checkpoints.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.write(tmp_path, made, state(2), Ranks(), keep)
    assert list(checkpoints.all_of(tmp_path)) == [2] and (tmp_path / ".step-00000001.gone").exists()
    checkpoints.write(tmp_path, made, state(3), Ranks(), keep)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    checkpoints.put(tmp_path / "a.json", "first")

    def killed(path, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as moment:
        moment.setattr(checkpoints.Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.put(tmp_path / "a.json", "second, which is longer")
    assert (tmp_path / "a.json").read_text() == "first"
    checkpoints.put(tmp_path / "a.json", "third")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["third"]


def test_what_never_had_a_gradient_is_kept_as_well(tiny, tmp_path):
    made = engine(tiny)
    made.backward((made.params[0] * 2).sum(), last=True)
    made.step(1e-3)
    made.save(tmp_path)
    again = engine(tiny)
    again.load(tmp_path)
    assert torch.equal(again.params[0], made.params[0])
    assert len(again.optimizer.state) == 1


def test_a_state_of_other_weights_is_refused(tiny, tmp_path):
    from safetensors.torch import save_file

    save_file({"weight/other": torch.zeros(1)}, tmp_path / "state-00000-of-00001.safetensors")
    with pytest.raises(CaravanError, match="state of other weights"):
        engine(tiny).load(tmp_path)
