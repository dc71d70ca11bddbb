"""What the linter sees in place of dbt's own macros of types."""


def type_string() -> str:
    """The text type."""
    return "varchar"


def type_timestamp() -> str:
    """The instant type."""
    return "timestamp"
