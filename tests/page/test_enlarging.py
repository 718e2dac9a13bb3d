"""What the page of `sr-jax view` shows of an image, without a browser."""

import jax
import numpy as np
import pytest
from PIL import Image, ImageCms

from sr_jax import pretrained
from sr_jax.commands.upscale import upscale
from sr_jax.data.degradation import downscale
from sr_jax.data.sources import list_folder
from sr_jax.evaluation.scoring import score_image
from sr_jax.imaging.files import read_image, write_image
from sr_jax.imaging.metadata import Metadata
from sr_jax.imaging.resize import imresize
from sr_jax.inference.upscaler import resize_image
from sr_jax.models import create_model
from sr_jax.page import enlarging
from sr_jax.page.enlarging import AUTOMATIC, BICUBIC, Networks, enlarge, look
from sr_jax.weights import save, variable_shapes


def noise(*shape, dtype=np.uint8):
    largest = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, largest, shape, dtype, endpoint=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weights file of a small network of random weights, x2."""
    model, rng = create_model("edsr_baseline", n_resblocks=1, n_feats=4), np.random.default_rng(0)
    shapes = variable_shapes(model)
    variables = jax.tree.map(lambda x: np.float32(0.1 * rng.standard_normal(x.shape)), shapes)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save(path, model, variables)
    return path, (model, variables)


@pytest.fixture
def networks(weights):
    return Networks({"mine": weights[1]})


@pytest.fixture
def photo(tmp_path):
    write_image(tmp_path / "photo.png", noise(20, 24, 3))
    return tmp_path / "photo.png"


@pytest.mark.parametrize("scale", [2, 1.7, 3])
def test_the_download_is_the_file_of_the_command(weights, networks, tmp_path, scale):
    """Of 16 bits, with opacity, profile, resolution and gamma."""
    path = tmp_path / "deep.png"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    told = Metadata(dpi=(300.0, 300.0), gamma=100_000)
    pixels = noise(20, 24, 4, dtype=np.uint16)
    write_image(path, pixels, icc_profile=profile, metadata=told)
    upscale([path], model=str(weights[0]), output=tmp_path / "command", scale=scale)
    enlarged = enlarge(path, networks, "mine", scale, tmp_path)
    assert enlarged.output.name == f"deep_x{scale:g}.png"
    assert enlarged.output.read_bytes() == (tmp_path / "command" / "deep.png").read_bytes()
    (files,) = enlarged.views.values()
    size = read_image(enlarged.output).shape[:2]
    for view in map(read_image, files):
        assert (view.shape, view.dtype) == ((*size, 3), np.uint8)
    assert enlarged.facts["size"] == f"24 x 20 to {size[1]} x {size[0]} pixels, 16-bit RGBA"


def test_before_is_bicubic_and_after_the_network(networks, photo, tmp_path):
    enlarged = enlarge(photo, networks, "mine", 2, tmp_path)
    before, after = (read_image(file) for file in enlarged.views["the whole"])
    np.testing.assert_array_equal(before, imresize(read_image(photo), 2))
    np.testing.assert_array_equal(after, read_image(enlarged.output))
    assert not np.array_equal(before, after)
    assert enlarged.facts["left"] == "bicubic interpolation"
    assert enlarged.facts["right"] == "mine"


def test_bicubic_is_compared_with_the_pixels_themselves(networks, photo, tmp_path):
    enlarged = enlarge(photo, networks, BICUBIC, 2, tmp_path)
    before, after = (read_image(file) for file in enlarged.views["the whole"])
    pixels = read_image(photo)
    np.testing.assert_array_equal(before, pixels.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(after, resize_image(pixels, (40, 48)))
    assert enlarged.facts["left"] == "the pixels as they are"


def test_scores_are_those_of_evaluate(weights, networks, tmp_path):
    """The original has a row and a column more than twice the image."""
    write_image(tmp_path / "HR" / "a.png", noise(41, 49, 3))
    (pair,) = list_folder(tmp_path / "HR", (2,))
    write_image(tmp_path / "low.png", downscale(noise(41, 49, 3)[:40, :48], 2))
    original = tmp_path / "HR" / "a.png"
    enlarged = enlarge(tmp_path / "low.png", networks, "mine", 2, tmp_path, original=original)
    for side, network in {"left": None, "right": weights[1]}.items():
        psnr, ssim, _ = score_image(pair, 2, network)
        assert enlarged.facts[side].endswith(f": {psnr:.2f} dB / {ssim:.4f}")
    assert enlarged.problem == ""


@pytest.mark.parametrize("shape", [(39, 48, 3), (42, 48, 3), (40, 50, 3)])
def test_an_original_of_another_size_is_told_and_the_result_shown(networks, photo, tmp_path, shape):
    write_image(tmp_path / "o.png", noise(*shape))
    enlarged = enlarge(photo, networks, "mine", 2, tmp_path, original=tmp_path / "o.png")
    size = f"{shape[1]} x {shape[0]}"
    assert enlarged.problem.startswith(
        f"no PSNR: o.png has {size} pixels, but the result 48 x 40: give"
    )
    assert enlarged.output.exists()
    assert enlarged.facts["right"] == "mine"


def test_a_broken_original_is_told_and_the_result_shown(networks, photo, tmp_path):
    (tmp_path / "o.png").write_bytes(photo.read_bytes()[:60])
    enlarged = enlarge(photo, networks, "mine", 2, tmp_path, original=tmp_path / "o.png")
    assert enlarged.problem.startswith("no PSNR: cannot read image o.png: ")


def test_tiles_are_reported_and_counted(weights, photo, tmp_path):
    told = []
    enlarged = enlarge(
        photo, Networks({"mine": weights[1]}, tile=16), "mine", 2, tmp_path,
        report=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    total = told[0][1]
    assert total > 1
    assert told == [(done, total) for done in range(1, total + 1)]
    assert enlarged.facts["time"].endswith(f", {total} tiles")


def test_of_a_large_result_the_middle_and_the_reduced_whole_are_shown(
    networks, photo, tmp_path, monkeypatch
):
    monkeypatch.setattr(enlarging, "_MOST_SHOWN", 48 * 40 - 1)
    monkeypatch.setattr(enlarging, "_PART", 12)
    enlarged = enlarge(photo, networks, "mine", 2, tmp_path)
    middle, whole = enlarged.views
    assert (middle, whole) == ("the middle, pixel by pixel", "the whole, reduced to 25 %")
    result = read_image(enlarged.output)
    assert result.shape == (40, 48, 3)
    np.testing.assert_array_equal(read_image(enlarged.views[middle][1]), result[14:26, 18:30])
    for file in enlarged.views[whole]:
        assert read_image(file).shape == (10, 12, 3)


def test_transparent_parts_are_white_to_the_eye(networks, tmp_path):
    image = np.zeros((20, 24, 4), np.uint8)
    image[:, 12:, 3] = 255
    write_image(tmp_path / "cut.png", image)
    small, words = look(tmp_path / "cut.png", tmp_path)
    shown = read_image(small)
    assert shown[:, :12].min() == 255
    assert shown[:, 12:].max() == 0
    assert words == "cut.png: 24 x 20 pixels, 8-bit RGBA"


def test_a_picture_to_look_at_is_small(tmp_path):
    write_image(tmp_path / "wide.png", noise(100, 1030))
    small, _ = look(tmp_path / "wide.png", tmp_path)
    assert read_image(small).shape == (50, 512)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot read image x.png: the file is empty"),
        (b"<svg></svg>", "cannot read image x.png: not a PNG, JPEG"),
        ("broken", "cannot read image x.png: corrupt or truncated"),
        ("animated", "cannot read image x.png: it holds 2 images, expected one"),
    ],
)
def test_what_is_no_image_is_told_in_the_words_of_the_command(
    networks, photo, tmp_path, content, message
):
    if content == "broken":
        content = photo.read_bytes()[:300]
    if content == "animated":
        frames = [Image.fromarray(noise(9, 9, 3)), Image.fromarray(noise(9, 9, 3) // 2)]
        frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
        content = (tmp_path / "a.webp").read_bytes()
    (tmp_path / "x.png").write_bytes(content)
    for show in (
        lambda: look(tmp_path / "x.png", tmp_path),
        lambda: enlarge(tmp_path / "x.png", networks, "mine", 2, tmp_path),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            show()
        assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "scale", "message"),
    [
        ("mine", 0, "the scale is 0, expected a positive number"),
        ("mine", float("nan"), "the scale is nan"),
        ("yours", 2, "yours is none of the networks of this page"),
        ("mine", 1e4, "the result would have 240000 x 200000 pixels, this page makes at most"),
    ],
)
def test_what_cannot_be_leaves_nothing(networks, photo, tmp_path, name, scale, message):
    with pytest.raises(ValueError, match=message):
        enlarge(photo, networks, name, scale, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_too_little_memory_is_told_before_any_work(networks, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(enlarging, "free_ram", lambda: 1000)
    with pytest.raises(ValueError, match="not enough memory: the result takes"):
        enlarge(photo, networks, "mine", 2, tmp_path)

    def exhaust(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(enlarging, "resize_image", exhaust)
    with pytest.raises(ValueError, match=r"for photo.png: start `sr-jax view` with a smaller"):
        enlarge(photo, networks, BICUBIC, 2, tmp_path)


def test_networks_are_those_given_those_that_ship_and_bicubic(networks):
    assert networks.names == [AUTOMATIC, "mine", *pretrained.cards(), BICUBIC]
    assert networks.scales("mine") == (2,)
    assert networks.scales(AUTOMATIC) == (2, 3, 4)
    assert networks.scales(BICUBIC) == (2, 3, 4)


def test_the_best_for_an_image_is_what_upscale_takes(networks, photo, tmp_path):
    Image.open(photo).save(tmp_path / "photo.jpg")
    for file, kind, made in (
        ("photo.png", "bicubic", "clean images"),
        ("photo.jpg", "photo", "JPEG"),
    ):
        for scale in (2, 2.5):
            card = pretrained.choose(scale, kind)
            own = min(each for each in card.scales if each >= scale)
            resized = "" if own == scale else f", x{own} and then resized"
            words, upscaler = networks.find(AUTOMATIC, tmp_path / file, scale)
            assert words == f"{card.name}, made for {made}{resized}"
            assert upscaler.scale == scale


def test_what_does_not_upscale_is_refused(weights):
    with pytest.raises(ValueError, match="no network that upscales images"):
        Networks({"mine": (create_model("srgan_discriminator"), {})})
    with pytest.raises(ValueError, match="tile is 0"):
        Networks({}, tile=0)
