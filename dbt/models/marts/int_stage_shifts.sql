-- How each open stage did in the last four quarters, and how it would have done as in the quarters before. Each deal counts
-- once per stage. conversion: the first time it was decided there, by the day of the decision. time_in_stage: its first
-- visit, day by day: the part of a visit that lies in a window counts there, at the ages the visit had then, so that visits
-- that go on, and visits that began before, count for what was seen of them. Log-rank test: Mantel (1966), with late entry.
{%- set cell = 'source_relation, stage_key, segment_type, segment' %}
with windows as (
  select * from {{ ref('int_comparison_windows') }}
),

segments as (
  select
    deal_key,
    segment_type,
    segment
  from {{ ref('int_deal_segments') }}
  where segment_type in ('region', 'product', 'industry', 'source')
    and is_counted
),

visits as (
  select
    *,
    row_number() over (partition by deal_key, stage_key order by visit_seq) as visit_number,
    case
      when not is_left or is_bulk_exit then null
      when exit_type in ('forward', 'skip', 'won') then 1
      when exit_type = 'lost' then 0
    end as went_on
  from {{ ref('int_open_visits') }}
),

decided as (
  select
    *,
    row_number() over (partition by deal_key, stage_key order by visit_seq) as decision_number
  from visits
  where went_on is not null
),

decisions as (
  select
    decided.deal_key,
    decided.source_relation,
    decided.stage_key,
    decided.owner_key,
    decided.exited_on >= windows.recent_from as is_recent,
    decided.went_on,
    cast(null as int) as from_age,
    cast(null as int) as to_age,
    cast(null as int) as exits
  from decided
  inner join windows on decided.source_relation = windows.source_relation
  where decided.decision_number = 1
    and decided.exited_on between windows.before_from and windows.recent_to
),

first_visits as (
  select
    visits.*,
    windows.before_from,
    windows.before_to,
    windows.recent_from,
    windows.recent_to,
    coalesce(visits.exited_on, windows.recent_to) as seen_to
  from visits
  inner join windows on visits.source_relation = windows.source_relation
  where visits.visit_number = 1
    and not visits.is_entry_unknown
    and not visits.is_bulk_entry
),

spells as (
  {%- for window, is_recent in [('before', 'false'), ('recent', 'true')] %}
  select
    deal_key,
    source_relation,
    stage_key,
    owner_key,
    {{ is_recent }} as is_recent,
    cast(null as int) as went_on,
    cast({{ days_between('entered_on', 'greatest(entered_on, ' ~ window ~ '_from)') }} as int) as from_age,
    cast({{ days_between('entered_on', 'least(seen_to, ' ~ window ~ '_to)') }} as int) as to_age,
    case when is_left and not is_bulk_exit and exited_on <= {{ window }}_to then 1 else 0 end as exits
  from first_visits
  where entered_on <= {{ window }}_to
    and seen_to >= {{ window }}_from
  {%- if not loop.last %}
  union all
  {%- endif %}
  {%- endfor %}
),

counted as (
  select * from decisions
  union all
  select * from spells
),

members as (
  select
    counted.*,
    'total' as segment_type,
    'all' as segment
  from counted
  {%- for segment_type in ['owner', 'team'] %}
  union all
  select
    counted.*,
    '{{ segment_type }}' as segment_type,
    owners.{{ segment_type }} as segment
  from counted
  inner join {{ ref('dim_owner') }} as owners on counted.owner_key = owners.owner_key
  {%- endfor %}
  union all
  select
    counted.*,
    segments.segment_type,
    segments.segment
  from counted
  inner join segments on counted.deal_key = segments.deal_key
),

conversions as (
  select
    {{ cell }},
    count(case when is_recent then 1 end) as recent_deals,
    count(case when is_recent and went_on = 1 then 1 end) as recent_moved,
    count(case when not is_recent then 1 end) as before_deals,
    count(case when not is_recent and went_on = 1 then 1 end) as before_moved
  from members
  where went_on is not null
  group by {{ cell }}
),

spell_counts as (
  select
    {{ cell }},
    count(case when is_recent then 1 end) as recent_deals,
    sum(case when is_recent then exits else 0 end) as recent_moved,
    count(case when not is_recent then 1 end) as before_deals,
    sum(case when not is_recent then exits else 0 end) as before_moved
  from members
  where exits is not null
  group by {{ cell }}
),

ages as (
  select
    {{ cell }},
    is_recent,
    from_age as age_days,
    1 as joining,
    0 as leaving,
    0 as exits
  from members
  where exits is not null
  union all
  select
    {{ cell }},
    is_recent,
    to_age as age_days,
    0 as joining,
    1 as leaving,
    exits
  from members
  where exits is not null
),

