"""The versions of HubSpot's interface that this connector speaks: where things are, and until when."""

from dataclasses import dataclass
from datetime import date

NEWEST = "2026-09"


@dataclass(frozen=True)
class Addresses:
    """Paths of one version. `objects`, `properties` and `associations` take object types behind them."""

    objects: str
    pipelines: str
    owners: str
    properties: str
    associations: str
    company_currency: str
    exchange_rates: str
    deal_splits: str


def _dated(version: str) -> Addresses:
    return Addresses(
        objects=f"/crm/objects/{version}",
        pipelines=f"/crm/pipelines/{version}/deals",
        owners=f"/crm/owners/{version}",
        properties=f"/crm/properties/{version}",
        associations=f"/crm/associations/{version}",
        # Currencies have had no newer version since.
        company_currency="/settings/currencies/2026-03/company-currency",
        exchange_rates="/settings/currencies/2026-03/exchange-rates",
        deal_splits=f"/deal-splits/{version}/batch/read",
    )


VERSIONS: dict[str, Addresses] = {
    "2026-09": _dated("2026-09"),
    "2026-03": _dated("2026-03"),
    "v3": Addresses(
        objects="/crm/v3/objects",
        pipelines="/crm/v3/pipelines/deals",
        owners="/crm/v3/owners",
        properties="/crm/v3/properties",
        associations="/crm/v4/associations",
        company_currency="/settings/v3/currencies/company-currency",
        exchange_rates="/settings/v3/currencies/exchange-rates",
        deal_splits="/crm/v3/objects/deals/splits/batch/read",
    ),
}

# The part of a path that names a version → the day from which HubSpot no longer supports it. Dated versions
# live for 18 months; v4 is the last one of associations that has a number (the vendor's changelog).
SUNSETS: dict[str, date] = {
    "2026-09": date(2028, 3, 30),
    "2026-03": date(2027, 9, 30),
    "v4": date(2027, 3, 30),
}


def addresses(version: str | None) -> tuple[str, Addresses]:
    """The version and its paths; the newest where none is named. Errors: ValueError for an unknown one."""
    name = version or NEWEST
    if name not in VERSIONS:
        known = ", ".join(VERSIONS)
        raise ValueError(f"api_version {name!r} of HubSpot is unknown; write one of {known}, or leave it out")
    return name, VERSIONS[name]
