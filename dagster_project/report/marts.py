"""The rows that pages select from, read once for all editions; each only as far as pages show it."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

from dagster_project.report.published import Published, Row, Stamp
from dagster_project.report.slices import SLICED

SEGMENTS = ("total", *SLICED)
MOST_DEALS_PER_BAR = 10
MOST_MEMBERS = 15
STEP_AMOUNTS = frozenset(
    f"{step}_amount"
    for step in [
        "start",
        "created",
        "reopened",
        "restored",
        "transferred_in",
        "pulled_in",
        "pushed_in",
        "increased",
        "decreased",
        "fx",
        "won",
        "lost",
        "closed_other",
        "deleted_or_merged",
        "transferred_out",
        "pushed_out",
        "pulled_out",
        "closed_outside_scope",
    ]
)
"""Amounts of the waterfall that rest on amounts of past days; what is open at the end does not."""
MEMBER_TYPES = ("owner", "product", "region", "account")


class Marts:
    """Marts of one version for the whole business, pipelines, regions and teams."""

    def __init__(self, published: Published, currency: str) -> None:
        self.published = published
        self.stamp: Stamp = published.stamp()
        self.currency = currency
        self._segments = ", ".join(f"'{name}'" for name in SEGMENTS)

    def _rows(self, table: str, where: str, order: str = "") -> list[Row]:
        return self.published.rows(table, f"segment_type in ({self._segments}) and {where}", order=order)

    @cached_property
    def coverage(self) -> list[Row]:
        """mart_pipeline_coverage, this quarter and the next four."""
        return self._rows("mart_pipeline_coverage", "quarter_offset between 0 and 4", "quarter_offset")

    @cached_property
    def pacing(self) -> list[Row]:
        """mart_bookings_pacing, every business day of nine quarters."""
        return self._rows("mart_bookings_pacing", "true", "period, business_day")

    @cached_property
    def forecasts(self) -> list[Row]:
        """forecast_bookings_latest of the day of the marts, those that have a number."""
        where = "mean is not null and as_of = (select max(as_of) from _publish)"
        return self._rows("forecast_bookings_latest", where, "quarter_offset")

    @cached_property
    def no_forecast_reason(self) -> str:
        """Why there is no forecast of the whole business, in the forecast's own words."""
        rows = self.published.rows(
            "forecast_bookings_latest", "segment_type = 'total'", order="quarter_offset"
        )
        told = [row["fallback_reason"] for row in rows if row["mean"] is None and row["fallback_reason"]]
        return told[0] if told else "no forecast is stored for this day"

    @cached_property
    def earlier_forecasts(self) -> list[Row]:
        """forecast_bookings of earlier days for the running quarter."""
        where = "quarter_offset = 0 and mean is not null and as_of < (select max(as_of) from _publish)"
        return self._rows("forecast_bookings", where, "as_of desc, kind desc")

    @cached_property
    def forecast_now(self) -> Row | None:
        """The forecast of the running quarter for the whole business."""
        return next(
            (row for row in self.forecasts if row["segment_type"] == "total" and row["quarter_offset"] == 0),
            None,
        )

    @cached_property
    def forecast_changes(self) -> list[Row]:
        """forecast_changes of `forecast_now` since the forecast before it: deal_key, part, cause, delta.

        A day may have a live forecast and one made again, each with changes of its own.
        """
        now = self.forecast_now
        if now is None or not self.published.has("forecast_changes"):
            return []
        return self.published.query(
            """
            with changes as (
              select * from forecast_changes
              where as_of = ? and kind = ? and period = ?
            )
            select deal_key, part, cause, prior_as_of, cast(delta as double) as delta
            from changes
            where prior_as_of = (select max(prior_as_of) from changes)
            order by deal_key, part, cause
            """,
            [now["as_of"], now["kind"], now["period"]],
        )

    def deal_names(self, keys: Sequence[str]) -> Mapping[str, str]:
        """deal_key → name of a few deals."""
        marks = ", ".join("?" for _ in keys)
        rows = self.published.rows("dim_deal", f"deal_key in ({marks})", list(keys)) if keys else []
        return {row["deal_key"]: row["deal_name"] or row["deal_id"] for row in rows}

    @cached_property
    def periods(self) -> Mapping[str, Row]:
        """The periods compared: week (the running one, else the newest) and quarter, of the waterfall."""
        rows = self.published.rows(
            "mart_pipeline_waterfall",
            "segment_type = 'total' and mode = 'net' and scope = 'rolling' "
            "and period_type in ('week', 'quarter') and period_start <= as_of",
            order="period_start desc",
        )
        found: dict[str, Row] = {}
        for row in rows:
            found.setdefault(row["period_type"], row)
        return found

    @cached_property
    def waterfalls(self) -> list[Row]:
        """mart_pipeline_waterfall, mode net and scope rolling, of the periods compared."""
        labels = [row["period"] for row in self.periods.values()]
        if not labels:
            return []
        marks = ", ".join("?" for _ in labels)
        rows = self.published.rows(
            "mart_pipeline_waterfall",
            f"segment_type in ({self._segments}) and mode = 'net' and scope = 'rolling' "
            f"and period_type in ('week', 'quarter') and period in ({marks})",
            labels,
        )
        if self._amounts_have_a_history:
            return rows
        # Amounts that are known from the export's day on would read as if they had been added to old deals.
        return [
            {name: None if name in STEP_AMOUNTS else value for name, value in row.items()} for row in rows
        ]

    @cached_property
    def _amounts_have_a_history(self) -> bool:
        """Whether mart_data_readiness says so of any source; files without that table are believed."""
        rows = self.published.rows(
            "mart_data_readiness",
            "mart = 'mart_pipeline_waterfall' and metric = 'amounts of the waterfall'",
        )
        return not rows or any(row["status"] != "unavailable" for row in rows)

    @cached_property
    def movements(self) -> list[Row]:
        """The largest deals behind each bar, with the columns segment_type, segment, place and deals."""
        if not self.published.has("fct_pipeline_movements", "dim_deal", "dim_owner"):
            return []
        found: list[Row] = []
        for period_type, row in self.periods.items():
            for segment_type in SEGMENTS:
                segment = "'all'" if segment_type == "total" else f"coalesce(moves.{segment_type}, '(none)')"
                found += self.published.query(
                    f"""
                    with moves as (
                      select moves.*, {segment} as segment
                      from fct_pipeline_movements as moves
                      where mode = 'net' and scope = 'rolling' and period_type = ? and period = ?
                        and in_{segment_type} and bucket <> 'fx'
                    ),
                    ranked as (
                      select *,
                        row_number() over (
                          partition by segment, bucket order by abs(amount) desc, deal_key
                        ) as place
                      from moves
                    )
                    select ranked.period_type, ? as segment_type, ranked.segment, ranked.bucket,
                      ranked.amount, ranked.from_amount, ranked.to_amount, ranked.from_stage,
                      ranked.to_stage, ranked.from_close_date, ranked.to_close_date,
                      dim_deal.deal_name, dim_deal.deal_url, ranked.deal_key,
                      owner_before.owner as from_owner, owner_after.owner as to_owner
                    from ranked
                    left join dim_deal on ranked.deal_key = dim_deal.deal_key
                    left join dim_owner as owner_before on ranked.from_owner_key = owner_before.owner_key
                    left join dim_owner as owner_after on ranked.to_owner_key = owner_after.owner_key
                    where place <= ?
                    order by segment, bucket, place
                    """,
                    [period_type, row["period"], segment_type, MOST_DEALS_PER_BAR],
                )
        return found

    @cached_property
    def health(self) -> list[Row]:
        """mart_deal_health of open deals that something is wrong with, beside their chances."""
        if not self.published.has("mart_deal_health"):
            return []
        chances = (
            "select deal_key, p_win_ever, p_slip, open_amount from forecast_deals "
            "where as_of = (select max(as_of) from _publish) "
            "qualify row_number() over (partition by deal_key order by kind desc) = 1"
            if self.published.has("forecast_deals")
            else "select null::varchar as deal_key, null::double as p_win_ever, "
            "null::double as p_slip where false"
        )
        return self.published.query(
            f"""
            with chances as ({chances})
            select health.deal_key, deal_name, deal_url, pipeline, region, team, owner, account, stage,
              close_date, deal_amount, worklist, pace, days_in_stage, reason_text, next_best_fix,
              is_past_due, is_pushed_often, p_win_ever, p_slip,
              -- Most open, and a word with the customer worth most, is what is halfway to won.
              deal_amount * 4 * p_win_ever * (1 - p_win_ever) as stake
            from mart_deal_health as health
            left join chances on health.deal_key = chances.deal_key
            where status = 'open' and (worklist <> 'fine' or is_past_due or is_pushed_often)
            """
        )

    def team_rules(self, team: str, rules: Sequence[str]) -> list[Row]:
        """Open deals of a team that break each rule (a column of mart_deal_health): rule, deals, checked."""
        if not self.published.has("mart_deal_health"):
            return []
        counted = ", ".join(f"count(*) filter (where {rule}), count({rule})" for rule in rules)
        found = self.published.values(
            f"select {counted} from mart_deal_health where status = 'open' and team = ?", [team]
        )
        rows = [
            {"rule": rule, "deals": found[2 * place], "checked": found[2 * place + 1]}
            for place, rule in enumerate(rules)
        ]
        return sorted(rows, key=lambda row: -row["deals"])

    @cached_property
    def conversion(self) -> list[Row]:
        """mart_stage_conversion, how deals left each stage, the last four quarters that are over."""
        return self._rows(
            "mart_stage_conversion",
            "metric = 'stage_conversion_next' and period_type = 'quarter' and is_complete_period "
            "and period in (select distinct period from mart_stage_conversion "
            "where period_type = 'quarter' and is_complete_period order by period desc limit 4)",
            "pipeline, stage_order, stage, period",
        )

    @cached_property
    def durations(self) -> list[Row]:
        """mart_stage_durations of all visits."""
        return self._rows(
            "mart_stage_durations",
            "counted_per = 'visit' and period_type = 'all'",
            "pipeline, stage_order, stage",
        )

    @cached_property
    def bottlenecks(self) -> list[Row]:
        """mart_bottlenecks for the slices."""
        return self._rows("mart_bottlenecks", "true", "z, amount_rank, stage")

    @cached_property
    def other_findings(self) -> list[Row]:
        """Bottlenecks found in products, industries, sources and reps, which no slice shows."""
        where = f"status = 'finding' and segment_type not in ({self._segments})"
        return self.published.rows("mart_bottlenecks", where, order="z")

    @cached_property
    def year(self) -> Row | None:
        """The period of what was won and lost: the fiscal year so far, if it is young the one before."""
        rows = self.published.rows(
            "mart_sales_performance",
            "segment_type = 'total' and period_type in ('year', 'all')",
            order="period_type desc, period_start desc",
        )
        years = [row for row in rows if row["period_type"] == "year" and row["period_start"] <= row["as_of"]]
        told = [row for row in years if row["win_rate_count"] is not None] or rows
        return told[0] if told else None

    def performance(self, segment_type: str, members: Collection[str] | None = None) -> list[Row]:
        """mart_sales_performance of the year for one type, the members that won or closed the most.

        `members`: these alone.
        """
        if self.year is None or (members is not None and not members):
            return []
        named = sorted(members or ())
        among = f" and segment in ({', '.join('?' for _ in named)})" if named else ""
        return self.published.rows(
            "mart_sales_performance",
            f"segment_type = ? and period_type = ? and period = ?{among}",
            [segment_type, self.year["period_type"], self.year["period"], *named],
            f"coalesce(won_amount, 0) desc, deals_won desc, segment limit {MOST_MEMBERS}",
        )

    @cached_property
    def booked(self) -> list[Row]:
        """Bookings per quarter that is over, for the slices."""
        return self._rows(
            "mart_sales_performance",
            "period_type = 'quarter' and is_complete_period and won_amount is not null",
            "period",
        )

    @cached_property
    def losses(self) -> list[Row]:
        """mart_loss_reasons of the year for the slices, by stage and by reason."""
        if self.year is None:
            return []
        return self.published.rows(
            "mart_loss_reasons",
            f"segment_type in ({self._segments}) and breakdown in ('stage', 'reason') "
            "and period_type = ? and period = ? and deals_lost > 0",
            [self.year["period_type"], self.year["period"]],
            "deals_lost desc, item",
        )

    @cached_property
    def same_day_last_quarter(self) -> dict[tuple[str, str], Row]:
        """Open pipeline on the same day of last quarter; regions have no such figure."""
        if not self.published.has("mart_forecast_category_daily", "dim_date"):
            return {}
        rows = self.published.query(
            """
            select segment_type, segment, period_start, sum(category_amount) as amount, sum(deals) as deals
            from mart_forecast_category_daily
            where forecast_category <> 'closed' and segment_type <> 'owner'
              and period_start = (select same_day_last_quarter from dim_date where date_day = ?)
            group by all
            """,
            [self.stamp.as_of],
        )
        return {(row["segment_type"], row["segment"]): row for row in rows}
