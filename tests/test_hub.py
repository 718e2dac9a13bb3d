"""Networks of the Hugging Face Hub: from a cache that the tests make, or a Hub that they play.

No test opens a connection: whoever tries to is counted.
"""

import errno
import functools
import hashlib
import json
import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
from processes import REPOSITORY, photos

import sr_jax
from sr_jax import hub, weights
from sr_jax.commands.convert import Target, convert
from sr_jax.commands.evaluate import evaluate
from sr_jax.commands.upscale import upscale
from sr_jax.configuration import load_recipe
from sr_jax.data import resident
from sr_jax.imaging.files import read_image, write_image
from sr_jax.interop.torch import to_torch
from sr_jax.models import create_model, variable_shapes
from sr_jax.opening import open_model
from sr_jax.recipe import read_config
from sr_jax.storage import digest
from sr_jax.train import train
from sr_jax.training.start import PINNED, pin_start, read_start

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra `hub` is missing")
constants = pytest.importorskip("huggingface_hub.constants")
httpx2 = pytest.importorskip("httpx2")  # which it brings

OLD, NEW, OTHER = "a" * 40, "b" * 40, "c" * 40  # commits
NETWORK = create_model("edsr_baseline", scale=2, n_resblocks=1, n_feats=4)


@pytest.fixture(autouse=True)
def connections(monkeypatch):
    """Refuses all connections; at its end there must have been no attempt."""
    attempts: list[Any] = []

    def refuse(*arguments: Any, **options: Any) -> None:
        attempts.append(arguments)
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield attempts
    assert not attempts


class Cache:
    """The folder that huggingface_hub keeps of a repository."""

    def __init__(self, folder: Path, repository: str = "user/net") -> None:
        self.folder = folder / f"models--{repository.replace('/', '--')}"

    def add(self, commit: str, file: str, content: bytes) -> Path:
        """A file of a commit: what it holds, in blobs/, and a link to that in snapshots/."""
        blob = self.folder / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = self.folder / "snapshots" / commit / file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
        return link

    def point(self, revision: str, commit: str) -> None:
        """Has a branch or tag be a commit."""
        ref = self.folder / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Offline mode, with an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return Cache(tmp_path / "hub")


@functools.cache
def drawn(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda s: rng.normal(scale=0.1, size=s.shape).astype(s.dtype), variable_shapes(NETWORK)
    )


@functools.cache
def content(seed: int = 0) -> bytes:
    """A weights file."""
    with tempfile.TemporaryDirectory() as folder:
        weights.save(Path(folder) / "net.safetensors", NETWORK, drawn(seed))
        return (Path(folder) / "net.safetensors").read_bytes()


@pytest.fixture
def filled(cache):
    """Two commits with other weights: the branch main is the newer one, the tag v1 the older."""
    for seed, commit in enumerate((OLD, NEW)):
        cache.add(commit, "net.safetensors", content(seed))
    cache.point("main", NEW)
    cache.point("v1", OLD)
    return cache


def assert_same(variables: Any, seed: int) -> None:
    jax.tree.map(np.testing.assert_array_equal, variables, drawn(seed))


# ------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("name", "commit"),
    [
        ("hf:user/net", NEW),
        ("hf:user/net/net.safetensors", NEW),
        ("hf:user/net@main/net.safetensors", NEW),
        ("hf:user/net@v1", OLD),
        ("hf:user/net@v1/", OLD),
        (f"hf:user/net@{OLD}/net.safetensors", OLD),
        ("hf://user/net@v1", OLD),  # as huggingface_hub writes it
        (Path("hf:user/net@v1"), OLD),
    ],
)
def test_a_name_is_a_file_and_its_commit(filled, name, commit):
    fetched = hub.fetch(name)
    assert fetched.pinned == f"hf:user/net@{commit}/net.safetensors"
    assert fetched.path == filled.folder / "snapshots" / commit / "net.safetensors"
    assert fetched.note.startswith(f"from the cache: {fetched.pinned} (0.0 MB)")
    assert ("the only one there" in fetched.note) == ("net.safetensors" not in str(name))
    assert hub.fetch(fetched.pinned)[:2] == fetched[:2]


