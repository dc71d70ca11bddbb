"""What a file of deals, of changes or of facts becomes in the landing."""

from datetime import datetime

from small_business import DEALS, STAGES, Business

HEADER = "ID,Stage,Amount,Close,Created\n"


def test_a_row_becomes_a_record_of_canonical_fields(business: Business) -> None:
    business.write(
        "deals.csv",
        "ID,Stage,Amount,Close,Created,Note\nD1, meeting ,1234.50,2026-06-30,2026-03-01 09:30:00,hi\n",
    )
    report = business.report()
    assert (report.status, report.rows_read, report.rows_kept) == ("read", 1, 1)
    assert report.columns_unmapped == ("Note",)
    (deal,) = business.landed("deals")
    assert deal["deal_id"] == "D1"
    assert deal["stage"] == "Meeting"  # as the list of stages spells it
    assert deal["amount"] == "1234.5"
    assert deal["close_date"] == "2026-06-30"
    assert deal["created_at"] == "2026-03-01 08:30:00"  # 09:30 in Amsterdam's winter
    assert deal["currency"] is None
    assert (deal["extra"], deal["file"], deal["row"]) == ({"Note": "hi"}, "deals.csv", "2")
    assert deal["_"]["record_id"] == "D1"
    assert deal["_"]["source_relation"] == "export"
    assert deal["_"]["extracted_at"] == datetime(2026, 4, 2, 3, 0)
    assert deal["_"]["is_initial_load"] is True
    assert deal["_"]["is_deleted"] is False


def test_empty_values_are_null_and_zero_is_zero(business: Business) -> None:
    business.write("deals.csv", HEADER + "D1,Lost,0,,\nD2,Meeting,,,\n")
    assert [deal["amount"] for deal in (business.extract() and business.landed("deals"))] == ["0", None]


def test_column_order_case_and_blanks_of_headers_do_not_matter(business: Business) -> None:
    business.write("deals.csv", " created ,STAGE,amount,id,Cl ose\n2026-03-01,Offer,5,D1,2026-04-01\n")
    business.extract()
    (deal,) = business.landed("deals")
    assert (deal["deal_id"], deal["stage"], deal["close_date"]) == ("D1", "Offer", "2026-04-01")


def test_a_constant_fills_a_field_of_every_row(business: Business) -> None:
    business.source = DEALS.replace("{deal_id: ID,", "{deal_id: ID, currency: {value: USD},") + STAGES
    business.write("deals.csv", HEADER + "D1,Offer,5,,\nD2,Offer,5,,\n")
    business.extract()
    assert [deal["currency"] for deal in business.landed("deals")] == ["USD", "USD"]


def test_the_list_of_stages_lands_as_an_entity(business: Business) -> None:
    business.write("deals.csv", HEADER)
    business.extract()
    stages = [(s["stage_id"], s["order"], s["outcome"]) for s in business.landed("stages")]
    assert stages == [
        ("Meeting", "1", "open"),
        ("Offer", "2", "open"),
        ("Won", None, "won"),
        ("Lost", None, "lost"),
    ]


def test_every_read_is_noted_with_counts_that_add_up(business: Business) -> None:
    text = HEADER + "D1,Offer,5,,\nD1,Offer,5,,\nD2,Offer,TBD,,\nD3,Offer,1,,\n"
    business.write("deals.csv", text)
    business.extract()
    (note,) = [read for read in business.landed("reads") if read["entity"] == "deals"]
    counts = [note[f"rows_{name}"] for name in ("read", "kept", "rejected", "duplicate")]
    assert counts == ["4", "2", "1", "1"]


def test_a_deal_in_an_unknown_stage_is_kept_and_the_line_to_paste_is_given(business: Business) -> None:
    business.write("deals.csv", HEADER + 'D1,Legal,5,,\nD2,Legal,5,,\nD3,"A ""b""",5,,\n')
    report = business.report()
    assert report.rows_kept == 3
    assert [(v.value, v.rows) for v in report.unknown_values] == [("Legal", 2), ('A "b"', 1)]
    assert report.unknown_values[0].paste.startswith('- {name: "Legal", order: 3}')
    # The line can be pasted as it is.
    pasted = "".join(f"      {value.paste}\n" for value in report.unknown_values)
    business.source = DEALS + STAGES + pasted
    assert business.report().unknown_values == ()


