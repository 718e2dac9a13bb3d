"""Trainings in parts, how their networks come to ship, and the search for test images."""

import json
import os
import random
import shutil
import signal
import threading

import jax
import numpy as np
import pytest
from processes import NETWORKS, photos

from experiments.quality import modern, overlap, page, part, prepare, ship
from sr_jax import pretrained, weights
from sr_jax.data import sources
from sr_jax.imaging.files import read_image, write_image
from sr_jax.imaging.resize import imresize
from sr_jax.models import create_model
from sr_jax.pretrained import Card, Score
from sr_jax.recipe import read_config
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
    before = archive.read_bytes()
    assert part.pack(workdir, archive) is None
    assert archive.read_bytes() == before


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
    with pytest.raises(ValueError, match=r"no recipe nothing; there are .*, edsr_small_x2"):
        part.main("nothing")


def test_a_part_that_is_too_short_is_told(tmp_path):
    with pytest.raises(ValueError, match="ended before it could save: give it more --minutes"):
        part.train(tmp_path / "recipe.py", tmp_path / "run", minutes=0)


def names(folder):
    return [path.name for path in folder.glob("*")]


def end_after(checkpoints, step, over):
    """Sends SIGTERM to this process when there is a checkpoint of a later step."""
    while not any(name.isdigit() and int(name) > step for name in names(checkpoints)):
        if over.wait(0.1):
            return
    os.kill(os.getpid(), signal.SIGTERM)


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
        "    config.train.checkpoint_every = 10\n"
        + "\n".join(lines)
        + "\n    return config.lock()\n"
    )
    monkeypatch.setattr(part, "FOLDER", tmp_path / "experiments")
    monkeypatch.setattr(part.harness, "REPOSITORY", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(part.Path(part.__file__).parents[2]))
    reached = []
    for number in range(2):
        workdir = tmp_path / str(number)
        after = reached[-1] if reached else 0
        over = threading.Event()
        arguments = (workdir / "checkpoints", after, over)
        threading.Thread(target=end_after, args=arguments, daemon=True).start()
        try:
            part.main("tiny", minutes=10, workdir=workdir)
        finally:
            over.set()
        rows = part.harness.Rows(tmp_path / "experiments" / "results", part.table, "tiny").found
        reached.append(rows[-1]["step"])
    assert 0 < reached[0] < reached[1]


@pytest.mark.parametrize("crops", [False, True])
def test_squares_with_texture_are_kept(tmp_path, crops):
    """Those that bicubic interpolation blurs most; whole images or their middles validate."""
    noise = np.random.default_rng(0)
    for name in "abcdefghijkl":
        image = np.full((64, 100, 3), 128, np.uint8)
        image[:32, :32] = noise.integers(0, 256, (32, 32, 3))
        write_image(tmp_path / "source" / f"{name}.png", image)
    cut = prepare.Cut((str(tmp_path / "source"),), 32, share=1 / 6, crops=crops)
    prepare.cut_textured(tmp_path / "cut", cut)
    found = [path.stem for path in sorted((tmp_path / "cut" / "train").iterdir())]
    assert len(found) + len(list((tmp_path / "cut" / "validation").iterdir())) == 12
    assert {name[1:] for name in found} == {"_1_0_0"}  # the corners with noise
    for path in (tmp_path / "cut" / "validation").iterdir():
        image = read_image(path)
        assert image.shape == ((32, 32, 3) if crops else (64, 100, 3))
        assert (image == 128).all() == crops


RECIPES = sorted(path.stem for path in (part.FOLDER / "recipes").glob("[!_]*.py"))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_can_be_trained(name, shared):
    """But for where they start from, which may not be trained yet."""
    photographs = shared("data/train/photos")
    config = part.load_config(name).unlock()
    if config.data.path.startswith("runs/") or modern.BSDS199 in config.data.path:  # made by `part`
        config.data.path = str(photographs)
    recipe = read_config(config)
    assert recipe.ema_decay > 0
    assert config.optimizer.cosine == config.train.steps


@pytest.fixture
def small_folder(tmp_path, monkeypatch):
    """Benchmarks of an image each, and a trained edsr_photo_x2 with its row."""
    hr = sources.load("photos", "validation")[1].hr()[100:160, 100:180]
    for dataset in ship.BENCHMARKS:
        write_image(tmp_path / "benchmarks" / dataset / "HR" / "a.png", hr)
    folder = tmp_path / "quality"
    shutil.copytree(part.FOLDER / "recipes", folder / "recipes")
    row = {"part": 1, "minutes": 30, "step": 700, "loss": 1.0, "cores": 1, "finished": True}
    row["environment"] = "2 CPU cores (x86_64), 24 GiB; Python 3.11; commit abc1234, 2026-11-29"
    (folder / "results").mkdir()
    for name in ("edsr_photo_x2", "edsr_small_x2", "srresnet_small_x4", "srgan_small_x4"):
        minutes = 60 if name == "edsr_small_x2" else 30
        rows = [row | {"minutes": minutes / 2, "step": 300}, row | {"minutes": minutes / 2}]
        (folder / "results" / f"{name}.json").write_text(json.dumps(rows))
    for module in (part, ship):
        monkeypatch.setattr(module, "FOLDER", folder)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "pretrained")
    model = create_model("edsr_baseline", scale=2, n_resblocks=1, n_feats=4)
    variables = model.init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
    weights.save(tmp_path / "run" / "weights-best.safetensors", model, variables)
    pretrained.cards.cache_clear()
    yield tmp_path
    pretrained.cards.cache_clear()


