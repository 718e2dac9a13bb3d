"""Files of the Hugging Face Hub: their names, what is not there, what the Hub answers."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from hubs import NEW, OLD, OTHER, constants, content, huggingface_hub
from hubs import cache as cache
from hubs import connections as connections
from hubs import filled as filled
from hubs import played as played
from processes import REPOSITORY

from sr_jax import hub
from sr_jax.opening import open_model

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


# ------------------------------------------------------------------ what the Hub answers


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
