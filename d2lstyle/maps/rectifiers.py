"""The ReLUs of a network made ready for guided backprop, which changes their gradient and must miss none.

A ReLU called as a function (`F.relu(x)`, `x.clamp(min=0)`) is no module that could be replaced, and the result would be
the plain gradient, without a word. So the network is run once, and each ReLU is caught in the act.
"""

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

RELUS = (nn.ReLU, nn.ReLU6)
BOUNDED = ("hardtanh", "clamp", "clamp_min", "threshold")  # a ReLU where the lower bound is 0


class GuidedReLU(nn.Module):
    """A ReLU or ReLU6 that lets only positive gradients back."""

    def __init__(self, relu):
        super().__init__()
        self.relu = relu
        self.relu.inplace = False

    def forward(self, x):
        x = x.view_as(x)  # a shortcut beside the ReLU reads the same tensor, and keeps its whole gradient
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient.clamp(min=0))
        return self.relu(x)


@torch.no_grad()
def guide_relus(model, run):
    """Replace the ReLUs of a private model by guided ones, or raise a ValueError; `run()` gives scores of an image."""
    with _Watch(model) as watch:
        scores = run()
    if not watch.n_relus:
        raise ValueError("guided backprop changes the gradient of ReLUs, and this model passed none: use saliency")
    for name, module in list(model.named_modules(remove_duplicate=False)):  # one ReLU may have several names
        if isinstance(module, RELUS):
            model.set_submodule(name, GuidedReLU(module))
    if not torch.allclose(run(), scores, equal_nan=True):
        raise ValueError(
            "guided backprop needs ReLUs that are not in-place, and this model gives other scores with such: "
            "one of its layers reads what a ReLU has overwritten (use saliency)"
        )


class _Watch(TorchDispatchMode):
    """Counts the ReLU modules of a pass, and raises a ValueError where a layer that is none calls a ReLU."""

    def __init__(self, model):
        super().__init__()
        self.n_relus, self.hooks = 0, []
        self.inside, self.last = [], ""  # the layers being run, (name, module); the name of the last that ended
        for layer in model.named_modules():
            self.hooks.append(layer[1].register_forward_pre_hook(lambda *_, layer=layer: self.inside.append(layer)))
            self.hooks.append(layer[1].register_forward_hook(self._leave))

    def __exit__(self, *error):
        super().__exit__(*error)
        for hook in self.hooks:
            hook.remove()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        call = function.overloadpacket.__name__
        if self.inside and _is_relu(call.rstrip("_"), *args[1:2]):
            self._check_place(call, *self.inside[-1])
        return function(*args, **(kwargs or {}))

    def _leave(self, module, inputs, output):
        self.last = self.inside.pop()[0]
        self.n_relus += isinstance(module, RELUS)

    def _check_place(self, call, name, module):
        place = f"{name} ({type(module).__name__})" if name else type(module).__name__
        if self.last and self.last.startswith(f"{name}." if name else ""):
            place += f", after its layer {self.last},"
        if not isinstance(module, RELUS):
            raise ValueError(
                f"guided backprop would silently give the plain gradient: {place} calls {call} as a function, "
                "out of reach of hooks (give it an nn.ReLU module, or use saliency)"
            )


def _is_relu(call, low=None):
    return call == "relu" or (call in BOUNDED and isinstance(low, (int, float)) and low == 0)
