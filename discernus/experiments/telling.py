"""Which columns of corpus.csv tell whose a text is: what no model may learn in a blind experiment."""

import re

TELLING = frozenset({"speaker", "author", "name"})  # words in the names of such columns


def is_telling(column: str) -> bool:
    """Return whether a column of corpus.csv says, by its name, whose a text is."""
    return bool(TELLING & set(re.split(r"[\W_]+", column.casefold())))
