"""Making text of models fit to be shown: what reaches HTML or Markdown in a browser goes through here, and only here.

What is archived stays as it came; this is for what is shown of it.
"""

_TAGS = frozenset(
    {
        "a",
        "b",
        "blockquote",
        "br",
        "caption",
        "code",
        "dd",
        "del",
        "div",
        "dl",
        "dt",
        "em",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
    }
    | {"h6", "hr", "i", "li", "ol", "p", "pre", "s", "small", "span", "strong", "sub", "sup", "table", "tbody", "td"}
    | {"tfoot", "th", "thead", "tr", "ul"}
)
_ATTRIBUTES = {"a": {"href", "title"}, "td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}, "ol": {"start"}}
_SCHEMES = frozenset({"http", "https", "mailto"})
_ENTITIES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {character: f"&#{ord(character)};" for character in "\\`*[]|\"'"}
)


def clean_html(html: str) -> str:
    """Return the HTML with its text and its form, and without all that acts or loads: scripts, frames, images, styles.

    Links keep to http, https and mailto.
    """
    import nh3  # a compiled library, which only those who show something need

    return nh3.clean(html, tags=set(_TAGS), attributes=_ATTRIBUTES, url_schemes=set(_SCHEMES))


def plain(text: str) -> str:
    """Return the text so that HTML and Markdown show each of its characters and act on none."""
    return text.translate(_ENTITIES)
