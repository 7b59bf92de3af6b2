"""Making text of models fit to be shown: what reaches HTML or Markdown in a browser goes through here, and only here.

What is archived stays as it came; this is for what is shown of it.
"""

_ENTITIES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {character: f"&#{ord(character)};" for character in "\\`*[]|\"'"}
)


def plain(text: str) -> str:
    """Return the text so that HTML and Markdown show each of its characters and act on none."""
    return text.translate(_ENTITIES)
