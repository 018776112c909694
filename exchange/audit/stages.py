"""The order of the waterfall: which stage may act, and whom it may not skip."""

from zerodebt.exchange.audit.debts import Deficit
from zerodebt.exchange.audit.defaults import Defaults
from zerodebt.exchange.audit.deficits import Deficits
from zerodebt.exchange.audit.deleveraging import Deleveraging
from zerodebt.exchange.audit.forms import payers
from zerodebt.exchange.audit.holdings import Holdings, Risk
from zerodebt.exchange.audit.liquidations import Liquidations
from zerodebt.exchange.audit.notes import Notes
from zerodebt.exchange.audit.payments import Payments
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
        liquidations: Liquidations,
        deficits: Deficits,
        payments: Payments,
        rankings: Rankings,
        deleveraging: Deleveraging,
        defaults: Defaults,
    ) -> None:
        self._rules = rules
        self._holdings = holdings
        self._liquidations = liquidations
        self._deficits = deficits
        self._payments = payments
        self._rankings = rankings
        self._deleveraging = deleveraging
        self._defaults = defaults
        self._find = notes.find
        self._settle = holdings.settle
        self._armed: tuple[str, int, int] | None = None

    def arm(self, event: StageArmed) -> None:
        account, pocket, stage = event.account, event.pocket, event.stage
        risk = self._liquidations.compare_risk(event, "WFALL-01")
        equity = risk.equity_atoms
        self._armed = (stage, account, pocket)
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
        if stage == "adl":
            self._deleveraging.begin(account, pocket)
        elif stage == "socialise":
            self._payments.begin_socialising(account, -equity)

    def disarm(self) -> None:
        self._armed = None

    def is_armed_for(self, stage: str, account: int, pocket: int) -> bool:
        return self._armed == (stage, account, pocket)

    def is_armed(self, stage: str) -> bool:
        return self._armed is not None and self._armed[0] == stage

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
            return risk.is_below(share) and (account, pocket) in self._liquidations.open
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
            if not self._fund_always_takes():
                return
            fund = self._holdings.equity(INSURANCE, self._settle)
            if "insurance" in earlier and account != INSURANCE and fund >= -equity:
                self._find(
                    "WFALL-01", f"adl acts on account {account}, though the fund has {fund} for {-equity}"
                )
            return
        taken_over = stage == "insurance" and self._holdings.positions(account, pocket)
        if taken_over and self._holdings.equity(INSURANCE, self._settle) >= -equity:
            if "adl" in earlier:
                self._check_adl_was_tried(account, pocket, stage)
            return
        if "adl" in waterfall and self._rules.adl.trigger != "fund_cannot_pay":
            self._check_adl_was_tried(account, pocket, stage)
        for before in earlier:
            self._check_exhausted(before, self._deficits.current, stage)

    def _fund_always_takes(self) -> bool:
        """Does the fund take every position whose deficit it can pay?"""
        rules = self._rules.insurance
        return rules.takes != "never" and rules.drawdown is None and rules.net_notional_max_atoms is None

    def _check_adl_was_tried(self, account: int, pocket: int, stage: str) -> None:
        for market in self._holdings.positions(account, pocket):
            sign = -1 if market.holders[account][0] > 0 else 1
            if not self._rankings.was_asked(market.number, sign):
                self._find(
                    "WFALL-01", f"{stage} acts on account {account} before its positions were deleveraged"
                )
                return

    def _check_exhausted(self, before: str, deficit: Deficit | None, stage: str) -> None:
        if deficit is None:
            return
        account = deficit.account
        if before == "default_fund":
            left = self._defaults.left_atoms(account)
        else:
            left = sum(payers.could_bring(before, self._holdings, account).values())
        most = self._rules.house.deficit_max_atoms
        if before == "house" and most is not None:
            left = min(left, most - deficit.housed)
        if left > 0:
            self._find(
                "WFALL-01",
                f"{stage} acts for account {account} although stage {before} still has {left} atoms",
            )
