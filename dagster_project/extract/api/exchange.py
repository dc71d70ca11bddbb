"""One question to a CRM and its answer, and the count of what asking has cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from dagster_project.extract.api.json_text import require_json, without_half_characters


@dataclass(frozen=True)
class Request:
    """One question. `path` is below the base address, or a paging link to the same host.

    `page` is how an error names the place. `price` is in the vendor's units (1 where it counts requests),
    `pool` one of the client's rates. Nothing secret belongs into `path` or `params`.
    """

    path: str
    entity: str
    page: str = "1"
    method: str = "GET"
    params: Mapping[str, Any] | None = None
    body: Any = None
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    price: int = 1
    pool: str = "default"
    needs_credentials: bool = True


@dataclass(frozen=True)
class Reply:
    """An answer that has arrived as a whole."""

    request: Request
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8 text, its JSON fit for DuckDB. Errors: ValueError, which is asked again."""
        return without_half_characters(self.body.decode("utf-8-sig"))

    def json(self) -> Any:
        """The parsed body. Errors: Malformed, which is asked again."""
        return require_json(self.body)


@dataclass(frozen=True)
class Usage:
    """What talking to a CRM has cost so far; `cost` in the vendor's units."""

    requests: int = 0
    bytes: int = 0
    cost: int = 0
    retries: int = 0
    seconds_waited: float = 0.0

    def since(self, earlier: "Usage") -> "Usage":
        """What came after `earlier`."""
        return Usage(**{f.name: getattr(self, f.name) - getattr(earlier, f.name) for f in fields(Usage)})

    def plus(self, more: "Usage") -> "Usage":
        """Both together."""
        return Usage(**{f.name: getattr(self, f.name) + getattr(more, f.name) for f in fields(Usage)})
