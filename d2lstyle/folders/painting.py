"""One worker: a tile of jobs -> PNG files, and their rows of the manifest.

A tile has a fixed number of pictures and is painted on one thread, because sums that are rounded in another order lead
L-BFGS elsewhere within thirty steps. So any order and any number of workers give the same files.
"""

import errno
import json
import time
from collections import defaultdict
from dataclasses import asdict

import torch

from ..engine.checks import proportions
from ..engine.devices import is_out_of_memory, one_thread
from ..fast.painting import StyleBank
from ..images import read_image, write_image
from ..transfer import default_weights, stylize
from .jobs import NOTE, TILE, tile_size

FULL = (errno.ENOSPC, errno.EDQUOT)  # errors after which no other picture goes better


class TilePainter:
    """Paints tiles and writes their pictures; one in each process."""

    def __init__(self, settings):
        self.settings, self.net, self.most = settings, settings.net, TILE
        self.styles = list(settings.styles.values())
        self.bank = StyleBank(self.styles, self.net.mean.device)  # for the fast method

    def write(self, tile):
        """The rows of a tile's pictures, written; an image that cannot be read or painted gives {"source", "error"}."""
        began = time.perf_counter()
        results = self.paint(tile)
        seconds = round((time.perf_counter() - began) / len(tile), 4)
        return [self._written(job, result, seconds) for job, result in results]

    def paint(self, tile):
        """[(job, picture (1, 3, H, W) or the error)]"""
        images, results = defaultdict(list), []
        with one_thread(self.net.mean.device):
            for job in tile:
                try:
                    image = read_image(self.settings.source / job.source, self.settings.size)
                    images[image.shape].append((job, image))  # one shape, if the heads of the files were right
                except (ValueError, OSError, MemoryError) as error:
                    results.append((job, error))
            return results + [result for alike in images.values() for result in self._painted(alike)]

    def _painted(self, images):
        """The same of [(job, image)], all of one shape; too little memory halves the tile, for good."""
        n = min(self.most, tile_size(images[0][1].shape[2:]))
        try:
            return [result for i in range(0, len(images), n) for result in self._pass(images[i : i + n], n)]
        except (FloatingPointError, ValueError) as error:  # of one of them; alone, it tells which
            if len(images) == 1:
                return [(images[0][0], error)]
            return [result for image in images for result in self._painted([image])]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if n == 1:
                return [(job, error) for job, _ in images]
            self.most = n // 2
            return self._painted(images)

    def _pass(self, images, n):
        """The same of up to n images; the pass always holds n, for that decides the last bits."""
        jobs, contents = zip(*images, *[images[-1]] * (n - len(images)))
        contents = torch.cat(contents)
        alphas = torch.tensor([job.alpha for job in jobs], dtype=torch.float32, device="cpu")
        shares = [[job.styles.get(name, 0) for name in self.settings.styles] for job in jobs]
        if self.settings.method == "fast":
            pictures = self.bank.paint(contents, proportions(shares, len(self.styles), n), alphas).cpu()
        else:
            pictures = self._optimised(contents, shares, alphas)
        pictures = torch.where(alphas[:, None, None, None] > 0, pictures, contents)  # without a rounding error
        return list(zip(jobs, pictures.split(1)))[: len(images)]

    def _optimised(self, contents, shares, alphas):
        _, style_weight, tv_weight = default_weights(self.net)
        weights = {"style_weights": shares, "style_weight": alphas * style_weight, "tv_weight": alphas * tv_weight}
        steps = self.settings.steps
        result = stylize(contents, self.styles, **weights, net=self.net, steps=steps, precision="fp32")
        if result.interrupted:  # half painted
            raise KeyboardInterrupt
        return result.image

    def _written(self, job, result, seconds):
        path = self.settings.out / job.file
        try:
            if not isinstance(result, Exception):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_image(result, path, notes={NOTE: json.dumps(asdict(job))})
                return asdict(job) | {"seconds": seconds}
        except OSError as error:
            if error.errno in FULL:
                goes_on = "make room and call again: what is finished is kept"
                raise OSError(f"cannot write {path}: {error.strerror}; {goes_on}") from None
            result = error
        return {"source": job.source, "error": str(result) or "there is not enough memory"}  # a MemoryError is mute
