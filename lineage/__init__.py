"""Lineage: digests, records, params, reasons, run records and the questions asked of them.

A leaf package: pipelines, cyclip_model and flows build on it, it imports none of them.
"""
