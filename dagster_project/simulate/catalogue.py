"""What the simulated business sells, where, and by which stages: the fixed facts all simulations share."""

from __future__ import annotations

from dataclasses import dataclass

CAUSES = ("advance", "skip", "back", "win", "lose", "transfer", "reopen", "merge", "delete")
"""The competing ways in which a stage visit can end."""

AGE_STARTS = (1, 3, 7, 14, 30, 60, 120)
"""First day in stage of each age class; the last class is open-ended and holds the zombies."""

TIERS = ("small", "mid", "large")
FAMILIES = ("Platform", "Analytics", "Services")
CURRENCIES = ("EUR", "USD")
SOURCES = ("Inbound", "Outbound", "Referral", "Event", "Partner")
SOURCE_SHARES = (0.34, 0.28, 0.14, 0.14, 0.10)
INDUSTRIES = (
    "Manufacturing",
    "Retail",
    "Logistics",
    "Healthcare",
    "Software",
    "Financial Services",
    "Energy",
    "Public Sector",
)
LOST_REASONS = ("Price", "Competitor", "No decision", "No budget", "Bad timing", "Missing feature", "")
LOST_REASON_SHARES = (0.20, 0.21, 0.24, 0.12, 0.11, 0.08, 0.04)
COMPETITORS = ("Borealis Suite", "Kestrel Cloud", "Tandem One", "In-house build")
NEXT_STEPS = (
    "Call back",
    "Send proposal",
    "Demo with team",
    "Security questionnaire",
    "Legal review",
    "Meet the board",
)


@dataclass(frozen=True)
class Pipeline:
    """A sales pipeline; `name_before` is what it was called before the reorganisation."""

    pipeline_id: str
    name: str
    name_before: str
    share: float
    deal_type: str
    reopen_to: str
    transfer_to: str | None


@dataclass(frozen=True)
class Stage:
    """A stage and how deals leave it.

    `exit_per_day` is the daily hazard of leaving by advancing or losing at age factor 1, `advance_share` the
    share of advancing in it, `days_to_close` what a rep expects from here.
    """

    stage_id: str
    name: str
    pipeline_id: str
    order: int
    order_before: int
    outcome: str
    probability: float
    forecast_category: str
    exit_per_day: float = 0.0
    advance_share: float = 0.0
    days_to_close: int = 0
    pricing: str = ""
    name_before: str = ""


PIPELINES = (
    Pipeline("new_business", "New Business", "New Business", 0.64, "new", "new_qualified", "partner"),
    Pipeline("expansion", "Expansion", "Expansion", 0.20, "expansion", "exp_scoping", None),
    Pipeline("partner", "Partner Channel", "Resellers", 0.16, "new", "par_review", "new_business"),
)

STAGES = (
    Stage("new_lead", "Lead", "new_business", 1, 1, "open", 0.05, "omitted", 0.058, 0.58, 110),
    Stage("new_prospect", "Prospect", "new_business", 2, 2, "open", 0.15, "pipeline", 0.058, 0.70, 92),
    Stage(
        "new_qualified",
        "Qualified Opportunity",
        "new_business",
        3,
        3,
        "open",
        0.3,
        "pipeline",
        0.047,
        0.77,
        75,
        "estimate",
    ),
    Stage("new_quote", "Quote", "new_business", 4, 4, "open", 0.5, "best_case", 0.050, 0.80, 52, "quote"),
    Stage(
        "new_negotiation",
        "Negotiation",
        "new_business",
        5,
        5,
        "open",
        0.7,
        "most_likely",
        0.061,
        0.85,
        33,
        "discount",
    ),
    Stage("new_contract", "Contract Review", "new_business", 6, 6, "open", 0.9, "commit", 0.095, 0.93, 14),
    Stage("new_won", "Closed Won", "new_business", 7, 7, "won", 1.0, "closed"),
    Stage("new_lost", "Closed Lost", "new_business", 8, 8, "lost", 0.0, "omitted"),
    Stage("exp_identified", "Identified", "expansion", 1, 1, "open", 0.2, "pipeline", 0.062, 0.70, 66),
    Stage("exp_scoping", "Scoping", "expansion", 2, 2, "open", 0.4, "pipeline", 0.062, 0.78, 50, "estimate"),
    Stage("exp_quote", "Quote", "expansion", 3, 3, "open", 0.6, "best_case", 0.068, 0.82, 31, "quote"),
    Stage(
        "exp_negotiation",
        "Negotiation",
        "expansion",
        4,
        4,
        "open",
        0.8,
        "commit",
        0.095,
        0.87,
        14,
        "discount",
    ),
    Stage("exp_won", "Closed Won", "expansion", 5, 5, "won", 1.0, "closed"),
    Stage("exp_lost", "Closed Lost", "expansion", 6, 6, "lost", 0.0, "omitted"),
    Stage("par_registered", "Registered", "partner", 1, 1, "open", 0.1, "pipeline", 0.062, 0.56, 80),
    Stage(
        "par_review",
        "Solution Review",
        "partner",
        3,
        2,
        "open",
        0.3,
        "pipeline",
        0.054,
        0.72,
        56,
        "estimate",
        "Technical Review",
    ),
    Stage("par_quote", "Quote", "partner", 2, 3, "open", 0.5, "best_case", 0.058, 0.76, 44, "quote"),
    Stage(
        "par_approval",
        "Partner Approval",
        "partner",
        4,
        4,
        "open",
        0.8,
        "commit",
        0.087,
        0.86,
        16,
        "discount",
    ),
    Stage("par_won", "Closed Won", "partner", 5, 5, "won", 1.0, "closed"),
    Stage("par_lost", "Closed Lost", "partner", 6, 6, "lost", 0.0, "omitted"),
)
TRANSFER_STAGE = {"new_business": "new_qualified", "partner": "par_review"}
"""Where a deal lands that is handed to another pipeline."""


