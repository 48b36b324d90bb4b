"""A voice that needs no recording, for the lecture's example of augmenting speech."""

import numpy as np
from scipy.signal import lfilter

from ..engine import checks

RATE = 8000  # samples a second, as on the telephone
SECONDS_A_VOWEL = 0.3
_FORMANTS = {  # resonances of the throat and mouth in Hz: men's means of Peterson and Barney, 1952
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}


def voice(vowels="aeiou", pitch=120.0, seed=0):
    """A synthetic voice that sings vowels: pulses of the vocal cords through three resonances.

    Args:
        vowels: a word of the letters a, e, i, o, u.
        pitch: pulses a second at the start; it falls by a fifth, as a statement's does. 60 to 400 Hz.
        seed: of the small irregularities in pitch that make it sound less like a machine.
    Returns:
        (N,) float32 in [-1, 1], `RATE` samples a second.
    Raises:
        ValueError: an unknown vowel, none at all, or a pitch out of range.

    Source: ours, after the source-filter theory of speech (Fant, 1960).
    """
    checks.whole("the number of vowels", len(vowels), 1)
    for vowel in vowels:
        checks.choice("vowel", vowel, _FORMANTS)
    checks.number("pitch in Hz", pitch, 60, 400)
    n = int(SECONDS_A_VOWEL * RATE)
    rng, total = np.random.default_rng(seed), n * len(vowels)
    wobble = np.interp(np.arange(total), np.arange(0, total + n, n // 4), rng.normal(0, 0.02, 4 * len(vowels) + 4))
    cycles = np.cumsum(pitch * np.linspace(1, 0.8, total) * (1 + wobble)) / RATE
    pulses = np.diff(np.floor(cycles), prepend=0)
    sung = np.concatenate([_sung(pulses[k * n : (k + 1) * n], vowel) for k, vowel in enumerate(vowels)])
    return (0.9 * sung / np.abs(sung).max()).astype(np.float32)


def _sung(pulses, vowel):
    # The cords close softly, which weakens high frequencies; the lips pass on changes of pressure alone.
    sound = lfilter([1, -1], [1, -1.9, 0.9025], pulses)
    radius = np.exp(-np.pi * 90 / RATE)  # a bandwidth of 90 Hz
    for formant in _FORMANTS[vowel]:
        sound = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], sound)
    fade = np.minimum(1, np.arange(len(sound)) / (0.03 * RATE))
    return sound * fade * fade[::-1] / np.abs(sound).max()
