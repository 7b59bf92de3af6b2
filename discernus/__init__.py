"""The core of Discernus: plain Python, free of Temporal, that reads experiments, calls models, keeps every answer."""

__version__ = "0.1.0"
