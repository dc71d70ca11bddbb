-- Which stages lose or hold the most, and which got worse by more than chance. Two families of tests at 2.5 % each, so that
-- the many segments do not drown the stages as a whole; inside a family by Holm (1979, Scand. J. Statist. 6, 65-70), which
-- needs no assumption on how the tests hang together: an owner's deals are also in the team's, and in the total.
{%- set cell = 'source_relation, stage_key, segment_type, segment' %}
{%- set text = dbt.type_string() %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

stages as (
  select
    stages.*,
    pipelines.pipeline
  from {{ ref('dim_stage') }} as stages
  inner join {{ ref('dim_pipeline') }} as pipelines on stages.pipeline_key = pipelines.pipeline_key
  where stages.is_open
),

-- what was lost from a stage in the window (ever, where there is none yet), and what stands in it now
at_stake as (
  select
    'conversion' as measure,
    deals.source_relation,
    deals.stage_lost_at_key as stage_key,
    deals.deal_key,
    deals.amount_base
  from {{ ref('fct_deals') }} as deals
  left join {{ ref('int_comparison_windows') }} as windows on deals.source_relation = windows.source_relation
  where deals.status = 'lost'
    and not deals.is_deleted
    and deals.excluded_by is null
    and deals.closed_on between coalesce(windows.recent_from, deals.closed_on) and coalesce(windows.recent_to, deals.closed_on)
  union all
  select
    'time_in_stage' as measure,
    source_relation,
    stage_key,
    deal_key,
    amount_base
  from {{ ref('fct_deals') }}
  where status = 'open'
    and not is_deleted
    and excluded_by is null
),

stakes as (
  select
    at_stake.measure,
    at_stake.source_relation,
    at_stake.stage_key,
    segments.segment_type,
    segments.segment,
    count(*) as deals_at_stake,
    count(case when at_stake.amount_base is null then 1 end) as deals_at_stake_without_amount,
    cast(sum(at_stake.amount_base) as decimal(38, 3)) as at_stake_amount
  from at_stake
  inner join {{ ref('int_deal_segments') }} as segments on at_stake.deal_key = segments.deal_key
  where segments.is_counted
    and segments.segment_type in ('total', 'owner', 'team', 'region', 'product', 'industry', 'source')
  group by at_stake.measure, at_stake.source_relation, at_stake.stage_key, segments.segment_type, segments.segment
),

shifts as (
  select * from {{ ref('int_stage_shifts') }}
),

cells as (
  select measure, {{ cell }} from stakes
  union
  select measure, {{ cell }} from shifts
),

measured as (
  select
    cells.*,
    stages.pipeline_id,
    stages.pipeline_key,
    stages.pipeline,
    stages.stage_id,
    stages.stage,
    stages.stage_order,
    windows.before_from,
    windows.before_to,
    windows.recent_from,
    windows.recent_to,
    windows.recent_from_quarter,
    windows.recent_to_quarter,
    windows.quarters_compared,
    coalesce(shifts.recent_deals, 0) as deals_seen,
    coalesce(shifts.recent_moved, 0) as deals_moved,
    coalesce(shifts.before_deals, 0) as deals_seen_before,
    coalesce(shifts.before_moved, 0) as deals_moved_before,
    shifts.recent_median_days as median_days,
    shifts.before_median_days as median_days_before,
    shifts.expected_moved as deals_moved_expected,
    shifts.z,
    shifts.effect,
    shifts.effect_variance,
    shifts.effect_weight,
    coalesce(stakes.deals_at_stake, 0) as deals_at_stake,
    coalesce(stakes.deals_at_stake_without_amount, 0) as deals_at_stake_without_amount,
    coalesce(stakes.at_stake_amount, case when coalesce(stakes.deals_at_stake, 0) = 0 then 0 end) as at_stake_amount,
    case
      when windows.source_relation is null then 'no_history'
      when cells.segment = '(none)' then 'not_tested'
      when coalesce(shifts.recent_deals, 0) < context.min_sample
        or coalesce(shifts.before_deals, 0) < context.min_sample
        or coalesce(shifts.least_expected, 0) < 5
        or shifts.z is null
        then 'too_few_deals'
    end as not_tested_reason,
    case when cells.segment_type = 'total' then 'stages' else 'segments' end as family,
    context.currency,
    context.as_of,
    context.definition_version
  from cells
  cross join context
  inner join stages on cells.stage_key = stages.stage_key
  left join {{ ref('int_comparison_windows') }} as windows on cells.source_relation = windows.source_relation
  left join shifts
    on cells.measure = shifts.measure
      and cells.source_relation = shifts.source_relation
      and cells.stage_key = shifts.stage_key
      and cells.segment_type = shifts.segment_type
      and cells.segment = shifts.segment
  left join stakes
    on cells.measure = stakes.measure
      and cells.source_relation = stakes.source_relation
      and cells.stage_key = stakes.stage_key
      and cells.segment_type = stakes.segment_type
      and cells.segment = stakes.segment
),

-- Holm: the strongest change is tested against all of them, the next against the rest, until one fails
ordered as (
  select
    *,
    not_tested_reason is null as is_tested,
    row_number() over (
      partition by family, not_tested_reason is null
      order by abs(z) desc nulls last, measure, {{ cell }}
    ) as strongest_first,
    count(case when not_tested_reason is null then 1 end) over (partition by family) as cells_tested,
    sum(effect_weight) over others - effect_weight as others_weight,
    sum(effect_weight * effect) over others - effect_weight * effect as others_effect,
    sum(effect_weight * effect_weight * effect_variance) over others
    - effect_weight * effect_weight * effect_variance as others_variance,
    sum(deals_moved) over others - deals_moved as others_moved,
    sum(deals_moved_expected) over others - deals_moved_expected as others_expected,
    rank() over (
      partition by measure, pipeline_key, segment_type, segment
      order by at_stake_amount desc nulls last, deals_at_stake desc, stage_order
    ) as amount_rank,
    sum(at_stake_amount) over others as pipeline_amount
  from measured
  window others as (
    partition by measure, pipeline_key, segment_type, segment
    order by stage_key
    rows between unbounded preceding and unbounded following
  )
),

tested as (
  select
    *,
    case when is_tested then {{ corrected_critical_z('2 * (cells_tested - strongest_first + 1)') }} end as z_needed,
    case
      when others_weight > 0 and others_variance > 0 and effect_variance > 0
        then (effect - others_effect / others_weight) / sqrt(effect_variance + others_variance / (others_weight * others_weight))
    end as z_against_other_stages
  from ordered
),

judged as (
  select
    *,
    case
      when not is_tested then not_tested_reason
      when max(case when abs(z) > z_needed then 0 else 1 end) over stronger = 1 then 'within_noise'
      when z < 0 then 'finding'
      else 'improved'
    end as status
  from tested
  window stronger as (
    partition by family, is_tested
    order by strongest_first
    rows between unbounded preceding and current row
  )
),

worded as (
  select
    *,
    concat(
      stage, ' (', pipeline, case when segment_type = 'total' then '' else concat(', ', replace(segment_type, '_', ' '), ' ', segment) end, ')'
    ) as place,
    concat(cast(deals_moved as {{ text }}), ' of the ', cast(deals_seen as {{ text }})) as moved_of_seen,
    case
      when recent_from_quarter = recent_to_quarter then recent_from_quarter
      else concat(recent_from_quarter, ' to ', recent_to_quarter)
    end as recent_quarters,
    concat(
      cast(quarters_compared as {{ text }}), case when quarters_compared = 1 then ' quarter before' else ' quarters before' end
    ) as quarters_before,
    concat(
      case measure when 'conversion' then ' Lost there in that time: ' else ' Standing there now: ' end,
      cast(deals_at_stake as {{ text }}), case when deals_at_stake = 1 then ' deal' else ' deals' end,
      case
        when abs(at_stake_amount) >= 1000000 and deals_at_stake > deals_at_stake_without_amount
          then concat(', worth ', currency, ' ', cast(cast(at_stake_amount / 1000000 as decimal(18, 2)) as {{ text }}), ' million')
        when deals_at_stake > deals_at_stake_without_amount
          then concat(', worth ', currency, ' ', cast(cast(round(at_stake_amount) as bigint) as {{ text }}))
        else ''
      end, '.'
    ) as stake_text
  from judged
),

final as (
  select
    worded.measure,
    worded.source_relation,
    worded.pipeline_id,
    worded.pipeline_key,
    worded.pipeline,
    worded.stage_id,
    worded.stage_key,
    worded.stage,
    worded.stage_order,
    worded.segment_type,
    worded.segment,
    worded.status,
    cast(worded.amount_rank as int) as amount_rank,
    worded.deals_at_stake,
    worded.deals_at_stake_without_amount,
    worded.at_stake_amount,
    {{ safe_rate('worded.at_stake_amount', 'worded.pipeline_amount') }} as share_of_pipeline_amount,
    worded.recent_from,
    worded.recent_to,
    worded.before_from,
    worded.before_to,
    worded.quarters_compared,
    mod(worded.quarters_compared, 4) = 0 as is_season_balanced,
    worded.deals_seen,
    worded.deals_moved,
    worded.deals_seen_before,
    worded.deals_moved_before,
    worded.deals_moved_expected,
    case when worded.measure = 'conversion' and worded.not_tested_reason is null then {{ safe_rate('worded.deals_moved', 'worded.deals_seen') }} end as conversion_rate,
    case when worded.measure = 'conversion' then {{ wilson_low('worded.deals_moved', 'worded.deals_seen') }} end as rate_low,
    case when worded.measure = 'conversion' then {{ wilson_high('worded.deals_moved', 'worded.deals_seen') }} end as rate_high,
    case when worded.measure = 'conversion' and worded.not_tested_reason is null then {{ safe_rate('worded.deals_moved_before', 'worded.deals_seen_before') }} end as conversion_rate_before,
    case when worded.not_tested_reason is null then worded.median_days end as median_days,
    case when worded.not_tested_reason is null then worded.median_days_before end as median_days_before,
    worded.z,
    worded.z_needed,
    worded.cells_tested,
    worded.z_against_other_stages,
    {{ safe_rate('worded.others_moved', 'worded.others_expected') }} as other_stages_moved_to_expected,
    case worded.status
      when 'no_history' then concat('Nothing to compare with yet: ', worded.place, ' needs five quarters of whole history.', worded.stake_text)
      when 'not_tested' then concat('Not tested, because deals without a recorded ', replace(worded.segment_type, '_', ' '), ' are often the young or the lost ones: ', worded.place, '.', worded.stake_text)
      when 'too_few_deals' then concat('Too few deals to tell: ', worded.place, ' had ', cast(worded.deals_seen as {{ text }}), ' in the last four quarters and ', cast(worded.deals_seen_before as {{ text }}), ' in those before.', worded.stake_text)
      else concat(
        case
          when worded.status = 'within_noise' then concat('Within noise: ', worded.place, '. ')
          when worded.measure = 'conversion' then concat(case when worded.status = 'finding' then 'Fewer' else 'More' end, ' deals go on from ', worded.place, '. ')
          else concat('Deals leave ', worded.place, case when worded.status = 'finding' then ' more slowly. ' else ' more quickly. ' end)
        end,
        case worded.measure
          when 'conversion' then concat(
            'In ', worded.recent_quarters, ' ', worded.moved_of_seen, ' deals decided there went on (',
            cast(cast(round(100e0 * worded.deals_moved / worded.deals_seen) as int) as {{ text }}), ' %); in the ',
            worded.quarters_before, ' ', cast(worded.deals_moved_before as {{ text }}), ' of ', cast(worded.deals_seen_before as {{ text }}),
            ' (', cast(cast(round(100e0 * worded.deals_moved_before / worded.deals_seen_before) as int) as {{ text }}), ' %), by which ',
            cast(cast(round(worded.deals_moved_expected) as bigint) as {{ text }}), ' would have gone on.'
          )
          else concat(
            'In ', worded.recent_quarters, ' half of the deals left it within ', coalesce(concat(cast(cast(worded.median_days as int) as {{ text }}), ' days'), 'a time not over yet'),
            ' (', worded.moved_of_seen, ' that were there have left); in the ', worded.quarters_before, ' within ',
            coalesce(concat(cast(cast(worded.median_days_before as int) as {{ text }}), ' days'), 'a time not over then'),
            ' (', cast(worded.deals_moved_before as {{ text }}), ' of ', cast(worded.deals_seen_before as {{ text }}), ').'
          )
        end,
        case
          when worded.status = 'within_noise' or worded.z_against_other_stages is null then ''
          when abs(worded.z_against_other_stages) > 1.96 and worded.z_against_other_stages * worded.z > 0
            then ' The other stages of the pipeline did not change like that.'
          else ' The other stages of the pipeline may have changed in the same way.'
        end,
        case when mod(worded.quarters_compared, 4) <> 0 and worded.status <> 'within_noise' then ' With less than a year to compare with, it may be the season.' else '' end,
        worded.stake_text
      )
    end as in_words,
    worded.as_of,
    worded.definition_version
  from worded
)

select * from final
