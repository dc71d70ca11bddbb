-- Running sums of signed changes. Native amounts are summed per currency and converted at the rate of each day, so a
-- day's figure is the one a query of the open deals at the end of that day gives.
{%- set measures = [
  'deals_open', 'deals_without_amount', 'deals_amount_unknown', 'deals_amount_current', 'deals_without_close_date',
  'deals_without_probability', 'amount_native', 'weighted_native', 'deals_with_list_price', 'list_price_amount'
] %}
{%- set dated_measures = ['deals_open', 'deals_without_amount', 'amount_native'] %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

changes as (
  select * from {{ ref('int_pipeline_delta') }}
),

calendar as (
  select
    date_day,
    day_label,
    quarter_index,
    quarter_start_on,
    quarter_end_on
  from {{ ref('dim_date') }}
),

bounds as (
  select
    context.as_of,
    greatest(min(changes.changed_on), coalesce(context.history_start, min(changes.changed_on))) as first_day
  from context
  cross join changes
  group by context.as_of, context.history_start
),

-- each change, with the days from which it counts as past due and as part of its quarter
placed as (
  select
    changes.*,
    greatest(changes.changed_on, bounds.first_day) as open_from,
    greatest(changes.changed_on, {{ add_days('changes.close_date', 1) }}, bounds.first_day) as past_due_from,
    greatest(changes.changed_on, close_days.quarter_start_on, bounds.first_day) as in_quarter_from,
    close_days.quarter_index,
    close_days.quarter_end_on
  from changes
  cross join bounds
  left join calendar as close_days on changes.close_date = close_days.date_day
),

open_by_day as (
  select
    {%- for measure in measures %}
    sum({{ measure }}) as {{ measure }},
    {%- endfor %}
    stage_key,
    currency,
    open_from as date_day
  from placed
  group by stage_key, currency, open_from
),

past_due_by_day as (
  select
    {%- for measure in dated_measures %}
    sum({{ measure }}) as {{ measure }},
    {%- endfor %}
    stage_key,
    currency,
    past_due_from as date_day
  from placed
  where close_date is not null
  group by stage_key, currency, past_due_from
),

in_quarter_by_day as (
  select
    {%- for measure in dated_measures %}
    sum({{ measure }}) as {{ measure }},
    {%- endfor %}
    stage_key,
    currency,
    quarter_index,
    in_quarter_from as date_day
  from placed
  where in_quarter_from <= quarter_end_on
  group by stage_key, currency, quarter_index, in_quarter_from
),

stages_in_use as (
  select
    source_relation,
    pipeline_key,
    stage_key,
    currency,
    min(open_from) as first_currency_day,
    min(min(open_from)) over (partition by stage_key) as first_day
  from placed
  group by source_relation, pipeline_key, stage_key, currency
),

rates as (
  select
    calendar.date_day,
    fx_rates.currency,
    fx_rates.rate
  from calendar
  cross join bounds
  inner join {{ ref('int_fx_rates') }} as fx_rates
    on calendar.date_day >= fx_rates.valid_from_date
      and calendar.date_day < fx_rates.valid_to_date
  where calendar.date_day between bounds.first_day and bounds.as_of
),

spine as (
  select
    stages_in_use.source_relation,
    stages_in_use.pipeline_key,
    stages_in_use.stage_key,
    stages_in_use.currency,
    calendar.date_day,
    calendar.day_label,
    calendar.quarter_index
  from stages_in_use
  cross join bounds
  inner join calendar on calendar.date_day between stages_in_use.first_day and bounds.as_of
),

running as (
  select
    {%- for measure in measures %}
    sum(coalesce(open_by_day.{{ measure }}, 0)) over so_far as {{ measure }},
    {%- endfor %}
    {%- for measure in dated_measures %}
    sum(coalesce(past_due_by_day.{{ measure }}, 0)) over so_far as past_due_{{ measure }},
    sum(coalesce(in_quarter_by_day.{{ measure }}, 0)) over so_far_in_quarter as in_quarter_{{ measure }},
    {%- endfor %}
    spine.source_relation,
    spine.pipeline_key,
    spine.stage_key,
    spine.currency,
    spine.date_day,
    spine.day_label
  from spine
  left join open_by_day
    on spine.stage_key = open_by_day.stage_key
      and spine.currency = open_by_day.currency
      and spine.date_day = open_by_day.date_day
  left join past_due_by_day
    on spine.stage_key = past_due_by_day.stage_key
      and spine.currency = past_due_by_day.currency
      and spine.date_day = past_due_by_day.date_day
  left join in_quarter_by_day
    on spine.stage_key = in_quarter_by_day.stage_key
      and spine.currency = in_quarter_by_day.currency
      and spine.date_day = in_quarter_by_day.date_day
      and spine.quarter_index = in_quarter_by_day.quarter_index
  window
    so_far as (partition by spine.stage_key, spine.currency order by spine.date_day),
    so_far_in_quarter as (partition by spine.stage_key, spine.currency, spine.quarter_index order by spine.date_day)
),

by_stage as (
  select
    running.source_relation,
    running.pipeline_key,
    running.stage_key,
    running.date_day,
    running.day_label,
    cast(sum(running.deals_open) as bigint) as deals_open,
    cast(sum(running.deals_without_amount) as bigint) as deals_without_amount,
    cast(sum(running.deals_amount_unknown) as bigint) as deals_amount_unknown,
    cast(sum(running.deals_amount_current) as bigint) as deals_amount_current,
    cast(sum(case when rates.rate is null then running.deals_open - running.deals_without_amount else 0 end) as bigint) as deals_without_rate,
    cast(sum(running.deals_without_close_date) as bigint) as deals_without_close_date,
    cast(sum(running.deals_without_probability) as bigint) as deals_without_probability,
    cast(sum(case when rates.rate is not null then running.deals_open - running.deals_without_amount else 0 end) as bigint) as deals_priced,
    cast(sum(case when rates.rate is not null then running.deals_open - running.deals_without_amount - running.deals_without_probability else 0 end) as bigint) as deals_weighted,
    cast(sum(running.past_due_deals_open) as bigint) as deals_past_due,
    cast(sum(case when rates.rate is not null then running.past_due_deals_open - running.past_due_deals_without_amount else 0 end) as bigint) as deals_past_due_priced,
    cast(sum(running.in_quarter_deals_open) as bigint) as deals_in_quarter,
    cast(sum(case when rates.rate is not null then running.in_quarter_deals_open - running.in_quarter_deals_without_amount else 0 end) as bigint) as deals_in_quarter_priced,
    coalesce(sum(running.amount_native * rates.rate), 0) as open_amount,
    coalesce(sum(running.weighted_native * rates.rate), 0) as weighted_amount,
    cast(sum(running.deals_with_list_price) as bigint) as deals_with_list_price,
    cast(sum(running.list_price_amount) as decimal(38, 3)) as list_price_amount,
    coalesce(sum(running.past_due_amount_native * rates.rate), 0) as past_due_amount,
    coalesce(sum(running.in_quarter_amount_native * rates.rate), 0) as in_quarter_amount
  from running
  left join rates
    on running.currency = rates.currency
      and running.date_day = rates.date_day
  group by running.source_relation, running.pipeline_key, running.stage_key, running.date_day, running.day_label
),

stages as (
  select * from {{ ref('dim_stage') }}
),

-- a stage counts as qualified where it comes at or after the configured one in its own pipeline
qualified as (
  select
    stages.pipeline_key,
    min(stages.stage_order) as qualified_order
  from stages
  cross join context
  where context.qualified_stage in (stages.stage, stages.stage_id)
  group by stages.pipeline_key
),

-- how long is too long is known for the newest day only: limits of today would tell of past days what nobody knew
dead as (
  select
    deals.stage_key,
    count(*) as deals_dead,
    sum(deals.amount_base) as dead_amount
  from {{ ref('int_hygiene_checks') }} as health
  inner join {{ ref('fct_deals') }} as deals on health.deal_key = deals.deal_key
  where health.pace = 'dead'
  group by deals.stage_key
),

final as (
  select
    'day' as period_type,
    by_stage.day_label as period,
    by_stage.date_day as period_start,
    by_stage.date_day as period_end,
    by_stage.date_day <= context.as_of as is_complete_period,
    case when by_stage.date_day < history.full_from_on then 'left_truncated' else 'full' end as history_status,
    by_stage.source_relation,
    stages.pipeline_id,
    by_stage.pipeline_key,
    pipelines.pipeline,
    stages.stage_id,
    by_stage.stage_key,
    stages.stage,
    stages.stage_order,
    stages.stage_order >= qualified.qualified_order as is_qualified_stage,
    by_stage.deals_open,
    by_stage.deals_without_amount,
    by_stage.deals_amount_unknown,
    by_stage.deals_without_rate,
    by_stage.deals_without_close_date,
    by_stage.deals_without_probability,
    by_stage.deals_priced as amount_known_numerator,
    by_stage.deals_open as amount_known_denominator,
    {{ safe_rate('by_stage.deals_priced', 'by_stage.deals_open') }} as amount_known_rate,
    case
      when by_stage.deals_open > 0 and by_stage.deals_without_amount = by_stage.deals_open then 'none'
      when by_stage.deals_amount_unknown > 0 or by_stage.deals_amount_current > 0 then 'current_values'
      else 'history'
    end as amount_asof_quality,
    case
      when by_stage.deals_priced > 0 or by_stage.deals_open = 0 then cast(by_stage.open_amount as decimal(38, 3))
    end as open_amount,
    case when context.estimate_open_amounts then by_stage.deals_with_list_price end as deals_estimated,
    case when context.estimate_open_amounts then by_stage.list_price_amount end as list_price_estimate_amount,
    case
      when by_stage.deals_weighted > 0 or by_stage.deals_open = 0 then cast(by_stage.weighted_amount as decimal(38, 3))
    end as weighted_amount,
    case
      when by_stage.deals_open = 0 or by_stage.deals_open > by_stage.deals_without_close_date then by_stage.deals_in_quarter
    end as deals_in_quarter,
    case
      when by_stage.deals_open > 0 and by_stage.deals_open = by_stage.deals_without_close_date then null
      when by_stage.deals_in_quarter_priced > 0 or by_stage.deals_in_quarter = 0 then cast(by_stage.in_quarter_amount as decimal(38, 3))
    end as in_quarter_amount,
    case
      when by_stage.deals_open = 0 or by_stage.deals_open > by_stage.deals_without_close_date then by_stage.deals_past_due
    end as deals_past_due,
    case
      when by_stage.deals_open > 0 and by_stage.deals_open = by_stage.deals_without_close_date then null
      when by_stage.deals_past_due_priced > 0 or by_stage.deals_past_due = 0 then cast(by_stage.past_due_amount as decimal(38, 3))
    end as past_due_amount,
    case when by_stage.date_day = context.as_of then coalesce(dead.deals_dead, 0) end as deals_dead,
    cast(case
      when by_stage.date_day = context.as_of then case when dead.stage_key is null then 0 else dead.dead_amount end
    end as decimal(38, 3)) as dead_amount,
    context.definition_version
  from by_stage
  cross join context
  inner join stages on by_stage.stage_key = stages.stage_key
  inner join {{ ref('dim_pipeline') }} as pipelines on by_stage.pipeline_key = pipelines.pipeline_key
  inner join {{ ref('int_source_history') }} as history on by_stage.source_relation = history.source_relation
  left join qualified on by_stage.pipeline_key = qualified.pipeline_key
  left join dead on by_stage.stage_key = dead.stage_key
)

select * from final
