"""Bringing what older layouts hold into sessions of today: read, planned, written, and accounted for."""
