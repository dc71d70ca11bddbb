"""The Dagster skin of the extraction: assets, metadata and checks."""

import dagster as dg
from small_business import DEALS, STAGES, Business

from dagster_project.extract.assets import build_extract_assets, landing_keys
from dagster_project.extract.checks import markdown

HEADER = "ID,Stage,Amount,Close,Created\n"
OWNERS = "    owners: {path: owners.csv, columns: {owner_id: id}}\n"


def materialize(business: Business) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        build_extract_assets(business.settings()),
        instance=dg.DagsterInstance.ephemeral(),
        raise_on_error=False,
    )


def test_each_source_and_entity_is_an_asset_with_group_owner_kind_and_description(business: Business) -> None:
    business.source = DEALS + STAGES + "    stage_entered: {Meeting: met}\n"
    business.extra = "tables: {quotas: quotas.csv}\n"
    settings = business.settings()
    specs = [spec for assets in build_extract_assets(settings) for spec in assets.specs]
    assert {"/".join(spec.key.path) for spec in specs} == {
        *(f"landing/export/{e}" for e in ("deals", "stages", "stage_history", "rejects", "reads")),
        *(f"landing/business/{e}" for e in ("quotas", "rejects", "reads")),
    }
    assert all(
        spec.group_name == "extract" and spec.owners and spec.kinds and spec.description for spec in specs
    )
    assert [key.path[1] for key in landing_keys(settings)["files/rejects"]] == ["export", "business"]


def test_an_extraction_reports_its_rows_and_passes_its_checks(business: Business) -> None:
    business.write(
        "deals.csv", HEADER + "D1,Offer,5,2026-06-30,2026-03-01\nD1,Offer,5,2026-06-30,2026-03-01\n"
    )
    result = materialize(business)
    (event,) = result.asset_materializations_for_node("extract_export")[:1]
    shown = {name: value.value for name, value in event.metadata.items()}
    assert event.asset_key == dg.AssetKey(["landing", "export", "deals"])
    assert [shown[f"rows {n}"] for n in ("read", "kept", "rejected", "duplicate")] == [2, 1, 0, 1]
    assert (shown["files"], shown["newest event"]) == ("deals.csv (read)", "2026-03-01")
    assert all(check.passed for check in result.get_asset_check_evaluations())


def test_rejects_unknown_stages_and_failed_files_turn_their_checks(business: Business) -> None:
    business.source = DEALS + STAGES + OWNERS
    business.write("deals.csv", HEADER + "D1,Legal,5,,\nD2,Offer,a|b<c>,,\n")
    business.write("owners.csv", "name\nAnn\n")
    result = materialize(business)
    checks = {(c.asset_key.path[-1], c.check_name): c for c in result.get_asset_check_evaluations()}
    failed = {name for name, check in checks.items() if not check.passed}
    assert failed == {
        ("deals", "few_rows_are_rejected"),
        ("deals", "every_stage_is_known"),
        ("owners", "every_file_is_readable"),
    }
    assert checks["owners", "every_file_is_readable"].severity == dg.AssetCheckSeverity.ERROR
    assert "has no column 'id'" in (checks["owners", "every_file_is_readable"].description or "")
    examples = checks["deals", "few_rows_are_rejected"].metadata["examples"].value
    assert "a\\|b&lt;c>" in str(examples)
    assert '- {name: "Legal", order: 3}' in str(
        checks["deals", "every_stage_is_known"].metadata["paste into stages"].value
    )
    assert result.success


def test_a_source_that_has_never_delivered_deals_stops_the_run_in_words(business: Business) -> None:
    result = materialize(business)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert "export has delivered no deals" in str(failure.event_specific_data)
    assert "no file matches" in str(failure.event_specific_data)


def test_a_table_without_rows_says_none() -> None:
    assert markdown(("a",), []) == "none"
