"""d2lstyle: image augmentation, fine-tuning and neural style transfer, to teach with and to experiment on.

Read it in the order of the lecture: images, augment, light, losses, backbones, finetune, training, mixing, transfer.
The rooms behind them are named in CONTRIBUTING.md. A name is loaded when it is first used: `import d2lstyle` takes no
time.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
