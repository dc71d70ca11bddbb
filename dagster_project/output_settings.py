"""What a run makes beside the marts, and who hears of it: forecasting, publishing, the report, alerts."""

from importlib.util import find_spec
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from dagster_project.setting_types import Section


class Publish(Section):
    """`keep_versions`: published files kept, so that readers may finish with an older one.

    `postgres`: URL of a server that gets the tables too (extra `postgres`), in schema `postgres_schema`.
    `parquet`: a folder of Parquet files beside the published file.
    """

    keep_versions: int = Field(3, ge=1)
    postgres: SecretStr | None = None
    postgres_schema: str = Field("stageledger", min_length=1, max_length=63)
    parquet: bool = False

    @field_validator("postgres")
    @classmethod
    def _is_a_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return value
        if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError(
                "the variable holds no PostgreSQL URL, such as postgresql://user:password@host:5432/database"
            )
        if find_spec("psycopg") is None:
            raise ValueError(
                "PostgreSQL needs psycopg, which is not installed; run `make postgres`, or take this line out"
            )
        return value


class Forecasting(Section):
    """`challenger`: learn from each deal's history too (extra `ml`); served where its record is better."""

    challenger: bool = False

    @field_validator("challenger")
    @classmethod
    def _is_installed(cls, value: bool) -> bool:
        if value and find_spec("sklearn") is None:
            raise ValueError(
                "the challenger needs scikit-learn, which is not installed; run `make ml`, or write off"
            )
        return value


class Report(Section):
    """`pages`: which editions of the report are written beside the published file, one or several.

    full: everything; team: one file per team; board: without names of deals and reps. A file has no row-level
    security, so who may not see everything is given an edition. Empty: no report.
    """

    pages: tuple[Literal["full", "team", "board"], ...] = ("full",)

    @field_validator("pages", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        named = [value] if isinstance(value, str) else value
        return tuple(dict.fromkeys(named)) if isinstance(named, (list, tuple)) else named


class Alerts(Section):
    """When somebody should hear of it.

    `source_lag_business_days`: how many business days (Monday to Friday) a source may be behind the last one
    that is over, before a check of the forecast fails. `webhook`: where a message goes after a
    run that has something new to tell.
    """

    source_lag_business_days: int = Field(2, ge=0)
    webhook: SecretStr | None = None

    @field_validator("webhook")
    @classmethod
    def _is_an_address(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(value.get_secret_value()) if value else None
        is_own = parts is not None and parts.hostname in ("127.0.0.1", "localhost")
        if parts is not None and not (parts.hostname and (parts.scheme == "https" or is_own)):
            raise ValueError("the webhook is no address that begins with https://")
        return value
