"""The command upscale: what it finds, names, refuses, writes, compiles and imports."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import typer
from pictures import png_chunk
from PIL import Image, ImageCms
from typer.testing import CliRunner

from sr_jax import weights
from sr_jax.__main__ import app
from sr_jax.commands.compilations import keep_compilations
from sr_jax.commands.upscale import upscale
from sr_jax.imaging import files
from sr_jax.imaging.files import from_float, read_image, read_picture, to_float, write_image
from sr_jax.imaging.resize import imresize
from sr_jax.inference.upscaler import network_factor, upscale_image, upscale_rgb
from sr_jax.models import create_model

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def outputs(folder: Path) -> list[str]:
    """The files in a folder, but for the record of what was done."""
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in found if not name.startswith(".sr_jax-"))


# ------------------------------------------------------------------ finding and naming


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in ("a.png", "b.JPG", "trip/a.tif", "trip/day 1/c[1].webp"):
        write_image(tmp_path / "album" / name, noise(5, 6, 3))
    (tmp_path / "album" / "notes.txt").touch()
    return tmp_path / "album"


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (["album"], ["a.png", "b.png", "trip/a.png", "trip/day 1/c[1].png"]),
        (["album/b.JPG", "album/trip"], ["a.png", "b.png", "day 1/c[1].png"]),
        (["album/*.[pJ]*"], ["a.png", "b.png"]),
        (["album/**/c*"], ["c[1].png"]),
        (["album/trip/day 1/c[1].webp"], ["c[1].png"]),  # a file's name, not a pattern
        (["album/a.png", "album", "album/[a].png"], ["a.png", "b.png", "trip/a.png"]),
    ],
)
def test_files_folders_and_patterns(model, album, tmp_path, monkeypatch, inputs, found):
    monkeypatch.chdir(tmp_path)
    paths = [Path(path) for path in inputs]
    upscale(paths, model=model, output=Path("out"))
    assert set(found) <= set(outputs(Path("out")))
    assert len(outputs(Path("out"))) == (4 if "album" in inputs else len(found))


def test_suffix(model, album, tmp_path):
    upscale([album], model=model, output=album, suffix="_x2")
    assert {"a_x2.png", "trip/day 1/c[1]_x2.png"} <= set(outputs(album))
    with pytest.raises(ValueError, match="expected part of a file's name"):
        upscale([album], model=model, output=tmp_path, suffix="/x2")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("jpeg", "jpg"), ("webp", "webp"), ("avif", "avif"), ("tiff", "tif"), ("png", "png")],
)
def test_formats(model, album, tmp_path, name, kind):
    upscale([album / "a.png"], model=model, output=tmp_path / "out", file_format=name)
    assert outputs(tmp_path / "out") == [f"a.{kind}"]
    assert read_image(tmp_path / "out" / f"a.{kind}").shape == (10, 12, 3)


def test_the_output_of_one_image_may_be_a_file(model, album, tmp_path):
    sizes = []
    for quality in (20, 95):
        output = tmp_path / f"{quality}.JPG"
        upscale([album / "a.png"], model=model, output=output, quality=quality)
        assert read_image(output).shape == (10, 12, 3)
        sizes.append(output.stat().st_size)
    assert sizes[0] < sizes[1]
    assert outputs(tmp_path) == ["20.JPG", "95.JPG", *(f"album/{n}" for n in outputs(album))]


def test_what_a_format_cannot_store_costs_one_file(model, album, tmp_path, capsys):
    write_image(album / "deep.png", noise(5, 6, 3, dtype=np.uint16))
    error = failing(capsys, [album], model=model, output=tmp_path / "out", file_format="jpeg")
    assert re.search(r"deep\.jpg: JPEG cannot store 16-bit RGB", error)
    assert len(outputs(tmp_path / "out")) == 4


def test_bfloat16_of_16_bits_says_what_is_lost(model, tmp_path, capsys):
    write_image(tmp_path / "[b]deep.png", noise(5, 6, 3, dtype=np.uint16))
    upscale([tmp_path / "[b]deep.png"], model=model, output=tmp_path / "out", dtype="bfloat16")
    assert "[b]deep.png has 16 bits, bfloat16 keeps 8: give --dtype float32" in (
        capsys.readouterr().err
    )


def test_outputs_inside_the_input_folder_are_no_inputs(model, album, monkeypatch):
    monkeypatch.chdir(album)
    for _ in range(2):
        upscale([Path()], model=model, output=Path("large"), overwrite=True)
    assert len(outputs(album / "large")) == 4


def failing(capsys, *arguments, **options) -> str:
    """What an upscaling prints as errors that does not do everything."""
    with pytest.raises(typer.Exit) as exit_:
        upscale(*arguments, **options)
    assert exit_.value.exit_code == 1
    return capsys.readouterr().err


def test_two_inputs_of_one_name_cost_one_of_them(model, album, tmp_path, capsys):
    write_image(tmp_path / "other" / "a.png", noise(5, 6))
    inputs = [album / "a.png", tmp_path / "other", album / "b.JPG"]
    error = failing(capsys, inputs, model=model, output=tmp_path / "out")
    assert re.search(r"a\.png and .*other/a\.png would both become .*: only the first", error)
    assert len(outputs(tmp_path / "out")) == 2


def test_files_that_differ_in_their_suffix_keep_it(model, tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        write_image(tmp_path / "in" / name, noise(5, 6, 3))
    upscale([tmp_path / "in"], model=model, output=tmp_path / "out")
    assert outputs(tmp_path / "out") == ["a.jpg.png", "a.png.png", "b.png"]


def test_a_name_too_long_costs_one_file(model, tmp_path, capsys):
    write_image(tmp_path / "in" / f"{'m' * 251}.png", noise(5, 6))
    write_image(tmp_path / "in" / "good.png", noise(5, 6))
    (tmp_path / "out").mkdir()
    options = {"model": model, "output": tmp_path / "out", "suffix": "_x2"}
    assert "the name of its output is too long" in failing(capsys, [tmp_path / "in"], **options)
    assert outputs(tmp_path / "out") == ["good_x2.png"]


def test_an_interrupted_run_goes_on(model, album, tmp_path, monkeypatch, capsys):
    write, done = files.write_image, []

    def write_two(path, *arguments, **options):
        if len(done) == 2:
            raise KeyboardInterrupt
        write(path, *arguments, **options)
        done.append(path)

    monkeypatch.setattr(files, "write_image", write_two)
    picture = tmp_path / "picture.png"
    with pytest.raises(KeyboardInterrupt):
        upscale([album], model=model, output=tmp_path / "out", comparison=picture)
    monkeypatch.setattr(files, "write_image", write)
    before = {path: path.stat().st_mtime_ns for path in done}
    with pytest.raises(ValueError, match="exists and is not of an unfinished run of this command"):
        upscale([album], model=model, output=tmp_path / "out", ensemble=True)
    write_image(album / "b.JPG", noise(8, 8, 3))  # changed since: done anew
    drawn = picture.stat().st_mtime_ns
    upscale([album], model=model, output=tmp_path / "out", comparison=picture)
    assert picture.stat().st_mtime_ns == drawn
    assert "going on: 1 images are done" in capsys.readouterr().out
    assert len(outputs(tmp_path / "out")) == 4
    assert sum(path.stat().st_mtime_ns == when for path, when in before.items()) == 1


def test_of_a_folder_that_grows_the_new_images_are_done(model, album, tmp_path, capsys):
    upscale([album], model=model, output=tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    write_image(album / "new.png", noise(5, 6, 3))
    upscale([album], model=model, output=tmp_path / "out")
    printed = capsys.readouterr().out
    assert "going on: 4 images are done" in printed
    assert "1 of 1 images written" in printed
    assert (tmp_path / "out" / "new.png").exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(ValueError, match="exists and is not of an unfinished run"):
        upscale([album], model=model, output=tmp_path / "out", ensemble=True)


def test_no_output_replaces_another_input(model, tmp_path, capsys):
    for name in ("a.png", "a_x2.png"):
        write_image(tmp_path / name, noise(5, 6))
    options = {"model": model, "output": tmp_path, "suffix": "_x2", "overwrite": True}
    error = failing(capsys, [tmp_path], **options)
    assert re.search(r"a\.png would replace the input .*a_x2\.png", error)
    (tmp_path / "a_x2_x2.png").unlink()
    upscale([tmp_path], model=model, output=tmp_path, overwrite=True)  # each its own
    assert read_image(tmp_path / "a.png").shape == (10, 12)


def test_inputs_that_name_nothing_are_reported(model, album, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    inputs = [tmp_path / "empty", album / "*.gif", album / "none.png", album / "a.png"]
    with pytest.raises(typer.Exit) as exit_:
        upscale(inputs, model=model, output=tmp_path / "out")
    assert exit_.value.exit_code == 1
    first, second, third = capsys.readouterr().err.splitlines()
    assert re.match("error: .*empty holds no image", first)
    assert re.match(r"error: no file matches .*\*\.gif$", second)
    assert re.match(r"error: cannot read image .*none\.png: no such file$", third)
    assert outputs(tmp_path / "out") == ["a.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": None, "step": 3}, "--step is of a training workdir: give it with --model"),
        ({"model": "none"}, "none: no such weights file or workdir"),
        ({"scale": -2.0}, "--scale is -2.0, expected a positive number"),
        ({"scale": float("nan")}, "--scale is nan"),
        ({"tile": "huge"}, "--tile is 'huge', expected auto, none or a number of pixels"),
        ({"tile": "0"}, "tile is 0"),
        ({"overlap": "some"}, "--overlap is 'some', expected exact or a number of pixels"),
        ({"batch": 0}, "batch is 0"),
        ({"tile": "64", "shard_image": True}, "tiles of 64 pixels were asked for, and to split"),
        ({"output": "file"}, "--output .*file is a file, expected a folder"),
        ({"output": Path("x.jpg")}, "--output x.jpg names one image, but 4 are given"),
        ({"output": Path("x.jpg"), "file_format": "png"}, "names the format already"),
        ({"output": Path("nosuch://bucket/x")}, "nosuch://bucket/x: .*not known"),
        ({"quality": 90}, "--quality is for JPEG, WebP and AVIF, not for .png files"),
    ],
)
def test_refused_before_any_work(model, album, tmp_path, options, message):
    (tmp_path / "file").touch()
    arguments = {"model": model, "output": tmp_path / "out", **options}
    if arguments["output"] == "file":
        arguments["output"] = tmp_path / "file"
    with pytest.raises(ValueError, match=message):
        upscale([album], **arguments)
    assert not (tmp_path / "out").exists()


def test_existing_outputs_are_kept_before_any_work(model, album, tmp_path):
    out = tmp_path / "out"
    (out / "trip").mkdir(parents=True)
    (out / "trip" / "a.png").write_text("mine")
    with pytest.raises(ValueError, match=r"trip/a\.png exists and is not of .*: give --overwrite"):
        upscale([album], model=model, output=out)
    assert outputs(out) == ["trip/a.png"]
    assert (out / "trip" / "a.png").read_text() == "mine"
    upscale([album], model=model, output=out, overwrite=True)
    assert read_image(out / "trip" / "a.png").shape == (10, 12, 3)


# ------------------------------------------------------------------ scale, profile, options


@pytest.mark.parametrize(
    ("name", "fields", "scale", "factor"),
    [
        ("edsr_baseline", {"scale": 3}, None, 3),
        ("edsr_baseline", {"scale": 3}, 2.0, 3),
        ("edsr_baseline", {"scale": 3}, 7.5, 3),
        ("mdsr", {}, 2.0, 2),
        ("mdsr", {}, 2.1, 3),
        ("mdsr", {}, 0.5, 2),
        ("mdsr", {}, 9.0, 4),
        ("vdsr", {}, 2.5, 3),
        ("vdsr", {}, 3.0, 3),
        ("srcnn_915", {"scale": 3}, 4.0, 3),
        ("srcnn_915", {}, 0.3, 1),
    ],
)
def test_factor_of_the_network(name, fields, scale, factor):
    assert network_factor(create_model(name, **fields), scale) == factor


@pytest.mark.parametrize("name", ["mdsr", "vdsr", "vgg16"])
def test_networks_without_a_scale_of_their_own(name):
    with pytest.raises(ValueError, match=r"give a scale|no network that upscales"):
        network_factor(create_model(name), None)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("scale", "shape"), [(1.5, (11, 14)), (3.25, (23, 29)), (0.01, (1, 1))])
def test_fractional_scales(model, tmp_path, scale, shape, dtype):
    """The network's own factor, then bicubic on floats, rounded once at the end."""
    image = noise(7, 9, 3, dtype=dtype)
    write_image(tmp_path / "a.png", image)
    upscale([tmp_path / "a.png"], model=model, output=tmp_path / "out", scale=scale)
    own = upscale_rgb(*weights.load(model), to_float(image), 2)
    expected = from_float(imresize(own, size=shape), dtype)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png"), expected)