def test_a_revision_may_hold_a_slash_and_a_file_a_folder(cache):
    cache.add(OLD, "x4/best@1.safetensors", content())
    for revision in ("feature/small", "refs/pr/3"):
        cache.point(revision, OLD)
    for name in ("feature%2Fsmall", "refs/pr/3"):
        fetched = hub.fetch(f"hf:user/net@{name}/x4/best@1.safetensors")
        assert fetched.pinned == f"hf:user/net@{OLD}/x4/best@1.safetensors"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:", r"write hf:USER/REPO\[@REVISION\]\[/FILE.safetensors\]"),
        ("hf:net", "'namespace/name', got 'net': write hf:USER/REPO"),
        ("hf:@main", "Missing repository id before '@': write hf:USER/REPO"),
        ("hf:user/net@", "Empty revision after '@': write"),
        ("hf:user/net@/net.safetensors", "Empty revision"),
        ("hf:user/--/net.safetensors", "alphanumeric chars.*: write hf:USER/REPO"),
        ("hf:user/n t", "alphanumeric chars"),
        ("hf:user/net//net.safetensors", "empty segments"),
        ("hf:datasets/user/net", "is a dataset, expected a repository of models"),
        ("hf:dataset/user/net", "Type prefix must be plural"),
        ("hf:user/net/../net.safetensors", r"has \.\. or a backslash"),
        ("hf:user/net@..%2F..%2Fmain", r"has \.\. or a backslash"),
        ("hf:user/net@main\\x", r"has \.\. or a backslash"),
        ("hf:user/net/net.pth", "only .safetensors files are taken .* `hf download user/net net.p"),
        ("hf:user/net/folder", "only .safetensors files .* folder is none"),
    ],
)
def test_a_malformed_name_is_one_line(filled, name, message):
    with pytest.raises(ValueError, match=message) as caught:
        hub.fetch(name)
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["a.pth", "a.bin", "a.h5", "a.pkl", "a.npz", "a.mat", "a.ckpt"])
def test_what_may_hold_code_is_never_fetched(cache, file):
    cache.add(OLD, file, b"anything")
    cache.point("main", OLD)
    with pytest.raises(ValueError, match=r"only .safetensors files are taken from the Hub"):
        open_model(f"hf:user/net/{file}")
    with pytest.raises(ValueError, match=r"the cache has no \.safetensors file of commit aaaa"):
        hub.fetch("hf:user/net")


def test_of_several_files_one_must_be_named(cache):
    for file in ("x4/b.safetensors", "a.safetensors", "README.md"):
        cache.add(OLD, file, content())
    cache.point("v1", OLD)
    several = r"several .* files, a.safetensors, x4/b.safetensors: name one, as in hf:user/net@v1/a"
    with pytest.raises(ValueError, match=several):
        hub.fetch("hf:user/net@v1")
    assert hub.fetch("hf:user/net@v1/x4/b.safetensors").path.exists()


# ------------------------------------------------------------------ what is not there


@pytest.mark.parametrize(
    "name",
    [
        "hf:user/other",
        "hf:user/net@v2",
        "hf:user/net/other.safetensors",
        f"hf:user/net@{OTHER}",
        f"hf:user/net@{OTHER}/net.safetensors",
    ],
)
def test_offline_what_the_cache_lacks_is_said_to_be_so(filled, name):
    with pytest.raises(ValueError, match="/hub does not have it, and HF_HUB_OFFLINE is set: unset"):
        hub.fetch(name)


def test_a_damaged_cache_is_no_other_network(filled):
    filled.point("main", "")
    with pytest.raises(ValueError, match="'' for main, no commit: run `hf cache rm model/user/net"):
        hub.fetch("hf:user/net")
    blob = (filled.folder / "snapshots" / OLD / "net.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-8])
    with pytest.raises(
        ValueError, match=r"is no whole safetensors file .*`hf cache rm model/user/"
    ):
        open_model("hf:user/net@v1")


def test_without_huggingface_hub_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"needs huggingface_hub .*: pip install 'sr-jax\[hub\]'"):
        hub.fetch("hf:user/net")


