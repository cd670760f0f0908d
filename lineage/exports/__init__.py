"""Lineage for other tools: OpenLineage events, a Croissant card with PROV, a CycloneDX bill of materials."""
