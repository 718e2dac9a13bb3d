"""Published PSNR and SSIM of the networks on the benchmark sets, to stand beside one's own scores.

All figures are of the luma, without `scale` pixels at each border. Tables differ in whether the
luma is rounded to integers first (`sr-jax evaluate --round-luma`), which moves PSNR by a few
hundredths of a decibel and SSIM by about 0.001; each figure says what its table did, if that is
known. Where tables disagree about a network, one of them is quoted.
"""

import functools
import re
from typing import NamedTuple


class Published(NamedTuple):
    """The mean over a benchmark set, as published.

    Attributes:
        psnr: in dB.
        ssim: None where the source gives none.
        source: the table.
        round_luma: whether the luma was rounded to integers; None if the source does not say.
    """

    psnr: float
    ssim: float | None
    source: str
    round_luma: bool | None


DATASETS = ("Set5", "Set14", "B100", "Urban100", "Manga109")

_ALIASES = {"bsd100": "b100", "bsds100": "b100"}

_SOURCES = {
    "RCAN": "Zhang et al., ECCV 2018: yulunzhang/RCAN, Figs/psnr_bi_{1,2,3}.PNG",
    "EDSR": "Lim et al., CVPRW 2017: LimBee/NTIRE2017, figs/paper_result.png",
    "CSNLN": "Mei et al., CVPR 2020: SHI-Labs/Cross-Scale-Non-Local-Attention, Figs/PSNR_SSIM.png",
    "SRGAN": "Ledig et al., CVPR 2017, table 2; its SSIM is of another tool",
    "SAN": "Dai et al., CVPR 2019",
    "SRCNN": "Dong et al. (SRCNN), trained on ImageNet",
    "torchSR": "measured with EDSR's released weights: Coloquinte/torchSR, README.md",
}

