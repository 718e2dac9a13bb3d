"""What is compared: the networks and, for each, the sizes at which they are timed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Network:
    """One network on both sides.

    Attributes:
        architecture: the name that `create_model` and `create_twin` know.
        hyperparameters: for both of them.
        scale: by which it upscales (MDSR: the branch that is timed).
        patch: side of the paper's training patch at the network's input.
        gain: see `experiments.twins.weights.randomise`.
        interpolated: whether its input is already at the output size (SRCNN, VDSR).
        n_colors: of its images.
        adversarial: whether a training step is one of both of SRGAN's networks.
        algorithms: in which the twin exists.
        slow_to_compile: whether PyTorch's compiler took over 27 s at every size that was measured.
    """

    architecture: str
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    scale: int = 2
    patch: int = 48
    gain: float = 1.0
    interpolated: bool = False
    n_colors: int = 3
    adversarial: bool = False
    algorithms: tuple[str, ...] = ("plain",)
    slow_to_compile: bool = False


X2 = {"scale": 2}
LUMA = {"interpolated": True, "n_colors": 1}
ATTENTION = {"algorithms": ("official", "same_algorithm")}

# The nine, then variants of them.
NINE: dict[str, Network] = {
    "srcnn": Network("srcnn_915", patch=33, **LUMA),
    "vdsr": Network("vdsr", patch=41, **LUMA),
    "srresnet": Network("srresnet", scale=4, patch=24),
    "srgan": Network("srgan_generator", scale=4, patch=24, adversarial=True),
    "edsr": Network("edsr", X2),
    "mdsr": Network("mdsr", gain=0.5),
    "rcan": Network("rcan", X2, gain=0.5, slow_to_compile=True),
    "san": Network("san", X2, gain=0.5, slow_to_compile=True, **ATTENTION),
    "csnln": Network("csnln", X2, slow_to_compile=True, **ATTENTION),
}
VARIANTS: dict[str, Network] = {
    "srcnn_955": Network("srcnn_955", patch=33, **LUMA),
    "vdsr_nobias": Network("vdsr_nobias", patch=41, **LUMA),
    "edsr_baseline": Network("edsr_baseline", X2),
    "mdsr_baseline": Network("mdsr_baseline"),
    "rcan_x4": Network("rcan", {"scale": 4}, scale=4, gain=0.5, slow_to_compile=True),
}
NETWORKS = NINE | VARIANTS


@dataclass(frozen=True)
class Cell:
    """One row of the table.

    Attributes:
        model: one of `NETWORKS`.
        task: 'inference' or 'train'.
        size: (height, width) in LR pixels; of the network's input for the training patches of
            networks that take an interpolated image.
        batch: images.
        dtype: 'float32', or 'bfloat16' of the computation.
        instead: measured only if this row of the same network could not be.
    """

    model: str
    task: str
    size: tuple[int, int]
    batch: int
    dtype: str = "float32"
    instead: "Cell | None" = None

    @property
    def network(self) -> Network:
        """What the cell is about."""
        return NETWORKS[self.model]

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        height, width = self.size
        grown = self.network.scale if self.network.interpolated and self.task != "train" else 1
        return height * grown, width * grown

    @property
    def output_size(self) -> tuple[int, int]:
        """(height, width) of the network's output."""
        height, width = self.input_size
        grown = 1 if self.network.interpolated else self.network.scale
        return height * grown, width * grown

    @property
    def always(self) -> bool:
        """Whether it is timed whatever it takes: inference on images of up to 128x128."""
        return self.task == "inference" and max(self.size) <= 128

    def key(self) -> dict[str, Any]:
        """What a row of the results is known by."""
        return {
            "model": self.model,
            "task": self.task,
            "size": list(self.size),
            "batch": self.batch,
            "dtype": self.dtype,
        }


SIZES = (((48, 48), 1), ((128, 128), 1), ((48, 48), 16), ((256, 256), 1), ((480, 640), 1))
QUICK_SIDE = 24  # of the training step of a quick run


def cells(
    models: Sequence[str], *, quick: bool, short: bool = False, accelerator: bool
) -> Iterator[Cell]:
    """The rows of a run, in order: one size after the other, so that a short run has all networks.

    Args:
        models: names of `NETWORKS`.
        quick: one inference and one training step of each, both small.
        short: single images of up to 256x256, and training.
        accelerator: whether bfloat16 is compared as well.
    """
    pairs = [
        (model, dtype)
        for dtype in (("float32", "bfloat16") if accelerator else ("float32",))
        for model in models
    ]
    for model, dtype in pairs:
        yield Cell(model, "inference", *SIZES[0], dtype)
    for model, dtype in pairs:
        if quick:
            yield Cell(model, "train", (QUICK_SIDE, QUICK_SIDE), 1, dtype)
        else:
            patch = NETWORKS[model].patch
            paper = Cell(model, "train", (patch, patch), 16, dtype)
            yield paper
            yield Cell(model, "train", (48, 48), 1, dtype, instead=paper)
    for size, batch in () if quick else SIZES[1:]:
        if not short or (batch == 1 and max(size) <= 256):
            for model, dtype in pairs:
                yield Cell(model, "inference", size, batch, dtype)


FORMATS = ("eager", "channels_last", "compiled")
ENGINES = ("onnxruntime", "openvino")
# ONNX Runtime has no bfloat16 for convolutions on x86 processors.
REDUCED = ("onnxruntime_int8", "openvino_int8", "openvino_bfloat16")


def columns(cell: Cell) -> dict[str, str]:
    """The columns of a row, in order, and the algorithm of each.

    Names are 'ours' and '<side>.<format>', where the side is 'official' for the published
    formulation of CSNLN and SAN, else 'pytorch', or 'engine' and 'reduced': those run the export of
    ours, one image at a time, in float32 and in less. 'per_core.ours' is the same update with a JAX
    device for each core.
    """
    found = {"ours": "ours"}
    if cell.task == "train" and cell.batch > 1 and cell.dtype == "float32":
        found["per_core.ours"] = "ours"
    for algorithm in cell.network.algorithms:
        side = "official" if algorithm == "official" else "pytorch"
        found |= {f"{side}.{how}": algorithm for how in FORMATS}
    if cell.task == "inference" and cell.batch == 1 and cell.dtype == "float32":
        found |= {f"engine.{how}": "ours" for how in ENGINES}
        found |= {f"reduced.{how}": "ours" for how in REDUCED}
    return found