by_age as (
  select
    {{ cell }},
    age_days,
    {%- for window, condition in [('recent', 'is_recent'), ('before', 'not is_recent')] %}
    sum(case when {{ condition }} then joining else 0 end) as {{ window }}_joining,
    sum(case when {{ condition }} then leaving else 0 end) as {{ window }}_leaving,
    sum(case when {{ condition }} then exits else 0 end) as {{ window }}_exits{{ ',' if not loop.last }}
    {%- endfor %}
  from ages
  group by {{ cell }}, age_days
),

-- who joins at an age is at risk at that age, and so is who leaves at it
at_risk as (
  select
    *,
    cast(recent_exits + before_exits as double) as exits,
    cast(sum(recent_joining - recent_leaving) over younger + recent_leaving as double) as recent_at_risk,
    cast(sum(before_joining - before_leaving) over younger + before_leaving as double) as before_at_risk
  from by_age
  window younger as (
    partition by {{ cell }}
    order by age_days
    rows between unbounded preceding and current row
  )
),

paces as (
  select
    {{ cell }},
    -- exact sums: a sum of doubles depends on the order of the rows
    cast(sum(cast(exits * recent_at_risk / (recent_at_risk + before_at_risk) as decimal(28, 12))) as double) as expected,
    cast(sum(cast(case
      when recent_at_risk + before_at_risk > 1
        then exits * recent_at_risk * before_at_risk * (recent_at_risk + before_at_risk - exits)
          / ((recent_at_risk + before_at_risk) * (recent_at_risk + before_at_risk) * (recent_at_risk + before_at_risk - 1e0))
      else 0e0
    end as decimal(28, 12))) as double) as variance
  from at_risk
  where exits > 0
  group by {{ cell }}
),

{%- for window in ['recent', 'before'] %}
{{ window }}_stays as (
  select
    {{ cell }},
    min(case when log_survival <= ln(0.5e0) + 1e-9 then age_days end) as median_days
  from (
    select
      *,
      sum(case
        when {{ window }}_exits >= {{ window }}_at_risk then -1e9
        else ln(1e0 - {{ window }}_exits / {{ window }}_at_risk)
      end) over (partition by {{ cell }} order by age_days rows between unbounded preceding and current row) as log_survival
    from at_risk
    where {{ window }}_exits > 0
  ) as {{ window }}_steps
  group by {{ cell }}
),
{%- endfor %}

final as (
  select
    'conversion' as measure,
    {{ cell }},
    recent_deals,
    recent_moved,
    before_deals,
    before_moved,
    cast(null as double) as recent_median_days,
    cast(null as double) as before_median_days,
    -- what the quarters before would have made of the recent deals
    cast(recent_deals as double) * before_moved / nullif(before_deals, 0) as expected_moved,
    -- both sides need five expected in each cell, or the normal approximation does not hold
    {{ two_proportion_z('recent_moved', 'recent_deals', 'before_moved', 'before_deals') }} as z,
    least(
      cast(recent_moved + before_moved as double), cast(recent_deals - recent_moved + before_deals - before_moved as double)
    ) * least(recent_deals, before_deals) / (recent_deals + before_deals) as least_expected,
    cast(recent_moved as double) / nullif(recent_deals, 0) - cast(before_moved as double) / nullif(before_deals, 0) as effect,
    cast(recent_moved + before_moved as double) / (recent_deals + before_deals)
    * (1e0 - cast(recent_moved + before_moved as double) / (recent_deals + before_deals))
    * (1e0 / nullif(recent_deals, 0) + 1e0 / nullif(before_deals, 0)) as effect_variance,
    cast(recent_deals as double) as effect_weight
  from conversions
  union all
  select
    'time_in_stage' as measure,
    {% for column in cell.split(', ') %}spell_counts.{{ column }}, {% endfor %}
    spell_counts.recent_deals,
    cast(spell_counts.recent_moved as bigint) as recent_moved,
    spell_counts.before_deals,
    cast(spell_counts.before_moved as bigint) as before_moved,
    cast(recent_stays.median_days as double) as recent_median_days,
    cast(before_stays.median_days as double) as before_median_days,
    paces.expected as expected_moved,
    case when paces.variance > 0 then (spell_counts.recent_moved - paces.expected) / sqrt(paces.variance) end as z,
    least(paces.expected, spell_counts.recent_moved + spell_counts.before_moved - paces.expected) as least_expected,
    case when paces.variance > 0 then (spell_counts.recent_moved - paces.expected) / paces.variance end as effect,
    case when paces.variance > 0 then 1e0 / paces.variance end as effect_variance,
    paces.variance as effect_weight
  from spell_counts
  {%- for part in ['paces', 'recent_stays', 'before_stays'] %}
  left join {{ part }}
    on spell_counts.source_relation = {{ part }}.source_relation
      and spell_counts.stage_key = {{ part }}.stage_key
      and spell_counts.segment_type = {{ part }}.segment_type
      and spell_counts.segment = {{ part }}.segment
  {%- endfor %}
)

select * from final
