{#- A metric is ok when enough of its base is covered, unavailable when nothing (or less than its floor) is, and degraded
    between. `blocks` makes it unavailable and `caps` at most degraded, whatever the share; both come with their words. #}
{%- set history = 'Export the stage history: Salesforce: Reports, New Report, the type whose name ends in History; HubSpot: Data Management, export deals with the properties named Date entered; Pipedrive: export of the deal flow. Map it under stage_history or stage_entered.' %}
{%- set created = 'Add the created date to the export (Salesforce: Created Date; HubSpot: Create Date; Pipedrive: Deal created) and map it to created_at.' %}
{%- set amount = 'Add the amount of open deals to the export (Salesforce and HubSpot: Amount; Pipedrive: Value) and ask the owners to fill it.' %}
{%- set close_date = 'Add the expected close date of open deals to the export (Salesforce and HubSpot: Close Date; Pipedrive: Expected close date).' %}
{%- set metrics = [
  {'mart': 'mart_pipeline_daily', 'metric': 'deals_open', 'covered': 'open_with_start', 'base': 'open_deals', 'what': 'open deals have a known start', 'ok': 0.9,
    'missing': 'created_at, stage_history', 'so': 'a deal without one is in the pipeline only from the day it was first seen', 'unlock': created},
  {'mart': 'mart_pipeline_daily', 'metric': 'open_amount', 'covered': 'open_with_amount', 'base': 'open_deals', 'what': 'open deals have an amount', 'ok': 0.8,
    'missing': 'amount', 'so': 'the pipeline is told in deals, and no amount is made up',
    'unlock': amount ~ ' Or let list prices stand in, named an estimate: metrics.estimate_open_amounts_from_list_price: true.'},
  {'mart': 'mart_pipeline_daily', 'metric': 'open_amount of past days', 'covered': 'deals_with_amount_history', 'base': 'deals_with_amount', 'what': 'amounts have a history', 'ok': 0.8,
    'missing': 'stage_history.amount', 'so': 'past days are told in deals, because the amounts known today belong to the deals that won later',
    'unlock': 'Export the history of the amount together with the stages, or keep delivering the deals every night: from then on it builds up by itself.'},
  {'mart': 'mart_pipeline_daily', 'metric': 'in_quarter_amount', 'covered': 'open_with_close_date', 'base': 'open_deals', 'what': 'open deals have an expected close date', 'ok': 0.8,
    'missing': 'close_date', 'so': 'it cannot be said which quarter a deal is meant for', 'unlock': close_date,
    'blocks': [('open_with_amount = 0', 'and none has an amount')]},
  {'mart': 'mart_pipeline_daily', 'metric': 'is_qualified_stage', 'covered': 'open_deals', 'base': 'open_deals', 'what': 'open deals are in a known stage', 'ok': 0,
    'missing': 'metrics.qualified_stage', 'so': 'qualified pipeline cannot be told apart', 'unlock': 'Name the first stage of a qualified deal in pipeline.yaml: metrics.qualified_stage.',
    'blocks': [('not has_qualified_stage', 'but no qualified stage is set')]},
  {'mart': 'mart_stage_conversion', 'metric': 'conversion_rate', 'covered': 'deals_with_dated_visit', 'base': 'deals', 'what': 'deals have a dated stage entry', 'ok': 0.8,
    'missing': 'stage_history', 'so': 'a deal without one is in no conversion', 'unlock': history},
  {'mart': 'mart_stage_conversion', 'metric': 'conversion_rate of the first stage', 'covered': 'deals_with_dated_first_stage', 'base': 'deals', 'what_sql': "concat('deals have a dated entry into ', first_stages)", 'ok': 0.5,
    'missing': 'stage_history', 'so': 'how many of the rest moved on from it is unknown', 'unlock': history},
  {'mart': 'mart_stage_durations', 'metric': 'median_days', 'covered': 'open_stage_visits_dated', 'base': 'open_stage_visits', 'what': 'visits of open stages have a dated entry', 'ok': 0.8,
    'missing': 'stage_history', 'so': 'a visit without one is left out of time in stage', 'unlock': history},
  {'mart': 'mart_stage_durations', 'metric': 'median_days of the first stage', 'covered': 'deals_with_dated_first_stage', 'base': 'deals', 'what_sql': "concat('deals have a dated entry into ', first_stages)", 'ok': 0.5,
    'missing': 'stage_history', 'so': 'how long the rest stayed in it is unknown', 'unlock': history},
  {'mart': 'mart_win_rate_cohorts', 'metric': 'win_incidence', 'covered': 'deals_with_start', 'base': 'deals', 'what': 'deals have a known start', 'ok': 0.9,
    'missing': 'created_at', 'so': 'a deal without one is in no cohort', 'unlock': created,
    'blocks': [('lost_deals = 0', 'but no lost deal is among them')],
    'caps': [('deals_with_created_date < 0.8 * deals', 'it is the first dated stage entry, because there is no created date')]},
  {'mart': 'mart_bottlenecks', 'metric': 'bottleneck', 'covered': 'open_stage_visits_dated', 'base': 'open_stage_visits', 'what': 'visits of open stages have a dated entry', 'ok': 0.8,
    'missing': 'stage_history', 'so': 'a visit without one tells nothing about the pace of its stage', 'unlock': history,
    'blocks': [('full_quarters < 5', 'but fewer than five quarters of whole history are there, so there is nothing to compare the last four with')]},
  {'mart': 'mart_sales_performance', 'metric': 'deals_created', 'covered': 'deals_with_start', 'base': 'deals', 'what': 'deals have a known start', 'ok': 0.9,
    'missing': 'created_at', 'so': 'a deal without one is in no period', 'unlock': created,
    'caps': [('deals_with_created_date < 0.8 * deals', 'it is the first dated stage entry, because there is no created date')]},
  {'mart': 'mart_sales_performance', 'metric': 'won_amount', 'covered': 'won_with_amount', 'base': 'won_deals', 'what': 'won deals have an amount', 'ok': 0.95,
    'missing': 'amount, fx_rates', 'so': 'bookings lack the deals without one', 'unlock': 'Fill the amount of won deals, and add exchange rates for each of their currencies under tables: fx_rates.'},
  {'mart': 'mart_sales_performance', 'metric': 'avg_deal_amount', 'covered': 'won_with_amount', 'base': 'won_deals', 'what': 'won deals have an amount', 'ok': 0.8,
    'missing': 'amount, fx_rates', 'so': 'deal size is that of these deals only', 'unlock': 'Fill the amount of won deals, and add exchange rates for each of their currencies under tables: fx_rates.'},
  {'mart': 'mart_sales_performance', 'metric': 'win_rate_count', 'covered': 'won_deals + lost_deals', 'base': 'won_deals + lost_deals', 'what': 'closed deals have an outcome and a day', 'ok': 0.8,
    'missing': 'stage', 'so': 'the rate would read 100 %', 'unlock': 'Export the lost deals too: many reports are filtered to open and won deals.',
    'blocks': [('lost_deals = 0', 'but no lost deal is among them')]},
  {'mart': 'mart_sales_performance', 'metric': 'win_rate_amount', 'covered': 'lost_with_positive_amount', 'base': 'lost_deals', 'what': 'lost deals have an amount above zero', 'ok': 0.8,
    'missing': 'amount', 'so': 'a period in which fewer than 80 % of them do shows no win rate by amount, so read the win rate by count', 'unlock': 'Keep the last amount when a deal is lost instead of setting it to zero.'},
  {'mart': 'mart_sales_performance', 'metric': 'sales_cycle_median_days', 'covered': 'won_in_cycle', 'base': 'won_not_imported', 'what': 'won deals have a sales cycle', 'ok': 0.8,
    'missing': 'created_at', 'so': 'a deal without one is left out', 'unlock': created,
    'caps': [('won_in_cycle_from_created < 0.8 * won_in_cycle', 'it starts at the first dated stage entry and not when the deal was created, so the true cycle is longer')]},
  {'mart': 'mart_sales_performance', 'metric': 'sales_velocity', 'covered': 'least(won_in_cycle, won_with_amount)', 'base': 'won_deals', 'what': 'won deals have an amount and a sales cycle', 'ok': 0.8,
    'missing': 'amount, created_at', 'so': 'the factors stand on these deals only', 'unlock': created,
    'blocks': [('lost_deals = 0', 'but there is no win rate without lost deals')],
    'caps': [('won_in_cycle_from_created < 0.8 * won_in_cycle', 'its cycle starts at the first dated stage entry')]},
] %}
{%- for segment, unlock in [
  ('owner', 'Map the owner column of the deals.'),
  ('team', 'Name the team or the manager of each owner in the owners file.'),
  ('product', 'Map the product column of the deals, or export the line items.'),
  ('account', 'Map the account column of the deals and fill it in the CRM.'),
  ('industry', 'Export the accounts with their industry and map it.'),
  ('region', 'Name the region of each deal, or of each owner in the owners file.'),
  ('country', 'Export the accounts with their country and map it.'),
  ('source', 'Map the lead source column of the deals.'),
  ('deal_type', 'Map the type column of the deals (new, expansion, renewal).'),
] %}
{%- do metrics.append({'mart': 'mart_sales_performance', 'metric': 'segment_type ' ~ segment, 'covered': 'deals_with_' ~ segment, 'base': 'deals',
  'what': 'deals have a value for ' ~ segment, 'ok': 0.8, 'missing': segment, 'so': 'a deal without one is in (none)', 'unlock': unlock}) %}
{%- endfor %}
{%- do metrics.append({'mart': 'forecast_bookings', 'metric': 'forecast in deals', 'covered': 'least(full_quarters, 8)', 'base': '8', 'what': 'past quarters of whole history are there to test a forecast on', 'ok': 0.95, 'floor': 0.25,
  'missing': 'stage_history', 'so': 'methods are chosen and ranges are set from few quarters, so treat the range as a guess', 'unlock': 'Export older closed deals with their dates.'}) %}
{%- do metrics.append({'mart': 'forecast_bookings', 'metric': 'forecast in money', 'covered': 'open_with_amount', 'base': 'open_deals', 'what': 'open deals have an amount', 'ok': 0.8, 'floor': 0.5,
  'missing': 'amount', 'so': 'what open deals will bring is forecast in deals, and money follows from the mean won deal', 'unlock': amount}) %}
{%- do metrics.append({'mart': 'mart_loss_reasons', 'metric': 'loss_reason', 'covered': 'lost_with_reason', 'base': 'lost_deals', 'what': 'lost deals have a reason', 'ok': 0.8,
  'missing': 'lost_reason', 'so': 'why deals are lost cannot be said', 'unlock': 'Add the loss reason to the export (Salesforce: Loss Reason; HubSpot: Closed Lost Reason; Pipedrive: Lost reason), and require one in the CRM when a deal is lost.'}) %}
{%- set amount_history = 'Export the history of the amount together with the stages, or keep delivering the deals every night: from then on it builds up by itself.' %}
{%- set close_date_history = 'Export the history of the close date together with the stages, or keep delivering the deals every night: from then on it builds up by itself.' %}
{%- do metrics.extend([
  {'mart': 'mart_pipeline_waterfall', 'metric': 'amounts of the waterfall', 'covered': 'deals_with_amount_history', 'base': 'deals_with_amount', 'what': 'amounts have a history', 'ok': 0.8,
    'missing': 'stage_history.amount', 'so': 'read the waterfall in deals', 'unlock': amount_history},
  {'mart': 'mart_pipeline_waterfall', 'metric': 'waterfall by close date', 'covered': 'deals_with_close_date_history', 'base': 'deals_with_close_date', 'what': 'close dates have a history', 'ok': 0.8,
    'missing': 'stage_history.close_date', 'so': 'which deals were pushed or pulled is unknown, so read the rolling waterfall', 'unlock': close_date_history},
  {'mart': 'mart_close_date_slippage', 'metric': 'slip_rate_start', 'covered': 'deals_with_close_date_history', 'base': 'deals_with_close_date', 'what': 'close dates have a history', 'ok': 0.8,
    'missing': 'stage_history.close_date', 'so': 'which deals slipped cannot be said', 'unlock': close_date_history},
  {'mart': 'mart_pipeline_generation', 'metric': 'as_created_amount', 'covered': 'deals_with_amount_history', 'base': 'deals_with_amount', 'what': 'amounts have a history', 'ok': 0.8,
    'missing': 'stage_history.amount', 'so': 'what new pipeline was worth when it came in is unknown', 'unlock': amount_history},
  {'mart': 'mart_pipeline_coverage', 'metric': 'pipeline_coverage', 'covered': 'quarters_with_quota', 'base': '5', 'what': 'quarters from this one on have a quota', 'ok': 0.2,
    'missing': 'tables.quotas', 'so': 'what is left to get is unknown', 'unlock': 'Name a file of quotas (period, segment_type, segment, amount, currency) under tables: quotas.'},
  {'mart': 'mart_deal_health', 'metric': 'pace', 'covered': 'open_with_pace_basis', 'base': 'open_deals', 'what': 'open deals are in a stage with enough finished visits to compare with', 'ok': 0.8,
    'missing': 'stage_history', 'so': 'a deal elsewhere has no pace', 'unlock': history},
  {'mart': 'mart_deal_health', 'metric': 'hygiene_score', 'covered': 'hygiene_rules_told', 'base': 'hygiene_rules', 'what': 'hygiene rules can be asked', 'ok': 0.75,
    'missing': 'the fields of the rules that mart_deal_health names in rules_not_told', 'so': 'the score stands on these only', 'unlock': 'Add the fields of the other rules to the export; where they are there, most deals break the rule, and it is a habit rather than a slip.'},
  {'mart': 'mart_deal_health', 'metric': 'has_no_next_step', 'covered': 'open_with_next_step', 'base': 'open_deals', 'what': 'open deals have a next step', 'ok': 0,
    'missing': 'next_step', 'so': 'nobody fills it in, or it is not exported, so it is no fault of a deal', 'unlock': 'Add the next step to the export and map it to next_step (Salesforce and HubSpot: Next Step).'},
  {'mart': 'mart_deal_health', 'metric': 'has_no_activity', 'covered': 'open_with_activity', 'base': 'open_deals', 'what': 'open deals have a last activity', 'ok': 0,
    'missing': 'last_activity_at', 'so': 'silence cannot be told from what was not exported', 'unlock': 'Add the date of the last activity to the export and map it to last_activity_at (Salesforce: Last Activity; HubSpot: Last Activity Date; Pipedrive: Last activity date).'},
  {'mart': 'mart_loss_reasons', 'metric': 'win_rate_narrow', 'covered': 'lost_with_class', 'base': 'lost_deals', 'what': 'lost deals have a reason of a known class', 'ok': 0.8,
    'missing': 'lost_reason', 'so': 'a period in which fewer than 80 % do shows no win rate by class', 'unlock': 'Map the loss reason, and name the class of reasons in your own words in the file under tables: aliases: loss_class,the reason,competitor (or price, budget, no_decision, timing, product, relationship, disqualified, other).',
    'blocks': [('won_deals = 0', 'but no won deal is there')]},
  {'mart': 'mart_rep_scorecard', 'metric': 'quota_attainment', 'covered': 'reps_with_quota', 'base': 'reps', 'what': 'owners of open deals have a quota for the running quarter', 'ok': 0.8,
    'missing': 'tables.quotas', 'so': 'attainment is told for reps with one only', 'unlock': 'Add a line per rep to the file of quotas: period, owner (as segment_type), the name of the owner, amount, currency.'},
  {'mart': 'mart_forecast_category_daily', 'metric': 'forecast_category', 'covered': 'open_with_category', 'base': 'open_deals', 'what': 'open deals have a forecast category, their own or that of their stage', 'ok': 0.8,
    'missing': 'forecast_category', 'so': 'the others are in (none)', 'unlock': 'Map the forecast category of the deals, or give each stage of the list stages: its forecast_category.'},
  {'mart': 'mart_sales_performance', 'metric': 'won_amount_plan', 'covered': 'won_with_plan_amount', 'base': 'won_deals', 'what': 'won deals have an amount at a plan rate', 'ok': 0.95,
    'missing': 'tables.plan_rates', 'so': 'bookings at plan rates lack the others', 'unlock': 'Name a file of the rates that the plan was made at (period, currency, rate) under tables: plan_rates; a period is a fiscal year, quarter or month.'},
  {'mart': 'mart_lead_conversion', 'metric': 'conversion_rate of leads', 'covered': 'deals_with_lead', 'base': 'deals', 'what': 'deals are known to come from a lead', 'ok': 0,
    'missing': 'leads', 'so': 'how many leads become deals is unknown', 'unlock': 'Export the leads, each with its created date, the day it was converted and the deal it became, and name the file under leads: of the source.'},
  {'mart': 'forecast_submissions', 'metric': 'submitted_amount', 'covered': 'submissions_usable', 'base': 'submissions', 'what': 'submitted forecasts can be compared with the model and the outcome', 'ok': 0.95,
    'missing': 'tables.submissions', 'so': 'the others are left out',
    'unlock': 'Name a file of what people submit (submitted_on, period, owner, category, amount) under tables: submissions, a row each time somebody says something else; mart_data_quality lists the rows that cannot be used, and what to write instead.',
    'blocks': [('submissions = 0', 'because nobody has submitted one')]},
  {'mart': 'forecast_submission_accuracy', 'metric': 'bias', 'covered': 'submitters_measured', 'base': 'submitters', 'what': 'persons have submitted for four finished periods', 'ok': 0.8,
    'missing': 'tables.submissions', 'so': 'what fewer periods show is luck rather than habit, and sample_too_small marks it',
    'unlock': 'Add what was submitted for past periods, with the day on which it was said, to the file under tables: submissions; or wait: each period that ends adds one.',
    'blocks': [('submitters = 0', 'because nobody has submitted anything that can be compared')]},
]) %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

coverage as (
  select * from {{ ref('int_source_coverage') }}
),

measured as (
  {%- for metric in metrics %}
    select
      {{ loop.index }} as metric_order,
      '{{ metric.mart }}' as mart,
      '{{ metric.metric }}' as metric,
      source_relation,
      cast({{ metric.covered }} as bigint) as covered,
      cast({{ metric.base }} as bigint) as base,
      {{ metric.what_sql or "'" ~ metric.what ~ "'" }} as what,
      cast({{ metric.ok }} as double) as ok_from,
      cast({{ metric.floor or 0 }} as double) as degraded_above,
      {%- for kind in ['blocks', 'caps'] %}
        case {% for condition, words in metric.get(kind, [('false', '')]) %}when {{ condition }} then '{{ words }}'{% endfor %} end as {{ kind }}_words,
      {%- endfor %}
      '{{ metric.missing }}' as missing_fields,
      '{{ metric.so }}' as consequence,
      '{{ metric.unlock }}' as how_to_unlock
    from coverage
    {%- if not loop.last %}
      union all
    {%- endif %}
  {%- endfor %}
),

judged as (
  select
    *,
    {{ safe_rate('covered', 'base') }} as share_covered,
    case
      when base = 0 or blocks_words is not null or covered = 0 or cast(covered as double) / base < degraded_above then 'unavailable'
      when cast(covered as double) / base < ok_from or caps_words is not null then 'degraded'
      else 'ok'
    end as status
  from measured
),

final as (
  select
    judged.source_relation,
    judged.mart,
    judged.metric,
    judged.metric_order,
    judged.status,
    judged.share_covered,
    case when judged.status <> 'ok' then judged.missing_fields end as missing_fields,
    concat(
      case
        when judged.base > 0 and judged.covered = 0 then 'None of the '
        when judged.base > 0 and judged.covered = judged.base then 'All '
        else concat(cast(judged.covered as {{ dbt.type_string() }}), ' of ')
      end,
      cast(judged.base as {{ dbt.type_string() }}), ' ', judged.what,
      case when judged.blocks_words is not null then concat(', ', judged.blocks_words) else '' end,
      case when judged.caps_words is not null then concat('; ', judged.caps_words) else '' end,
      case
        when judged.base = 0 then ': there is nothing to measure yet'
        when judged.status <> 'ok' and (judged.blocks_words is not null or judged.caps_words is null or judged.share_covered < judged.ok_from)
          then concat(': ', judged.consequence)
        else ''
      end,
      '.'
    ) as reason_text,
    case when judged.status <> 'ok' then judged.how_to_unlock end as how_to_unlock,
    context.as_of,
    context.definition_version
  from judged
  cross join context
)

select * from final
