-- A field that is filled in when a deal closes, and shown at its earlier days too, tells the outcome and was not known then. Two
-- comparisons must both say so: of deals open on a past day, those that closed since had it far more often than those still
-- open; and the book of today has it less often than the book of then, as much as deals that have not closed yet explain. The
-- second keeps deals apart that close because they are worked on, amount and all: such books are alike then and now.
-- Each deal is compared with those in its stage and of its age. Past days are chosen by how many deals they compare alone.
{%- set fields = ['amount', 'close_date'] %}
{#- standard errors that chance does not bring: one comparison in thirty thousand #}
{%- set beyond_chance = '4e0' %}
{#- keys are hashes, even in all their digits: of a large ledger the deals with the least ones tell as much #}
{%- set enough_deals = 50000 %}
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

sample as (
  select
    case
      {%- for first_key in ['g', '8', '4', '2', '1', '08', '04'] %}
      when count(*) <= {{ enough_deals * 2 ** loop.index0 }} then '{{ first_key }}'
      {%- endfor %}
      else '02'
    end as keys_before
  from {{ ref('dim_deal') }}
),

looks as (
  select
    0 as look_number,
    as_of as looked_on
  from context
  {%- for days_back in [28, 56, 112, 224, 448] %}
  union all
  select
    {{ loop.index }} as look_number,
    {{ add_days('as_of', -days_back) }} as looked_on
  from context
  {%- endfor %}
),

visible as (
  select
    {{ number_of_key('deal_key') }} as deal_number,
    source_relation,
    stage_key,
    version_number,
    valid_from_date,
    valid_to_date,
    case
      when is_deleted or merged_into_deal_id is not null or excluded_by is not null then 'left out'
      when status in ('won', 'lost') then 'closed'
      else status
    end as state,
    amount_asof_quality = 'history' as has_amount_history,
    close_date_asof_quality = 'history' as has_close_date_history,
    case when amount_asof_quality = 'history' and amount_base > 0 then 1 else 0 end as has_amount,
    case when close_date_asof_quality = 'history' and close_date is not null then 1 else 0 end as has_close_date
  from {{ ref('fct_deal_versions') }} as versions
  inner join sample on versions.deal_key < sample.keys_before
),

open_deals as (
  select
    looks.look_number,
    looks.looked_on,
    visible.*
  from looks
  inner join visible
    on looks.looked_on >= visible.valid_from_date
      and (looks.looked_on < visible.valid_to_date or visible.valid_to_date is null)
  where visible.state = 'open'
),

first_days as (
  select
    deal_number,
    valid_from_date as first_on
  from visible
  where version_number = 1
),

fates as (
  select
    visible.deal_number,
    visible.state
  from visible
  cross join context
  where visible.valid_from_date <= context.as_of
    and (visible.valid_to_date is null or visible.valid_to_date > context.as_of)
),

cells as (
  select
    open_deals.source_relation,
    open_deals.look_number,
    open_deals.looked_on,
    open_deals.stage_key,
    {{ weeks_class('floor(' ~ days_between('first_days.first_on', 'open_deals.looked_on') ~ ' / 7.0e0)') }} as age_class,
    coalesce(fates.state, 'left out') as fate,
    {%- for field in fields %}
    cast(sum(case when open_deals.has_{{ field }}_history then 1 else 0 end) as double) as deals_{{ field }},
    cast(sum(open_deals.has_{{ field }}) as double) as filled_{{ field }}{{ ',' if not loop.last }}
    {%- endfor %}
  from open_deals
  inner join first_days on open_deals.deal_number = first_days.deal_number
  left join fates on open_deals.deal_number = fates.deal_number
  group by
    open_deals.source_relation,
    open_deals.look_number,
    open_deals.looked_on,
    open_deals.stage_key,
    {{ weeks_class('floor(' ~ days_between('first_days.first_on', 'open_deals.looked_on') ~ ' / 7.0e0)') }},
    coalesce(fates.state, 'left out')
),

of_fields as (
  {%- for field in fields %}
  select
    source_relation,
    '{{ field }}' as field_name,
    look_number,
    looked_on,
    stage_key,
    age_class,
    fate,
    deals_{{ field }} as deals,
    filled_{{ field }} as filled
  from cells
  where deals_{{ field }} > 0
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

sizes as (
  select
    source_relation,
    field_name,
    look_number,
    looked_on,
    least(sum(case when fate = 'closed' then deals else 0e0 end), sum(case when fate = 'open' then deals else 0e0 end)) as fewer_deals
  from of_fields
  where look_number > 0
  group by source_relation, field_name, look_number, looked_on
),

chosen as (
  select
    source_relation,
    field_name,
    look_number,
    looked_on
  from (
    select
      sizes.*,
      row_number() over (partition by source_relation, field_name order by fewer_deals desc, look_number) as place
    from sizes
    where fewer_deals > 0
  ) as ranked
  where place = 1
),

-- side 1 is where a leak shows the field: deals that have closed since, and the book of then
sides as (
  select
    chosen.source_relation,
    chosen.field_name,
    chosen.looked_on,
    'by fate' as comparison,
    cells.stage_key,
    cells.age_class,
    case when cells.fate = 'closed' then 1 else 0 end as side,
    cells.deals,
    cells.filled
  from chosen
  inner join of_fields as cells
    on chosen.source_relation = cells.source_relation
      and chosen.field_name = cells.field_name
      and chosen.look_number = cells.look_number
  where cells.fate in ('closed', 'open')
  union all
  select
    chosen.source_relation,
    chosen.field_name,
    chosen.looked_on,
    'by day' as comparison,
    cells.stage_key,
    cells.age_class,
    case when cells.look_number = 0 then 0 else 1 end as side,
    cells.deals,
    cells.filled
  from chosen
  inner join of_fields as cells
    on chosen.source_relation = cells.source_relation
      and chosen.field_name = cells.field_name
      and cells.look_number in (0, chosen.look_number)
),

strata as (
  select
    source_relation,
    field_name,
    looked_on,
    comparison,
    stage_key,
    age_class,
    sum(case when side = 1 then deals else 0e0 end) as deals,
    sum(case when side = 0 then deals else 0e0 end) as other_deals,
    sum(case when side = 1 then filled else 0e0 end) as filled,
    sum(case when side = 0 then filled else 0e0 end) as other_filled
  from sides
  group by source_relation, field_name, looked_on, comparison, stage_key, age_class
),

weighted as (
  select
    *,
    deals * other_deals / (deals + other_deals) as weight,
    (filled + other_filled) / (deals + other_deals) as pooled_share
  from strata
  where deals > 0
    and other_deals > 0
),

-- shares of both sides with the weights of Cochran, 1954: Some methods for strengthening the common chi-square tests
compared as (
  select
    source_relation,
    field_name,
    looked_on,
    comparison,
    sum(deals) as deals,
    sum(other_deals) as other_deals,
    sum(weight * filled / deals) / sum(weight) as share,
    sum(weight * other_filled / other_deals) / sum(weight) as other_share,
    case
      when sum(weight * pooled_share * (1e0 - pooled_share)) > 0
        then sum(weight * (filled / deals - other_filled / other_deals)) / sqrt(sum(weight * pooled_share * (1e0 - pooled_share)))
      else 0e0
    end as standard_errors
  from weighted
  group by source_relation, field_name, looked_on, comparison
),

side_by_side as (
  select
    by_fate.source_relation,
    by_fate.field_name,
    by_fate.looked_on,
    by_fate.deals as deals_closed,
    by_fate.other_deals as deals_still_open,
    by_fate.share as share_closed,
    by_fate.other_share as share_still_open,
    by_fate.standard_errors as standard_errors_by_fate,
    by_day.share as share_then,
    by_day.other_share as share_now,
    by_day.standard_errors as standard_errors_by_day
  from compared as by_fate
  left join compared as by_day
    on by_fate.source_relation = by_day.source_relation
      and by_fate.field_name = by_day.field_name
      and by_day.comparison = 'by day'
  where by_fate.comparison = 'by fate'
),

final as (
  select
    source_relation,
    field_name,
    looked_on,
    cast(deals_closed as bigint) as deals_closed,
    cast(deals_still_open as bigint) as deals_still_open,
    cast(share_closed as double) as share_closed,
    cast(share_still_open as double) as share_still_open,
    cast(standard_errors_by_fate as double) as standard_errors_by_fate,
    cast(share_then as double) as share_then,
    cast(share_now as double) as share_now,
    cast(standard_errors_by_day as double) as standard_errors_by_day,
    coalesce(
      standard_errors_by_fate >= {{ beyond_chance }}
      and share_still_open <= share_closed / 2e0
      and standard_errors_by_day >= {{ beyond_chance }}
      and share_now <= (share_then + share_still_open) / 2e0,
      false
    ) as is_refused
  from side_by_side
)

select * from final
