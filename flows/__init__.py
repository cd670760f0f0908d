"""Prefect flows: schedules, retries and sight on top of the DAG. DVC decides what is stale, never a flow."""
