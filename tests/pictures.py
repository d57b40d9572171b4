"""What a picture file shows."""

import matplotlib.image
import numpy as np


def colours(path, least=20):
    """The colours (n, 3), from 0 to 255, of at least so many pixels of a PNG without its background, the commonest first."""
    pixels = (255.0 * matplotlib.image.imread(path)[..., :3]).round().astype(int).reshape(-1, 3)
    found, counts = np.unique(pixels, axis=0, return_counts=True)
    order = np.argsort(-counts)
    return found[order][(counts[order] >= least)][1:]


def has_colour(path, name):
    """Whether a PNG has pixels of a colour of matplotlib, such as "C0"."""
    wanted = np.round(255.0 * np.array(matplotlib.colors.to_rgb(name))).astype(int)
    return bool((np.abs(colours(path) - wanted).max(axis=1) <= 1).any())
