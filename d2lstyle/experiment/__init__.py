"""The paper's claim, tested: do stylised copies, with and without classical augmentation, make a better classifier?

A plan -> a pool of photos and copies -> runs of every arm at every seed -> differences with intervals, and a verdict.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["arms", "bootstrap", "command", "contrasts", "corruptions", "intervals", "plan", "pool", "runs"],
    {"plan": ["QUICK", "Plan"], "runs": ["pool_file", "run_experiment"]},
)
