"""From a model's answer to flat scores, by the framework's contract alone."""
