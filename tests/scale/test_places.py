"""Files at addresses, in fsspec's file system of this process's memory; and of this machine."""

import uuid
from pathlib import Path

import numpy as np
import pytest

from sr_jax.imaging.files import encode_picture
from sr_jax.scale import places

pytest.importorskip("fsspec", reason="addresses need fsspec, of the extra scale")


@pytest.fixture(params=["memory", "memory, renamed", "disk"])
def folder(request, tmp_path, monkeypatch) -> str:
    if request.param == "memory, renamed":  # as where nothing is written whole by itself
        monkeypatch.setattr(places, "_OBJECT_STORES", ())
        return f"memory://{uuid.uuid4().hex}"
    return f"memory://{uuid.uuid4().hex}" if request.param == "memory" else str(tmp_path / "new")


def test_a_file_is_written_read_told_apart_and_removed(folder):
    place = places.join(folder, "trip/a.txt")
    assert places.stamp(place) == places.read_text(place) == ""
    places.write(place, b"first")
    assert places.read_text(place) == "first"
    first = places.stamp(place)
    assert places.stamp(place) == first
    places.write(place, b"another")
    assert places.stamp(place) not in ("", first)
    assert places.list_names(places.join(folder, "trip")) == ["a.txt"]  # and nothing beside it
    places.remove(place)
    places.remove(place)
    assert places.stamp(place) == ""


def test_stamps_of_a_folder_are_those_of_its_files(folder):
    assert places.stamps(folder, ["trip/a.txt"]) == {}
    for name in ("trip/a.txt", "b.txt"):
        places.write(places.join(folder, name), b"x")
    found = places.stamps(folder, ["trip/a.txt", "c.txt"])
    assert found == {"trip/a.txt": places.stamp(places.join(folder, "trip/a.txt"))}


def test_images_are_read_with_the_messages_of_files(folder):
    image = np.zeros((5, 7, 3), np.uint8)
    place = places.join(folder, "a.jpg")
    places.write(place, encode_picture("a.jpg", image))
    assert places.read(place) == encode_picture("a.jpg", image)
    assert places.read_start(place) == ((5, 7), True)
    with places.local_copy(place) as path:
        assert path.read_bytes() == places.read(place)
    absent = places.join(folder, "none.png")
    for question in (places.read, places.read_start):
        with pytest.raises(ValueError, match=rf"cannot read image {absent}: no such file"):
            question(absent)


def test_what_lies_at_an_address():
    folder = f"memory://{uuid.uuid4().hex}"
    for name in ("a.PNG", "trip/b.jpg", "notes.txt", ".c.png", "@eaDir/d.png", "@eaDir/e.png"):
        places.write(places.join(folder, name), b"x")
    listing, stamps = places.list_files(folder)
    assert [places.locate(path) for path in listing.images] == [
        f"{folder}/a.PNG",
        f"{folder}/trip/b.jpg",
    ]
    assert stamps[listing.images[1]] == places.stamp(f"{folder}/trip/b.jpg")
    left_out = "no image by its suffix: notes.txt; hidden: .c.png, @eaDir"
    assert listing.left_out() == left_out
    assert [places.locate(path) for path in places.match_files(f"{folder}/*/b*")] == [
        f"{folder}/trip/b.jpg"
    ]
    alone, _ = places.list_files(f"{folder}/trip/b.jpg")
    assert [places.locate(path) for path in alone.images] == [f"{folder}/trip/b.jpg"]
    assert not places.list_files(f"{folder}/none")[0].images


@pytest.mark.parametrize(
    ("given", "address", "place"),
    [
        ("s3://bucket/a b.png", True, "s3://bucket/a b.png"),
        ("GS://bucket", True, "gs://bucket"),
        ("file:///data/a.png", False, "/data/a.png"),
        ("local:///data/a.png", False, "/data/a.png"),
        ("/data/a.png", False, "/data/a.png"),
        ("a:b/c.png", False, str(Path("a:b/c.png").absolute())),
    ],
)
def test_addresses_and_paths(given, address, place):
    assert places.is_address(given) == places.is_address(Path(given)) == address
    assert places.locate(given) == places.locate(Path(given)) == place


def test_an_address_of_a_kind_that_is_not_installed_or_not_known():
    with pytest.raises(ValueError, match=r"^nosuch://bucket: .*nosuch"):
        places.stamp("nosuch://bucket")


def test_what_a_file_system_raises_is_one_line(monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    def refuse(*_, **__):
        raise RuntimeError("denied\nby the bucket")

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    with pytest.raises(ValueError, match=r"^memory://x/a: denied by the bucket$"):
        places.write("memory://x/a", b"")
