"""The order of the waterfall: which stage may act, and whom it may not skip."""

from zerodebt.exchange.audit.claims import Claims
from zerodebt.exchange.audit.conversions import Conversions
from zerodebt.exchange.audit.debts import Deficit
from zerodebt.exchange.audit.defaults import Defaults
from zerodebt.exchange.audit.deficits import Deficits
from zerodebt.exchange.audit.deleveraging import Deleveraging
from zerodebt.exchange.audit.forms import payers
from zerodebt.exchange.audit.holdings import Holdings, Risk
from zerodebt.exchange.audit.lending import Lending
from zerodebt.exchange.audit.liquidations import Liquidations
from zerodebt.exchange.audit.markets import Market
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.payments import Payments
from zerodebt.exchange.audit.pools import Pools
from zerodebt.exchange.audit.rankings import Rankings
from zerodebt.exchange.events import (
    INSURANCE,
    LayerDrawn,
    StageArmed,
    StagePaid,
)
from zerodebt.exchange.rules import VenueRules


class Stages:
    """The stage that is armed, and whether its turn has come."""

    def __init__(
        self,
        rules: VenueRules,
        notes: Notes,
        holdings: Holdings,
        claims: Claims,
        pools: Pools,
        liquidations: Liquidations,
        deficits: Deficits,
        payments: Payments,
        rankings: Rankings,
        deleveraging: Deleveraging,
        defaults: Defaults,
        conversions: Conversions,
        lending: Lending,
    ) -> None:
        self._rules = rules
        self._holdings = holdings
        self._claims = claims
        self._pools = pools
        self._liquidations = liquidations
        self._deficits = deficits
        self._payments = payments
        self._rankings = rankings
        self._deleveraging = deleveraging
        self._defaults = defaults
        self._conversions = conversions
        self._lending = lending
        self._find = notes.find
        self._settle = holdings.settle
        self._armed: tuple[str, int, int] | None = None
        self._parts: dict[int, int] | None = None

    def arm(self, event: StageArmed) -> None:
        account, pocket, stage = event.account, event.pocket, event.stage
        risk = self._liquidations.compare_risk(event, "WFALL-01")
        equity = risk.equity_atoms
        self._armed = (stage, account, pocket)
        self._parts = None
        self._claims.meet((account, pocket))
        if stage not in self._rules.waterfall:
            self._find(
                "WFALL-01", f"stage {stage} acts on account {account} but is not in the rulebook's list"
            )
            return
        if not self._may_act(stage, account, pocket, risk):
            self._find(
                "WFALL-01",
                f"stage {stage} acts on account {account} at {risk.margin_atoms} over "
                f"{risk.maintenance_atoms}: it is not armed",
            )
        if equity < 0 and stage != "book":
            deficit = self._deficits.current
            if deficit is None or (deficit.account, deficit.pocket) != (account, pocket):
                self._find(
                    "(d)", f"stage {stage} acts on account {account}, whose deficit of {-equity} is not open"
                )
            self._check_not_skipped(stage, account, pocket, equity)
            if stage in payers.SHARED and deficit is not None:
                self._payments.begin_sharing(stage, deficit, -equity)
        if stage == "adl":
            self._check_fund_could_not_take(account, pocket, equity)
            self._deleveraging.begin(account, pocket)
        elif stage == "insurance":
            self._parts = self._borne(account, pocket, equity)

    def disarm(self) -> None:
        self._armed = None

    def is_armed_for(self, stage: str, account: int, pocket: int) -> bool:
        return self._armed == (stage, account, pocket)

    def is_armed(self, stage: str) -> bool:
        return self._armed is not None and self._armed[0] == stage

    @property
    def is_for_a_deficit(self) -> bool:
        """Does the waterfall work on a compartment that was below zero?"""
        return self._deficits.current is not None

    def check_pays(self, event: StagePaid) -> None:
        deficit = self._deficits.current
        if deficit is not None and not self.is_armed_for(event.stage, deficit.account, deficit.pocket):
            self._find("WFALL-01", f"stage {event.stage} pays {event.atoms} atoms without being armed")

    def check_draws(self, event: LayerDrawn) -> None:
        deficit = self._deficits.current
        if deficit is not None and not self.is_armed_for("default_fund", deficit.account, deficit.pocket):
            self._find("WFALL-01", f"the fund's {event.layer} are drawn on without being armed")

    def check_nobody_could(self, deficit: Deficit) -> None:
        """A residual is left only when positions were deleveraged and no stage has more cash to bring."""
        for stage in self._rules.waterfall:
            self._check_exhausted(stage, deficit, "nobody")
        if "adl" in self._rules.waterfall and self._rules.adl.trigger != "fund_cannot_pay":
            self._check_adl_was_tried(deficit.account, deficit.pocket, "nobody")

    def _may_act(self, stage: str, account: int, pocket: int, risk: Risk) -> bool:
        if stage == "book":
            return risk.is_short and (account, pocket) in self._liquidations.open
        if stage == "backstop" and risk.equity_atoms >= 0:
            share = self._rules.liquidation.backstop_below_ppb
            in_liquidation = (account, pocket) in self._liquidations.open
            return risk.is_below(share) and in_liquidation and self._liquidations.is_backed(account, pocket)
        if stage in ("backstop", "recourse", "default_fund") and not self._holdings.is_protected(account):
            return False
        if stage == "insurance" and account == INSURANCE:
            return False
        if risk.equity_atoms < 0:
            return True
        unfilled = (stage == "insurance" and self._rules.insurance.takes == "unfilled") or (
            stage == "adl" and self._rules.adl.trigger == "unfilled"
        )
        return unfilled and risk.is_short and (account, pocket) in self._liquidations.open

    def _check_not_skipped(self, stage: str, account: int, pocket: int, equity: int) -> None:
        """Stages that come before this one in the list and could act now must have acted."""
        waterfall = self._rules.waterfall
        earlier = waterfall[: waterfall.index(stage)]
        if stage == "adl":
            return
        always = self._rules.adl.trigger != "fund_cannot_pay"
        taken_over = stage == "insurance" and self._holdings.positions(account, pocket)
        if taken_over and self._borne(account, pocket, equity) is not None:
            if "adl" in earlier and always:
                self._check_adl_was_tried(account, pocket, stage)
            return
        if "adl" in waterfall and always:
            self._check_adl_was_tried(account, pocket, stage)
        for before in earlier:
            self._check_exhausted(before, self._deficits.current, stage)

    def _check_fund_could_not_take(self, account: int, pocket: int, equity: int) -> None:
        """Where the fund comes first, deleveraging is for what its pools may not take or cannot bear."""
        waterfall, takes = self._rules.waterfall, self._rules.insurance.takes
        is_first = "insurance" in waterfall[: waterfall.index("adl")]
        if not is_first or (equity >= 0 and takes != "unfilled"):
            return
        parts = self._borne(account, pocket, equity)
        if parts is None and self._fund_left_unsold(account, pocket, equity):
            self._find(
                "WFALL-01", f"adl acts on account {account}, though the fund has assets to sell for it"
            )
        if parts is not None:
            self._find("WFALL-01", f"adl acts on account {account}, though the fund's pools can bear {parts}")

    def _borne(self, account: int, pocket: int, equity: int) -> dict[int, int] | None:
        """What each pool bears of a deficit if the fund takes the positions; None if it may or can not."""
        lots, parts = self._parts_of(account, pocket, equity)
        return parts if self._may_take(account) and self._pools.can_take(lots, parts) else None

    def _fund_left_unsold(self, account: int, pocket: int, equity: int) -> bool:
        """Could the fund take the positions by what it is worth, and would the book bring what it lacks?"""
        lots, parts = self._parts_of(account, pocket, equity)
        is_worth_it = self._may_take(account) and self._pools.can_take(lots, parts, by_worth=True)
        if not is_worth_it or self._settle not in parts:
            return False
        lacking = parts[self._settle] - self._holdings.money(INSURANCE, self._settle)
        return self._conversions.fund_raisable_atoms() >= lacking

    def _may_take(self, account: int) -> bool:
        return account != INSURANCE and self._rules.insurance.takes != "never"

    def _parts_of(self, account: int, pocket: int, equity: int) -> tuple[dict[Market, int], dict[int, int]]:
        """Lots by market, and what each pool would bear of the deficit on them."""
        parts: dict[int, int] = {}
        lots = {}
        for market, share in self._liquidations.shares_of_equity((account, pocket), equity).items():
            pool = self._holdings.pool_of(market)
            parts[pool] = parts.get(pool, 0) + max(0, -share)
            lots[market] = market.lots_of(account)
        return lots, parts

    def check_takes(self, account: int, pocket: int) -> None:
        """The fund takes positions only when every pool may and can, and has borne its part."""
        if not self.is_armed_for("insurance", account, pocket):
            return
        if self._parts is None:
            self._find("WFALL-01", f"the fund takes over account {account}, which its pools may or can not")
            return
        deficit = self._deficits.current
        paid = deficit.pooled if deficit is not None else {}
        due = {pool: atoms for pool, atoms in self._parts.items() if atoms}
        if paid != due:
            self._find(
                "(f)", f"the fund's pools pay {paid} for the positions of account {account}, {due} are due"
            )

    def _check_adl_was_tried(self, account: int, pocket: int, stage: str) -> None:
        for market in self._holdings.positions(account, pocket):
            sign = -1 if market.holders[account][0] > 0 else 1
            if not self._rankings.was_asked(market.instrument, sign):
                self._find(
                    "WFALL-01", f"{stage} acts on account {account} before its positions were deleveraged"
                )
                return

    def _check_nothing_to_sell(self, claim: payers.Claim, stage: str) -> None:
        """Before others pay, the fund's wallet has sold what the book buys, if it answers for the deficit."""
        answers = claim.account != INSURANCE and self._settle in claim.pools
        if answers and self._conversions.fund_left_unsold():
            self._find(
                "WFALL-01", f"{stage} acts for account {claim.account} although the fund has assets to sell"
            )

    def _check_exhausted(self, before: str, deficit: Deficit | None, stage: str) -> None:
        if deficit is None:
            return
        account = deficit.account
        if before == "default_fund":
            left = self._defaults.left_atoms(deficit.key)
        elif before == "lenders":
            left = self._lending.could_bring(deficit.key)
        elif before in payers.SHARED:
            left = self._payments.unshared_atoms(before, deficit)
        else:
            claim = self._claims.of(deficit.key)
            claim = claim._replace(pools=self._pools.paying(claim))
            left = payers.could_bring(before, self._holdings, claim)
            if before == "insurance":
                self._check_nothing_to_sell(claim, stage)
        most = self._rules.house.deficit_max_atoms
        if before == "house" and most is not None:
            left = min(left, most - deficit.housed)
        if left > 0:
            self._find(
                "WFALL-01",
                f"{stage} acts for account {account} although stage {before} still has {left} atoms",
            )
