"""Adjoint, forward sensitivities and 50-digit differences of generated networks; sum rules."""

import pytest

from validation.gradient_networks import AGREE, EDGE, agreement


def judge(seeds):
    found = [one for one in map(agreement, seeds) if one is not None]
    for seed, one in zip(seeds, found, strict=False):
        assert one.status != "regular" or one.sound, f"seed {seed}: {one}"
    return found


def test_adjoint_forward_and_fifty_digits_agree():
    """Six networks; the fifth is next to a new spike, or next to losing one."""
    found = judge(range(EDGE + 1))
    regular = [one for one in found if one.status == "regular"]
    assert len(regular) >= 4 and sum(one.spikes for one in regular) > 40
    assert max(one.forward for one in regular) < AGREE


@pytest.mark.slow
def test_networks_beyond_the_committed_battery():
    assert len(judge(range(1000, 1040))) >= 35
