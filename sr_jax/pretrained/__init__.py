"""Networks that come with this package: NAME.safetensors, and NAME.json, the card of each.

They were trained by experiments/quality. The photographs that they learnt from, with their authors
and licences, are in photos.csv.
"""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent

# What an image has gone through that a network is made for.
KINDS = ("bicubic", "photo")


class Score(NamedTuple):
    """PSNR (dB) and SSIM of the luma on a data set at a scale, and the PSNR of others there.

    Attributes:
        bicubic: of bicubic interpolation.
        paper: of the network in its paper, of the paper's size; None: there is none.
    """

    dataset: str
    scale: int
    psnr: float
    ssim: float
    bicubic: float
    paper: float | None = None


class Card(NamedTuple):
    """What there is to know of a network.

    Attributes:
        name: by which `--model`, `init_from`, `load` and `Upscaler` take it.
        kind: one of `KINDS`: "photo" for images with noise and JPEG, "bicubic" for others.
        architecture: see `sr_jax.models.create_model`.
        parameters: how many.
        scales: that it was trained for.
        data: what it was trained on, with its licences.
        recipe: in the repository.
        command: those that trained it, from the first network on.
        commit: of the repository, at the last training.
        updates, hours: of all trainings.
        hardware: of the last.
        scores: on benchmarks, whose low-resolution images are bicubic reductions.
        limits: what it is not made for.
    """

    name: str
    kind: str
    architecture: str
    parameters: int
    scales: tuple[int, ...]
    data: str
    recipe: str
    command: str
    commit: str
    updates: int
    hours: float
    hardware: str
    scores: tuple[Score, ...]
    limits: str

    @property
    def path(self) -> Path:
        """The weights file."""
        return FOLDER / f"{self.name}.safetensors"

    @property
    def training(self) -> str:
        """How it was trained, in a line."""
        return (
            f"{self.updates:,} updates in {self.hours:g} h on {self.hardware}, commit {self.commit}"
        )

    def psnr(self, dataset: str, scale: int) -> float:
        """Of a data set at a scale, dB; minus infinity where it was not measured."""
        found = [s.psnr for s in self.scores if (s.dataset, s.scale) == (dataset, scale)]
        return found[0] if found else -float("inf")


@functools.cache
def cards() -> dict[str, Card]:
    """All networks that come with this package, by name."""
    return {path.stem: read_card(path) for path in sorted(FOLDER.glob("*.json"))}


def read_card(path: Path) -> Card:
    """The card that a file NAME.json holds."""
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    fields["scales"] = tuple(fields["scales"])
    fields["scores"] = tuple(Score(**score) for score in fields["scores"])
    return Card(path.stem, **fields)


def choose(scale: float = 2, kind: str = "bicubic") -> Card:
    """The best network for a scale: of those that reach it, or come nearest, the highest PSNR.

    Args:
        scale: by which images are enlarged.
        kind: one of `KINDS`.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; known are {', '.join(KINDS)}")
    found = [card for card in cards().values() if card.kind == kind]
    scales = sorted({own for card in found for own in card.scales})
    reached = next((own for own in scales if own >= scale), scales[-1])
    return max(
        (card for card in found if reached in card.scales), key=lambda c: c.psnr("Set14", reached)
    )
