"""Trainings in parts: what one part leaves, the next one finds."""

import random

import pytest
from processes import NETWORKS, photos

from experiments.quality import part
from sr_jax.training.events import EventWriter


def test_a_part_leaves_the_newest_checkpoint_and_what_belongs_to_it(tmp_path, monkeypatch):
    workdir, archive = tmp_path / "run", tmp_path / "state" / "a.tar.xz"
    for step in (90, 100):
        (workdir / "checkpoints" / str(step)).mkdir(parents=True)
        (workdir / "checkpoints" / str(step) / "array").write_text(str(step))
    (workdir / "config.json").write_text("{}")
    (workdir / "events.out.tfevents.1").write_text("of this part alone")
    assert part.pack(workdir, archive) == archive.stat().st_size
    part.unpack(archive, tmp_path / "next")
    found = sorted(p.relative_to(tmp_path / "next") for p in (tmp_path / "next").rglob("*.*"))
    assert [str(path) for path in found] == ["config.json"]
    assert (tmp_path / "next" / "checkpoints" / "100" / "array").read_text() == "100"
    assert not (tmp_path / "next" / "checkpoints" / "90").exists()

    # A workdir that is there is newer than the archive.
    (tmp_path / "next" / "config.json").write_text("mine")
    part.unpack(archive, tmp_path / "next")
    assert (tmp_path / "next" / "config.json").read_text() == "mine"

    monkeypatch.setattr(part, "MOST", 1000)
    (workdir / "checkpoints" / "100" / "array").write_bytes(random.Random(0).randbytes(2000))
    with pytest.raises(ValueError, match="more than the repository takes"):
        part.pack(workdir, archive)


def test_curves_of_parts_become_one(tmp_path):
    path = tmp_path / "curves.csv"
    for number, steps in enumerate([(10, 20), (20, 30)]):
        workdir = tmp_path / str(number)
        writer = EventWriter(workdir)
        for step in steps:
            writer.write_scalars(step, {"train/loss": step / 10, "train/gradient_norm": 1.0})
        writer.write_scalars(steps[1], {"validation/psnr_x2": 30.0 + number})
        writer.close()
        (workdir / "config.json").write_text('{"model": {"name": "edsr"}, "train": {"steps": 30}}')
        curves = part.merge_curves(path, workdir)
    assert curves == {
        "train/loss": ([10, 20, 30], [1.0, 2.0, 3.0]),
        "validation/psnr_x2": ([20, 30], [30.0, 31.0]),
    }
    assert path.read_text().splitlines()[:2] == ["curve,step,value", "train/loss,10,1"]


def test_an_unknown_recipe_is_told():
    with pytest.raises(ValueError, match="no recipe nothing; there are edsr_small_x2"):
        part.main("nothing")


@pytest.mark.slow
def test_two_parts_go_on_from_one_another(tmp_path, monkeypatch):
    """The second part starts in an empty workdir, from the archive."""
    fields = [f.removeprefix("--config.").split("=") for f in NETWORKS["edsr"][1:]]
    lines = [f"    config.{name} = {value}" for name, value in fields]
    recipe = tmp_path / "experiments" / "recipes" / "tiny.py"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        "from sr_jax import configuration\n\n\ndef get_config():\n"
        "    config = configuration.load_recipe('edsr', 'x2,baseline').unlock()\n"
        f"    config.data.source, config.data.path = 'folder', {str(photos())!r}\n"
        "    config.data.batch_size, config.train.steps = 4, 100_000\n"
        "    config.train.log_every = config.train.eval_every = 10\n"
        + "\n".join(lines)
        + "\n    return config.lock()\n"
    )
    monkeypatch.setattr(part, "FOLDER", tmp_path / "experiments")
    monkeypatch.setattr(part.harness, "REPOSITORY", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(part.Path(part.__file__).parents[2]))
    reached = []
    for number in range(2):
        part.main("tiny", minutes=0.5, workdir=tmp_path / str(number))
        rows = part.harness.Rows(tmp_path / "experiments" / "results", part.table, "tiny").found
        reached.append(rows[-1]["step"])
    assert 0 < reached[0] < reached[1]
