"""The voice has the pitch and the resonances that it was asked for."""

import numpy as np
import pytest

from d2lstyle.samples.voice import RATE, SECONDS_A_VOWEL, voice


@pytest.mark.parametrize("vowel, formant", [("a", 730), ("e", 530), ("o", 570)])
def test_a_vowel_is_loudest_at_its_first_resonance(vowel, formant):
    sound = voice(vowel)
    loudness = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    frequencies = np.fft.rfftfreq(len(sound), 1 / RATE)
    loudest = frequencies[(loudness * (frequencies > 300)).argmax()]
    assert abs(loudest - formant) < 130  # its harmonics are that far apart


@pytest.mark.parametrize("pitch", [100, 200])
def test_the_pitch(pitch):
    sound = voice("a", pitch=pitch)
    likeness = np.correlate(sound, sound, "full")[len(sound) - 1 :]
    shortest, longest = int(RATE / (1.4 * pitch)), int(RATE / (0.6 * pitch))  # below lie the resonances' own periods
    period = shortest + likeness[shortest:longest].argmax()
    assert RATE / period == pytest.approx(0.9 * pitch, rel=0.15)  # falls from 1 to 0.8


def test_length_range_and_silence_of_the_mean():
    sound = voice("aio")
    assert sound.shape == (round(3 * SECONDS_A_VOWEL * RATE),) and sound.dtype == np.float32
    assert np.abs(sound).max() == pytest.approx(0.9) and abs(sound.mean()) < 0.01


def test_seeds():
    assert (voice(seed=1) == voice(seed=1)).all() and (voice(seed=1) != voice(seed=2)).any()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"vowels": "ax"}, "unknown vowel 'x'"),
        ({"vowels": ""}, "number of vowels .* at least 1, got 0"),
        ({"pitch": 0}, "60, 400"),
    ],
)
def test_what_cannot_be_sung(arguments, words):
    with pytest.raises(ValueError, match=words):
        voice(**arguments)
