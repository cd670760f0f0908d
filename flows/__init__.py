"""Prefect flows: schedules, retries and sight on top of the DAG. DVC decides what is stale, never a flow."""

import os

# before Prefect is imported, which reads them once; what the user has set stays
os.environ.setdefault("DO_NOT_TRACK", "1")  # the client tells nobody of its use
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")  # nor does a server that a flow starts for itself
os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")  # s; the automation `crashed` waits for three beats
