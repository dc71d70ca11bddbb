"""The blocks under `sources:` that read a CRM over its interface: credential, address, budget, pace."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from dagster_project.setting_types import Section, Share, TimeZone
from dagster_project.source_settings import StageLine, source_name

# Type of source → the class that reads it. A type without a line here is refused as "not in this version".
CONNECTORS: dict[str, str] = {
    "hubspot": "dagster_project.extract.crm.hubspot:HubSpotConnector",
    "pipedrive": "dagster_project.extract.crm.pipedrive:PipedriveConnector",
    "salesforce": "dagster_project.extract.crm.salesforce:SalesforceConnector",
    "tryton": "dagster_project.extract.crm.tryton:TrytonConnector",
}


# Fields of a deal that a property of the CRM's users can feed (`fields:`).
OWN_FIELDS: tuple[str, ...] = (
    "amount",
    "arr",
    "tcv",
    "region",
    "country",
    "product",
    "source",
    "deal_type",
    "forecast_category",
    "lost_reason",
    "competitor",
    "next_step",
)


# Type of source → measure of the amount → the vendor's own property; others are named under `fields:`.
MEASURE_PROPERTIES: dict[str, dict[str, str]] = {
    "hubspot": {"arr": "hs_arr", "tcv": "hs_tcv"},
    "pipedrive": {"arr": "arr"},
    "salesforce": {},
}


class DailyBudget(Section):
    """What a source may spend a day. `daily`: in the vendor's units (requests, or tokens); none: no limit of
    ours. `reserve`: the share of the vendor's own daily allowance that is left to others.
    """

    daily: int | None = Field(None, ge=1)
    reserve: Share = 0.2


class ApiSource(Section):
    """What all CRMs share.

    `properties`: entity → fields asked for beside those that the marts need (an allow-list: nothing else is
    extracted). `sweep_days`: how often all ids are listed to find records that vanished; `accept_vanished`:
    the share of an entity that one sweep may declare gone. `full_refresh_days`: how often all records are
    read once more, for values that change without moving the modified stamp (formulas, roll-ups); 0: never.
    `quota_time_zone`: where the vendor's daily allowance begins at midnight (HubSpot: the portal's zone, the
    business's unless named; Pipedrive: UTC unless named, the vendor does not document it; Salesforce counts
    the last 24 hours and has none). `base_url` stands in for the vendor's address.
    """

    name: str
    type: str
    base_url: str | None = None
    api_version: str | None = None
    threads: int = Field(2, ge=1, le=8)
    lookback_minutes: int | None = Field(None, ge=0, le=7 * 24 * 60)
    budget: DailyBudget = DailyBudget()
    sweep_days: int = Field(7, ge=1)
    accept_vanished: Share = 0.05
    # Every fourth week: for 100,000 deals 1,000 requests to HubSpot (of 250,000 a day), 50 to Salesforce, and
    # 2,000 of Pipedrive's 30,000 tokens of a day, spent after the night's own reading.
    full_refresh_days: int = Field(28, ge=0)
    quota_time_zone: TimeZone | None = None
    properties: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    stages: tuple[StageLine, ...] = ()

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return source_name(value)

    @field_validator("base_url")
    @classmethod
    def _base_url(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "https://-")
        is_local = parts.hostname in ("127.0.0.1", "localhost")
        if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and is_local)):
            raise ValueError(f"{value!r} is refused: a credential travels over https only (or to 127.0.0.1)")
        if parts.username or parts.password or parts.query:
            raise ValueError("the address must hold no credential; put it into its own key as ${NAME}")
        return value

    @property
    def lookback(self) -> timedelta | None:
        """How far back a window reaches; None: as the connector proposes."""
        return None if self.lookback_minutes is None else timedelta(minutes=self.lookback_minutes)

    @property
    def data_as_of(self) -> None:
        """Never fixed: a CRM's data are expected to grow."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """All secret values of this source, to be kept out of logs."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))

    @property
    def asked(self) -> Mapping[str, tuple[str, ...]]:
        """Entity → the fields asked for beside those that the marts need."""
        return self.properties


class ExtensibleSource(ApiSource):
    """A CRM whose users make properties of their own.

    `fields`: field of a deal → the property of the CRM that feeds it, instead of what is read for it.
    """

    fields: dict[str, str] = Field(default_factory=dict)

    @property
    def asked(self) -> Mapping[str, tuple[str, ...]]:
        """What `properties:` and `fields:` name together."""
        deals = (*self.properties.get("deals", ()), *self.fields.values())
        return {**self.properties, **({"deals": tuple(dict.fromkeys(deals))} if deals else {})}


class HubSpotSource(ExtensibleSource):
    """A HubSpot portal, by the token of a private app or a service key."""

    type: Literal["hubspot"]
    api_version: Literal["2026-09", "2026-03", "v3"] | None = None
    token: SecretStr


class SalesforceSource(ExtensibleSource):
    """A Salesforce org. `base_url` is its My Domain; client credentials, or a JWT with `private_key`."""

    type: Literal["salesforce"]
    base_url: str
    client_id: SecretStr
    client_secret: SecretStr | None = None
    private_key: SecretStr | None = None
    username: str | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> "SalesforceSource":
        if (self.client_secret is None) == (self.private_key is None):
            raise ValueError("write either client_secret, or private_key with username (JWT)")
        if self.private_key is not None and self.username is None:
            raise ValueError("private_key needs `username:`, the user in whose name is read")
        return self


class PipedriveSource(ExtensibleSource):
    """A Pipedrive company, by an API token."""

    type: Literal["pipedrive"]
    token: SecretStr


class TrytonSource(ApiSource):
    """A Tryton server: address, database, a user and its password (application keys open REST only)."""

    type: Literal["tryton"]
    base_url: str
    database: str
    user: str
    password: SecretStr

    @field_validator("database")
    @classmethod
    def _database(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
            raise ValueError(f"{value!r} cannot name a database")
        return value


API_SOURCES: dict[str, type[ApiSource]] = {
    "hubspot": HubSpotSource,
    "salesforce": SalesforceSource,
    "pipedrive": PipedriveSource,
    "tryton": TrytonSource,
}


def secret_keys(kind: Any) -> tuple[str, ...]:
    """The keys of a type of source that hold secrets."""
    model = API_SOURCES.get(kind) if isinstance(kind, str) else None
    fields = model.model_fields.items() if model else ()
    return tuple(name for name, field in fields if "SecretStr" in str(field.annotation))
