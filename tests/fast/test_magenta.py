"""The painter against the networks that Magenta published, run by onnxruntime."""

import onnx
import onnxruntime
import pytest
import torch

import d2lstyle as ds
from d2lstyle.fast.network import WEIGHTS, fast_network, read_weights
from d2lstyle.images import resize
from tools import magenta

SIDE = 384  # pixels, of the published painter


def session(name, rounded):
    """The published network; without the rounding of what passes through it, if not `rounded`."""
    model = onnx.load(magenta.onnx_file(name))
    if not rounded:
        constants, passed, kept = {tensor.name for tensor in model.graph.initializer}, {}, []
        for node in model.graph.node:
            if node.op_type == "QuantizeLinear" or (
                node.op_type == "DequantizeLinear" and node.input[0] not in constants
            ):
                passed[node.output[0]] = passed.get(node.input[0], node.input[0])
                continue
            node.input[:] = [passed.get(name, name) for name in node.input]
            kept.append(node)
        kept += [onnx.helper.make_node("Identity", [passed[out.name]], [out.name]) for out in model.graph.output]
        del model.graph.node[:], model.graph.value_info[:]
        model.graph.node.extend(kept)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Its fast kernels for 8 bits overflow on processors without VNNI: a style's code is then off by a fifth.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def published(content, style, rounded):
    """The style's code (1, 100) and the picture."""
    reader, painter = session("predict", rounded), session("transform", rounded)
    (code,) = reader.run(None, {"style_image": style.permute(0, 2, 3, 1).numpy()})
    names = [entry.name for entry in painter.get_inputs()]
    (picture,) = painter.run(None, dict(zip(names, (content.permute(0, 2, 3, 1).numpy(), code))))
    return torch.from_numpy(code).view(1, -1), torch.from_numpy(picture).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def pair():
    photo = ds.sample("chelsea")[..., 100:400]
    return resize(photo, (SIDE, SIDE)), ds.painting("marbling", (256, 256), seed=77)


@torch.no_grad()
def test_it_equals_the_published_network_but_for_the_rounding_of_what_passes_through_that(pair):
    content, style = pair
    model = fast_network("cpu")
    code, picture = published(content, style, rounded=False)
    torch.testing.assert_close(model.codes(style), code, rtol=0, atol=1e-5)
    torch.testing.assert_close(model(content, code), picture, rtol=0, atol=1e-3)
    rounded_code, rounded = published(content, style, rounded=True)
    assert (code - rounded_code).abs().mean() < 0.05 * code.abs().mean()
    # 8 bits shift the picture's contrast by this much; another picture of that style is three times as far.
    assert (model(content, rounded_code) - rounded).abs().mean() < 0.06
    assert (model(content.flip(3), rounded_code) - rounded).abs().mean() > 0.15


def test_the_weights_are_those_of_the_package_bit_for_bit():
    stored, expected = read_weights(WEIGHTS), magenta.state()
    assert stored.keys() == expected.keys() and all(torch.equal(stored[name], expected[name]) for name in stored)
