"""Whether another model answered than the one that was asked for, told by the two names alone.

A name is taken apart into what the model *is* and which version of it: ``claude-3-5-sonnet-20241022`` is
``claude-3-5-sonnet`` of ``20241022``. Another model is another name without its version (``gpt-4o`` and
``gpt-4o-mini``), or another version than one that was asked for by its date or number. A name without a version is
an alias: whatever version the vendor puts behind it is the model. Where an operator names models as he likes (a
deployment on Azure, a server of one's own), a name that has nothing in common with the answering one proves nothing
and is let pass, and so is one that says the same with words of his own (``gpt4o``, ``gpt-4o-eu``); ``answers_as`` in
models.yaml says which names are right, and then no others are.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

# Vendors whose models bear names that an operator chose: deployments, endpoints and servers of one's own.
_NAMED_BY_OPERATORS = frozenset(
    {"azure", "azure_ai", "azure_text", "custom_openai", "databricks", "docker_model_runner", "hosted_vllm"}
    | {"huggingface", "llamafile", "lm_studio", "oobabooga", "openai_like", "sagemaker", "sagemaker_chat"}
    | {"snowflake", "triton", "vllm", "watsonx", "xinference"}
)
_ORGANISATION = re.compile(r"^(?:[a-z]+\.)+(?=[a-z])")  # Bedrock: us.anthropic.claude-…
_OF_BEDROCK = re.compile(r"-v\d+:\d+$")
_ROUTE = re.compile(r":(?:free|nitro|floor|exacto|online|extended)$")  # OpenRouter: another way to the same model
_VERSION = re.compile(
    r"[-:](?P<version>latest|preview|exp|experimental|\d{4}-\d{2}-\d{2}|\d{2}-\d{4}|\d{2}-\d{2}|\d{8}|\d{6}|\d{4}|\d{3}"
    r"|v\d+)$"
)
_STAGES = frozenset({"preview", "exp", "experimental"})
_VARIANTS = frozenset(  # words that make another model of a name, as do sizes (70b) and other numbers
    {"mini", "nano", "micro", "lite", "small", "medium", "large", "xl", "turbo", "pro", "max", "plus", "ultra", "flash"}
    | {"haiku", "sonnet", "opus", "chat", "instruct", "base", "vision", "audio", "realtime", "transcribe", "search"}
    | {"code", "coder", "codex", "reasoning", "thinking", "research", "oss", "distill", "embedding"}
    | _STAGES
)
_NUMBER = re.compile(r"\d+(?:\.\d+)*$")


class _Name(NamedTuple):
    """A model's name: what it is, and which version of it; ``alias``: it asks for the latest there is."""

    base: str
    versions: frozenset[str]
    alias: bool


def is_other_model(requested: str, answered: str | None, answers_as: Iterable[str] = ()) -> bool:
    """Return whether the answering model's name is that of another model than the requested one's.

    ``answered`` None, because nobody said who answered, is not another. ``answers_as`` are further names under which
    the requested model may answer. It rests on names alone, so it may be asked anew of an archived answer.
    """
    if not answered or answered == requested:
        return False
    others = tuple(answers_as)
    if any(_same(_name(other), _name(answered)) for other in others):
        return False
    asked, came = _name(requested), _name(answered)
    if _same(asked, came):
        return False
    vendor = requested.partition("/")[0] if "/" in requested else ""
    if others or vendor not in _NAMED_BY_OPERATORS:
        return True
    return _family(asked.base) == _family(came.base) and not _says_the_same(asked, came)


def _same(asked: _Name, came: _Name) -> bool:
    if asked.base != came.base and not (asked.alias and asked.base == _but_for_numbers(came.base)):
        return False
    return _versions_agree(asked, came)


def _says_the_same(asked: _Name, came: _Name) -> bool:
    """Return whether an operator's name holds the answering one, dots and dashes aside, and beside it mere words."""
    words = re.split(r"[-_.: ]+", asked.base)
    wanted = {_squeezed(came.base), *(_squeezed(came.base + version) for version in came.versions)}
    return any(
        "".join(words[start:end]) in wanted
        and not any(word in _VARIANTS or word[:1].isdigit() for word in words[:start] + words[end:])
        for start, end in combinations(range(len(words) + 1), 2)
    ) and _versions_agree(asked._replace(versions=frozenset(filter(_is_date, asked.versions))), came)


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name)


def _is_date(version: str) -> bool:
    return version.isdigit() and len(version) >= 4


def _versions_agree(asked: _Name, came: _Name) -> bool:
    if not asked.versions:
        return True
    if asked.versions & _STAGES - came.versions:  # a preview was asked for, and what came after it answered
        return False
    return asked.versions <= came.versions or came.versions <= asked.versions


@lru_cache(maxsize=512)
def _name(name: str) -> _Name:
    rest = name.strip().rstrip("/").rpartition("/")[2].lower().replace("@", "-")
    rest = _ROUTE.sub("", _OF_BEDROCK.sub("", _ORGANISATION.sub("", rest)))
    versions = set()
    while found := _VERSION.search(rest):
        versions.add(found["version"].replace("-", "") if found["version"][0].isdigit() else found["version"])
        rest = rest[: found.start()]
    return _Name(rest, frozenset(versions - {"latest"}), "latest" in versions)


def _but_for_numbers(base: str) -> str:
    """Return a name without its generation: ``gemini-flash-latest`` is whichever ``gemini-2.5-flash`` is the latest."""
    return "-".join(word for word in base.split("-") if not _NUMBER.match(word))


def _family(base: str) -> str:
    """Return a name's first word: ``gpt``, ``claude``, ``llama``."""
    found = re.match(r"[a-z]+", base)
    return found[0] if found else base
