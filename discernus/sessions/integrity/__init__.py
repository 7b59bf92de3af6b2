"""Proof that a session is as it was written: manifests, seals, signatures, and what a verification finds."""