class Played:
    """A Hub without a network: what it has, and what it answers in place of that.

    Attributes:
        files: of the commit.
        commit: of the branch main.
        refusal: status and headers of every answer; None: it answers as it should.
        asked: methods and paths of the requests.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.commit = files, NEW
        self.refusal: tuple[int, dict[str, str]] | None = None
        self.asked: list[str] = []

    def __call__(self, request: Any) -> Any:
        path = request.url.path
        self.asked.append(f"{request.method} {path}")
        if self.refusal:
            return httpx2.Response(self.refusal[0], headers=self.refusal[1])
        if path.startswith("/api/models/user/net"):
            if path.rpartition("/")[2] not in ("net", "main", self.commit):
                return httpx2.Response(404, headers={"X-Error-Code": "RevisionNotFound"})
            siblings = [{"rfilename": file} for file in self.files]
            said = {"id": "user/net", "sha": self.commit, "siblings": siblings}
            return httpx2.Response(200, json=said)
        file = path.partition(f"/resolve/{self.commit}/")[2]
        if file not in self.files:
            return httpx2.Response(404, headers={"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha256(self.files[file]).hexdigest()
        headers = {"X-Repo-Commit": self.commit, "ETag": f'"{etag}"'}
        if request.method == "HEAD":
            size = {"Content-Length": str(len(self.files[file]))}
            return httpx2.Response(200, headers=headers | size)
        return httpx2.Response(200, headers=headers, content=self.files[file])


@pytest.fixture
def played(cache, monkeypatch):
    """A Hub that can be asked, with one weights file."""
    from huggingface_hub.utils import _http

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    server = Played({"net.safetensors": content(1), "README.md": b"# A network"})
    huggingface_hub.set_client_factory(
        lambda: httpx2.Client(transport=httpx2.MockTransport(server), follow_redirects=True)
    )
    yield server
    huggingface_hub.set_client_factory(_http.default_client_factory)


def test_a_file_is_fetched_once_and_pinned(played):
    fetched = hub.fetch("hf:user/net")
    assert fetched.note == f"fetched hf:user/net@{NEW}/net.safetensors (0.0 MB)"
    assert fetched.path.read_bytes() == played.files["net.safetensors"]
    assert not list(fetched.path.parent.glob("README*"))
    assert hub.fetch("hf:user/net").note.startswith("from the cache: hf:user/net@bbbb")
    played.asked.clear()
    assert hub.fetch(fetched.pinned).path == fetched.path
    assert played.asked == []


def test_the_hub_says_what_the_repository_has(played):
    """Where several are there, the cache may have but one."""
    hub.fetch("hf:user/net")
    played.files["b.safetensors"] = b""
    with pytest.raises(ValueError, match=r"the repository has several .* b.safetensors, net.safe"):
        hub.fetch("hf:user/net")
    played.files = {"README.md": b""}
    with pytest.raises(ValueError, match=r"the repository has no \.safetensors file of commit bbb"):
        hub.fetch("hf:user/net")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (
            401,
            "GatedRepo",
            "let in whom they know: ask on https://huggingface.co/user/net, and run",
        ),
        (401, "RepoNotFound", "there is no https://huggingface.co/user/net, or it is private"),
        (404, "RevisionNotFound", "it has no branch, tag or commit main: see https://hugging"),
        (404, "EntryNotFound", "no such file: see https://huggingface.co/user/net/tree/main"),
        (403, "", "the Hub refuses access: run `hf auth login` with a token"),
        (500, "", r"does not have it, and it cannot be fetched \(.*500.*\): see to the network"),
    ],
)
def test_what_the_hub_refuses_is_one_line(played, status, code, message):
    played.refusal = status, {"X-Error-Code": code} if code else {}
    with pytest.raises(ValueError, match=message) as caught:
        hub.fetch("hf:user/net/net.safetensors")
    assert str(caught.value).startswith("hf:user/net/net.safetensors: ")
    assert "\n" not in str(caught.value)


def test_an_unknown_revision_and_an_unknown_file(played):
    with pytest.raises(ValueError, match="it has no branch, tag or commit v9: see"):
        hub.fetch("hf:user/net@v9")
    with pytest.raises(ValueError, match=r"there is no such file: see .*/user/net/tree/main"):
        hub.fetch("hf:user/net/x4.safetensors")


def test_without_a_network_the_cache_is_taken(filled, connections, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    fetched = hub.fetch("hf:user/net")
    assert fetched.pinned == f"hf:user/net@{NEW}/net.safetensors"
    assert fetched.note.endswith("the only one there; the Hub was not reached")
    with pytest.raises(ValueError, match=r"cannot be fetched \(.*unreachable\): see to the networ"):
        hub.fetch("hf:user/other")
    assert connections
    connections.clear()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space is left for it in .*/hub:"),
        (PermissionError(errno.EACCES, "Permission denied", "/ro/x"), "/ro/x cannot be written:"),
        (RuntimeError("the server hung\nup"), r"cannot be fetched \(the server hung up\)"),
    ],
)
def test_what_fails_while_a_file_is_written(played, monkeypatch, error, message):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(ValueError, match=message):
        hub.fetch("hf:user/net")


def test_one_line_and_no_traceback_for_the_user(tmp_path):
    """As a process of its own, which reads HF_HOME and HF_HUB_OFFLINE."""
    code = "from sr_jax import hub; from sr_jax.commands.console import run; "
    code += "run(lambda: hub.fetch('hf:user/net'))"
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: hf:user/net: the cache {tmp_path}/hub does not have it")


# ------------------------------------------------------------------ wherever a model is asked for


def test_a_network_is_opened_with_what_to_say_of_it(filled):
    opened = open_model("hf:user/net@v1")
    assert opened.note == hub.fetch("hf:user/net@v1").note
    assert opened.identity == digest(hub.fetch("hf:user/net@v1").path)
    assert_same(opened.variables, 0)
    assert_same(sr_jax.load("hf:user/net")[1], 1)
    image = np.zeros((8, 8, 3), np.uint8)
    assert sr_jax.Upscaler("hf:user/net")(image).shape == (16, 16, 3)
    with pytest.raises(ValueError, match="a step is for a training workdir, but hf:user/net is on"):
        open_model("hf:user/net", step=3)


@pytest.fixture
def foreign(cache):
    """A published checkpoint: names of PyTorch, no metadata."""
    tensors = {name: np.asarray(value) for name, value in to_torch(NETWORK, drawn(1)).items()}
    cache.add(OLD, "edsr.safetensors", safetensors.numpy.save(tensors))
    cache.point("main", OLD)
    return cache


def test_a_published_checkpoint_is_converted(foreign, tmp_path, capsys):
    opened = open_model("hf:user/net")
    assert opened.note.startswith(f"from the cache: hf:user/net@{OLD}/edsr.safetensors (")
    assert "edsr.safetensors is converted: " in opened.note
    assert_same(opened.variables, 1)
    convert(Path("hf:user/net/edsr.safetensors"), tmp_path / "mine.safetensors")
    assert f"from the cache: hf:user/net@{OLD}/edsr" in capsys.readouterr().out
    assert_same(weights.load(tmp_path / "mine.safetensors")[1], 1)


def test_a_weights_file_is_turned_back(filled, tmp_path, capsys):
    convert(Path("hf:user/net@v1"), tmp_path / "net.npz", to=Target.TORCH)
    assert f"hf:user/net@{OLD}/net.safetensors" in capsys.readouterr().out
    np.testing.assert_array_equal(
        np.load(tmp_path / "net.npz")["head.0.weight"], to_torch(NETWORK, drawn(0))["head.0.weight"]
    )


def test_images_go_through_it_and_only_the_same_content_goes_on(filled, tmp_path, capsys):
    images = [tmp_path / "in" / f"{name}.png" for name in "ab"]
    for image in images:
        write_image(image, np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    broken = tmp_path / "in" / "c.png"
    broken.write_bytes(b"no image")  # so that the command is not finished
    options = {"model": "hf:user/net", "output": tmp_path / "out"}
    with pytest.raises(Exception, match="1"):
        upscale([*images, broken], **options)
    assert f"from the cache: hf:user/net@{NEW}/net.safetensors" in capsys.readouterr().out
    expected = sr_jax.Upscaler("hf:user/net")(read_image(images[0]))
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png"), expected)
    same = {**options, "model": f"hf:user/net@{NEW}/net.safetensors"}
    with pytest.raises(Exception, match="1"):
        upscale([*images, broken], **same)
    assert "going on: 2 images are done" in capsys.readouterr().out
    filled.point("main", OLD)
    with pytest.raises(ValueError, match=r"a.png exists and is not of an unfinished run"):
        upscale([*images, broken], **options)


def test_it_is_scored(filled, tmp_path, capsys):
    folder = tmp_path / "set"
    write_image(folder / "a.png", np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    evaluate([folder], model=["new=hf:user/net", "old=hf:user/net@v1"], output=tmp_path / "s.json")
    printed = capsys.readouterr().out
    assert f"hf:user/net@{NEW}/net.safetensors" in printed
    assert f"hf:user/net@{OLD}/net.safetensors" in printed
    rows = {row["method"]: row["psnr"] for row in json.loads((tmp_path / "s.json").read_text())}
    assert rows["new"] != rows["old"]


# ------------------------------------------------------------------ what a training begins with


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
