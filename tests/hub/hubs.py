"""A cache and a Hub that the tests play; they import fixtures by `as`."""

import errno
import functools
import hashlib
import socket
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy

from sr_jax import weights
from sr_jax.interop.torch import to_torch
from sr_jax.models import create_model, variable_shapes

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


@pytest.fixture
def foreign(cache):
    """A published checkpoint: names of PyTorch, no metadata."""
    tensors = {name: np.asarray(value) for name, value in to_torch(NETWORK, drawn(1)).items()}
    cache.add(OLD, "edsr.safetensors", safetensors.numpy.save(tensors))
    cache.point("main", OLD)
    return cache


def assert_same(variables: Any, seed: int) -> None:
    jax.tree.map(np.testing.assert_array_equal, variables, drawn(seed))


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
