"""Which rows of the table stand after a change of the code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from experiments.harness import REPOSITORY
from experiments.throughput import unchanged
from experiments.throughput.traced import digest

X = jnp.ones((4, 4))


def digest_of(function: Callable[[jax.Array], jax.Array], **options: object) -> str:
    return digest(jax.jit(function, **options).lower(X))


def test_order_and_names_do_not_make_another_program() -> None:
    def with_a_call(x: jax.Array) -> jax.Array:
        cosine = jax.jit(jnp.cos)(x)
        return jnp.sin(x) - cosine

    def reordered(x: jax.Array) -> jax.Array:
        sine = jnp.sin(x)
        return sine - jax.jit(lambda y: jnp.cos(y))(x)

    assert digest_of(with_a_call) == digest_of(reordered)
    assert digest_of(with_a_call) != digest_of(lambda x: jax.jit(jnp.cos)(x) - jnp.sin(x))


@pytest.mark.parametrize(
    "other",
    [
        lambda x: jax.lax.fori_loop(0, 4, lambda _, y: y + jnp.sin(x), x),  # another length
        lambda x: jax.lax.fori_loop(0, 3, lambda _, y: y + jnp.cos(x), x),  # in the loop
        lambda x: jax.lax.fori_loop(0, 3, lambda _, y: x + jnp.sin(y), x),  # other operands
        lambda x: jax.lax.fori_loop(0, 3, lambda _, y: y + jnp.sin(x), 2 * x),
        lambda x: jax.lax.fori_loop(0, 3, lambda _, y: y + jnp.where(x > 0, x, 0), x),  # a call
    ],
)
def test_what_is_computed_makes_another_program(other: Callable[[jax.Array], jax.Array]) -> None:
    def loop(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 3, lambda _, y: y + jnp.sin(x), x)

    assert digest_of(loop) != digest_of(other)


def test_donated_memory_makes_another_program() -> None:
    assert digest_of(jnp.sin) != digest_of(jnp.sin, donate_argnums=0)


def test_rows_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Code whose blocks are lower: small images are computed as they were, large ones are not."""
    earlier = tmp_path / "earlier"
    for name in ("sr_jax", "experiments"):
        ignored = shutil.ignore_patterns("*.safetensors", "results", "__pycache__")
        shutil.copytree(REPOSITORY / name, earlier / name, ignore=ignored)
    changed = earlier / "sr_jax/ops/cpu/conv.py"
    code = changed.read_text()
    assert "_ROWS = 32 " in code
    changed.write_text(code.replace("_ROWS = 32 ", "_ROWS = 8 "))

    def unpack(commit: str, folder: Path) -> Path:
        if commit.endswith("+"):
            raise ValueError("git has no such commit")
        return earlier

    monkeypatch.setattr(unchanged, "unpack", unpack)
    row = {"model": "vdsr", "task": "inference", "batch": 1, "dtype": "float32", "ratio": 1.5}
    row |= {"size": [48, 48], "commit": "abc1234", "ours": {}}
    rows = [row, row | {"size": [480, 640]}, row | {"task": "train", "commit": "abc1234+"}]
    rows.append(row | {"ratio": None, "model": "csnln"})  # was not run
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"conditions": {}, "rows": rows}))
    unchanged.main(file)
    printed = capsys.readouterr().out
    assert "| vdsr | inference | 1x48x48 | abc1234 | the same |" in printed
    assert "| vdsr | inference | 1x480x640 | abc1234 | another |" in printed
    assert "| vdsr | train | 1x48x48 | abc1234+ | of no commit here |" in printed
    assert "1 of 3 programs are those of this code." in printed

    changed.write_text("raise ValueError('no such layer')\n")
    with pytest.raises(ValueError, match=r"earlier does not trace all rows: .*no such layer"):
        unchanged.main(file)
    file.write_text("[1, 2]")
    with pytest.raises(ValueError, match="no file of throughput results"):
        unchanged.main(file)
