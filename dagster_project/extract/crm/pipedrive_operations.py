"""The operations of Pipedrive's interface that we use, with their prices: nothing else is ever asked.

The prices are the `x-token-cost` of Pipedrive's OpenAPI documents of SPECIFIED_ON. A company may spend
30,000 tokens × plan factor × seats a day (PLAN_FACTORS), shared by everything that uses its interface.
"""

from dataclasses import dataclass
from datetime import date

SPECIFIED_ON = date(2026, 8, 18)
TOKENS_PER_SEAT = 30_000
PLAN_FACTORS = {"Lite": 1, "Growth": 2, "Premium": 5, "Ultimate": 7}


@dataclass(frozen=True)
class Operation:
    """A GET of one version's interface; `tokens` is what a request costs, `{id}` in the path a deal."""

    version: str
    path: str
    tokens: int


# Version 1 has these and version 2 does not; none of them is deprecated.
WHO_AM_I = Operation("v1", "/users/me", 2)
USERS = Operation("v1", "/users", 20)
CURRENCIES = Operation("v1", "/currencies", 20)
CHANGELOG = Operation("v1", "/deals/{id}/changelog", 20)

DEALS = Operation("v2", "/deals", 10)
ARCHIVED_DEALS = Operation("v2", "/deals/archived", 20)
DEAL_PRODUCTS = Operation("v2", "/deals/products", 10)
DEAL_FIELDS = Operation("v2", "/dealFields", 10)
STAGES = Operation("v2", "/stages", 5)
PIPELINES = Operation("v2", "/pipelines", 5)
ORGANIZATIONS = Operation("v2", "/organizations", 10)
ORGANIZATION_FIELDS = Operation("v2", "/organizationFields", 10)
PRODUCTS = Operation("v2", "/products", 10)
PRODUCT_FIELDS = Operation("v2", "/productFields", 10)

OPERATIONS = (
    WHO_AM_I,
    USERS,
    CURRENCIES,
    CHANGELOG,
    DEALS,
    ARCHIVED_DEALS,
    DEAL_PRODUCTS,
    DEAL_FIELDS,
    STAGES,
    PIPELINES,
    ORGANIZATIONS,
    ORGANIZATION_FIELDS,
    PRODUCTS,
    PRODUCT_FIELDS,
)
