"""ONNX files: ONNX Runtime gives what the networks give, and what has no form is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import random_variables
from networks import FIXED, NETWORKS, build

from sr_jax.export import program as programs
from sr_jax.export.graph import Graph, Tensor, groups
from sr_jax.export.program import make_program
from sr_jax.export.translation import translate
from sr_jax.models import create_model, forward
from sr_jax.models.network import Network

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'sr-jax[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: the extra `onnx`")
from sr_jax.export.onnx import OPSET, to_onnx  # noqa: E402


def run(content: bytes, images: np.ndarray) -> np.ndarray:
    """What ONNX Runtime makes of NHWC images."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(["upscaled"], {"image": images.transpose(0, 3, 1, 2)})
    return found.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_gives_what_the_network_gives(name):
    model, variables = build(name)
    scale = 3 if model.scales else None
    size = (20, 28) if name in FIXED else None
    content, words = to_onnx(make_program(model, variables, scale=scale, size=size))
    shape = (1, *size) if size else (3, 17, 21)  # not the sizes by which the export was tried
    images = np.random.default_rng(5).random((*shape, model.n_colors), np.float32)
    expected = np.asarray(forward(model, variables, jnp.asarray(images), scale=scale))
    actual = run(content, images)
    assert actual.shape == expected.shape
    # Float32 sums in another order: 1e-5 of the largest value is a hundred times what they move.
    assert np.abs(actual - expected).max() < 1e-5 * np.abs(expected).max()
    assert "of the largest value" in words


def test_a_file_says_what_it_is():
    program = make_program(*build("mdsr_baseline"), scale=4, size=(8, 12))
    proto = onnx.load_from_string(to_onnx(program)[0])
    facts = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    assert facts["architecture"] == "mdsr"
    assert facts["hyperparameters"]["n_feats"] == 8
    assert (facts["scale"], facts["size"]) == (4, [8, 12])
    assert [entry.version for entry in proto.opset_import] == [OPSET]
    sides = [d.dim_value for d in proto.graph.output[0].type.tensor_type.shape.dim]
    assert sides == [1, 3, 32, 48]


def test_convolutions_need_no_transposes():
    """The layout of images is ONNX's all the way: only pixel shuffle moves values."""
    model = create_model("edsr_baseline", n_resblocks=2, n_feats=8, scale=2)
    proto = onnx.load_from_string(to_onnx(make_program(model, random_variables(model, 0.1)))[0])
    operations = [node.op_type for node in proto.graph.node]
    assert operations.count("Transpose") == 1
    assert operations.count("Relu") == 2


def test_a_wrong_export_is_not_kept(monkeypatch):
    model = create_model("srcnn_915", n_feats=(4, 2))
    program = make_program(model, random_variables(model, 0.1))
    wrong = program._replace(reference=lambda images: 1.001 * program.reference(images))
    with pytest.raises(ValueError, match=r"differs from the network by 1\.0e-03"):
        to_onnx(wrong)


class Sorting(Network):
    """A network of an operation that has no translation."""

    def __call__(self, images, *, scale=None, train=False):
        return jnp.sort(images, axis=1)


def test_an_operation_without_a_form_is_named():
    with pytest.raises(ValueError, match="the operation sort"):
        to_onnx(make_program(Sorting(), {}))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.transpose(0, 2, 1, 3).reshape(2, -1, 3).sum(1),
        lambda x: jnp.concatenate([x[:, ::2], -x[:, 1::2]], axis=1) ** 3,
        lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 0), (0, 1)))[:, 1:, :-1] + x[:, :1, :1, :1],
        lambda x: jax.nn.softmax(x.reshape(2, 24, 3), axis=1),
        lambda x: jnp.einsum("nhwc,nhvc->nwvh", x, x),
        lambda x: jnp.einsum("nhwc,nhwd->ncd", x, jnp.abs(x) + 1),
        lambda x: jax.lax.map(lambda y: y * jnp.sqrt(y.max()), x),
        lambda x: jnp.where(x > 0.5, x, jax.nn.tanh(x)) - x.mean((1, 2), keepdims=True),
        lambda x: jax.lax.pad(x, 0.0, ((0, 0, 0), (-1, 2, 0), (1, -2, 0), (0, 0, 0))),
    ],
)
def test_operations_are_those_of_jax(function):
    x = np.random.default_rng(0).random((2, 4, 6, 3), np.float32)
    graph = Graph("x", x.shape)
    order = (0, 3, 1, 2)
    jaxpr = jax.make_jaxpr(function)(x)
    (result,) = translate(graph, jaxpr, [Tensor("x", x.shape, order)])
    shape = jaxpr.out_avals[0].shape
    name = graph.named(graph.full(result, shape), range(len(shape)))
    graph.needed(name)
    helper = onnx.helper
    built = helper.make_graph(
        [helper.make_node(o, i, [out], **a) for o, i, out, a in graph.nodes],
        "operations",
        [helper.make_tensor_value_info("x", 1, [x.shape[axis] for axis in order])],
        [helper.make_tensor_value_info(name, 1, None)],
        [onnx.numpy_helper.from_array(array, key) for key, array in graph.constants.items()],
    )
    proto = helper.make_model(built, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    (actual,) = session.run(None, {"x": x.transpose(order)})
    np.testing.assert_allclose(actual, function(jnp.asarray(x)), rtol=1e-6, atol=1e-6)


def test_groups_of_a_reshape_with_free_sizes():
    h, w = jax.export.symbolic_shape("h, w")
    assert groups((1, h, w, 12), (1, h * w, 3, 4)) == [([1, 2], [1]), ([3], [2, 3])]
    assert groups((h, 2, w, 2, 3), (2 * h, 2 * w, 3)) == [([0, 1], [0]), ([2, 3], [1]), ([4], [2])]


def test_tried_sizes_are_two():
    assert len({shape[1:] for shape in programs.TRIED}) == 2
