"""Settings: defaults < configuration file < environment (``SIMQUERY_…``) < options of the command line.

The configuration file is the one that ``--config`` or ``SIMQUERY_CONFIG`` names, or else ``simquery.toml`` in the
user's configuration folder. The current folder is never searched: it may hold evidence, and evidence must not
configure anything.
"""

import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import platformdirs
from pydantic import AnyHttpUrl, Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnparsableSettingsError

from simquery.errors import SettingsError

__all__ = ["DEFAULT_MODEL", "EXACT_UP_TO", "Settings", "configuration_file", "load_settings"]

DEFAULT_MODEL = "inceptionresnetv2"
"""The network that the thesis recommends (de Bie 2020, chapter 6)."""

EXACT_UP_TO = 250_000
"""Number of pictures up to which a query without a mode scores every picture: a fifth of a second on two cores."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

CaseName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$")]


def _default_home() -> Path:
    # Elasticsearch refuses to run as root, so root runs it as an unprivileged user, who cannot enter root's home.
    if os.geteuid() == 0:
        return Path("/var/lib/simquery")
    return platformdirs.user_data_path("simquery")


def _default_cache() -> Path:
    if os.geteuid() == 0:
        return Path("/var/cache/simquery")
    return platformdirs.user_cache_path("simquery")


class Settings(BaseSettings):
    """Everything that a user can set, by ``SIMQUERY_<NAME>`` or in the configuration file (see `load_settings`).

    Secrets are `pydantic.SecretStr`: they print as asterisks.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="SIMQUERY_", extra="forbid", frozen=True, env_ignore_empty=True
    )

    home: Path = Field(default_factory=_default_home, description="data, configuration and logs of the local node")
    cache: Path = Field(default_factory=_default_cache, description="fetched server; can be deleted at any time")

    url: AnyHttpUrl | None = Field(None, description="cluster to use; none: the local node of `simquery up`")
    username: str | None = Field(None, description="user of the cluster")
    password: SecretStr | None = Field(None, description="password of that user")
    api_key: SecretStr | None = Field(None, description="API key, instead of user and password")
    ca_file: Path | None = Field(None, description="certificate authority of the cluster (PEM)")
    verify_certificates: bool = Field(True, description="check the cluster's certificate")
    kibana_url: AnyHttpUrl = Field(AnyHttpUrl("http://127.0.0.1:5601"), description="Kibana that shows the results")
    timeout: float = Field(60.0, gt=0, le=3600, description="seconds to wait for one answer of the cluster")

    elasticsearch_home: Path | None = Field(None, description="installed Elasticsearch for the local node")
    java_home: Path | None = Field(None, description="JDK 21 or newer for the local node")
    port: int | None = Field(None, ge=1, le=65535, description="port of the local node; none: 9200 or any free one")
    heap: str = Field("1g", pattern=r"^\d+[mg]$", description="heap of the local node, for example 512m or 4g")

    case: CaseName = Field("default", description="the investigation that pictures belong to")
    model: str = Field(DEFAULT_MODEL, description="network that embeds pictures")
    similarity: Literal["cosine", "l2_norm"] = Field(
        "cosine", description="distance of a new case's graph: cosine (also for modified), l2_norm (also for manhattan)"
    )
    vector_index: Literal["none", "flat", "hnsw", "int8_hnsw", "bbq_hnsw"] = Field(
        "int8_hnsw", description="index that finds the candidates of approximate queries in a new case"
    )
    exact_up_to: int = Field(EXACT_UP_TO, ge=0, description="pictures up to which a query without --mode is exact")
    keep_warm: float = Field(
        600.0, ge=0, le=86_400, description="seconds that a network stays in memory for the next query; 0: not at all"
    )
    inference: Literal["auto", "tensorflow", "openvino"] = Field(
        "auto",
        description="program that computes embeddings; auto: OpenVINO where it is installed and there is no GPU",
    )
    precision: Literal["float32", "mixed"] = Field(
        "float32", description="precision of the networks' arithmetic; mixed: float16 where Keras can, for GPUs"
    )
    weights_dir: Path | None = Field(None, description="folder that is searched for weights files first")
    embedders: dict[str, str] = Field(
        default_factory=dict, description="networks of your own: name = 'file.keras' or 'module:attribute'"
    )

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if any(url is not None and (url.username or url.password) for url in (self.url, self.kibana_url)):
            raise ValueError("a url must not hold credentials: set SIMQUERY_USERNAME and SIMQUERY_PASSWORD")
        for secret in (self.password, self.api_key):
            if secret is not None and not secret.get_secret_value().isprintable():
                raise ValueError("a password or api_key holds a line break or control character")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together: set both or neither")
        if self.api_key and self.username:
            raise ValueError("set an api_key, or username and password, not both")
        return self


def configuration_file() -> Path:
    """Return the configuration file to use when no option names one; it need not exist."""
    named = os.environ.get("SIMQUERY_CONFIG")
    if named is not None:
        return Path(named)
    folder = Path("/etc/simquery") if os.geteuid() == 0 else platformdirs.user_config_path("simquery")
    return folder / "simquery.toml"


def load_settings(config: Path | None = None, **options: Any) -> Settings:
    """Read the settings.

    Parameters
    ----------
    config
        Configuration file to read instead of `configuration_file`.
    **options
        Values of command-line options, by the name of the setting; values of None are ignored.

    Raises
    ------
    SettingsError
        When a setting is invalid; the message names it but not its value, which may be a secret. Also when the
        configuration file cannot be read, or when other users can write to it.
    """
    file = config or configuration_file()
    must_exist = config is not None or "SIMQUERY_CONFIG" in os.environ
    given = {name: value for name, value in options.items() if value is not None}
    try:
        values = _read_file(file, must_exist=must_exist) | EnvSettingsSource(Settings)() | given
        return Settings(**values)
    except ValidationError as error:
        problems = "; ".join(_describe(problem["loc"], problem["msg"]) for problem in error.errors(include_input=False))
        raise SettingsError(f"Settings that cannot be used: {problems}.") from None
    except UnparsableSettingsError as error:
        raise SettingsError(f"Settings that cannot be used: {error}.") from None


def _read_file(file: Path, *, must_exist: bool) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            _require_trusted(file, os.fstat(opened.fileno()))
            return tomllib.load(opened)
    except FileNotFoundError:
        if must_exist:
            raise SettingsError(f"There is no configuration file '{file}'.") from None
        return {}
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"'{file}' is not valid TOML: {error}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"'{file}' is not UTF-8 text.") from None
    except OSError as error:
        raise SettingsError(f"'{file}' cannot be read: {error.strerror}.") from None


def _require_trusted(file: Path, facts: os.stat_result) -> None:
    """Refuse a file that another user can change: it decides where vectors go and which programs run."""
    if stat.S_ISCHR(facts.st_mode):  # /dev/null: no settings
        return
    if not stat.S_ISREG(facts.st_mode):
        raise SettingsError(f"The configuration file '{file}' is not a regular file.")
    if facts.st_uid not in {0, os.geteuid()}:
        raise SettingsError(f"The configuration file '{file}' belongs to another user: make a copy of your own.")
    folder = file.resolve().parent.stat()
    if facts.st_mode & _OTHERS_WRITE or (folder.st_mode & _OTHERS_WRITE and not folder.st_mode & stat.S_ISVTX):
        raise SettingsError(
            f"Other users can write to the configuration file '{file}' or its folder: run 'chmod go-w' on both."
        )


def _describe(location: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in location)
    message = message.removeprefix("Value error, ")
    return f"{name} (or SIMQUERY_{name.upper()}): {message}" if name else message
