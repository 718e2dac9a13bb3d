"""The picture of a detail as several methods render it."""

import numpy as np

from sr_jax.imaging.comparison import Comparison, write_comparison
from sr_jax.imaging.files import read_image


def panels(height, width):
    """Black, the same with a blue spot below on the right, and white."""
    black = np.zeros((height, width, 3), np.uint8)
    spot = black.copy()
    spot[-30:-10, -30:-10] = (0, 0, 255)
    return {"black\n20 dB": black, "spot\n30 dB": spot, "white\nPSNR": black + 255}


def find(picture, colour):
    """Rows and columns at which a picture has exactly this colour."""
    return np.nonzero((picture[..., :3] == colour).all(axis=-1))


def test_detail_is_where_the_first_two_differ(tmp_path):
    write_comparison(tmp_path / "c.png", [Comparison("title", panels(100, 100))])
    picture = read_image(tmp_path / "c.png")
    rows, columns = find(picture, (0, 0, 255))
    # 20 of the detail's 48 pixels, enlarged to one height; the figure has 200 dots an inch.
    assert np.ptp(rows) == np.ptp(columns)
    assert abs(np.ptp(rows) + 1 - 2.2 * 200 * 20 / 48) <= 2
    rows, columns = find(picture, (255, 0, 0))
    assert columns.max() < picture.shape[1] / 4  # the box lies in the whole image alone
    assert abs(np.ptp(rows) - 2.2 * 200 * 48 / 100) <= 5
    assert (columns.min() + columns.max()) / 2 > 2.2 * 200 / 2
    assert rows.size < np.ptp(rows) * np.ptp(columns) / 5  # a frame


def test_every_image_is_a_row_of_one_height(tmp_path):
    rows = [Comparison("a", panels(60, 90)), Comparison("b", panels(90, 60))]
    write_comparison(tmp_path / "one.png", rows[:1])
    write_comparison(tmp_path / "two.png", rows)
    one, two = (read_image(tmp_path / f"{name}.png").shape for name in ("one", "two"))
    assert one[1] == two[1]  # the widest image decides
    assert abs(two[0] - 2 * one[0]) < 50
    # The whole image, 1.5 as wide as high, and three square details, with gaps of 0.08 inches.
    assert abs(one[1] - 200 * (1.5 * 2.2 + 3 * 2.2 + 5 * 0.08)) <= 2
    columns = find(read_image(tmp_path / "two.png"), (0, 0, 255))[1]
    assert columns.size


def test_images_smaller_than_a_detail_are_shown_whole(tmp_path):
    small = {label: image[-30:, -20:] for label, image in panels(40, 40).items()}
    write_comparison(tmp_path / "c.png", [Comparison("small", small)])
    assert find(read_image(tmp_path / "c.png"), (0, 0, 255))[0].size
