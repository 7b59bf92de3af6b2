"""What ``--help`` says of the commands that count and limit: examples first, then what their words mean."""

COST = """\
Say what calls cost, failed ones and those in doubt too.

\b
starter.py cost                         every experiment, in all
starter.py cost speeches                one, with what would cost less
starter.py cost speeches --by day,model --since 2026-11-01
starter.py cost lab --format csv        a whole project, for a spreadsheet

\b
A cost is the vendor's own figure where it tells one, else its count of
tokens at the price of models.yaml or of LiteLLM's table. What has no known
price is named and in no sum. In doubt is a call whose process died while it
was out: it may have been paid for.
"""

BUDGET = """\
Show what may be spent, and set it.

\b
starter.py budget                       what is set, and how much is used
starter.py budget speeches --set 20     all sessions of an experiment, in all
starter.py budget lab --set 100         all experiments of a project, in all
starter.py budget speeches --level session --set 5   its newest session

\b
A project's, an experiment's and a session's budgets hold all three, and the
tightest binds; an experiment's `budget_usd` is the budget of each of its
sessions that has no other. At 80 % a session warns. Before a call that might
take it over a budget it pauses, and everything is kept: raise the budget,
then run the same command again.
"""

ERRORS = """\
Count what went wrong with calls, and say what came of each.

\b
starter.py errors                       in all sessions
starter.py errors speeches --by class,model
starter.py errors lab --by hour --since 2026-11-20 --json

\b
Classes, and what helps:
  tried again   timeout, connection_error, server_error, malformed_answer,
                generation_error, unknown_error
  waited out    rate_limit, overload, quarantine: these use up no attempt
  another way   truncated, runaway, invalid_structure: asked again if nothing
                of it can be read; context_too_long, refusal, substitution,
                memory_error: another model
  a person      authentication, quota, budget stop the session; permission,
                model_not_found, bad_request; archive_damaged: put the file
                back from a copy
  nobody        in_doubt: its process died while it was out; it is made again

\b
Outcomes:
  recovered               the same call was answered by trying again
  asked again             the model was asked once more, with a correction
  fell back               the call went to a fallback model
  repaired                broken JSON, mended
  read by a second model  its scores were read out by another model
  used as it was          what could be read of it counts
  done without            what else there is of the analysis stands
  gave nothing            no score came of it
  parked                  given up for now; the same command tries again
  stopped the session     nothing goes on until a person has mended it
  answered again          the model, after a time in which it took no calls
  did not answer again    the model, up to now
  pending                 still to be tried again
"""

PROMPT = """\
Show what a model is asked, word for word.

\b
starter.py prompt experiment_3                       the first document
starter.py prompt speeches --document speech-03 --model openai/gpt-4o
starter.py prompt speeches --json | jq -r '.messages[1].content'

\b
The prompt is put together by what puts it together in a run: the whole
framework, what its machine part says of each dimension, the variant's
question and the form of the answer come first, the same for every document,
so that a vendor can serve them from its cache; then the text, between marks
that it does not hold, declared as data.

\b
It is checked, here and before every run: each dimension is named, the text
fits the model's context, and in a blind experiment the text does not tell
whose it is. Exit code 2 if it cannot be sent. Nothing is called or written.
"""
