"""Start the proxy: ``python serve.py [--host 127.0.0.1] [--port 4000]``, and any other option of LiteLLM's command."""

import os
import sys
from pathlib import Path

import team
from users import UsersInvalid

HERE = Path(__file__).parent
NEEDED = ("LITELLM_MASTER_KEY", "REDIS_HOST", "REDIS_PORT", "PROXY_USERS_FILE", "PROXY_AUDIT_DIR")
FETCHES_NOTHING = (  # LiteLLM would ask GitHub for each of these as it is imported
    "LITELLM_LOCAL_MODEL_COST_MAP",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS",
    "LITELLM_LOCAL_POLICY_TEMPLATES",
    "LITELLM_LOCAL_BLOG_POSTS",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS",
)
SHOWS_NOTHING = ("DISABLE_ADMIN_UI", "NO_DOCS", "NO_REDOC", "NO_OPENAPI")  # without Postgres they show nothing anyway


def main() -> None:
    """Refuse to start without what is needed; else hand over to LiteLLM."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        sys.exit(f"the proxy needs {', '.join(missing)} in its environment; see deploy/litellm/example.env")
    if os.environ.get("DATABASE_URL"):
        sys.exit("DATABASE_URL is set: this proxy keeps its users in a file and has no database; unset it")
    try:
        team.users()
    except UsersInvalid as invalid:  # told now, and not to the first who asks
        sys.exit(str(invalid))
    os.environ.update(dict.fromkeys((*FETCHES_NOTHING, *SHOWS_NOTHING), "True"))
    from litellm.proxy.proxy_cli import run_server

    defaults = ["--config", str(HERE / "config.yaml"), "--host", "127.0.0.1", "--telemetry", "False"]
    run_server([*defaults, *sys.argv[1:]])  # of two of a kind the last one counts


if __name__ == "__main__":
    main()
