"""The ledger's arithmetic: nobody gets room that a budget does not have, and all that a budget has is used."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from discernus.sessions.accounts import Accounts, Room, dollars, levels_of

A, B, C = "lab/speeches/a", "lab/speeches/b", "lab/letters/c"
SESSIONS = (A, B, C, "lab/letters/d", "lab/diaries/e")
usd = st.integers(0, 400).map(lambda cents: cents / 100)


def ledger(
    project: float | None = None, experiments: dict[str, float] | None = None, sessions: dict[str, float] | None = None
) -> Accounts:
    accounts = Accounts()
    accounts.set_budgets(project, experiments or {}, sessions or {})
    return accounts


def claim(accounts: Accounts, session: str, spent: float, wanted: float, least: float = 0.0) -> Room:
    accounts.claim(session, spent, wanted, least)
    accounts.share()
    return room(accounts, session)


def room(accounts: Accounts, session: str) -> Room:
    return accounts.rooms([session])[session]


# one claim


def test_without_a_budget_a_session_gets_what_it_wants() -> None:
    granted = claim(ledger(), A, 3.0, 1e6)
    assert (granted.spent_usd, granted.room_usd, granted.met) == (3.0, 1e6, True)
    assert (granted.level, granted.limit_usd, granted.final) == (None, None, False)


@pytest.mark.parametrize(
    ("accounts", "level", "limit", "left"),
    [
        (ledger(10, {"speeches": 20}, {A: 30}), "project", 10, 8),
        (ledger(30, {"speeches": 10}, {A: 20}), "experiment", 10, 8),
        (ledger(30, {"speeches": 20}, {A: 10}), "session", 10, 8),
        (ledger(10, {"speeches": 10}, {A: 10}), "session", 10, 8),
    ],
)
def test_the_tightest_of_three_budgets_binds_and_is_named(
    accounts: Accounts, level: str, limit: float, left: float
) -> None:
    granted = claim(accounts, A, 2.0, 50.0)
    assert granted.room_usd == left
    assert (granted.level, granted.limit_usd, granted.level_spent_usd, granted.final) == (level, limit, 2.0, True)


def test_where_the_wish_is_met_the_budget_that_is_used_up_furthest_is_named() -> None:
    granted = claim(ledger(10, {"speeches": 4}), A, 3.0, 0.5)
    assert (granted.met, granted.final) == (True, False)
    assert (granted.level, granted.limit_usd, granted.level_spent_usd) == ("experiment", 4, 3.0)


def test_a_budget_is_used_to_its_last_cent_whatever_binary_fractions_make_of_it() -> None:
    accounts = ledger(0.3)
    accounts.note_spent({B: 0.1})
    assert claim(accounts, A, 0.1, 5.0).room_usd == 0.1


@given(project=usd, experiment=usd, session=usd, spent=st.tuples(usd, usd, usd), wanted=usd)
def test_a_lone_claim_gets_what_it_wants_or_what_every_level_leaves(
    project: float, experiment: float, session: float, spent: tuple[float, float, float], wanted: float
) -> None:
    accounts = ledger(project, {"speeches": experiment}, {A: session})
    accounts.note_spent({B: spent[1], C: spent[2]})
    granted = claim(accounts, A, spent[0], wanted)
    left = min(session - spent[0], experiment - spent[0] - spent[1], project - sum(spent))
    assert granted.room_usd == pytest.approx(max(0.0, min(wanted, left)), abs=1e-11)
    assert granted.met == (granted.room_usd == wanted)


def test_what_was_spent_never_becomes_less() -> None:
    accounts = ledger(10)
    accounts.note_spent({A: 4.0})
    assert claim(accounts, A, 3.0, 50.0).room_usd == 6.0
    assert claim(accounts, A, 2.0, 50.0).room_usd == 6.0
    accounts.note_spent({A: 1.0})
    assert accounts.levels()["project", ""].spent == 4 * 10**12


def test_what_the_archive_has_of_a_session_that_holds_room_is_left_to_its_claims() -> None:
    accounts = ledger(10)
    claim(accounts, A, 2.0, 4.0)
    accounts.note_spent({A: 5.0})
    assert claim(accounts, B, 0.0, 9.0).room_usd == 4.0
    accounts.forget(A)
    accounts.note_spent({A: 5.5})
    accounts.share()
    assert room(accounts, B).room_usd == 4.5


@pytest.mark.parametrize("spent", [10.0, 10.5, 1000.0])
def test_an_overspent_budget_gives_no_room(spent: float) -> None:
    accounts = ledger(10)
    accounts.note_spent({C: spent})
    granted = claim(accounts, A, 0.0, 0.01)
    assert (granted.room_usd, granted.final, granted.level_spent_usd) == (0.0, True, spent)


# among several


def test_room_that_is_given_back_goes_to_those_who_wait() -> None:
    accounts = ledger(10)
    assert claim(accounts, A, 0.0, 8.0).room_usd == 8.0
    waits = claim(accounts, B, 0.0, 6.0)
    assert (waits.room_usd, waits.final, waits.level) == (2.0, False, "project")
    claim(accounts, A, 1.0, 0.0)
    assert room(accounts, B).room_usd == 6.0
    assert room(accounts, B).met


def test_a_session_that_is_gone_gives_its_room_back_and_not_what_it_spent() -> None:
    accounts = ledger(10)
    claim(accounts, A, 1.0, 9.0)
    claim(accounts, B, 0.0, 10.0)
    accounts.forget(A)
    accounts.share()
    assert (room(accounts, B).room_usd, room(accounts, B).final) == (9.0, True)
    assert accounts.holding() == [B]


def test_those_who_wait_get_equal_parts_and_who_wants_little_leaves_the_rest_to_the_others() -> None:
    accounts = ledger(10)
    claim(accounts, "lab/x/holds", 0.0, 10.0)
    for session, wanted in ((A, 1.0), (B, 9.0), (C, 9.0)):
        assert claim(accounts, session, 0.0, wanted).room_usd == 0.0
    claim(accounts, "lab/x/holds", 0.0, 0.0)
    assert [room(accounts, session).room_usd for session in (A, B, C)] == [1.0, 4.5, 4.5]


def test_a_tight_experiment_leaves_what_it_cannot_use_to_another() -> None:
    accounts = ledger(10, {"speeches": 1.0})
    for session in (A, B, C):
        accounts.claim(session, 0.0, 9.0)
    accounts.share()
    assert [room(accounts, session).room_usd for session in (A, B, C)] == [0.5, 0.5, 9.0]
    assert [room(accounts, session).level for session in (A, B)] == ["experiment", "experiment"]


def test_who_has_something_is_not_taken_from_when_others_come() -> None:
    accounts = ledger(10)
    claim(accounts, A, 0.0, 10.0)
    claim(accounts, B, 0.0, 10.0)
    assert claim(accounts, A, 4.0, 10.0).room_usd == 6.0
    assert room(accounts, B).room_usd == 0.0


def test_what_cannot_come_is_final_even_while_others_hold_room_of_a_wider_budget() -> None:
    accounts = ledger(10, sessions={A: 1.0})
    claim(accounts, B, 0.0, 10.0)
    waits = claim(accounts, A, 0.9, 1.0, least=0.5)
    assert (waits.room_usd, waits.final, waits.level, waits.limit_usd) == (0.0, True, "session", 1.0)


def test_while_others_hold_what_is_wanted_the_budget_that_they_hold_it_of_is_named() -> None:
    accounts = ledger(10, {"letters": 5})
    claim(accounts, A, 0.0, 10.0)
    waits = claim(accounts, C, 0.0, 1.0)
    assert (waits.final, waits.level, waits.limit_usd) == (False, "project", 10)


def test_who_waits_for_another_learns_when_that_is_in_vain() -> None:
    accounts = ledger(10)
    claim(accounts, A, 0.0, 10.0)
    assert not claim(accounts, B, 0.0, 3.0, least=3.0).final
    claim(accounts, A, 9.0, 0.5)
    assert not room(accounts, B).met
    assert room(accounts, B).final


def test_no_two_sessions_wait_for_each_others_remainders() -> None:
    accounts = ledger(10)
    accounts.note_spent({C: 8.5})
    for session in (A, B):
        accounts.claim(session, 0.0, 1.0)
    accounts.share()
    assert [room(accounts, session).room_usd for session in (A, B)] == [0.75, 0.75]
    for session in (A, B):  # with nothing in flight, three quarters of what a call may cost are of no use
        accounts.claim(session, 0.0, 1.0, 1.0)
    accounts.share()
    assert [room(accounts, session).room_usd for session in (A, B)] == [1.0, 0.0]
    assert not room(accounts, B).final
    claim(accounts, A, 0.9, 1.0, least=1.0)
    assert [room(accounts, session).room_usd for session in (A, B)] == [0.0, 0.0]
    assert [room(accounts, session).final for session in (A, B)] == [True, True]


def test_the_longest_waiting_comes_first_where_there_is_room_for_one_call_only() -> None:
    accounts = ledger(1.5)
    served = []
    spent = dict.fromkeys((A, B, C), 0.0)
    for session in spent:
        accounts.claim(session, 0.0, 1.0, 1.0)
    for _ in range(6):
        accounts.share()
        (now,) = accounts.holding()
        served.append(now)
        spent[now] += 0.01
        accounts.claim(now, spent[now], 1.0, 1.0)
    assert served == [A, B, C, A, B, C]


def test_who_asks_again_while_it_waits_keeps_its_place() -> None:
    accounts = ledger(1.5)
    for session in (A, B, C, B):
        claim(accounts, session, 0.0, 1.0, least=1.0)
    claim(accounts, A, 0.01, 0.0)
    assert accounts.holding() == [B]


# budgets that change


def test_a_raised_budget_lets_those_go_on_who_had_to_stop() -> None:
    accounts = ledger(5)
    assert claim(accounts, A, 5.0, 2.0, least=1.0).final
    accounts.set_budgets(5.5, {}, {})
    accounts.share()
    assert (room(accounts, A).room_usd, room(accounts, A).limit_usd) == (0.0, 5.5)
    accounts.set_budgets(6.5, {}, {})
    accounts.share()
    assert room(accounts, A).room_usd == 1.5
    accounts.set_budgets(None, {}, {})
    accounts.share()
    assert room(accounts, A).met


def test_a_lowered_budget_takes_nothing_back_and_gives_nothing_new() -> None:
    accounts = ledger(10)
    claim(accounts, A, 1.0, 4.0)
    accounts.set_budgets(2.0, {}, {})
    accounts.share()
    assert room(accounts, A).room_usd == 4.0
    going_on = claim(accounts, A, 3.0, 4.0)
    assert (going_on.spent_usd + going_on.room_usd, going_on.final) == (5.0, True)
    assert claim(accounts, B, 0.0, 0.1).room_usd == 0.0
    assert claim(accounts, A, 5.0, 4.0).room_usd == 0.0


def test_accounts_survive_being_handed_on_as_json() -> None:
    accounts = ledger(10, {"speeches": 4}, {A: 3})
    claim(accounts, A, 1.1, 5.0, least=0.3)
    claim(accounts, C, 0.1, 9.0)
    again = Accounts.model_validate_json(accounts.model_dump_json())
    assert again == accounts
    assert again.rooms(again.sessions) == accounts.rooms(accounts.sessions)


# whatever happens


class Spenders(RuleBasedStateMachine):
    """Sessions that spend no more than they were granted, in any order, while others come, go, and vanish."""

    @initialize(
        project=st.none() | usd,
        experiments=st.dictionaries(st.sampled_from(["speeches", "letters"]), usd),
        sessions=st.dictionaries(st.sampled_from(SESSIONS), usd),
    )
    def begin(self, project: float | None, experiments: dict[str, float], sessions: dict[str, float]) -> None:
        self.accounts = ledger(project, experiments, sessions)
        self.allowed = dict.fromkeys(SESSIONS, 0.0)
        self.spent = dict.fromkeys(SESSIONS, 0.0)

    @rule(claims=st.dictionaries(st.sampled_from(SESSIONS), st.tuples(st.floats(0, 1), usd, st.booleans()), min_size=1))
    def claim_at_once(self, claims: dict[str, tuple[float, float, bool]]) -> None:
        before = {session: account.model_copy() for session, account in self.accounts.sessions.items()}
        for session, (share, wanted, nothing_in_flight) in sorted(claims.items()):
            self.spent[session] += share * max(0.0, self.allowed[session] - self.spent[session])
            self.accounts.claim(session, self.spent[session], wanted, wanted / 2 if nothing_in_flight else 0.0)
        self.accounts.share()
        self.learn()
        for session in self.accounts.sessions.keys() - claims.keys():
            assert self.accounts.sessions[session].reserved >= before[session].reserved

    @rule(session=st.sampled_from(SESSIONS))
    def vanish(self, session: str) -> None:
        if session in self.accounts.sessions:
            self.accounts.forget(session)
            self.accounts.share()
            self.learn()

    def learn(self) -> None:
        for session, granted in self.accounts.rooms(self.accounts.sessions).items():
            self.allowed[session] = granted.spent_usd + granted.room_usd

    @invariant()
    def no_budget_is_overdrawn(self) -> None:
        for level in self.accounts.levels().values():
            assert level.reserved >= 0
            if level.free is not None:
                assert level.free >= -len(SESSIONS)  # each sum that is claimed is rounded to a trillionth

    @invariant()
    def nobody_holds_more_than_he_wants_or_less_than_he_can_use(self) -> None:
        for account in self.accounts.sessions.values():
            assert account.reserved <= account.wanted
            assert account.reserved == 0 or account.reserved >= account.least

    @invariant()
    def nobody_waits_for_what_is_free(self) -> None:
        levels = self.accounts.levels()
        for session in self.accounts.waiting():
            account = self.accounts.sessions[session]
            free = [levels[key].free for key in levels_of(session)]
            left = min(amount for amount in free if amount is not None)
            assert left <= 0 or account.reserved + left < account.least

    @invariant()
    def who_waits_and_may_hope_waits_for_somebody(self) -> None:
        levels = self.accounts.levels()
        for session, granted in self.accounts.rooms(self.accounts.waiting()).items():
            of_others = [levels[key].reserved - self.accounts.sessions[session].reserved for key in levels_of(session)]
            assert granted.final or max(of_others) > 0
            assert granted.level is not None


TestSpenders = Spenders.TestCase
TestSpenders.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)


@given(
    claims=st.lists(st.tuples(st.sampled_from(SESSIONS), usd, usd), max_size=12),
    outside=st.dictionaries(st.sampled_from(SESSIONS), usd),
    before=usd,
    after=usd,
)
def test_whatever_budgets_and_archives_turn_out_to_be_no_promise_is_broken_and_none_is_made_that_cannot_be_kept(
    claims: list[tuple[str, float, float]], outside: dict[str, float], before: float, after: float
) -> None:
    accounts = ledger(before)
    for session, spent, wanted in claims:
        claim(accounts, session, spent, wanted)
    promised = {session: account.reserved for session, account in accounts.sessions.items()}
    accounts.note_spent(outside)
    accounts.set_budgets(after, {}, {})
    accounts.share()
    total = accounts.levels()["project", ""]
    assert all(accounts.sessions[session].reserved >= reserved for session, reserved in promised.items())
    if sum(account.reserved for account in accounts.sessions.values()) > sum(promised.values()):
        assert dollars(total.spent + total.reserved) <= after
