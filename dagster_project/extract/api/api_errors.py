"""What can go wrong between us and a CRM, named after what to do about it."""

from dataclasses import dataclass

from dagster_project.extract.api.redaction import SECRETS


@dataclass(frozen=True)
class Place:
    """Where it happened: the source of pipeline.yaml, the entity, the page."""

    account: str
    entity: str
    page: str

    def __str__(self) -> str:
        return f"{self.account}: {self.entity}, page {self.page}"


class ApiError(Exception):
    """A request could not be answered as needed. The text names account, entity, page, cause and remedy."""

    def __init__(self, place: Place, what: str, remedy: str) -> None:
        self.place = place
        self.what = SECRETS.clean(what)
        self.remedy = SECRETS.clean(remedy)
        super().__init__(f"{place}: {self.what}; {self.remedy}")


class CredentialRefused(ApiError):
    """The CRM does not accept the credential, also after one refresh: a matter of configuration."""


class AccessDenied(ApiError):
    """The credential is good but may not read this: a scope or a right is missing."""


class NotThere(ApiError):
    """The CRM has no such thing (404, 410): an optional feature, or a record that is gone."""


class RequestRefused(ApiError):
    """The CRM calls the request itself wrong; asking again would not help."""


class VersionRetired(ApiError):
    """The CRM no longer serves this version of its interface."""


class ForeignLink(ApiError):
    """A paging link or redirect leads to another host; following it would carry the credential there."""


class SourceUnavailable(ApiError):
    """The CRM gave no usable answer, however often it was asked."""


class DailyQuotaExhausted(ApiError):
    """The day's share of requests is used up: not a failure; what is missing is read by a later run."""


class CursorExpired(Exception):
    """A connector raises it when the CRM no longer knows a paging cursor: the window begins again."""


class Malformed(ValueError):
    """An answer that is not what was asked for (HTML, an error in a 200, a cut body): it is asked again."""
