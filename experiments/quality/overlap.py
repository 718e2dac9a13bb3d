"""Is a test image in a training set? python -m experiments.quality.overlap

By hash of the pixels, and by what survives scaling, mirroring and JPEG: thumbnails of every test
image are correlated with those of every training image; and what survives cropping, too: ORB
keypoints (Rublee et al., ICCV 2011) are matched, and the matches that one similarity transform
explains are counted (RANSAC). What is found so is measured on altered copies of the test images.
"""

import hashlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from PIL import Image
from rich.progress import track
from skimage.feature import ORB
from skimage.measure import ransac
from skimage.transform import SimilarityTransform

from experiments import harness
from sr_jax.imaging.files import read_image, to_rgb
from sr_jax.imaging.listing import list_files
from sr_jax.storage import write_bytes

FOLDER = Path(__file__).parent
TRAINING = ("photos", "T91", "BSDS200")
TESTS = ("Set5", "Set14", "B100")
SIDE = 640  # pixels, of the longer side at which keypoints are looked for
KEYPOINTS = 400
NEAR = 3.0  # pixels that a match may be off
AGREE, ALIKE = 12, 0.97  # more agreeing keypoints, or more likeness, is a duplicate
SHOWN = 6  # of the nearest pairs by each, in the table


class Features(NamedTuple):
    """Of an image: keypoints (n, 2), x and y, and their descriptors (n, 256) of -1 and 1; 16 x 16
    grey values of mean 0 and norm 1; a hash of the pixels."""

    name: str
    points: np.ndarray
    descriptors: np.ndarray
    thumbnail: np.ndarray
    digest: str


def describe(name: str, image: np.ndarray) -> Features:
    """The keypoints of an RGB image."""
    digest = hashlib.sha256(image.tobytes() + str(image.shape).encode()).hexdigest()
    grey = Image.fromarray(image).convert("L")
    small = np.asarray(grey.resize((16, 16), Image.Resampling.BOX), float).ravel()
    small -= small.mean()
    small /= np.linalg.norm(small) or 1
    grey.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    orb = ORB(n_keypoints=KEYPOINTS, fast_threshold=0.03)
    try:
        orb.detect_and_extract(np.asarray(grey) / 255.0)
    except (RuntimeError, IndexError):  # no keypoint at all
        return Features(name, np.zeros((0, 2)), np.zeros((0, 256), np.float32), small, digest)
    descriptors = 2 * orb.descriptors.astype(np.float32) - 1
    return Features(name, orb.keypoints[:, ::-1], descriptors, small, digest)


def likeness(first: Features, second: Features) -> float:
    """The correlation of the thumbnails."""
    return float(first.thumbnail @ second.thumbnail)


def agreeing(first: Features, second: Features) -> int:
    """How many keypoints one similarity transform brings to their like in the other image."""
    if min(len(first.points), len(second.points)) < 8:
        return 0
    alike = first.descriptors @ second.descriptors.T
    there, back = alike.argmax(1), alike.argmax(0)
    mutual = np.flatnonzero(back[there] == np.arange(len(there)))
    mutual = mutual[alike[mutual, there[mutual]] > 256 - 2 * 64]  # under 64 bits differ
    if len(mutual) < 8:
        return 0
    pair = first.points[mutual], second.points[there[mutual]]
    with warnings.catch_warnings(action="ignore"):  # that nothing agrees
        model, inliers = ransac(
            pair, SimilarityTransform, min_samples=3, residual_threshold=NEAR, max_trials=300, rng=0
        )
    # A transform that shrinks all to a point explains anything.
    if not model or inliers is None or not 0.1 < model.scale < 10:
        return 0
    return int(inliers.sum())


