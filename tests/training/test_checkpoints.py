"""Checkpoints that are damaged, of another recipe, or cannot be written."""

import gc
import json
import logging
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from sr_jax.mesh import make_mesh
from sr_jax.models import create_model
from sr_jax.training.checkpoints import Checkpoints, claim_workdir, read_variables
from sr_jax.training.optimizers import make_optimizer
from sr_jax.training.state import create_state

# Where one of Orbax's readers fails, those still under way do, too. What they tell later is in
# pyproject.toml.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

DAMAGES = {
    "emptied": lambda content: b"",
    "halved": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),  # as some file systems leave after a power cut
    "removed": None,
}


@pytest.fixture(scope="module", autouse=True)
def only_objects_of_these_tests_are_looked_at():
    """By the garbage collections after each test, of which one of all modules takes 0.3 s."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_is_left_for_the_next_test():
    yield
    gc.collect()


@pytest.fixture(scope="module")
def like():
    model = create_model("edsr_baseline", n_resblocks=1, n_feats=4)
    optimizer = make_optimizer()
    return create_state(model, optimizer, make_mesh(1), seed=0)


@pytest.fixture(scope="module")
def states(like):
    """By step, with numbers that tell them apart."""
    return {step: jax.tree.map(lambda x, step=step: x + step, like) for step in (2, 4)}


@pytest.fixture(scope="module")
def written(states, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("written")
    checkpoints = Checkpoints(workdir, keep=2)
    for step, state in states.items():
        checkpoints.save(step, state)
    checkpoints.close()
    return workdir


@pytest.fixture
def workdir(written, tmp_path):
    return shutil.copytree(written, tmp_path / "workdir")


def assert_equal(state, expected):
    jax.tree.map(np.testing.assert_array_equal, state, expected)


def files_of(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def damage(path, kind):
    if DAMAGES[kind]:
        path.write_bytes(DAMAGES[kind](path.read_bytes()))
    else:
        path.unlink()


# Of Orbax's readers, those under way when another one fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "kind",
    [k if k in ("halved", "removed") else pytest.param(k, marks=pytest.mark.slow) for k in DAMAGES],
)
def test_damaged_file_is_noticed_or_not_needed(kind, states, like, written, tmp_path, caplog):
    """Every file of the newest checkpoint in turn: the right values, or those of the older one."""
    files = files_of(written / "checkpoints" / "4")
    fallen_back, gone_on = [], set()
    for index, file in enumerate(files):
        workdir = shutil.copytree(written, tmp_path / str(index))
        folder = workdir / "checkpoints" / "4"
        damage(folder / file, kind)
        caplog.clear()
        checkpoints = Checkpoints(workdir, keep=2)
        with caplog.at_level(logging.WARNING):
            state = checkpoints.restore(like)
        unreadable = workdir / "checkpoints-unreadable" / "4"
        step = int(state.step)
        assert_equal(state, states[step])
        if step == 2:
            fallen_back.append(file)
            assert f"checkpoint {folder} cannot be read" in caplog.text, file
            assert files_of(unreadable) == [f for f in files if f != file or DAMAGES[kind]]
        else:
            assert not unreadable.exists(), file
        if step not in gone_on:  # training goes on, and comes to the same step again
            gone_on.add(step)
            checkpoints.save(4 if step == 2 else 6, states[4])
            checkpoints.close()
            assert_equal(Checkpoints(workdir, keep=2).restore(like), states[4])
        checkpoints.close()
    print(f"{kind}: {len(fallen_back)} of {len(files)} files were needed")
    # The arrays and what describes them; of so small a state Orbax keeps the arrays twice, and
    # reads them in d/.
    arrays = {file for file in files if file.parts[:2] == ("default", "d")}
    assert arrays
    assert set(fallen_back) >= arrays | {Path("default/_METADATA"), Path("default/manifest.ocdbt")}


def test_altered_bytes_are_noticed(states, like, written, tmp_path, caplog):
    """64 bytes in the middle of each file that holds values, which stays a well-formed one."""
    folder = written / "checkpoints" / "4"
    data = [f for f in files_of(folder) if (folder / f).stat().st_size > 1000 and "d" in f.parts]
    assert data
    steps = []
    for index, file in enumerate(data):
        workdir = shutil.copytree(written, tmp_path / str(index))
        path = workdir / "checkpoints" / "4" / file
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 64] = bytes(value ^ 0x5A for value in content[middle:][:64])
        path.write_bytes(content)
        checkpoints = Checkpoints(workdir, keep=2)
        state = checkpoints.restore(like)
        steps.append(int(state.step))
        assert checkpoints.good_step == steps[-1]
        assert_equal(state, states[steps[-1]])
    assert 2 in steps


def test_a_checkpoint_without_checksums_is_read(states, like, workdir):
    """As earlier versions wrote them."""
    shutil.rmtree(workdir / "checkpoints" / "4" / "checksums")
    assert_equal(Checkpoints(workdir, keep=2).restore(like), states[4])
    assert_equal(read_variables(workdir)[0]["params"], states[4].params)


def test_one_step_may_be_damaged_twice(states, like, workdir):
    for name in ("4", "4-1"):
        damage(workdir / "checkpoints" / "4" / "default" / "_METADATA", "halved")
        checkpoints = Checkpoints(workdir, keep=2)
        assert_equal(checkpoints.restore(like), states[2])
        checkpoints.save(4, states[4])
        checkpoints.close()
        assert (workdir / "checkpoints-unreadable" / name).is_dir()
    assert_equal(Checkpoints(workdir, keep=2).restore(like), states[4])


def test_all_damaged(like, workdir):
    for step in ("2", "4"):
        damage(workdir / "checkpoints" / step / "default" / "_METADATA", "emptied")
    with pytest.raises(ValueError, match=r"none of the checkpoints of .* can be read") as error:
        Checkpoints(workdir, keep=2).restore(like)
    assert "begin anew" in str(error.value)
    assert sorted(p.name for p in (workdir / "checkpoints-unreadable").iterdir()) == ["2", "4"]
    assert Checkpoints(workdir, keep=2).latest_step() is None


@pytest.mark.parametrize("told", ["opt_state/", "ema/"])
def test_checkpoint_of_another_recipe_is_refused_and_kept(told, states, like, workdir):
    wanted = {
        "opt_state/": {"opt_state": make_optimizer("sgd").init(like.params)},
        "ema/": {"ema": like.params},
    }[told]
    with pytest.raises(ValueError, match=r"was written with another optimizer.name") as error:
        Checkpoints(workdir, keep=2).restore(like.replace(**wanted))
    assert told in str(error.value)
    assert str(workdir / "checkpoints" / "4") in str(error.value)
    assert not (workdir / "checkpoints-unreadable").exists()
    assert_equal(Checkpoints(workdir, keep=2).restore(like), states[4])


def test_what_a_killed_run_left_is_cleared_away(states, like, workdir):
    left = workdir / "checkpoints" / "6.orbax-checkpoint-tmp"
    shutil.copytree(workdir / "checkpoints" / "4", left)
    assert_equal(read_variables(workdir)[0]["params"], states[4].params)
    assert left.exists()  # another run may be at work there
    checkpoints = Checkpoints(workdir, keep=2)
    assert not left.exists()
    assert_equal(checkpoints.restore(like), states[4])


def test_variables_of_a_checkpoint(states, workdir):
    assert_equal(read_variables(workdir)[0]["params"], states[4].params)
    assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["2", "4"]


@pytest.mark.parametrize("file", ["_METADATA", "manifest.ocdbt"])
def test_variables_of_a_damaged_checkpoint(file, states, workdir):
    damage(workdir / "checkpoints" / "4" / "default" / file, "halved")
    variables, step = read_variables(workdir)
    assert step == 2
    assert_equal(variables["params"], states[2].params)
    with pytest.raises(ValueError, match=r"cannot read checkpoint .*/checkpoints/4: "):
        read_variables(workdir, 4)
    with pytest.raises(ValueError, match=r"no checkpoint of step 3 in .*; there are 2, 4"):
        read_variables(workdir, 3)
    assert not (workdir / "checkpoints-unreadable").exists()


def test_keeps_the_newest_and_the_multiples(states, tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2, keep_every=4)
    for step in range(1, 11):
        checkpoints.save(step, states[2])
        checkpoints.save(step, states[4])  # there is one of this step already
    checkpoints.close()
    kept = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert kept == [4, 8, 9, 10]


def test_a_workdir_is_one_trainings(tmp_path):
    config = {"model": {"name": "edsr"}, "train": {"steps": 4}}
    with (
        claim_workdir(tmp_path, config, 4),
        pytest.raises(ValueError, match="another training is at"),
    ):
        claim_workdir(tmp_path, config, 4)
    claim_workdir(tmp_path, config, 4).close()
    with pytest.raises(ValueError, match="gs:/bucket/run is no path of this machine"):
        claim_workdir(Path("gs://bucket/run"), config, 4)


def test_what_changed_since_is_logged_and_another_network_refused(tmp_path, caplog):
    claim_workdir(tmp_path, {"model": {"n_feats": 8}, "train": {"steps": 4}}, 4).close()
    with caplog.at_level(logging.WARNING):
        claim_workdir(tmp_path, {"model": {"n_feats": 8}, "train": {"steps": 6}}, 6).close()
    assert "train.steps was 4, is 6 from now on" in caplog.text
    (tmp_path / "checkpoints/6").mkdir(parents=True)
    (tmp_path / "weights.safetensors").touch()
    with caplog.at_level(logging.WARNING):
        claim_workdir(tmp_path, {"model": {"n_feats": 8}, "train": {"steps": 5}}, 5).close()
    assert "train.steps was 6; 5 changes nothing" in caplog.text
    assert f"{tmp_path} has finished 5 steps or more: nothing to train" in caplog.text
    assert json.loads((tmp_path / "config.json").read_text())["train"]["steps"] == 6
    with pytest.raises(ValueError, match=r"model\.n_feats is 8 there and 4 here"):
        claim_workdir(tmp_path, {"model": {"n_feats": 4}, "train": {"steps": 6}}, 6)
