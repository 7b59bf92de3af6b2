"""Every timeout, retry policy and size, each with its reason beside it.

Retries of calls belong to Temporal alone; how many of them count is decided by the activity from the errors in the
archive, so that waiting for a rate limit or an overload uses up no attempts, however long it takes.
"""

from datetime import timedelta

from temporalio.common import RetryPolicy

CALL_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),  # 1, 2, 4 … s, unless the failure names its own delay
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=60),
    maximum_attempts=0,  # the activity parks what has failed often enough; a dead worker never counts
)

STEP_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),  # a full disk or a stalled share is looked at again twice a minute
    maximum_attempts=0,
)

HEARTBEAT_TIMEOUT = timedelta(seconds=30)  # sent every 2 s, throttled to 5 s: a loop that stalls for 20 s stays alive
HEARTBEAT_THROTTLE = timedelta(seconds=5)  # the default of 24 s would notice a dead worker that much later
CALL_GRACE_S = 30.0  # start-to-close over the call's own timeout: archiving, a slow disk
STEP_TIMEOUT = timedelta(minutes=30)  # calculation and report of 100,000 analyses take minutes on a slow disk
LOCAL_STEP_TIMEOUT = timedelta(seconds=60)  # reading one answer takes milliseconds; a stalled disk may take longer
STICKY_TIMEOUT = timedelta(seconds=5)  # after a worker's death its workflows wait this long for it, 10 s by default
TASK_TIMEOUT = timedelta(seconds=5)  # a task takes 20 ms; what a dead worker had begun is given out again after this

READ_AT_ONCE = 6  # answers read in one local activity under load; its result stays under 2 KB

DOOR_GRACE_S = 0.05  # timers are kept in milliseconds; one that rings early would only ring again
JOINED_PATIENCE = timedelta(seconds=5)  # so long a session waits for its part of a model's limits before it begins
LEDGER_AWAY = timedelta(seconds=10)  # before a session asks again for room in the budget, doubled each time …
LEDGER_AWAY_LONGEST = timedelta(minutes=5)  # … up to this, so that a ledger that was ended costs few events
HELD = timedelta(seconds=1)  # before a call that met a pause is put back in the queue

BATCH_SIZE = 150  # about 700 events and 0.2 MB of history; a batch that is reset repeats little
BATCHES_AT_ONCE = 2  # parallel batches overlap each other's ends; more cost more tasks than they save
PROJECTION_INTERVAL_S = 2.0  # how often results.csv grows at most
PROJECTION_SHARE = 10.0  # and at most a tenth of the time is spent on it, however long it has become
PROJECTIONS_PER_SESSION = 200.0  # at one analysis a second; a hundred thousand analyses still fit one history
REPORTS_PER_BATCH = 6  # how often a batch tells its session where it stands
REPORTS_PER_SESSION = 400  # in all; each costs the session four events
ASKS = 3  # a question and at most two more, after an archived answer that could not be used
