"""How smooth a movement was: the times at which a browser began its frames, in numbers that can be compared."""

import math
from collections.abc import Sequence
from itertools import pairwise

SLOW_MS = 33.0  # two refreshes of the screen: from here on it is seen to stutter


def frames(began: Sequence[float]) -> dict[str, float]:
    """Milliseconds a frame from the times (ms) at which frames began: median, 95th percentile, worst, and the share
    (0 to 1) of those over SLOW_MS. At least two times."""
    taken = sorted(after - before for before, after in pairwise(began))
    return {
        "median": round(at_share(taken, 0.5), 1),
        "p95": round(at_share(taken, 0.95), 1),
        "worst": round(taken[-1], 1),
        "slow_share": round(sum(one > SLOW_MS for one in taken) / len(taken), 3),
        "frames": len(taken),
    }


def at_share(ordered: Sequence[float], share: float) -> float:
    """The least value that so large a share of all is not above (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
