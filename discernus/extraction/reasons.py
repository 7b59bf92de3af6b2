"""Why a score is missing, in the words that the results and the report use."""

NO_COVERAGE = "no coverage"  # the answer says null: the model found nothing to score
NOT_THERE = "not in the answer"
CONFLICT = "two different values in the answer"
CUT_OFF = "the answer is cut off before it"
UNCLEAR = "a number stands near the name, but nothing says that it is the score"
BROKEN = "the JSON is broken at this place"
NO_NUMBER = "no number in the answer"
NOT_LITERAL = "the second model's number is not in the answer"
REFUSED = "the model refused"
ERROR_TEXT = "an error text in place of an answer"
SEVERAL_DOCUMENTS = "the answer is about several documents"

AT_AN_END = "at an end of the scale beside scores outside of it: it may be on another one"
OUTSIDE = "outside the scale"

NOT_A_NUMBER = "not a number: "  # and what stands there


def outside(low: float, high: float, value: float) -> str:
    """Return the reason for a value that its dimension's scale does not hold."""
    return f"{OUTSIDE} {low:g}–{high:g}: {value:g}"


def other_scale(low: float | None, high: float) -> str:
    """Return the reason for a value that the answer itself says is on another scale than its dimension's."""
    return f"the answer states another scale: {'out of ' if low is None else f'{low:g}–'}{high:g}"


def another_reading_may_help(reason: str) -> bool:
    """Return whether a second model may find the score in the answer, since structure alone did not."""
    if reason.startswith(NOT_A_NUMBER):
        return any(character.isdigit() for character in reason)
    return reason in (NOT_THERE, UNCLEAR, BROKEN)
