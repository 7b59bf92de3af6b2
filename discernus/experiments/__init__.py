"""What an experiment, a framework and a corpus are: reading, validating, freezing, planning."""
