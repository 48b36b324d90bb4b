"""The paper's claim, tested: do stylised copies, with and without classical augmentation, make a better classifier?

A plan -> a pool of photos and copies -> doses chosen on validation photos -> runs of every arm at every seed ->
differences with intervals, and a verdict.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["arms", "command", "contrasts", "copies", "corruptions", "gan", "intervals", "plan", "pool", "runs", "tuning"],
    {"plan": ["PLANS", "QUICK", "Plan"], "runs": ["pool_file", "run_experiment"]},
)
