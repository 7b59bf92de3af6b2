"""What happens in which order: deterministic and small; names activities, imports no input or output."""

from workflows.batch import BatchWorkflow
from workflows.experiment import ExperimentWorkflow
from workflows.ledger import LedgerWorkflow
from workflows.model import ModelWorkflow

WORKFLOWS = [ExperimentWorkflow, BatchWorkflow]
SHARED_WORKFLOWS = [ModelWorkflow, LedgerWorkflow]  # they outlive sessions, and serve all of a store's
