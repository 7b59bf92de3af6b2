"""Formulas over dimensions, and what can be said about repeated scores."""
