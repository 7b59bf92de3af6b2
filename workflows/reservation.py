"""Room in a project's budgets for one call that no session's workflow makes: claimed, held meanwhile, given back.

The ledger answers to workflows alone, and finds out by itself when one is gone: so room is held by one.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():  # pydantic models: validated by compiled code the sandbox cannot load
    from activities.border import Grant
from workflows import neighbours


@workflow.defn(name="Reservation", failure_exception_types=[Exception])
class ReservationWorkflow:
    """Hold room for one call until it is told that the call has ended; its execution's time limit ends it otherwise."""

    @workflow.init
    def __init__(self, ledger: str, usd: float) -> None:
        self._grant: Grant | None = None
        self._ended = False

    @workflow.run
    async def run(self, ledger: str, usd: float) -> None:
        if not await neighbours.claim(ledger, spent_usd=0.0, room_usd=usd, least_usd=usd):
            raise ApplicationError(f"the ledger {ledger} is not there; ask again")
        await workflow.wait_condition(lambda: self._ended)
        # the archive is read before the room is given back, and tells what the call has cost
        await neighbours.read_again(ledger)
        await neighbours.claim(ledger, spent_usd=0.0, room_usd=0.0)
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.signal
    def granted(self, grant: Grant) -> None:
        """The ledger tells how much room there is in the budgets."""
        self._grant = grant

    @workflow.update
    async def answer(self) -> Grant:
        """Return the ledger's answer once it is there: the room, or none, since less is of no use."""
        await workflow.wait_condition(lambda: self._grant is not None or self._ended)
        return self._grant or Grant(spent_usd=0.0, room_usd=0.0)

    @workflow.signal
    def end(self) -> None:
        """The call has ended, or is not made."""
        self._ended = True