def test_profile_and_orientation(model, tmp_path):
    """The profile comes with the output; the orientation is applied and not written again."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in (".jpg", ".tif", ".webp"):
        path = tmp_path / f"a{suffix}"
        Image.fromarray(noise(5, 7, 3)).save(path, exif=exif, icc_profile=SRGB)
        upscale([path], model=model, output=tmp_path / "out", overwrite=True)
        pixels, icc_profile, _ = read_picture(tmp_path / "out" / "a.png")
        assert pixels.shape == (14, 10, 3)
        assert icc_profile == SRGB
        with Image.open(tmp_path / "out" / "a.png") as written:
            assert not written.getexif()


def test_options_reach_the_network(model, tmp_path):
    """Through the parser of the console script, against the library called with the same."""
    from sr_jax.inference.settings import Settings

    image = noise(40, 30, 4)
    write_image(tmp_path / "a.png", image)
    settings = Settings(tile=24, overlap=5, ensemble=True, dtype="bfloat16", batch=3, bucket=32)
    network, variables = weights.load(model)
    expected = upscale_image(network, variables, image, 2, settings, alpha="network")
    command = f"upscale {tmp_path}/a.png --model {model} --output {tmp_path}/out --tile 24"
    command += " --overlap 5 --ensemble --dtype bfloat16 --batch 3 --bucket --alpha network"
    result = CliRunner().invoke(app, command.split(), catch_exceptions=False)
    assert result.exit_code == 0
    assert re.fullmatch(
        r"1 of 1 images written to .*/out in \d+\.\d s \(\d+\.\d\d images/s\)\n", result.stdout
    )
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png"), expected)
    plain = upscale_image(network, variables, image, 2)
    assert (expected != plain).any()


def test_sharing_an_image_with_no_other_device(model, tmp_path, capsys):
    """One line says so, and images, of many sizes too, go whole."""
    names = [f"{number:02}.png" for number in range(10)]
    for number, name in enumerate(names):
        write_image(tmp_path / "in" / name, noise(20 + number, 30, 3))
    upscale([tmp_path / "in"], model=model, output=tmp_path / "plain", tile="none")
    upscale([tmp_path / "in"], model=model, output=tmp_path / "shared", shard_image=True)
    note = "note: there is a single device, so that --shard-image changes nothing\n"
    assert capsys.readouterr().err == note
    for name in names:
        plain, shared = (read_image(tmp_path / folder / name) for folder in ("plain", "shared"))
        np.testing.assert_array_equal(plain, shared)


def test_dry_run(model, tmp_path, capsys):
    write_image(tmp_path / "in" / "a.png", noise(40, 70, 4))
    (tmp_path / "in" / "bad.png").touch()
    arguments = {"tile": "32", "overlap": "exact", "scale": 3.0, "alpha": "network"}
    with pytest.raises(typer.Exit):
        upscale([tmp_path / "in"], model=model, output=tmp_path / "out", dry_run=True, **arguments)
    captured = capsys.readouterr()
    # EDSR with one block looks 6 pixels far; 2 x 3 tiles, once for colour and once for alpha.
    assert re.fullmatch(
        r".*a\.png: 70 x 40 to 210 x 120 pixels; 12 tiles of 32 x 32 \(.*\); "
        r"\d+ MiB for the network, \d+ MiB for images; \d+\.\d\d G multiply-adds, "
        r"about \d+\.\d s here and what compiling takes\n",
        captured.out,
    )
    assert "bad.png: the file is empty" in captured.err
    assert not (tmp_path / "out").exists()


def test_comparison(model, tmp_path):
    """Of the first image that could be read; an existing picture is not replaced."""
    (tmp_path / "a.png").touch()
    write_image(tmp_path / "b.png", noise(20, 24, dtype=np.uint16))
    arguments = {"model": model, "comparison": tmp_path / "look.png", "scale": 2.5}
    with pytest.raises(typer.Exit):
        upscale([tmp_path / "a.png", tmp_path / "b.png"], output=tmp_path / "out", **arguments)
    assert read_image(tmp_path / "look.png").ndim == 3
    with pytest.raises(ValueError, match=r"look\.png exists"):
        upscale([tmp_path / "b.png"], output=tmp_path / "new", **arguments)
    for place in (tmp_path / "b.png", tmp_path / "out" / "b.png"):
        arguments |= {"comparison": place, "overwrite": True}
        with pytest.raises(ValueError, match=r"b\.png is an input or an output"):
            upscale([tmp_path / "b.png"], output=tmp_path / "out", **arguments)


# ------------------------------------------------------------------ compilations and imports


@pytest.mark.parametrize(
    ("options", "programs"),
    [
        ({"tile": "32"}, 3),  # 32 x 32; 20 and 25 pixels wide
        ({"tile": "32", "bucket": True}, 1),
        ({"tile": "none"}, 6),
        ({"tile": "none", "bucket": True}, 3),  # 64 x 64, 64 x 32, 32 x 32
    ],
)
def test_compilations_of_many_sizes(model, tmp_path, options, programs):
    """The network is compiled once for each shape that is sent through it, and no more."""
    from sr_jax.inference.program import compiled

    for height, width in [(40, 50), (33, 60), (64, 64), (40, 20), (64, 20), (25, 32)]:
        write_image(tmp_path / "in" / f"{height}-{width}.png", noise(height, width, 3))
    compiled.cache_clear()
    upscale([tmp_path / "in"], model=model, output=tmp_path / "out", **options)
    assert compiled.cache_info().misses == programs


@pytest.mark.parametrize(("count", "programs"), [(8, 8), (9, 1)])
def test_images_of_many_sizes_share_programs(model, tmp_path, capsys, count, programs):
    """By itself the command pads them: the same pixels as of every image by itself."""
    from sr_jax.inference.program import compiled

    for number in range(count):
        write_image(tmp_path / "in" / f"{number}.png", noise(17 + number, 90 - 7 * number, 3))

    def run(folder: str, **options: object) -> list[str]:
        upscale([tmp_path / "in"], model=model, output=tmp_path / folder, **options)
        return capsys.readouterr().out.splitlines()

    compiled.cache_clear()
    first, *_ = run("auto")
    assert compiled.cache_info().misses == programs
    assert ("share programs" in first and "--tile none" in first) == (programs == 1)
    run("alone", tile="none")
    for name in outputs(tmp_path / "alone"):
        shared, alone = (read_image(tmp_path / folder / name) for folder in ("auto", "alone"))
        # Rounding of float32 can turn 0.4999999 of a level into 0.5.
        np.testing.assert_allclose(np.int32(shared), alone, atol=1)
        assert (shared != alone).mean() < 1e-3
    lines = run("dry", dry_run=True)
    if programs == 1:
        assert lines.pop(0) == first
    assert len(lines) == count


def test_where_compilations_are_kept(tmp_path, monkeypatch):
    def kept() -> str | None:
        keep_compilations()
        return jax.config.values["jax_compilation_cache_dir"]

    threshold = jax.config.values["jax_persistent_cache_min_compile_time_secs"]
    try:
        jax.config.update("jax_enable_compilation_cache", True)
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert kept() is None  # cannot be written to: nothing is kept and nothing said
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert kept() == str(tmp_path / "home/.cache/sr_jax/compiled")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert kept() == str(tmp_path / "home/.cache/sr_jax/compiled")  # set already
        jax.config.update("jax_compilation_cache_dir", None)
        assert kept() == str(tmp_path / "xdg/sr_jax/compiled")
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update("jax_enable_compilation_cache", False)
        assert kept() is None
        assert jax.config.values["jax_persistent_cache_min_compile_time_secs"] < threshold
    finally:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", threshold)
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update("jax_enable_compilation_cache", False)


def test_a_whole_run_in_a_process_of_its_own(model, tmp_path):
    """No warning, no TensorFlow; compiled programs are kept, and found by a second run."""
    write_image(tmp_path / "a.png", noise(9, 8, 3, dtype=np.uint16))
    whole = (tmp_path / "a.png").read_bytes()
    profile = png_chunk(b"iCCP", b"x\0\0junk")  # which is none, of which the decoder warns
    (tmp_path / "a.png").write_bytes(whole[:33] + profile + whole[33:])
    program = (
        "import json, sys, jax; from pathlib import Path\n"
        "from sr_jax.commands.upscale import upscale\n"
        "hits = []\n"
        "jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))\n"
        f"upscale([Path({str(tmp_path / 'a.png')!r})], model={model!r}, overwrite=True,\n"
        f"        output=Path({str(tmp_path / 'out')!r}), tile='none')\n"
        "print(json.dumps([sorted(sys.modules), hits]))\n"
    )
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "JAX_ENABLE_COMPILATION_CACHE": "1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    for run in range(2):
        process = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert process.returncode == 0, process.stderr
        assert process.stderr == ""
        modules, events = json.loads(process.stdout.splitlines()[-1])
        assert "tensorflow" not in modules
        assert ("/jax/compilation_cache/cache_hits" in events) == (run == 1)
    assert outputs(tmp_path / "cache" / "sr_jax" / "compiled")


def test_help_is_light():
    """`--help` loads nothing that takes long: that, not a stopwatch, keeps it below a second."""
    program = (
        "import sys; from sr_jax.__main__ import app\n"
        "try: app(['upscale', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'flax', 'numpy', 'tensorflow', 'PIL', 'scipy', 'matplotlib', 'absl'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)))\n"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.stderr == "\n"
    assert "--dry-run" in process.stdout