def altered(image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """What a duplicate may have gone through."""
    picture = Image.fromarray(image)
    width, height = picture.size
    middle = (width // 4, height // 4, width - width // 4, height - height // 4)
    file = io.BytesIO()
    picture.resize((width * 3 // 5, height * 3 // 5), Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=60
    )
    yield "3/5 as large, JPEG 60", np.asarray(Image.open(file))
    yield "the middle half", np.asarray(picture.crop(middle))
    double = (middle[2] - middle[0]) * 3 // 2, (middle[3] - middle[1]) * 3 // 2
    yield "its middle half, 3/2 as large", np.asarray(picture.crop(middle).resize(double))


def main(
    data: Annotated[Path, typer.Option(help="Has train and benchmarks.")] = Path("../shared/data"),
) -> None:
    """Writes results/overlap.json and .md."""
    tests = [
        (f"{name}/{path.name}", to_rgb(read_image(path)))
        for name in TESTS
        for path in list_files(data / "benchmarks" / name / "HR").images
    ]
    wanted = [describe(*test) for test in track(tests, "test images")]
    mirrored = [describe(name, image[:, ::-1]) for name, image in track(tests, "mirrored")]
    copies: dict[str, list[list[bool]]] = {}
    for features, (name, image) in zip(wanted, track(tests, "altered copies"), strict=True):
        for kind, copy in altered(image):
            seen = describe(name, copy)
            found_by = [agreeing(features, seen) > AGREE, likeness(features, seen) > ALIKE]
            copies.setdefault(kind, []).append([*found_by, any(found_by)])
    rows: list[dict[str, Any]] = []
    equal: list[str] = []
    sizes = {}
    hashes = {features.digest: features.name for features in wanted}
    for folder in TRAINING:
        paths = list_files(data / "train" / folder).images
        sizes[folder] = len(paths)
        for path in track(paths, folder):
            found = describe(f"{folder}/{path.name}", to_rgb(read_image(path)))
            if found.digest in hashes:
                equal.append(f"{found.name} is {hashes[found.digest]}")
            for one, other in zip(wanted, mirrored, strict=True):
                row: dict[str, Any] = {"test": one.name, "training": found.name}
                row["agreeing"] = max(agreeing(one, found), agreeing(other, found))
                row["likeness"] = max(likeness(one, found), likeness(other, found))
                rows.append(row)
    duplicates = [row for row in rows if row["agreeing"] > AGREE or row["likeness"] > ALIKE]
    nearest = []
    for measure in ("agreeing", "likeness"):
        rows.sort(key=lambda row, measure=measure: -row[measure])
        nearest += [row for row in rows[:SHOWN] if row not in nearest]
    result = {
        "test images": len(tests),
        "training images": sizes,
        "pairs": len(rows),
        "equal pixels": equal,
        "altered copies": {
            kind: np.mean(found_by, axis=0).tolist() for kind, found_by in copies.items()
        },
        "duplicates": duplicates,
        "nearest": nearest,
        "environment": harness.environment(),
    }
    results = FOLDER / "results"
    write_bytes(results / "overlap.json", f"{json.dumps(result, indent=1)}\n".encode())
    write_bytes(results / "overlap.md", f"{table(result)}\n".encode())
    print(table(result))


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    sizes = ", ".join(f"{name} ({count})" for name, count in result["training images"].items())
    copies = [
        [kind, *(f"{value:.0%}" for value in values)]
        for kind, values in result["altered copies"].items()
    ]
    near = [
        [row["test"], row["training"], row["agreeing"], f"{row['likeness']:.3f}"]
        for row in result["nearest"]
    ]
    duplicates = [f"{row['test']} and {row['training']}" for row in result["duplicates"]]
    return "\n".join(
        [
            f"{result['test images']} test images, training sets {sizes}: "
            f"{result['pairs']:,} pairs, each also mirrored. "
            f"Equal pixels: {'; '.join(result['equal pixels']) or 'none'}.",
            "",
            f"Duplicates (more than {AGREE} keypoints agree, or a likeness above {ALIKE}): "
            f"{'; '.join(duplicates) or 'none'}.",
            "",
            "Altered copies of the test images that are found so:",
            "",
            *harness.table(["copy", "by keypoints", "by likeness", "by either"], copies),
            "",
            "The nearest pairs:",
            "",
            *harness.table(["test image", "training image", "keypoints", "likeness"], near),
            "",
            result["environment"],
        ]
    )


if __name__ == "__main__":
    typer.run(main)
