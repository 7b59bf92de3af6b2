"""The users and the audit log of this process: made once, since LiteLLM executes ``hooks`` more than once."""

import os
from functools import cache
from pathlib import Path

from audit import AuditLog
from users import UsersFile


@cache
def users() -> UsersFile:
    """Return the users of the file that PROXY_USERS_FILE names."""
    return UsersFile(Path(os.environ["PROXY_USERS_FILE"]))


@cache
def audit_log() -> AuditLog:
    """Return the log in the folder that PROXY_AUDIT_DIR names."""
    return AuditLog(Path(os.environ["PROXY_AUDIT_DIR"]))
