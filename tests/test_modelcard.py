"""Model cards: what the Hub reads in them, and what they say to a reader."""

import sys

import flax.linen as nn
import pytest
from helpers import filled

from sr_jax import hub, pretrained, weights
from sr_jax.commands.models import models
from sr_jax.modelcard import model_card
from sr_jax.models import create_model, describe_model
from sr_jax.models.layers import Conv
from sr_jax.models.network import Network
from sr_jax.opening import open_model

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra `hub` is missing")


class Outside(Network):
    """A network that this package does not know."""

    scale: int = 2

    @nn.compact
    def __call__(self, images, *, scale=None, train=False):
        return Conv(3, name="conv")(images.repeat(2, 1).repeat(2, 2))


def read(text):
    """The card as huggingface_hub reads it, and its tables and sentences."""
    card = huggingface_hub.ModelCard(text)
    assert "None" not in card.text
    assert "nan" not in text
    return card.data, card.text


@pytest.mark.parametrize("name", sorted(pretrained.cards()))
def test_of_what_ships_all_that_its_card_says(name):
    card = pretrained.cards()[name]
    data, text = read(model_card(*weights.load(card.path), card))
    assert data.library_name == "sr_jax"
    assert data.license == "apache-2.0"
    assert data.pipeline_tag == "image-to-image"
    assert {"super-resolution", "jax", card.architecture} <= set(data.tags)
    assert data.model_name == name
    found = {(result.dataset_name, result.metric_type): result for result in data.eval_results}
    assert len(found) == 2 * len(card.scores)
    # Results of one data set and configuration would be taken for one.
    assert len({result.unique_identifier for result in data.eval_results}) == len(card.scores)
    for score in card.scores:
        assert found[f"{score.dataset} x{score.scale}", "psnr"].metric_value == score.psnr
        assert found[f"{score.dataset} x{score.scale}", "ssim"].metric_value == score.ssim
        row = f"| {score.dataset} | x{score.scale} | {score.psnr:.2f} | {score.ssim:.4f} |"
        assert f"{row} {score.bicubic:.2f} |" in text
    for said in (card.data, card.recipe, card.command, card.limits, card.training):
        assert said in text
    assert f"| parameters | {card.parameters:,} |" in text


@pytest.mark.parametrize(
    ("name", "fields", "rows"),
    [
        (
            "edsr_baseline",
            {"scale": 3, "n_resblocks": 1, "n_feats": 4},
            {"scale": "x3", "input": "RGB", "looks as far as": "6 input pixels", "`n_feats`": "4"},
        ),
        ("mdsr", {"n_resblocks": 1, "n_feats": 4}, {"scale": "x2, x3, x4"}),
        (
            "srcnn_915",
            {},
            {"scale": "any", "input": "luma, interpolated to the output size"},
        ),
        (
            "san",
            {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 2},
            {
                "input": "RGB, sides of 4 pixels or more (others are padded)",
                "looks as far as": "the whole image",
            },
        ),
        (
            "csnln",
            {"n_feats": 8, "depth": 1},
            {"input": "RGB, sides that are multiples of 2 (others are padded)"},
        ),
    ],
)
def test_of_any_other_what_it_says_of_itself_and_no_more(name, fields, rows):
    model = create_model(name, **fields)
    data, text = read(model_card(model, filled(model)))
    assert data.license is None
    assert data.eval_results is None
    assert data.metrics is None
    assert data.datasets is None
    assert data.pipeline_tag == "image-to-image"
    assert describe_model(model)[0] in data.tags
    for fact, value in rows.items():
        assert f"| {fact} | {value}" in text
    for heading in ("Scores", "Training", "Limits"):
        assert f"## {heading}" not in text
    assert "sr-jax upscale photo.png --model hf:USER/REPO\n" in text


def test_a_network_outside_says_that_it_must_be_allowed():
    name = f"{__name__}:Outside"
    _, text = read(model_card(Outside(), filled(Outside())))
    assert f"--model hf:USER/REPO --allow {name}\n" in text
    assert f'Upscaler("hf:USER/REPO", allow=["{name}"])' in text


def test_there_is_none_of_what_makes_no_images():
    model = create_model("vgg19", convs_per_block=(1,))
    with pytest.raises(ValueError, match="vgg19 makes no images: there is no card of it"):
        model_card(model, {})


def test_the_command_writes_it(tmp_path, capsys, monkeypatch):
    model = create_model("edsr_baseline", scale=2, n_resblocks=1, n_feats=4)
    run = tmp_path / "run"
    weights.save(run / "weights.safetensors", model, filled(model))
    readme = tmp_path / "card" / "README.md"
    models(str(run), card=readme)
    assert readme.read_text() == model_card(*weights.load(run / "weights.safetensors"))
    with pytest.raises(ValueError, match=r"README.md exists: give --overwrite, or another name"):
        models("edsr_small_x2", card=readme)
    models("edsr_small_x2", card=readme, overwrite=True)
    card = pretrained.cards()["edsr_small_x2"]
    assert readme.read_text() == model_card(*weights.load(card.path), card)
    with pytest.raises(ValueError, match="--card is of one network: name it"):
        models(card=tmp_path / "none.md")
    with pytest.raises(ValueError, match="--allow and --overwrite are for --card"):
        models("edsr_small_x2", overwrite=True)
    with pytest.raises(ValueError, match="gone: no such weights file or workdir"):
        models("gone", card=tmp_path / "none.md")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        models("edsr_small_x2", card=tmp_path / "none.md")
    assert caught.value.name == "huggingface_hub"  # of which the console makes a line
    assert not (tmp_path / "none.md").exists()


def test_of_a_network_of_the_hub_the_note_is_printed(tmp_path, capsys, monkeypatch):
    card = pretrained.cards()["edsr_small_x2"]
    fetched = hub.Fetched(card.path, "hf:user/net@0/x.safetensors", "fetched hf:user/net@0")
    monkeypatch.setattr(hub, "fetch", lambda name: fetched)
    assert open_model("hf:user/net").note == "fetched hf:user/net@0"
    models("hf:user/net", card=tmp_path / "README.md")
    assert "fetched hf:user/net@0" in capsys.readouterr().out
    assert "license" not in (tmp_path / "README.md").read_text()
