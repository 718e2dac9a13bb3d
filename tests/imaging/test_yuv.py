"""Matrices, ranges and chroma sites of video, against the codes of known colours."""

import numpy as np
import pytest

pytest.importorskip("av", reason="PyAV is not installed: the extra video")

from sr_jax.imaging.yuv import WEIGHTS, frame_of, from_rgb, planes, resampler, to_rgb

RED, GREEN, BLUE, WHITE, BLACK = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (0, 0, 0)

# Codes as the recommendations give them for colour bars of 100 %; full range as in JFIF.
KNOWN = [
    # matrix, full, bits, colour, codes
    (1, False, 8, RED, (63, 102, 240)),
    (1, False, 8, GREEN, (173, 42, 26)),
    (1, False, 8, BLUE, (32, 240, 118)),
    (1, False, 8, WHITE, (235, 128, 128)),
    (1, False, 8, BLACK, (16, 128, 128)),
    (1, False, 10, RED, (250, 409, 960)),
    (1, False, 10, WHITE, (940, 512, 512)),
    (6, False, 8, RED, (81, 90, 240)),
    (5, False, 8, GREEN, (145, 54, 34)),
    (6, False, 8, BLUE, (41, 240, 110)),
    (6, True, 8, RED, (76, 85, 255)),
    (6, True, 8, GREEN, (150, 44, 21)),
    (6, True, 8, WHITE, (255, 128, 128)),
    (9, False, 10, RED, (294, 387, 960)),
    (9, False, 10, BLACK, (64, 512, 512)),
]


@pytest.mark.parametrize(("matrix", "full", "bits", "colour", "codes"), KNOWN)
def test_known_colours(matrix, full, bits, colour, codes):
    rgb = np.full((2, 4, 3), colour, np.float32)
    made = np.asarray(from_rgb(rgb, matrix, full, bits))
    assert made[:, 0, 0].tolist() == list(codes)
    assert made.dtype == (np.uint8 if bits == 8 else np.uint16)
    wide = made.astype(np.uint16) << (16 - bits)
    # Half a code of luma and of chroma, which counts up to 1.88 times (1.88 = 2 (1 - 0.0593)).
    tolerance = (0.5 / 219 + 1.88 * 0.5 / 224) / 2 ** (bits - 8)
    np.testing.assert_allclose(to_rgb(wide, matrix, full, bits), rgb, atol=tolerance)


@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize(("full", "bits"), [(False, 8), (True, 10)])
def test_codes_of_colours_come_back(matrix, full, bits):
    rgb = np.random.default_rng(0).random((8, 50, 3), np.float32)
    codes = np.asarray(from_rgb(rgb, matrix, full, bits)).astype(np.uint16)
    seen = to_rgb(codes << (16 - bits), matrix, full, bits)
    inside = ((seen > 0) & (seen < 1)).all(axis=-1)
    back = np.asarray(from_rgb(seen, matrix, full, bits))
    np.testing.assert_array_equal(back[:, inside], codes[:, inside])
    assert inside.mean() > 0.9


def test_what_is_brighter_than_white_is_white():
    codes = np.array([254, 128, 128], np.uint16).reshape(3, 1, 1) << 8
    assert np.asarray(to_rgb(codes, 1, False, 8)).tolist() == [[[1, 1, 1]]]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("siting", "shift"), [("left", 0), ("center", 0.5)], ids=["left", "center"]
)
def test_chroma_lies_where_it_belongs(siting, shift, full):
    """A ramp of chroma stays the ramp that it was: nothing moves by parts of a pixel."""
    columns = np.arange(64)
    luma = np.tile(columns.astype(np.uint8), (16, 1))
    ramp = np.tile(20 + 2 * columns.astype(np.uint8), (16, 1))
    thin = resampler((64, 16), "yuv444p", "yuv420p", full, siting)
    y, cb, cr = planes(thin(frame_of([luma, ramp, ramp], "yuv444p")))
    inner = slice(4, -4)
    expected = (20 + 2 * (columns[::2] + shift))[inner]
    np.testing.assert_array_equal(y, luma)
    np.testing.assert_array_equal(cb[4, inner], expected)
    np.testing.assert_array_equal(cr, cb)
    frame = frame_of([y, cb, cr], "yuv420p")
    back = planes(resampler((64, 16), "yuv420p", "yuv444p16le", full, siting)(frame))
    np.testing.assert_array_equal(back[0], luma.astype(int) << 8)
    # swscale's filters are of 14 bits, in steps of 1/64 pixel: a tenth of a code.
    np.testing.assert_allclose(back[1][4, 8:-8] / 256, ramp[4, 8:-8], atol=0.1)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv420p10le", "yuv422p10le"])
@pytest.mark.parametrize("full", [False, True])
def test_flat_colours_stay(pixels, full):
    deep = "10" in pixels
    colour = "yuv444p10le" if deep else "yuv444p"
    thin = resampler((16, 16), colour, pixels, full)
    thick = resampler((16, 16), pixels, "yuv444p16le", full)
    for value in range(0, 1024 if deep else 256, 51 if deep else 15):
        flat = np.full((16, 16), value, np.uint16 if deep else np.uint8)
        frame = thin(frame_of([flat] * 3, colour))
        assert {int(code) for plane in planes(frame) for code in plane.flat} == {value}
        wide = planes(thick(frame))
        assert {int(code) for plane in wide for code in plane.flat} == {value << (6 if deep else 8)}
