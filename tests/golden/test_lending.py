"""Losses of a lending pool's suppliers, run through the arithmetic that the pool itself runs."""

from typing import Any

from tests.golden.published import vectors
from zerodebt.exchange.lending import INDEX_ONE, LendingPool, index_cut


@vectors("drift_social_loss")
def test_drift_depositors_bear_a_borrowers_loss_by_their_index(vector: Any) -> None:
    given = {name: int(text) for name, text in vector["inputs"].items()}
    index, deposits = given["cumulative_deposit_interest"], given["deposit_tokens"]
    due = int(vector["expected"]["interest_delta"])
    assert index_cut(index, given["borrow_loss"], deposits) == due
    pool = LendingPool(index, {16: deposits * INDEX_ONE // index} if deposits else {})
    assert pool.claims_atoms == deposits
    if deposits:
        pool.write_down(given["borrow_loss"])
        assert index - pool.index == due
