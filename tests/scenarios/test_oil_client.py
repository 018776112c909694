"""20 April 2020: a client who bought 212 lots at 0.01 owes what his equity does not cover."""

import zerodebt


def test_client_owes_to_the_cent() -> None:
    result = zerodebt.run("oil-client")
    measured = result.summary["metrics"]
    # 212 lots x 1,000 barrels x (0.01 + 37.63), of which 77,000 are there
    assert measured["named_client_loss_usd"] == 212 * 1000 * 37.64 == 7_979_680
    assert measured["named_client_owes_usd"] == 7_979_680 - 77_000 == 7_902_680
    assert result.verdict == "RECOURSE"
    assert result.summary["audit"]["findings"] == []
    assert all(claim.held for claim in result.claims)


def test_the_reported_figure_stands_beside_it() -> None:
    result = zerodebt.run("oil-client")
    (claim,) = [claim for claim in result.claims if claim.id == "client-owes"]
    assert "9,000,000" in claim.baseline
    assert 9_000_000 - 7_902_680 == 1_097_320


def test_under_protection_the_broker_pays() -> None:
    protected = zerodebt.run(
        "oil-client",
        venue={"promise": "zero_debt", "waterfall": ["book", "house"]},
        endowments={"house": 10_000_000},
        claims=[],
    )
    assert protected.verdict == "HELD BY INTERVENTION"
    assert protected.summary["receivables"]["count"] == 0
    assert protected.summary["metrics"]["paid_house_usd"] == 7_902_680
