"""What `lineage verify` checks, a module a kind of check; lineage/verify.py says what each means."""
