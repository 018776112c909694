"""The lending pool's rule: the kinked rate, interest of a time, and shares by an index."""

from zerodebt.exchange.audit.arithmetic import PPB, div_ceil
from zerodebt.exchange.rules import LendingRules

ONE = 10**15
"""What a share's index is counted in."""
MOST = 2**62
_YEAR_NS = 365 * 24 * 3600 * 10**9


def rate_ppb(rules: LendingRules, owed_atoms: int, pool_atoms: int) -> int:
    """Yearly rate; where more is owed than the pool has, all of it is in use."""
    used = 0
    if owed_atoms:
        used = PPB if owed_atoms >= pool_atoms else owed_atoms * PPB // pool_atoms
    rate = rules.base_ppb
    if used <= rules.kink_ppb:
        return rate + rules.slope1_ppb * used // rules.kink_ppb
    return rate + rules.slope1_ppb + rules.slope2_ppb * (used - rules.kink_ppb) // (PPB - rules.kink_ppb)


def interest_atoms(owed_atoms: int, annual_ppb: int, elapsed_ns: int) -> int:
    """Simple interest, the borrower's atom broken upwards."""
    return div_ceil(owed_atoms * annual_ppb * elapsed_ns, PPB * _YEAR_NS)


def claim_atoms(shares: int, index: int) -> int:
    return shares * index // ONE


def index_after_loss(index: int, loss_atoms: int, claims_atoms: int) -> int:
    """What is left of the index, rounded down."""
    return index * (claims_atoms - loss_atoms) // claims_atoms
