"""How an image goes through a network: what the commands' options say, and what is refused."""

import dataclasses

DTYPES = ("float32", "bfloat16", "float64")
STEP = 32  # sides of automatic tiles are multiples of it, and of buckets in the commands


@dataclasses.dataclass(frozen=True)
class Settings:
    """How an image goes through a network.

    Lengths are in pixels of the network's input: those of the image that is given, and of the
    interpolated one for SRCNN and VDSR.

    Attributes:
        tile: side of the squares that pass through the network; 'auto', the whole image or else the
            largest square that fits the available memory; or None, always the whole image.
        overlap: what a tile sees beyond its own part on every side that does not lie at the
            image's border (so that neighbours share twice as much); 'exact', the receptive
            radius, with which tiles change nothing; or None, the receptive radius or 32 if that
            is less (in tiles shorter than 128, a quarter of the tile if that is least).
        ensemble: the mean over the eight symmetries of the square ("+" in tables).
        dtype: of the computation, 'float32', 'bfloat16' or 'float64'.
        batch: tiles (with `ensemble`, of several symmetries) that a call of the network takes.
        bucket: sides shorter than a tile (all sides without tiles) are extended to multiples of it,
            and the result is cropped: fewer compilations in a folder of many sizes. Of a network
            with `pads_in_conv`, on one device, the result is the same. Others see the edge
            repeated: other values near the lower and right border. 1 extends nothing.
        shard: every image goes whole, its rows split over all devices of this process, of which
            each needs a part of the memory; the result is that of one device. With a single
            device it changes nothing.
    """

    tile: int | str | None = None
    overlap: int | str | None = None
    ensemble: bool = False
    dtype: str = "float32"
    batch: int = 1
    bucket: int = 1
    shard: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for values that are none of the above."""
        if isinstance(self.tile, str) and self.tile != "auto":
            raise ValueError(f"tile is {self.tile!r}; known are 'auto', a number and None")
        if isinstance(self.tile, int) and self.tile < 1:
            raise ValueError(f"tile is {self.tile}, expected at least 1 pixel")
        if isinstance(self.tile, int) and self.shard:
            raise ValueError(
                f"tiles of {self.tile} pixels were asked for, and to split images over devices: "
                "such images go whole; give one of the two"
            )
        if isinstance(self.overlap, str) and self.overlap != "exact":
            raise ValueError(f"overlap is {self.overlap!r}; known are 'exact', a number and None")
        if isinstance(self.overlap, int) and self.overlap < 0:
            raise ValueError(f"overlap is {self.overlap}, expected 0 pixels or more")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is {self.dtype!r}; known are {', '.join(DTYPES)}")
        for name, value in (("batch", self.batch), ("bucket", self.bucket)):
            if value < 1:
                raise ValueError(f"{name} is {value}, expected at least 1")