def test_without_told_stages_no_stage_is_called_unknown(business: Business) -> None:
    business.source = DEALS
    business.write("deals.csv", HEADER + "D1,Legal,5,,\n")
    assert business.report().unknown_values == ()


def test_probabilities_of_a_percent_scale_become_shares(business: Business) -> None:
    business.source = DEALS.replace("deal_id: ID,", "deal_id: ID, probability: P,") + STAGES
    business.write("deals.csv", "ID,Stage,P\nD1,Offer,60\nD2,Won,100%\nD3,Lost,0\nD4,Offer,101\n")
    assert business.report().rows_rejected == 1
    assert [deal["probability"] for deal in business.landed("deals")] == ["0.6", "1", "0"]


def test_date_columns_become_stage_entries_with_day_precision(business: Business) -> None:
    entered = "    stage_entered: {Meeting: met, Won: Close, Lost: Close}\n"
    business.source = DEALS + STAGES + entered
    business.write(
        "deals.csv",
        "ID,Stage,Close,met\nD1,Won,2026-03-31,2026-03-01\n"
        "D2,Offer,2026-12-31,2026-03-02 14:00:00\nD3,Offer,,\n",
    )
    business.extract()
    entries = [
        (e["deal_id"], e["stage"], e["changed_at"], e["time_precision"])
        for e in business.landed("stage_history")
    ]
    # Midnight in Amsterdam is 23:00 UTC in winter, 22:00 in summer; D2's close date is no entry.
    assert sorted(entries) == [
        ("D1", "Meeting", "2026-02-28 23:00:00", "day"),
        ("D1", "Won", "2026-03-30 22:00:00", "day"),
        ("D2", "Meeting", "2026-03-02 13:00:00", "event"),
    ]
    assert {e["change_source"] for e in business.landed("stage_history")} == {"date_column"}
    assert business.landed("deals")[0]["extra"] == {}


def test_a_bad_entry_date_rejects_its_deal(business: Business) -> None:
    business.source = DEALS + STAGES + "    stage_entered: {Meeting: met}\n"
    business.write("deals.csv", "ID,Stage,met\nD1,Won,3/4/2026\n")
    report = business.report()
    assert (report.rows_rejected, report.rejects[0].column) == (1, "met")


HISTORY = """\
    stage_history:
      path: history.csv
      columns: {deal_id: Deal, changed_at: At, stage: To, from_stage: From, amount: Amount}
"""


def test_a_stage_log_lands_one_record_per_change(business: Business) -> None:
    business.source = DEALS + STAGES + HISTORY
    business.write("deals.csv", HEADER + "D1,Won,5,,\n")
    business.write(
        "history.csv",
        "Deal,At,To,From,Amount\nD1,2026-03-01,MEETING,,5\nD1,2026-03-02 10:00:00.25+05:30,Won,meeting,\n"
        "D1,2026-03-01,MEETING,,5\n",
    )
    report = business.report("stage_history")
    assert (report.rows_kept, report.rows_duplicate) == (2, 1)
    first, second = business.landed("stage_history")
    assert [first[n] for n in ("stage", "changed_at", "time_precision", "change_source", "amount")] == [
        "Meeting", "2026-02-28 23:00:00", "day", "history", "5",
    ]  # fmt: skip
    assert [second[n] for n in ("from_stage", "changed_at", "time_precision", "amount")] == [
        "Meeting", "2026-03-02 04:30:00.25", "event", None,
    ]  # fmt: skip
    assert first["_"]["record_id"] != second["_"]["record_id"]


def test_a_change_of_amount_alone_needs_no_stage(business: Business) -> None:
    business.source = DEALS + STAGES + HISTORY
    business.write("deals.csv", HEADER)
    business.write("history.csv", "Deal,At,To,From,Amount\nD1,2026-03-01,,,5\n")
    assert business.report("stage_history").rows_kept == 1
    assert business.landed("stage_history")[0]["stage"] is None


