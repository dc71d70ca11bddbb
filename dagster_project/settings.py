"""pipeline.yaml and the environment, as one typed object. Every path of the product comes from here."""

import os
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import Discriminator, Field, SecretStr, Tag, ValidationError, field_validator

from dagster_project.amount_measure import measured
from dagster_project.api_settings import (
    API_SOURCES,
    CONNECTORS,
    ApiSource,
    HubSpotSource,
    PipedriveSource,
    SalesforceSource,
    TrytonSource,
    secret_keys,
)
from dagster_project.metric_settings import Metrics
from dagster_project.output_settings import Alerts, Forecasting, Publish, Report
from dagster_project.owner_emails import SHORTEST_KEY, OwnerEmails
from dagster_project.setting_types import Day, Section, TimeZone
from dagster_project.settings_errors import add_configuration_problems, add_validation_problems
from dagster_project.source_settings import (
    BusinessFacts,
    Column,
    FieldHistoryFile,
    FileSource,
    Format,
    StageLine,
    TableFile,
)
from dagster_project.yaml_document import ConfigError, Problem, YamlDocument, read_yaml, resolve_secret

__all__ = [
    "Alerts",
    "ApiSource",
    "Business",
    "BusinessFacts",
    "Column",
    "ConfigError",
    "FieldHistoryFile",
    "FileSource",
    "Forecasting",
    "Format",
    "Metrics",
    "Paths",
    "Publish",
    "Report",
    "Settings",
    "StageLine",
    "TableFile",
    "load_settings",
]

REPOSITORY = Path(__file__).resolve().parents[1]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
SECRETS = (("business", "hash_owner_emails"), ("publish", "postgres"), ("alerts", "webhook"))


class Business(Section):
    """Who the business is, and how it reads dates and money.

    `fiscal_calendar`: fiscal years of twelve calendar months, or of 52 and 53 weeks whose quarters have
    months of so many weeks each. Such a year ends with a whole week (`week_start`): the last one of the
    month before `fiscal_year_start_month`, or the one that ends nearest to that month's end
    (`fiscal_year_end`).

    `hash_owner_emails`: the key with which e-mail addresses become pseudonyms before they are landed.
    """

    name: str
    time_zone: TimeZone
    currency: str
    fiscal_year_start_month: int = Field(1, ge=1, le=12)
    fiscal_calendar: Literal["months", "4-4-5", "4-5-4", "5-4-4"] = "months"
    fiscal_year_end: Literal["last", "nearest"] = "last"
    hash_owner_emails: SecretStr | None = None
    week_start: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = (
        "monday"
    )
    as_of: Literal["latest"] | date = "latest"
    history_start: Day | None = None

    @field_validator("currency")
    @classmethod
    def _currency(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Z]{3}", value):
            raise ValueError(f"{value!r} is no currency code; write three capital letters such as EUR")
        return value

    @field_validator("hash_owner_emails")
    @classmethod
    def _is_no_short_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().strip()) < SHORTEST_KEY:
            raise ValueError(
                f"the variable holds fewer than {SHORTEST_KEY} characters, so addresses could be guessed; "
                "make a key with `openssl rand -hex 32`, and keep it"
            )
        return value

    @field_validator("as_of", mode="before")
    @classmethod
    def _as_of(cls, value: Any) -> Any:
        return value if value == "latest" else _as_of_date(value)

    @property
    def zone(self) -> ZoneInfo:
        """The business time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def week_start_number(self) -> int:
        """ISO number of the first day of the week (1 = Monday … 7 = Sunday)."""
        return get_args(Weekday).index(self.week_start) + 1


def _as_of_date(value: Any) -> date:
    try:
        return value if isinstance(value, date) else date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is no date; write latest, or a date such as 2026-03-31") from None


class Paths(Section):
    """Every file and folder that the product writes."""

    root: Path
    landing: Path
    warehouse: Path
    published_dir: Path
    published_file: Path
    dbt_target: Path
    dagster_home: Path
    run_lock: Path

    @classmethod
    def under(cls, root: Path) -> "Paths":
        """The layout of a data folder."""
        return cls(
            root=root,
            landing=root / "landing",
            warehouse=root / "warehouse.duckdb",
            published_dir=root / "published",
            published_file=root / "published" / "marts.duckdb",
            dbt_target=root / "dbt_target",
            dagster_home=root / "dagster_home",
            run_lock=root / "run.lock",
        )


def _source_type(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return kind if isinstance(kind, str) and kind in API_SOURCES else "files"


Source = Annotated[
    Annotated[FileSource, Tag("files")]
    | Annotated[HubSpotSource, Tag("hubspot")]
    | Annotated[SalesforceSource, Tag("salesforce")]
    | Annotated[PipedriveSource, Tag("pipedrive")]
    | Annotated[TrytonSource, Tag("tryton")],
    Discriminator(_source_type),
]


class Settings(Section):
    """The whole configuration. `as_of_is_manual`: STAGELEDGER_AS_OF named the day; the run is a look back."""

    config_path: Path
    paths: Paths
    business: Business
    sources: tuple[Source, ...] = Field(min_length=1)
    tables: dict[str, TableFile] = Field(default_factory=dict)
    metrics: Metrics = Metrics()
    publish: Publish = Publish()
    alerts: Alerts = Alerts()
    report: Report = Report()
    forecast: Forecasting = Forecasting()
    engine: Literal["duckdb"] = "duckdb"
    memory_limit: str = Field("1GB", pattern=r"^[1-9][0-9]*(\.[0-9]+)? ?(MB|GB|MiB|GiB)$")
    threads: int = Field(2, ge=1)
    as_of_is_manual: bool = False

    def memory_share(self, share: float) -> str:
        """A share of `memory_limit`, for a step that others stand beside in the same process."""
        amount = self.memory_limit.rstrip("GMiB ")
        unit = self.memory_limit.removeprefix(amount).strip()
        return f"{share * float(amount):g}{unit}"

    @property
    def facts(self) -> BusinessFacts:
        """The facts of `tables:` as one more source."""
        return BusinessFacts(time_zone=self.business.time_zone, tables=self.tables)

    def owner_emails(self) -> OwnerEmails | None:
        """What makes pseudonyms of e-mail addresses; None where they are landed as they are."""
        key = self.business.hash_owner_emails
        return OwnerEmails(key.get_secret_value().strip()) if key is not None else None

    def api_sources(self) -> tuple[ApiSource, ...]:
        """The CRMs that are read over their interfaces."""
        return tuple(source for source in self.sources if isinstance(source, ApiSource))

    def file_sources(self) -> tuple[FileSource | BusinessFacts, ...]:
        """The sources of files, and the business's own facts where there are any."""
        files = tuple(source for source in self.sources if isinstance(source, FileSource))
        return (*files, self.facts) if self.tables else files


