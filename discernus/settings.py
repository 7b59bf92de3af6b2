"""Every setting in one place, with its environment variable; importing it costs nothing but pydantic-settings.

Keys of vendors are not here: LiteLLM reads its own variables (OPENAI_API_KEY, GEMINI_API_KEY, OPENAI_API_BASE, …).
"""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEFAULT_CONCURRENCY = 16


class Settings(BaseSettings):
    """What the environment says; an empty variable counts as unset. Command-line options override it."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, populate_by_name=True, hide_input_in_errors=True
    )

    projects_dir: Path = Field(
        default=Path("projects"),
        validation_alias="DISCERNUS_PROJECTS_DIR",
        description="The folder of projects: experiments, and the sessions they led to.",
    )
    state_dir: Path | None = Field(
        default=None,
        validation_alias="DISCERNUS_STATE_DIR",
        description="Where the embedded server keeps its database; unset means .discernus in the projects folder.",
    )
    temporal: str | None = Field(
        default=None,
        validation_alias="DISCERNUS_TEMPORAL",
        description="Address of a Temporal server (host:port); unset means the embedded one.",
    )
    namespace: str = Field(
        default="default", validation_alias="DISCERNUS_NAMESPACE", description="The Temporal namespace."
    )
    models: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        default=None,
        validation_alias="DISCERNUS_MODELS",
        description="Models to use instead of the experiment's, separated by commas.",
    )
    runs: int | None = Field(
        default=None, gt=0, validation_alias="DISCERNUS_RUNS", description="Runs per model instead of the experiment's."
    )
    concurrency: int | None = Field(
        default=None,
        gt=0,
        validation_alias="DISCERNUS_CONCURRENCY",
        description=f"Calls in flight per session; unset means the experiment's, else {DEFAULT_CONCURRENCY}.",
    )
    mirror_dir: Path | None = Field(
        default=None,
        validation_alias="DISCERNUS_MIRROR_DIR",
        description="A second folder that receives a copy of each answer, for failures of storage.",
    )
    signing_key: Path | None = Field(
        default=None,
        validation_alias="DISCERNUS_SIGNING_KEY",
        description="A private Ed25519 key (PEM or OpenSSH, without a passphrase) outside projects; it signs seals.",
    )
    temporal_cli_path: Path | None = Field(
        default=None,
        validation_alias="TEMPORAL_CLI_PATH",
        description="The temporal binary to run as embedded server; unset means the one that is installed with us.",
    )
    offline_delay_s: float = Field(
        default=0.0,
        ge=0,
        validation_alias="DISCERNUS_OFFLINE_DELAY_S",
        description="Seconds that each call of the offline model takes, so that progress can be watched.",
    )
    minimum_free_mb: int = Field(
        default=16,
        ge=0,
        validation_alias="DISCERNUS_MINIMUM_FREE_MB",
        description="No call is made while less than this is free where its answer would be archived.",
    )
    retry_max_attempts: int = Field(
        default=4,
        ge=1,
        validation_alias="LLM_RETRY_MAX_ATTEMPTS",
        description="Attempts per call; waiting for a rate limit or an overload uses up none.",
    )
    retry_base_delay_s: float = Field(
        default=1.0, gt=0, validation_alias="LLM_RETRY_BASE_DELAY", description="Seconds before the first retry."
    )
    retry_max_delay_s: float = Field(
        default=60.0, gt=0, validation_alias="LLM_RETRY_MAX_DELAY", description="Longest wait between retries, seconds."
    )
    response_timeout_s: float = Field(
        default=300.0,
        gt=0,
        validation_alias="LLM_RESPONSE_TIMEOUT",
        description="Seconds a call may take in all; a Pro model's median answer takes 48.",
    )

    max_response_size: int = Field(
        default=200_000,
        gt=0,
        validation_alias="LLM_MAX_RESPONSE_SIZE",
        description="Bytes of an answer beyond which it counts as runaway; it is archived whole all the same.",
    )
    usage_tracking: bool = Field(
        default=True,
        validation_alias="LLM_ENABLE_USAGE_TRACKING",
        description="A line in the operational log for each call; the archive accounts for every call in any case.",
    )
    models_file: Path | None = Field(
        default=None,
        validation_alias="DISCERNUS_MODELS_FILE",
        description="Limits, fallbacks and health of models; unset means models.yaml in the projects folder.",
    )
    proxy_url: str | None = Field(
        default=None,
        validation_alias="DISCERNUS_PROXY_URL",
        description="A LiteLLM proxy (http://host:port) for every call; its key is LITELLM_PROXY_API_KEY.",
    )
    require_proxy: bool = Field(
        default=False,
        validation_alias="LLM_REQUIRE_PROXY",
        description="No call to a vendor leaves but through the proxy.",
    )

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(name.strip() for name in value.split(",") if name.strip()) or None

    @field_validator("proxy_url")
    @classmethod
    def _without_secrets(cls, value: str | None) -> str | None:
        """Refuse what is no address, or holds a password: addresses are recorded and shown, keys never are."""
        if value is None:
            return None
        parts = urlsplit(value)
        if "@" in parts.netloc:
            raise ValueError("an address with a password in it; leave that out, and set LITELLM_PROXY_API_KEY")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("no address; write it as http://host:port")
        return value

    @property
    def state_folder(self) -> Path:
        """Return where the embedded server's state lies."""
        return self.state_dir if self.state_dir is not None else self.projects_dir / ".discernus"

    @property
    def models_path(self) -> Path:
        """Return where models.yaml lies, whether it is there or not."""
        return self.models_file if self.models_file is not None else self.projects_dir / "models.yaml"

    @property
    def minimum_free_bytes(self) -> int:
        """Return how much has to be free before a call is made."""
        return self.minimum_free_mb * 1_000_000
