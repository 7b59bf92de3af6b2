"""What happens in which order: deterministic and small; names activities, imports no input or output."""

from workflows.batch import BatchWorkflow
from workflows.experiment import ExperimentWorkflow

WORKFLOWS = [ExperimentWorkflow, BatchWorkflow]
