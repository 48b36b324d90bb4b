"""The ReLUs of a network, found and made ready for guided backprop, which changes their gradient and must miss none.

Guided backprop hooks ReLU *modules*. A ReLU called as a function (`F.relu(x)`, `x.clamp(min=0)`) escapes every hook, and the
result is then the plain gradient, without a word. So the network is run once and each ReLU caught in the act.
"""

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

RELUS = (nn.ReLU, nn.ReLU6)
_ATEN = torch.ops.aten
_ALWAYS = {_ATEN.relu, _ATEN.relu_}
_FROM_ZERO = {
    _ATEN.hardtanh,
    _ATEN.hardtanh_,
    _ATEN.clamp,
    _ATEN.clamp_,
    _ATEN.clamp_min,
    _ATEN.clamp_min_,
    _ATEN.threshold,
    _ATEN.threshold_,
}


class HookedReLU6(nn.ReLU):
    """ReLU6 in the class that hooks look for; in torch's own hierarchy ReLU6 is a Hardtanh and no ReLU."""

    def forward(self, x):
        return nn.functional.relu6(x)


class HookableReLU(nn.Module):
    """A ReLU or ReLU6 whose input nobody else reads: hooks would else change the gradient of a shortcut beside it too."""

    def __init__(self, relu):
        super().__init__()
        self.relu = HookedReLU6() if isinstance(relu, nn.ReLU6) else relu
        self.relu.inplace = False

    def forward(self, x):
        return self.relu(x.view_as(x))


def with_hookable_relus(model, run):
    """Replace the ReLUs of a model in place by ones that captum hooks, once it is sure that no ReLU escapes.

    Args:
        model: the module to change; a copy that nobody else uses.
        run: a function without arguments that passes an image through it, and returns the scores.
    Raises:
        ValueError: a layer calls its ReLU as a function, there is no ReLU at all, or a layer reads what an in-place ReLU
            has overwritten, so that the model without in-place ReLUs is another.
    """
    caught = _Catcher(model)
    with torch.no_grad(), caught:
        scores = run()
    caught.remove_hooks()
    if caught.escaping:
        place, call = caught.escaping[0]
        raise ValueError(
            f"guided backprop would silently give the plain gradient: {place} calls {call} as a function, "
            "out of reach of hooks (give it an nn.ReLU module, or use saliency)"
        )
    if not caught.n_modules:
        raise ValueError("guided backprop changes the gradient of ReLUs, and this model passed none: use saliency")
    for name, module in list(model.named_modules(remove_duplicate=False)):  # one ReLU may have several names
        if isinstance(module, RELUS):
            model.set_submodule(name, HookableReLU(module))
    with torch.no_grad():
        if not torch.allclose(run(), scores, equal_nan=True):
            raise ValueError(
                "guided backprop needs ReLUs that are not in-place, and this model gives other scores with such: "
                "one of its layers reads what a ReLU has overwritten (use saliency)"
            )


class _Catcher(TorchDispatchMode):
    """Sees each operation of a pass, and which module it happens in.

    Attributes:
        escaping: [(where, which call)] of the ReLUs that no module stands for.
        n_modules: how many ReLU modules were passed.
    """

    def __init__(self, model):
        super().__init__()
        self.escaping, self.n_modules = [], 0
        self.inside, self.last = [], None  # the modules being run, outermost first; the last one that ended
        self.hooks = []
        for name, module in model.named_modules():
            self.hooks.append(module.register_forward_pre_hook(self._entering(name)))
            self.hooks.append(module.register_forward_hook(self._leaving(name)))

    def remove_hooks(self):
        for hook in self.hooks:
            hook.remove()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self.inside and _is_relu(func, args, kwargs) and not isinstance(self.inside[-1][1], RELUS):
            self.escaping.append((self._place(), str(func.overloadpacket).split(".")[-1]))
        return func(*args, **kwargs)

    def _entering(self, name):
        def enter(module, inputs):
            self.inside.append((name, module))
            self.n_modules += isinstance(module, RELUS)

        return enter

    def _leaving(self, name):
        def leave(module, inputs, output):
            self.inside.pop()
            self.last = name

        return leave

    def _place(self):
        name, module = self.inside[-1]
        where = f"{name} ({type(module).__name__})" if name else type(module).__name__
        began_inside = self.last and self.last.startswith(f"{name}." if name else "")
        return f"{where}, after its layer {self.last}," if began_inside else where


def _is_relu(func, args, kwargs):
    call = func.overloadpacket
    if call in _ALWAYS:
        return True
    low = args[1] if len(args) > 1 else kwargs.get("min", kwargs.get("min_val"))
    return call in _FROM_ZERO and isinstance(low, (int, float)) and low == 0
