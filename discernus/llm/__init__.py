"""One gateway to every model: requests, calls, errors, cost, forensics and the offline model."""
