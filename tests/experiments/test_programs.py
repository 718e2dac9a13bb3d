"""What is read off XLA's programs, held against small ones whose contents are known."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from experiments.programs.__main__ import REPOSITORY, RESULTS, main
from experiments.programs.compile import RECIPES
from experiments.programs.hlo import ACTIVATION, count, parse, size_in_bytes

OURS = {"sr_jax", "configs", "experiments"}

# As XLA writes it for a GPU: a loop of five rounds, in which a convolution with ReLU and a copy.
GPU = """HloModule jit_step, is_scheduled=true

%fused_pad (p0: f32[16,48,48,64]) -> f32[16,50,50,64] {
  %p0 = f32[16,48,48,64]{3,2,1,0} parameter(0)
  %zero = f32[] constant(0)
  ROOT %pad.1 = f32[16,50,50,64]{3,2,1,0} pad(%p0, %zero), padding=0_0x1_1x1_1x0_0
}

%fused_add (p0: f32[16,48,48,64], p1: f32[]) -> f32[16,48,48,64] {
  %p0 = f32[16,48,48,64]{3,2,1,0} parameter(0)
  %p1 = f32[] parameter(1)
  %b = f32[16,48,48,64]{3,2,1,0} broadcast(%p1), dimensions={}
  ROOT %add.1 = f32[16,48,48,64]{3,2,1,0} add(%p0, %b)
}

%body (state: (s32[], f32[16,48,48,64], /*index=2*/f32[64])) -> (s32[], f32[16,48,48,64], f32[64]) {
  %state = (s32[], f32[16,48,48,64]{3,2,1,0}, /*index=2*/f32[64]{0}) parameter(0)
  %x = f32[16,48,48,64]{3,2,1,0} get-tuple-element(%state), index=1
  %conv = (f32[16,48,48,64]{3,2,1,0}, u8[0]{0}) custom-call(%x), custom_call_target="__cudnn$convBiasActivationForward", backend_config={"cudnn_conv_backend_config":{"activation_mode":"kRelu"}}
  %pad.2 = f32[16,50,50,64]{3,2,1,0} fusion(%x), kind=kLoop, calls=%fused_pad
  ROOT %out = (s32[], f32[16,48,48,64]{3,2,1,0}, /*index=2*/f32[64]{0}) tuple(%i, %y, %z)
}

ENTRY %main (x: f32[16,48,48,64]) -> f32[16,48,48,64] {
  %x = f32[16,48,48,64]{3,2,1,0} parameter(0)
  %while.1 = (s32[], f32[16,48,48,64]{3,2,1,0}, /*index=2*/f32[64]{0}) while(%init), condition=%c, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  %filter = (f32[64,3,3,64]{3,2,1,0}, u8[0]{0}) custom-call(%x), custom_call_target="__cudnn$convBackwardFilter"
  ROOT %sum = f32[16,48,48,64]{3,2,1,0} fusion(%x), kind=kLoop, calls=%fused_add
}
"""  # noqa: E501


def test_kernels_of_a_loop_count_its_rounds():
    found = count(parse(GPU))
    assert found.convolutions == {"fused with ReLU": 5, "weight gradient": 1}
    assert found.loops == [5]
    assert found.moves == 5
    assert found.moved_bytes == 5 * 16 * 50 * 50 * 64 * 4
    assert found.others == 1  # the sum: arithmetic, no copy
    assert found.kernels == 12


def test_a_loop_whose_length_only_its_condition_tells():
    """As XLA writes it for a TPU; one that cannot be told is refused, not counted once."""
    condition = """%c (state: (s32[])) -> pred[] {
  %five = s32[] constant(5)
  ROOT %lt = pred[] compare(%i, %five), direction=LT
}

"""
    untold = GPU.replace(', backend_config={"known_trip_count":{"n":"5"}}', "")
    assert count(parse(untold.replace("ENTRY", condition + "ENTRY"))) == count(parse(GPU))
    with pytest.raises(ValueError, match="unknown length"):
        count(parse(untold))


def test_small_copies_are_no_moves_of_activations():
    small = GPU.replace("16,50,50,64", "1,50,50,64").replace("16,48,48,64", "1,48,48,64")
    assert size_in_bytes("f32[1,50,50,64]") < ACTIVATION
    found = count(parse(small))
    assert (found.moves, found.others) == (0, 6)


def test_a_program_of_this_machine_is_read():
    """The same reader on what XLA:CPU writes: rounds of a loop, products and convolutions."""

    def run(x, kernel):
        x = lax.fori_loop(0, 7, lambda _, x: jnp.sin(x @ x), x)
        return lax.conv_general_dilated(x[None, :, :, None], kernel, (1, 1), "SAME",
                                        dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip

    arguments = jnp.ones((8, 8)), jnp.ones((3, 3, 1, 4))
    program = parse(jax.jit(run).lower(*arguments).compile().as_text())
    assert program.loops() == [7]
    assert sum(times == 7 for _, times in program.kernels()) >= 1


def test_what_is_no_program_is_refused():
    with pytest.raises(ValueError, match="no HLO module"):
        parse("nothing")


def test_the_nine_are_compiled():
    nine = {"srcnn", "vdsr", "srresnet", "srgan", "edsr", "mdsr", "rcan", "san", "csnln"}
    assert nine < set(RECIPES)


def test_a_program_that_does_not_compile_is_told_by_name_and_exit_code(tmp_path, capsys):
    """An environment without XLA's compiler for the platform."""
    without = Path(shutil.which("false"))
    with pytest.raises(SystemExit, match="2 of the programs"):
        main(without, only=["srcnn"], task=["train"], dtype=["float32"], results=tmp_path)
    assert "srcnn-train-float32-ours-1 ... failed" in capsys.readouterr().out
    assert not list((tmp_path / "gpu").glob("*.json"))


def test_the_page_installs_all_that_compiling_imports():
    """The environments of README.md hold what they are told to install and what that needs."""
    code = "import experiments.programs.compile, sys; print(*(getattr(m, '__file__', None) or ''"
    code += " for m in list(sys.modules.values())), sep='\\n')"
    command = [sys.executable, "-c", code]
    files = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    ours = [file for file in files.stdout.split() if Path(file).is_relative_to(REPOSITORY)]
    ours = [file for file in ours if ".venv" not in file]
    assert ours
    modules = {
        (node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name)
        for file in ours
        for node in ast.parse(Path(file).read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    tops = {module.split(".")[0] for module in modules} - sys.stdlib_module_names
    of = importlib.metadata.packages_distributions()
    imported = {of[top][0].lower().replace("_", "-") for top in tops - OURS}
    page = (RESULTS.parent / "README.md").read_text()
    lines = re.findall(r'pip install "jax\[\w+\]==\S+" (.*)', page)
    assert len(lines) == 3
    for line in lines:
        told = {word.split("==")[0] for word in line.split()}
        # These come with the others.
        assert imported <= told | {"jax", "numpy", "absl-py", "psutil"}, line