# method, scale, luma (rounded, exact, or ? for unknown), source, then PSNR/SSIM by DATASETS. A
# method is an architecture's name, "+" after it the self-ensemble. EDSR's authors measured the
# output of SRResNet anew; SRGAN's is the variant VGG54. RCAN's table quotes bicubic, SRCNN, VDSR.
_TABLE = """
bicubic         2 rounded RCAN    33.66/.9299 30.24/.8688 29.56/.8431 26.88/.8403 30.80/.9339
bicubic         3 rounded RCAN    30.39/.8682 27.55/.7742 27.21/.7385 24.46/.7349 26.95/.8556
bicubic         4 rounded RCAN    28.42/.8104 26.00/.7027 25.96/.6675 23.14/.6577 24.89/.7866
bicubic         8 ?       RCAN    24.40/.6580 23.10/.5660 23.67/.5480 20.74/.5160 21.47/.6500
srcnn_915       3 rounded SRCNN   32.52       -           -           -           -
srcnn_935       3 rounded SRCNN   32.65       -           -           -           -
srcnn_955       2 rounded RCAN    36.66/.9542 32.45/.9067 31.36/.8879 29.50/.8946 35.60/.9663
srcnn_955       3 rounded RCAN    32.75/.9090 29.30/.8215 28.41/.7863 26.24/.7989 30.48/.9117
srcnn_955       4 rounded RCAN    30.48/.8628 27.50/.7513 26.90/.7101 24.52/.7221 27.58/.8555
srcnn_955       8 ?       RCAN    25.33/.6900 23.76/.5910 24.13/.5660 21.29/.5440 22.46/.6950
vdsr            2 rounded EDSR    37.53/.9587 33.03/.9124 31.90/.8960 30.76/.9140 -
vdsr            3 rounded EDSR    33.66/.9213 29.77/.8314 28.82/.7976 27.14/.8279 -
vdsr            4 rounded EDSR    31.35/.8838 28.01/.7674 27.29/.7251 25.18/.7524 -
vdsr            2 ?       RCAN    -           -           -           -           37.22/.9750
vdsr            3 ?       RCAN    -           -           -           -           32.01/.9340
vdsr            4 ?       RCAN    -           -           -           -           28.83/.8870
vdsr            8 ?       RCAN    25.93/.7240 24.26/.6140 24.49/.5830 21.70/.5710 23.16/.7250
srresnet        4 rounded EDSR    32.05/.8910 28.53/.7804 27.57/.7354 26.07/.7839 -
srgan_generator 4 ?       SRGAN   29.40/.8472 26.02/.7397 25.16/.6688 -           -
edsr_baseline   2 ?       torchSR 37.98/.9604 33.57/.9174 32.15/.8993 31.98/.9271 -
edsr_baseline   3 ?       torchSR 34.37/.9270 30.28/.8414 29.08/.8051 28.15/.852  -
edsr_baseline   4 ?       torchSR 32.09/.8936 28.58/.7804 27.56/.7354 26.03/.784  -
edsr            2 rounded EDSR    38.11/.9601 33.92/.9195 32.32/.9013 32.93/.9351 -
edsr            3 rounded EDSR    34.65/.9282 30.52/.8462 29.25/.8093 28.80/.8653 -
edsr            4 rounded EDSR    32.46/.8968 28.80/.7876 27.71/.7420 26.64/.8033 -
edsr            2 ?       RCAN    -           -           -           -           39.10/.9773
edsr            3 ?       RCAN    -           -           -           -           34.17/.9476
edsr            4 ?       RCAN    -           -           -           -           31.02/.9148
edsr            8 ?       RCAN    26.96/.7762 24.91/.6420 24.81/.5985 22.51/.6221 24.69/.7841
edsr+           2 rounded EDSR    38.20/.9606 34.02/.9204 32.37/.9018 33.10/.9363 -
edsr+           3 rounded EDSR    34.76/.9290 30.66/.8481 29.32/.8104 29.02/.8685 -
edsr+           4 rounded EDSR    32.62/.8984 28.94/.7901 27.79/.7437 26.86/.8080 -
mdsr            2 rounded EDSR    38.11/.9602 33.85/.9198 32.29/.9007 32.84/.9347 -
mdsr            3 rounded EDSR    34.66/.9280 30.44/.8452 29.25/.8091 28.79/.8655 -
mdsr            4 rounded EDSR    32.50/.8973 28.72/.7857 27.72/.7418 26.67/.8041 -
mdsr+           2 rounded EDSR    38.17/.9605 33.92/.9203 32.34/.9014 33.03/.9362 -
mdsr+           3 rounded EDSR    34.77/.9288 30.53/.8465 29.30/.8101 28.99/.8683 -
mdsr+           4 rounded EDSR    32.60/.8982 28.82/.7876 27.78/.7425 26.86/.8082 -
rcan            2 exact   RCAN    38.27/.9614 34.12/.9216 32.41/.9027 33.34/.9384 39.44/.9786
rcan            3 exact   RCAN    34.74/.9299 30.65/.8482 29.32/.8111 29.09/.8702 34.44/.9499
rcan            4 exact   RCAN    32.63/.9002 28.87/.7889 27.77/.7436 26.82/.8087 31.22/.9173
rcan            8 exact   RCAN    27.31/.7878 25.23/.6511 24.98/.6058 23.00/.6452 25.24/.8029
rcan+           2 exact   RCAN    38.33/.9617 34.23/.9225 32.46/.9031 33.54/.9399 39.61/.9788
rcan+           3 exact   RCAN    34.85/.9305 30.76/.8494 29.39/.8122 29.31/.8736 34.76/.9513
rcan+           4 exact   RCAN    32.73/.9013 28.98/.7910 27.85/.7455 27.10/.8142 31.65/.9208
rcan+           8 exact   RCAN    27.47/.7913 25.40/.6553 25.05/.6077 23.22/.6524 25.58/.8092
san             2 exact   CSNLN   38.31/.9620 34.07/.9213 32.42/.9028 33.10/.9370 39.32/.9792
san             3 exact   CSNLN   34.75/.9300 30.59/.8476 29.33/.8112 28.93/.8671 34.30/.9494
san             4 exact   CSNLN   32.64/.9003 28.92/.7888 27.78/.7436 26.79/.8068 31.18/.9169
san             8 exact   SAN     27.22/.7829 25.14/.6476 24.88/.6011 22.70/.6314 24.85/.7906
csnln           2 ?       CSNLN   38.28/.9616 34.12/.9223 32.40/.9024 33.25/.9386 39.37/.9785
csnln           3 ?       CSNLN   34.74/.9300 30.66/.8482 29.33/.8105 29.13/.8712 34.45/.9502
csnln           4 ?       CSNLN   32.68/.9004 28.95/.7888 27.80/.7439 27.22/.8168 31.43/.9201
"""


def published(method: str, dataset: str, scale: int) -> Published | None:
    """What was published of a method on a benchmark set, or None.

    >>> published("edsr+", "set5", 4).psnr
    32.62

    Args:
        method: 'bicubic', an architecture's name, or that with "+" for the self-ensemble.
        dataset: the set's name in any case, with or without separators; BSD100 is B100.
        scale: the factor.
    """
    name = re.sub(r"[^a-z0-9]", "", dataset.lower())
    return figures().get((method, _ALIASES.get(name, name), scale))


@functools.cache
def figures() -> dict[tuple[str, str, int], Published]:
    """All figures by (method, dataset in lower case, scale)."""
    found: dict[tuple[str, str, int], Published] = {}
    for line in _TABLE.strip().splitlines():
        method, scale, luma, source, *cells = line.split()
        for dataset, cell in zip(DATASETS, cells, strict=True):
            if cell == "-":
                continue
            psnr, _, ssim = cell.partition("/")
            key = (method, dataset.lower(), int(scale))
            if key in found:
                raise ValueError(f"two figures of {key}")
            rounded = {"rounded": True, "exact": False, "?": None}[luma]
            found[key] = Published(
                float(psnr), float(ssim) if ssim else None, _SOURCES[source], rounded
            )
    return found
