{# The views of the published file that stand on its tables alone (model int_published_views): each long mart by one
   segment type, with one kind of period and no total rows, so that a plain sum is right; and the calendar once for each
   role of a date. mart_bottlenecks has none: its rows are ranked against each other, and read as a whole. #}

{# Which rows of which mart: `only` is what is fixed (and not shown), `without` what says nothing in these rows. #}
{% macro long_marts() -%}
{%- set by_book = ['owner', 'team', 'pipeline', 'region'] %}
{%- set by_stage = ['owner', 'team', 'product', 'industry', 'region'] %}
{%- set by_outcome = ['owner', 'team', 'product', 'industry', 'region', 'country', 'source', 'deal_type', 'pipeline'] %}
{%- set long_marts = [
  {'mart': 'mart_sales_performance', 'segments': by_outcome + ['account'], 'grain': 'fiscal quarter',
   'only': {'period_type': 'quarter'},
   'about': 'what was created, won and lost, at which rate, size and speed'},
  {'mart': 'mart_pipeline_waterfall', 'segments': by_book, 'grain': 'fiscal quarter',
   'only': {'mode': 'net', 'scope': 'rolling', 'period_type': 'quarter'},
   'about': 'how all of the open pipeline got from its start to its end, both ends compared',
   'sums': 'Over members everything adds up within a quarter, but what goes from one member to another is in transferred_in and transferred_out, which the whole business has not: only start, end and won are those of the total. Start and end are balances: never add them over quarters.'},
  {'mart': 'mart_stage_conversion', 'segments': by_stage, 'grain': 'fiscal quarter, stage',
   'only': {'metric': 'stage_conversion_next', 'variant': 'any', 'horizon': 'none', 'period_type': 'quarter'},
   'without': ['deals_in_cohort', 'deals_matured', 'matured_share'],
   'about': 'of the deals that left a stage in the quarter, how many went on'},
  {'mart': 'mart_stage_durations', 'segments': by_stage, 'grain': 'fiscal quarter of entry, stage',
   'only': {'counted_per': 'visit', 'period_type': 'quarter'},
   'about': 'days in the stage, of the visits that began in the quarter, those that still last counted in',
   'sums': 'Visits add up; medians and quantiles never do.'},
  {'mart': 'mart_win_rate_cohorts', 'segments': by_outcome, 'grain': 'fiscal quarter of creation',
   'only': {'cohort_by': 'created', 'period_type': 'quarter', 'horizon': 'to_date'},
   'without': ['horizon_days'],
   'about': 'how many of the deals that were created together are won so far'},
  {'mart': 'mart_pipeline_coverage', 'segments': by_book, 'grain': 'target quarter',
   'only': {'period_type': 'quarter'},
   'about': 'whether the open pipeline covers what is left of the quota',
   'sums': 'Counts and amounts add up, of members with a quota; coverage, close rate and pacing never do.'},
  {'mart': 'mart_bookings_pacing', 'segments': by_book, 'grain': 'fiscal quarter, business day',
   'only': {'period_type': 'quarter'},
   'about': 'what is won by each business day of a quarter, against what past quarters had won by then',
   'sums': 'Amounts run up through the quarter: over members they add up on one business day of one quarter, never over days; shares, attainment and days ahead never do.'},
  {'mart': 'mart_pipeline_generation', 'segments': by_book, 'grain': 'fiscal quarter of creation',
   'only': {'basis': 'created', 'period_type': 'quarter'},
   'about': 'the pipeline that was created, valued then, when the quarter was frozen, and now'},
  {'mart': 'mart_close_date_slippage', 'segments': by_book, 'grain': 'fiscal quarter',
   'only': {'period_type': 'quarter'},
   'about': 'what became of the deals that were due in the quarter'},
  {'mart': 'mart_loss_reasons', 'segments': by_outcome, 'grain': 'fiscal quarter, loss reason',
   'only': {'breakdown': 'reason', 'period_type': 'quarter'}, 'names': {'item': 'loss_reason'},
   'without': [
     'item_key', 'stage_lost_at_key', 'stage_lost_at', 'pipeline', 'deals_won', 'win_rate_narrow', 'win_rate_narrow_numerator',
     'win_rate_narrow_denominator', 'win_rate_narrow_low', 'win_rate_narrow_high', 'win_rate_broad', 'win_rate_broad_numerator',
     'win_rate_broad_denominator', 'win_rate_broad_low', 'win_rate_broad_high', 'win_rate_null_reason'
   ],
   'about': 'deals lost, by reason and its class',
   'sums': 'Counts and amounts add up; lost_share_denominator stands on every reason again, so never add it over reasons.'},
  {'mart': 'mart_forecast_category_daily', 'segments': ['owner', 'team', 'pipeline'], 'grain': 'day, target quarter, forecast category',
   'only': {'period_type': 'day'},
   'about': 'what was called commit, best case and so on at the end of the day (owners: of week ends, first and last days of quarters, and the last 35 days)',
   'sums': 'Semi-additive: one day at a time every sum is right, never over days.'}
] %}
{%- do return(long_marts) %}
{%- endmacro %}

{% macro keyed_segments() -%}
{%- do return(['owner', 'team', 'product', 'account', 'pipeline']) %}
{%- endmacro %}

{# Name, description, own words of columns and query of each view; `nodes` are the models of the graph. #}
{% macro published_views(nodes) -%}
{%- set dimensions = keyed_segments() %}
{%- set segment_columns = {'source': 'lead_source'} %}
{%- set segment_words = {
  'owner': 'Name of the owner', 'team': 'Name of the team', 'product': 'Name of the product', 'account': 'Name of the customer',
  'pipeline': 'Name of the sales pipeline', 'industry': 'Industry of the customer', 'region': 'Sales region', 'country': 'Country',
  'source': 'Where the deals came from', 'deal_type': 'Kind of business (new, expansion, renewal)'
} %}
{%- set date_roles = [
  ('created', 'was created', 'fct_deals.created_on or bi_deals.started_on'),
  ('close', 'is expected to close, or is closed by its close date', 'close_date of any table'),
  ('closed', 'was closed', 'fct_deals.closed_on or bi_deals.outcome_on')
] %}
{%- set views = [] %}
{%- for long_mart in long_marts() %}
{%- set columns = nodes['model.stageledger.' ~ long_mart.mart].columns.keys() | list %}
{%- set conditions = [] %}
{%- for column, value in long_mart.only.items() %}
{%- do conditions.append("rows_of." ~ column ~ " = '" ~ value ~ "'") %}
{%- endfor %}
{%- for segment in ['total'] + long_mart.segments %}
{%- set label = segment_columns.get(segment, segment) %}
{%- set shown, words = [], {} %}
{%- for column in columns if column not in long_mart.only and column not in long_mart.get('without', []) %}
{%- if column == 'segment_type' %}
{%- elif column == 'segment' %}
{%- if segment != 'total' %}
{%- do shown.append('rows_of.segment as ' ~ label) %}
{%- do words.update({label: segment_words[segment] ~ '; (none) where nothing is recorded.'}) %}
{%- endif %}
{%- if segment in dimensions %}
{%- do shown.append('members.' ~ segment ~ '_key') %}
{%- do words.update({segment ~ '_key': 'Key, joins dim_' ~ segment ~ '; null where several members have this name, whose figures are told together.'}) %}
{%- endif %}
{%- if segment == 'owner' %}
{%- do shown.append('members.team') %}
{%- do shown.append('members.team_key') %}
{%- do words.update({'team': 'Team of the owner, as it is today.', 'team_key': 'Key of that team, joins dim_team; for row-level security.'}) %}
{%- endif %}
{%- elif segment == 'total' and column == 'differs_from_total' %}
{%- elif column in long_mart.get('names', {}) %}
{%- do shown.append('rows_of.' ~ column ~ ' as ' ~ long_mart.names[column]) %}
{%- do words.update({'loss_reason': 'Reason of the loss, in one spelling; (none) where none is given, (others) beyond the most frequent ones.'}) %}
{%- else %}
{%- do shown.append('rows_of.' ~ column) %}
{%- endif %}
{%- endfor %}
{%- set body %}
select {{ shown | join(', ') }}
from {{ long_mart.mart }} as rows_of
{%- if segment in dimensions %}
left join (
  select {{ segment }}, min({{ segment }}_key) as {{ segment }}_key{{ ', min(team) as team, min(team_key) as team_key' if segment == 'owner' }}
  from dim_{{ segment }}
  group by {{ segment }}
  having count(*) = 1
) as members on rows_of.segment = members.{{ segment }}
{%- endif %}
where rows_of.segment_type = '{{ segment }}' and {{ conditions | join(' and ') }}
{%- endset %}
{%- set grain = 'One row per ' ~ long_mart.grain if segment == 'total' else 'One row per ' ~ long_mart.grain ~ ' and ' ~ label | replace('_', ' ') %}
{%- set kept = 'the whole business' if segment == 'total' else 'without total rows' %}
{%- do views.append({
  'name': long_mart.mart ~ ('_total' if segment == 'total' else '_by_' ~ segment),
  'segment_type': segment,
  'like': long_mart.mart,
  'description': grain ~ ', ' ~ kept ~ ': ' ~ long_mart.about ~ '. The rows of ' ~ long_mart.mart ~ " with segment_type = '" ~ segment ~ "', " ~ conditions | join(', ') | replace('rows_of.', '') ~ '. ' ~ long_mart.get('sums', 'Counts and amounts add up; of a rate add up numerator and denominator, then divide.'),
  'words': words,
  'body': body
}) %}
{%- endfor %}
{%- endfor %}
{%- for role, event, joined_to in date_roles %}
{%- set shown, words = [], {} %}
{%- for column in nodes['model.stageledger.dim_date'].columns.values() %}
{%- do shown.append('calendar.' ~ column.name ~ ' as ' ~ role ~ '_' ~ column.name) %}
{%- do words.update({role ~ '_' ~ column.name: column.description}) %}
{%- endfor %}
{%- do views.append({
  'name': 'dim_date_' ~ role,
  'segment_type': '',
  'like': '',
  'description': 'One row per day on which a deal ' ~ event ~ ': dim_date in this role, its columns with the prefix ' ~ role ~ '_, so that a model with several dates needs no aliases. Join ' ~ role ~ '_date_day to ' ~ joined_to ~ '.',
  'words': words,
  'body': 'select ' ~ shown | join(', ') ~ ' from dim_date as calendar'
}) %}
{%- endfor %}
{%- do return(views) %}
{%- endmacro %}