def test_a_trained_network_ships_with_its_card(small_folder):
    """float16, scores beside bicubic, on JPEG too; hours of edsr_small_x2, its start, as well."""
    ship.main(
        "edsr_photo_x2",
        workdir=small_folder / "run",
        benchmarks=small_folder / "benchmarks",
    )
    card = pretrained.cards()["edsr_photo_x2"]
    assert (card.kind, card.architecture, card.scales) == ("photo", "edsr", (2,))
    assert (card.updates, card.hours, card.commit) == (1400, 1.5, "abc1234")
    parts = [f"python -m experiments.quality.part edsr_{name}_x2" for name in ("small", "photo")]
    assert card.command == "; ".join(parts)
    assert card.hardware == "1 of 2 CPU cores (x86_64), 24 GiB"
    assert "photos.csv" in card.data
    datasets = [score.dataset for score in card.scores]
    assert datasets == ["Set5", "Set14", "B100", "Set5 JPEG 75", "Set14 JPEG 75", "B100 JPEG 75"]
    clean, _, _, jpeg, _, _ = card.scores
    assert jpeg.bicubic < clean.bicubic - 0.1
    assert clean.paper == 37.98  # of EDSR-baseline
    path = small_folder / "run" / "weights-best.safetensors"
    assert card.path.stat().st_size < 0.7 * path.stat().st_size  # half, and a header
    assert not list(pretrained.FOLDER.glob("*.new.*"))


def test_trainings_from_which_one_went_on():
    """A recipe that goes on with a network takes its place."""
    baseline = ["edsr_baseline_x2", "edsr_baseline_x2_again"]
    assert ship.find_trainings("edsr_baseline_x4") == [*baseline, "edsr_baseline_x4"]
    assert ship.find_trainings("edsr_baseline_x2_again") == baseline
    assert ship.find_trainings("srcnn_915_x3") == ["srcnn_915_x3"]


def test_of_an_adversarial_training_the_last_weights_ship(small_folder):
    """Not those of the highest PSNR; the card says so, and that it was scored in tiles."""
    model = create_model("srgan_generator", n_resblocks=1, n_feats=4)
    saved = {}
    for seed, name in enumerate(("weights", "weights-best")):
        images = np.zeros((1, 8, 8, 3), np.float32)
        saved[name] = model.init(jax.random.key(seed), images)
        weights.save(small_folder / "run" / f"{name}.safetensors", model, saved[name])
    ship.main(
        "srgan_small_x4",
        workdir=small_folder / "run",
        tile=12,
        benchmarks=small_folder / "benchmarks",
    )
    card = pretrained.cards()["srgan_small_x4"]
    _, found = weights.load(card.path)
    for name, same in (("weights", True), ("weights-best", False)):
        kernels = (tree["params"]["head"]["kernel"] for tree in (found, saved[name]))
        assert np.allclose(*kernels, atol=1e-3) == same
    assert "invents texture" in card.limits
    assert "--tile 12" in card.limits


def test_float16_that_costs_too_much_is_refused(small_folder, monkeypatch):
    monkeypatch.setattr(ship, "MOST", 1e-9)
    with pytest.raises(ValueError, match="float16 moves Set5 x2 by"):
        ship.main(
            "edsr_photo_x2",
            workdir=small_folder / "run",
            benchmarks=small_folder / "benchmarks",
        )
    assert pretrained.cards() == {}


def make_card(name, kind, scale, *datasets):
    scores = tuple(Score(dataset, scale, 30.0, 0.9, 28.5, 31.25) for dataset in datasets)
    rest = ("", "", "", "", 9, 1.25, "", scores, "")
    return Card(name, kind, "edsr", 1234, (scale,), *rest)


def test_tables_of_what_ships():
    sets = ("Set5", "Set14", "B100")
    cards = [
        make_card("small_x2", "bicubic", 2, *sets),
        make_card("small_x4", "bicubic", 4, *sets),
        make_card("photo_x2", "photo", 2, *(f"{name} JPEG 75" for name in sets)),
    ]
    assert page.short_table(cards).splitlines()[2:] == [
        "| `small_x2` ... | clean | 30.00 (28.50) | - | 30.00 (28.50) |",
        "| `photo_x2` ... | JPEG | 30.00 (28.50) | - | - |",
    ]
    assert page.long_table(cards).splitlines()[2] == (
        "| `small_x2` | clean, x2 | 30.00 (28.50; 31.25) | 30.00 (28.50; 31.25) | "
        "30.00 (28.50; 31.25) | 1,234 | 1.2 |"
    )
    text = "a\n<!-- python -m experiments.quality.page -->\nold\n<!-- end -->\nb"
    assert page.between(text, "new").splitlines() == [
        "a", page.MARKS[0], "", "new", "", page.MARKS[1], "b"
    ]  # fmt: skip


def test_the_pages_have_the_tables_of_the_cards():
    for path, table in page.tables(list(pretrained.cards().values())):
        assert table in path.read_text(), f"python -m experiments.quality.page, {path}"


def test_altered_copies_of_an_image_are_found_and_others_are_not():
    one, _, other = (pair.hr() for pair in sources.load("photos", "validation"))
    one, other = imresize(one, size=(300, 300)), imresize(other, size=(300, 450))
    features = overlap.describe("one", one)
    for kind, copy in overlap.altered(one):
        found = overlap.describe("copy", copy)
        assert overlap.agreeing(features, found) > 30
        assert (overlap.likeness(features, found) > overlap.ALIKE) == ("middle" not in kind)
    for image in (other, np.zeros_like(one)):
        found = overlap.describe("other", image)
        assert overlap.agreeing(features, found) < 8
        assert overlap.likeness(features, found) < 0.8