def load_settings(
    config: Path | None = None, data: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Read and check the configuration.

    `config`: else STAGELEDGER_CONFIG, else pipeline.yaml of the checkout. `data`, the folder that is written
    to: else STAGELEDGER_DATA, else data/ of the checkout. STAGELEDGER_AS_OF (a date) overrides
    `business.as_of`. Paths in the file are relative to the file.
    Errors: ConfigError, which names every problem found with file, line, key and remedy.
    """
    path = Path(config or environ.get("STAGELEDGER_CONFIG") or REPOSITORY / "pipeline.yaml")
    root = Path(data or environ.get("STAGELEDGER_DATA") or REPOSITORY / "data")
    path, root = path.expanduser().absolute(), root.expanduser().absolute()
    if path.is_dir():
        path = path / "pipeline.yaml"
    document = read_yaml(path)
    add_configuration_problems(document)
    values = _with_secrets(document, environ)
    values = _with_absolute_paths(values, path.parent)
    values |= {"config_path": path, "paths": Paths.under(root)}
    manual = environ.get("STAGELEDGER_AS_OF", "").strip()
    if manual and isinstance(values.get("business"), dict):
        values["business"] = {**values["business"], "as_of": _manual_day(manual, path)}
        values["as_of_is_manual"] = True
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        add_validation_problems(document, error, Settings)
        document.raise_problems()
        raise
    document.raise_problems()
    measure = settings.metrics.amount_measure
    return settings.model_copy(
        update={
            "sources": tuple(measured(s, measure) for s in settings.sources),
            "metrics": _with_pseudonyms(settings),
        }
    )


def _with_pseudonyms(settings: Settings) -> Metrics:
    """The metrics with the owners that they leave out named as the landing names them."""
    emails, metrics = settings.owner_emails(), settings.metrics
    if emails is None:
        return metrics
    owners = tuple(emails.text(owner) for owner in metrics.exclude.owners)
    return metrics.model_copy(update={"exclude": metrics.exclude.model_copy(update={"owners": owners})})


def _manual_day(text: str, path: Path) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        message = f"STAGELEDGER_AS_OF is {text!r}; give a date such as AS_OF=2026-03-31"
        raise ConfigError(path, [Problem(1, "business.as_of", message)]) from None


def _with_secrets(document: YamlDocument, environ: Mapping[str, str]) -> dict[str, Any]:
    values = dict(document.data)
    for section, key in SECRETS:
        if isinstance(values.get(section), dict) and key in values[section]:
            values[section] = {**values[section], key: resolve_secret(document, (section, key), environ)}
    if isinstance(values.get("sources"), list):
        values["sources"] = [
            _source_with_secrets(document, index, source, environ)
            for index, source in enumerate(values["sources"])
        ]
    return values


def _source_with_secrets(document: YamlDocument, index: int, source: Any, environ: Mapping[str, str]) -> Any:
    if not isinstance(source, dict) or str(source.get("type")) not in CONNECTORS:
        return source
    keys = [key for key in secret_keys(source["type"]) if key in source]
    return {**source, **{key: resolve_secret(document, ("sources", index, key), environ) for key in keys}}


def _with_absolute_paths(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    def resolved(table: Any) -> Any:
        if isinstance(table, str):
            return {"path": _absolute(table, folder)}
        if isinstance(table, dict) and isinstance(table.get("path"), str):
            return {**table, "path": _absolute(table["path"], folder)}
        return table

    def source(block: Any) -> Any:
        if not isinstance(block, dict):
            return block
        return {key: resolved(value) if isinstance(value, dict) else value for key, value in block.items()}

    result = dict(values)
    if isinstance(result.get("sources"), list):
        result["sources"] = [source(block) for block in result["sources"]]
    if isinstance(result.get("tables"), dict):
        result["tables"] = {name: resolved(table) for name, table in result["tables"].items()}
    return result


def _absolute(pattern: str, folder: Path) -> str:
    return os.path.normpath(folder / Path(pattern).expanduser())