def test_stages_out_of_a_file_are_known_to_the_deals_and_join_labels_to_ids(business: Business) -> None:
    business.source = (
        DEALS.replace("deal_id: ID,", "deal_id: ID, pipeline: Pipe,")
        + """\
    stages:
      path: stages.csv
      columns: {stage_id: id, name: label, pipeline: pipe, order: nr, outcome: out, valid_from: since}
"""
    )
    business.write(
        "stages.csv",
        "id,label,pipe,nr,out,since\ns1,New,A,1,open,\nt1,New,B,1,Open,\ns9,Won,A,2,won,2026-01-01\n"
        "x,X,A,first,open,\ny,Y,A,1,victory,\n",
    )
    business.write("deals.csv", "ID,Stage,Pipe\n1,new,A\n2,New,B\n3,S9,A\n4,Won,C\n5,New,C\n")
    result = business.extract()
    assert [reject.column for reject in result.of("stages")[0].rejects] == ["nr", "out"]
    assert [deal["stage"] for deal in business.landed("deals")] == ["s1", "t1", "s9", "s9", "New"]
    assert [value.value for value in result.unknown_values] == ["New"]


def test_facts_land_under_the_name_business_with_their_own_column_names(business: Business) -> None:
    business.extra = (
        "tables:\n  quotas: quotas.csv\n"
        "  fx_rates: {path: fx.csv, columns: {currency: c, rate_date: d, rate: r}}\n"
    )
    business.write(
        "quotas.csv", "period,amount,segment_type,segment\n2026Q1,100.5,total,all\n2026Q2,x,total,all\n"
    )
    business.write("fx.csv", "c,d,r\nUSD,2026-03-31,0.9252\n")
    result = business.extract(source=1)
    assert result.source == "business"
    (quota,) = business.landed("quotas", "business")
    assert (quota["period"], quota["amount"], quota["currency"]) == ("2026Q1", "100.5", None)
    assert [rate["rate"] for rate in business.landed("fx_rates", "business")] == ["0.9252"]
    assert [reject["column"] for reject in business.landed("rejects", "business")] == ["amount"]


def test_two_sources_with_equal_ids_stay_apart(business: Business) -> None:
    business.extra = (
        "  - name: other\n    type: files\n"
        "    deals: {path: other.csv, columns: {deal_id: ID, stage: Stage}}\n"
    )
    business.write("deals.csv", HEADER + "D1,Won,5,,\n")
    business.write("other.csv", "ID,Stage\nD1,Lost\n")
    business.extract(source=0)
    business.extract(source=1)
    deals = [(deal["_"]["source_relation"], deal["stage"]) for deal in business.landed("deals", None)]
    assert sorted(deals) == [("export", "Won"), ("other", "Lost")]


def test_a_status_that_nobody_knows_is_listed_with_the_line_that_names_it(business: Business) -> None:
    business.source = DEALS.replace("deal_id: ID,", "deal_id: ID, status: State,") + STAGES
    words = ("Gewonnen", "gewonnen", "Won", "In Progress", "Abandoned", "", "Gewonnen")
    rows = "".join(f"D{number},Offer,{word}\n" for number, word in enumerate(words))
    business.write("deals.csv", "ID,Stage,State\n" + rows)
    report = business.report()
    assert [(v.column, v.value, v.rows) for v in report.unknown_values] == [
        ("status", "Gewonnen", 2),
        ("status", "gewonnen", 1),
    ]
    line = report.unknown_values[0].paste
    assert line == '"Gewonnen": open   # or won, lost, closed_other (2 rows)'
    known = [deal["status"] for deal in business.landed("deals")]
    assert known == [None, None, "won", "open", "closed_other", None, None]
    business.source += f"    statuses:\n      {line.replace('open', 'won', 1)}\n"
    assert business.report().unknown_values == ()
    assert [deal["status"] for deal in business.landed("deals")][:2] == ["won", "won"]


def test_a_date_column_means_the_stage_of_that_name_in_the_deals_own_pipeline(business: Business) -> None:
    business.source = (
        DEALS.replace("deal_id: ID,", "deal_id: ID, pipeline: Funnel,")
        + """\
    stage_entered: {Meeting: Met}
    stages:
      - {name: Meeting, id: m1, pipeline: New, order: 1}
      - {name: Meeting, id: m2, pipeline: Renewal, order: 1}
"""
    )
    business.write(
        "deals.csv", "ID,Stage,Funnel,Met\nD1,Meeting,New,2026-03-01\nD2,Meeting,renewal,2026-03-02\n"
    )
    business.extract()
    assert [entry["stage"] for entry in business.landed("stage_history")] == ["m1", "m2"]
