import numpy as np

from nightflow.flag_planes import carrying, count_carrying
from nightflow.flags import UNUSABLE, Flag


def test_numpy_finds_and_counts_the_same_pixels() -> None:
    flags = np.random.default_rng(1).integers(0, 4096, (37, 53)).astype(np.uint16)
    flags[:, ::2] = 0
    for bits in (Flag.SATURATED, UNUSABLE, Flag.BAD | Flag.AMBIGUOUS):
        expected = (flags & int(bits)) != 0
        assert np.array_equal(carrying(flags, bits), expected)
        assert count_carrying(flags, bits) == np.count_nonzero(expected) > 0
    assert count_carrying(np.zeros((3, 4), np.uint16), UNUSABLE) == 0
