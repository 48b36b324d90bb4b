"""One sentence for a name that nothing answers to."""

from difflib import get_close_matches

MOST_LISTED = 100


def unknown_name(kind, name, known):
    """The ValueError to raise: what was asked for, the likeliest names meant, and all that there are.

    >>> unknown_name("backbone", "vgg91", ["vgg16", "vgg19"]).args[0]
    "unknown backbone 'vgg91': did you mean 'vgg19' or 'vgg16'? There are vgg16, vgg19"
    """
    close = get_close_matches(str(name), known, n=2)
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    all_known = ", ".join(known) if len(known) <= MOST_LISTED else f"{len(known)} of them, such as {known[0]!r}"
    return ValueError(f"unknown {kind} {name!r}: {hint}There are {all_known}")
