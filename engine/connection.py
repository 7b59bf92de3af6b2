"""The one way to a Temporal server: every client, worker and replayer is made here, with the same converter."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import cache

from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.worker import Replayer

from workflows import SHARED_WORKFLOWS, WORKFLOWS
from workflows.experiment import STATUS as STATUS

PROJECT = SearchAttributeKey.for_keyword("DiscernusProject")
EXPERIMENT = SearchAttributeKey.for_keyword("DiscernusExperiment")
SESSION = SearchAttributeKey.for_keyword("DiscernusSession")
STORE = SearchAttributeKey.for_keyword("DiscernusStore")
MODELS = SearchAttributeKey.for_keyword_list("DiscernusModels")
SEARCH_ATTRIBUTES = (PROJECT, EXPERIMENT, SESSION, STATUS, STORE, MODELS)

RETENTION = timedelta(days=90)  # how long a closed session stays in the Web UI; its folder stays for ever


async def connect(address: str, namespace: str) -> Client:
    """Return a client of the server at ``address`` (``host:port``); raises RuntimeError if none answers."""
    return await Client.connect(
        address, namespace=namespace, data_converter=pydantic_data_converter, runtime=_runtime()
    )


@cache
def _runtime() -> Runtime:
    """Return this process's runtime, whose core writes to our logs; left alone it writes to the terminal."""
    logger = logging.getLogger("temporalio.core")
    logger.addHandler(logging.NullHandler())  # where no log is kept, Python would write warnings to the terminal
    logs = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding=LogForwardingConfig(logger)
    )
    return Runtime(telemetry=TelemetryConfig(logging=logs))


def make_replayer() -> Replayer:
    """Return a replayer of recorded histories, with the workflows and the converter of the workers."""
    return Replayer(workflows=[*WORKFLOWS, *SHARED_WORKFLOWS], data_converter=pydantic_data_converter)


async def keep_history(client: Client) -> None:
    """Set the namespace's retention, which a development server leaves at one day."""
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    if described.config.workflow_execution_retention_ttl.ToTimedelta() == RETENTION:
        return
    config = NamespaceConfig()
    config.workflow_execution_retention_ttl.FromTimedelta(RETENTION)
    await client.workflow_service.update_namespace(UpdateNamespaceRequest(namespace=client.namespace, config=config))
