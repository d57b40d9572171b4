"""A pickle that must not be loaded."""

import os


class Bomb:
    """Unpickling it would create the file `proof`."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return (os.mkdir, (str(self.proof),))
