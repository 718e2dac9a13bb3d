"""What a training begins with that names a network of the Hugging Face Hub."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hubs import NETWORK, NEW, OLD, assert_same
from hubs import cache as cache
from hubs import connections as connections
from hubs import filled as filled
from hubs import foreign as foreign
from processes import photos

from sr_jax import weights
from sr_jax.configuration import load_recipe
from sr_jax.data import resident
from sr_jax.recipe import read_config
from sr_jax.train import train
from sr_jax.training.start import PINNED, pin_start, read_start


def config(init_from: str, **fields: Any) -> Any:
    """Of a training that does not change its parameters: the rate is too small for float32."""
    found = load_recipe("edsr", f"smoke,folder={photos()}").unlock()
    found.update_from_flattened_dict(
        {
            "init_from": init_from,
            "model.n_resblocks": 1,
            "model.res_scale": 1.0,
            "model.n_feats": 4,
            "data.lr_patch_size": 8,
            "data.batch_size": 2,
            "data.placement": "device",
            "train.steps": 1,
            "optimizer.learning_rate": 1e-30,
            **fields,
        }
    )
    return found


def begin(workdir: Path, init_from: str, **fields: Any) -> dict[str, Any]:
    """Trains; what config.json says then."""
    train(read_config(config(init_from, **fields)), workdir)
    return json.loads((workdir / "config.json").read_text())


def test_a_training_writes_down_its_commit_before_it_begins(filled, tmp_path, monkeypatch):
    def stop(*arguments: Any) -> None:
        raise InterruptedError

    monkeypatch.setattr(resident, "place", stop)  # the first thing that a training does
    for commit in (OLD, NEW):  # where main is by then
        filled.point("main", commit)
        with pytest.raises(InterruptedError):
            begin(tmp_path / "run", "hf:user/net")
        said = json.loads((tmp_path / "run" / "config.json").read_text())
        assert said["init_from"] == "hf:user/net"
        assert said[PINNED] == f"hf:user/net@{OLD}/net.safetensors"
    with pytest.raises(ValueError, match=r"init_from: hf:user/gone: the cache .* does not have it"):
        begin(tmp_path / "none", "hf:user/gone")
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_a_training_goes_on_from_the_commit_that_it_began_with(filled, tmp_path):
    filled.point("main", OLD)
    run = tmp_path / "run"
    said = begin(run, "hf:user/net")
    assert said["init_from"] == "hf:user/net"
    assert said[PINNED] == f"hf:user/net@{OLD}/net.safetensors"
    assert_same(weights.load(run / "weights.safetensors")[1], 0)

    filled.point("main", NEW)
    # Stopped before its first checkpoint: it begins again, with the same weights.
    (run / "checkpoints" / "1").rename(tmp_path / "1")
    (run / "weights.safetensors").unlink()
    assert begin(run, "hf:user/net") == said
    assert_same(weights.load(run / "weights.safetensors")[1], 0)

    # From a checkpoint it goes on without the file.
    (filled.folder / "snapshots" / OLD / "net.safetensors").unlink()
    longer = begin(run, "hf:user/net", **{"train.steps": 2})
    assert longer[PINNED] == said[PINNED]
    assert_same(weights.load(run / "weights.safetensors")[1], 0)


@pytest.fixture
def workdir(tmp_path):
    """Of a training that began with the older commit, and has no checkpoint yet."""
    folder = tmp_path / "run"
    folder.mkdir()
    said = {"init_from": "hf:user/net", PINNED: f"hf:user/net@{OLD}/net.safetensors"}
    (folder / "config.json").write_text(json.dumps(said))
    return folder


def test_what_a_start_is_pinned_to(filled, workdir, tmp_path):
    old, new = (f"hf:user/net@{commit}/net.safetensors" for commit in (OLD, NEW))
    assert pin_start("hf:user/net", workdir) == old
    assert pin_start("hf:user/net", tmp_path / "another") == new
    assert pin_start("hf:user/net@main", workdir) == new  # another one is asked for
    assert pin_start(new, workdir) == new
    assert pin_start("runs/edsr", workdir) == "runs/edsr"
    (workdir / "checkpoints" / "5").mkdir(parents=True)  # from here on it only tells
    for asked in ("hf:user/net", "hf:user/net@v1", "hf:user/gone", "runs/edsr"):
        assert pin_start(asked, workdir) == old
    (workdir / "config.json").write_text("{}")
    assert pin_start("hf:user/gone", workdir) == "hf:user/gone"
    (workdir / "config.json").write_text("damaged")
    assert pin_start("hf:user/gone", workdir) == "hf:user/gone"


def test_a_start_that_cannot_be_had_names_its_field(filled, foreign, tmp_path):
    with pytest.raises(ValueError, match=r"^init_from: hf:user/gone: the cache"):
        pin_start("hf:user/gone", tmp_path)
    name = f"hf:user/net@{OLD}/edsr.safetensors"
    with pytest.raises(ValueError, match="is a published checkpoint: make a weights") as caught:
        read_start(name, NETWORK)
    command = shlex.split(str(caught.value).split("`")[1])
    assert command == ["sr-jax", "convert", name, "edsr.safetensors"]
