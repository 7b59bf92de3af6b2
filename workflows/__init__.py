"""What happens in which order: deterministic and small; names activities, imports no input or output."""

from workflows.batch import BatchWorkflow
from workflows.experiment import ExperimentWorkflow
from workflows.ledger import LedgerWorkflow
from workflows.model import ModelWorkflow
from workflows.reservation import ReservationWorkflow

WORKFLOWS = [ExperimentWorkflow, BatchWorkflow]
SHARED_WORKFLOWS = [ModelWorkflow, LedgerWorkflow, ReservationWorkflow]  # they serve all sessions of a store