@dataclass(frozen=True)
class Region:
    """A sales region with one team; `advance` multiplies the hazards of advancing and winning."""

    name: str
    share: float
    advance: float
    usd_share: float
    team: str
    countries: tuple[tuple[str, float], ...]


REGIONS = (
    Region("Benelux", 0.28, 1.10, 0.00, "Team Benelux", (("NL", 0.62), ("BE", 0.32), ("LU", 0.06))),
    Region("DACH", 0.25, 1.00, 0.02, "Team DACH", (("DE", 0.68), ("AT", 0.14), ("CH", 0.18))),
    Region("UK & Ireland", 0.17, 0.95, 0.05, "Team UK & Ireland", (("GB", 0.82), ("IE", 0.18))),
    Region("Nordics", 0.12, 1.04, 0.02, "Team Nordics", (("SE", 0.4), ("DK", 0.3), ("NO", 0.2), ("FI", 0.1))),
    Region("North America", 0.18, 0.80, 0.88, "Team North America", (("US", 0.8), ("CA", 0.2))),
)
TIER_SHARES = (0.60, 0.30, 0.10)
TIER_ADVANCE = (1.14, 0.92, 0.66)
TIER_LOSE = (0.97, 1.00, 1.02)
TIER_MEDIAN_EUR = (11_000.0, 40_000.0, 150_000.0)
TIER_SIGMA = (0.45, 0.40, 0.45)
FAMILY_SHARES = (0.50, 0.30, 0.20)
FAMILY_ADVANCE = (1.00, 1.06, 0.94)
FAMILY_PRICE = (1.10, 1.00, 0.80)


@dataclass(frozen=True)
class Product:
    """A product; its tier is the size of deal it leads."""

    product_id: str
    name: str
    family: str
    tier: str
    list_price: float


PRODUCTS = (
    Product("PLT-100", "Platform Starter", "Platform", "small", 10_000),
    Product("PLT-300", "Platform Team", "Platform", "mid", 40_000),
    Product("PLT-700", "Platform Enterprise", "Platform", "large", 140_000),
    Product("PLT-900", "Platform Global", "Platform", "large", 220_000),
    Product("ANA-100", "Analytics Basic", "Analytics", "small", 9_000),
    Product("ANA-300", "Analytics Pro", "Analytics", "mid", 36_000),
    Product("ANA-700", "Analytics Enterprise", "Analytics", "large", 130_000),
    Product("SRV-100", "Onboarding Package", "Services", "small", 7_500),
    Product("SRV-300", "Consulting Package", "Services", "mid", 30_000),
    Product("SRV-700", "Managed Service", "Services", "large", 110_000),
)

N_SEGMENTS = len(TIERS) * len(FAMILIES) * len(REGIONS)
STAGE_CODE = {stage.stage_id: code for code, stage in enumerate(STAGES)}
PIPELINE_CODE = {pipeline.pipeline_id: code for code, pipeline in enumerate(PIPELINES)}


def segment_code(tier: int, family: int, region: int) -> int:
    """Number of a segment (tier × family × region), 0 … N_SEGMENTS - 1; works on arrays too."""
    return (tier * len(FAMILIES) + family) * len(REGIONS) + region


def stages_of(pipeline_id: str, outcome: str, before: bool = False) -> list[int]:
    """Codes of a pipeline's stages with this outcome, in display order (`before` the reorganisation)."""
    found = [s for s in STAGES if s.pipeline_id == pipeline_id and s.outcome == outcome]
    found.sort(key=lambda s: s.order_before if before else s.order)
    return [STAGE_CODE[s.stage_id] for s in found]
