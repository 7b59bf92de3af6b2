"""The arithmetic of a project's ledger: what sessions have spent, and the room that is reserved for their next calls.

Budgets bind at three levels: a session, its experiment, their project. Pure and deterministic, because the ledger's
workflow replays it. Amounts are whole trillionths of a US dollar: sums are exact, and a budget is used to its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

TRILLION = 1_000_000_000_000
WARNED_AT = 0.8  # the share of a budget at which it is said that it will soon be used up

Kind = Literal["session", "experiment", "project"]
Key = tuple[Kind, str]


class SessionAccount(BaseModel):
    """A session's money in trillionths: what it has spent, and had spent by its last claim (the archive may know of
    more), what is reserved for it, the room it wants, and the least that is of use to it, wanted since that turn."""

    model_config = ConfigDict(extra="forbid")

    spent: int = 0
    claimed: int = 0
    reserved: int = 0
    wanted: int = 0
    least: int = 0
    turn: int = 0


@dataclass
class Level:
    """A session, an experiment or the project: its budget and what all of its sessions have, in trillionths."""

    kind: Kind
    name: str
    limit: int | None
    spent: int = 0
    reserved: int = 0

    @property
    def free(self) -> int | None:
        """What is neither spent nor reserved, None without a budget; negative where it is overdrawn."""
        return None if self.limit is None else self.limit - self.spent - self.reserved


@dataclass(frozen=True)
class Room:
    """What a session may spend beyond what it said it had, in US dollars: what it wanted, or less.

    ``level`` is the budget that binds, or the one that is used up furthest where none does; None without any budget.
    ``final``: it is less, and what others hold would not change that if they gave it back.
    """

    spent_usd: float
    room_usd: float
    met: bool
    level: Kind | None
    limit_usd: float | None
    level_spent_usd: float
    final: bool


class Accounts(BaseModel):
    """The accounts of a project's sessions, by the ids of their workflows (``project/experiment/session``), and the
    budgets in force, in trillionths; what is not named has none."""

    model_config = ConfigDict(extra="forbid")

    sessions: dict[str, SessionAccount] = {}
    project_limit: int | None = None
    experiment_limits: dict[str, int] = {}
    session_limits: dict[str, int] = {}
    turns: int = 0

    def set_budgets(
        self, project_usd: float | None, experiments_usd: Mapping[str, float], sessions_usd: Mapping[str, float]
    ) -> None:
        """Let these budgets be in force. Nothing that is reserved already is taken back."""
        self.project_limit = None if project_usd is None else trillionths(project_usd)
        self.experiment_limits = {name: trillionths(usd) for name, usd in experiments_usd.items()}
        self.session_limits = {name: trillionths(usd) for name, usd in sessions_usd.items()}

    def note_spent(self, spent_usd: Mapping[str, float]) -> None:
        """Take over what the archives say was spent, where it is more than was known.

        Of a session that holds room it is left to its claims: what its archive has gained since may be in that room.
        """
        for session, usd in spent_usd.items():
            account = self.sessions.setdefault(session, SessionAccount())
            if not account.reserved:
                account.spent = max(account.spent, trillionths(usd))

    def claim(self, session: str, spent_usd: float, wanted_usd: float, least_usd: float = 0.0) -> None:
        """Note what a session has spent and the room it wants; what it holds and still wants, it keeps.

        Less than ``least_usd`` is of no use to it: it then holds nothing, so that no two sessions wait for each other's
        remainders. A session says so once it has no call in flight. Wanting 0 gives everything back.
        """
        account = self.sessions.setdefault(session, SessionAccount())
        in_vain = account.reserved < account.least
        held = account.spent + account.reserved
        account.claimed = trillionths(spent_usd)
        account.spent = max(account.spent, account.claimed)
        account.wanted = max(0, trillionths(wanted_usd))
        account.least = min(account.wanted, trillionths(least_usd))
        kept = min(account.wanted, max(0, held - account.spent))
        account.reserved = kept if kept >= account.least else 0
        if not in_vain:
            self.turns += 1
            account.turn = self.turns

    def forget(self, session: str) -> None:
        """Give back all the room of a session that is gone; what it has spent stays."""
        account = self.sessions[session]
        account.reserved = account.wanted = account.least = 0

    def share(self) -> None:
        """Give the room that is free to those who want more than they have, in equal parts.

        Who can use no small part gets the least of use first, the longest waiting before the others, or nothing.
        """
        free = {key: level.free for key, level in self.levels().items() if level.free is not None}
        able = []
        for session in sorted(self.waiting(), key=lambda session: (self.sessions[session].turn, session)):
            account = self.sessions[session]
            short = max(0, account.least - account.reserved)
            if short <= _most(session, free, short):
                self._give(session, short, free)
                able.append(session)
        self._fill(sorted(able), free)

    def _fill(self, able: list[str], free: dict[Key, int]) -> None:
        """Raise all by the same amount, again and again, until each has what it wants or has used up a budget."""
        while able:
            among = Counter(key for session in able for key in levels_of(session) if key in free)
            part = min(self._desire(session) for session in able)
            part = max(0, min([part, *(free[key] // count for key, count in among.items())]))
            for session in able:
                self._give(session, part, free)
            going_on = []
            for session in able:
                if any(free[key] < among[key] for key in levels_of(session) if key in free):
                    self._give(session, _most(session, free, self._desire(session)), free)  # the last few trillionths
                elif self._desire(session):
                    going_on.append(session)
            able = going_on

    def _desire(self, session: str) -> int:
        account = self.sessions[session]
        return account.wanted - account.reserved

    def _give(self, session: str, amount: int, free: dict[Key, int]) -> None:
        self.sessions[session].reserved += amount
        for key in levels_of(session):
            if key in free:
                free[key] -= amount

    def waiting(self) -> list[str]:
        """Return the sessions that want more room than they have."""
        return [session for session in self.sessions if self._desire(session) > 0]

    def holding(self) -> list[str]:
        """Return the sessions for which room is reserved."""
        return [session for session, account in self.sessions.items() if account.reserved]

    def levels(self) -> dict[Key, Level]:
        """Return the project, its experiments and its sessions with their sums, the project first."""
        found: dict[Key, Level] = {("project", ""): Level("project", "", self._limit(("project", "")))}
        for session, account in sorted(self.sessions.items()):
            for key in reversed(levels_of(session)):
                level = found.setdefault(key, Level(*key, self._limit(key)))
                level.spent += account.spent
                level.reserved += account.reserved
        return found

    def _limit(self, key: Key) -> int | None:
        kind, name = key
        if kind == "project":
            return self.project_limit
        return (self.experiment_limits if kind == "experiment" else self.session_limits).get(name)

    def rooms(self, sessions: Iterable[str]) -> dict[str, Room]:
        """Return where these sessions stand."""
        levels = self.levels()
        return {session: self._room(session, [levels[key] for key in levels_of(session)]) for session in sessions}

    def _room(self, session: str, levels: list[Level]) -> Room:
        account = self.sessions[session]
        met = account.reserved >= account.wanted
        bounded = [(level, level.limit) for level in levels if level.limit is not None]
        # this much it could have if all others gave back what they hold
        at_best = max(0, min([account.wanted, *(limit - level.spent for level, limit in bounded)]))
        final = not met and (at_best <= account.reserved or at_best < account.least)
        if met:
            bounded.sort(key=lambda pair: pair[0].spent / max(1, pair[1]), reverse=True)
        else:
            bounded.sort(key=lambda pair: pair[1] - pair[0].spent - (0 if final else pair[0].reserved))
        level, limit = bounded[0] if bounded else (None, None)
        return Room(
            spent_usd=dollars(account.claimed),
            room_usd=dollars(account.reserved),
            met=met,
            level=level.kind if level else None,
            limit_usd=None if limit is None else dollars(limit),
            level_spent_usd=dollars(level.spent) if level else 0.0,
            final=final,
        )


def levels_of(session: str) -> tuple[Key, Key, Key]:
    """Return the three levels whose budgets bind a session."""
    return ("session", session), ("experiment", session.partition("/")[2].partition("/")[0]), ("project", "")


def _most(session: str, free: Mapping[Key, int], wanted: int) -> int:
    """Return how much of what is wanted every level of the session has left."""
    return max(0, min([wanted, *(free[key] for key in levels_of(session) if key in free)]))


def trillionths(usd: float) -> int:
    """Return dollars in whole trillionths, the nearest."""
    return round(usd * TRILLION)


def dollars(amount: int) -> float:
    """Return trillionths in dollars."""
    return amount / TRILLION
