"""Which images belong to which part, and which part a task of an array does."""

import collections

import pytest

from sr_jax.scale.parts import WHOLE, Part, parse_part, untold_part

NAMES = [f"trip/{number:04}.jpg" for number in range(2000)]


def array(task: int, first: int, last: int, count: int | None = None) -> dict[str, str]:
    values = {"ID": task, "MIN": first, "MAX": last, "COUNT": count or last - first + 1}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def test_each_image_belongs_to_one_part_and_parts_are_about_equal():
    parts = [Part(number, 8) for number in range(1, 9)]
    owners = {name: [part for part in parts if part.has(name)] for name in NAMES}
    assert all(len(found) == 1 for found in owners.values())
    counts = collections.Counter(found[0] for found in owners.values())
    assert len(counts) == 8
    assert all(abs(count - 250) < 5 * 250**0.5 for count in counts.values())
    assert all(WHOLE.has(name) for name in NAMES)


def test_the_rule_is_the_same_in_every_release():
    """Otherwise an array that is submitted again after an upgrade would leave images out."""
    own = [number for number in range(16) if Part(1, 3).has(NAMES[number])]
    assert own == [0, 2, 4, 6, 12, 14, 15]


@pytest.mark.parametrize("first", [0, 1, 5])
@pytest.mark.parametrize("text", ["auto", "4"])
def test_an_array_does_each_part_once(first, text):
    tasks = range(first, first + 4)
    parts = {parse_part(text, array(task, first, first + 3)) for task in tasks}
    assert parts == {Part(number, 4) for number in range(1, 5)}


def test_a_task_that_is_submitted_again_has_the_part_it_had():
    again = array(5, 3, 5, count=2)  # --array=3,5 after --array=0-7
    assert parse_part("8", again) == parse_part("8", array(5, 0, 7)) == parse_part("6/8", {})
    with pytest.raises(ValueError, match=r"this one has 2 tasks from 3 to 5: .* --part N"):
        parse_part("auto", again)


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("0/3", {}, "--part is 0/3, expected 1/3 to 3/3"),
        ("4/3", {}, "--part is 4/3"),
        ("1/0", {}, "--part is 1/0, and there is at least one part"),
        ("third", {}, "--part is 'third', expected 3/8 or, in a SLURM array, 8 or auto"),
        ("-2", {}, "--part is '-2'"),
        ("auto", {}, "is for SLURM arrays, and SLURM_ARRAY_TASK_ID is not set: give"),
        ("8", {}, "SLURM_ARRAY_TASK_ID is not set"),
        ("8", {"SLURM_ARRAY_TASK_ID": "x"}, "SLURM_ARRAY_TASK_ID is 'x', expected a number"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_MIN is ''"),
    ],
)
def test_what_names_no_part(text, environment, message):
    with pytest.raises(ValueError, match=message):
        parse_part(text, environment)


def test_no_task_of_an_array_takes_a_part_by_itself():
    assert untold_part({}) == untold_part(array(3, 3, 3)) == ""
    assert "task 3 of a SLURM array does all images" in untold_part(array(3, 0, 7))
