{%- set rules = {
  'open_without_amount': ['warning', 'open deals have no amount: they are counted, not priced', 'Export the amount of open deals, or let list prices stand in for it: metrics.estimate_open_amounts_from_list_price: true.'],
  'open_with_zero_amount': ['warning', 'open deals have an amount of zero or below', 'Ask the owners for an estimate, or clear the amount: an unknown amount is better left empty.'],
  'won_without_amount': ['error', 'won deals have no amount: bookings lack them', 'Fill the amount of won deals in the CRM: bookings and deal size depend on it.'],
  'won_with_zero_amount': ['warning', 'won deals have an amount of zero or below: they are booked as they are', 'Correct the amount in the CRM, or mark the deal as something other than a sale.'],
  'lost_without_amount': ['warning', 'lost deals have no amount above zero: a win rate by amount leaves them out and reads too high', 'Keep the last amount when a deal is lost instead of setting it to zero; until then read the win rate by count.'],
  'currency_assumed': ['warning', 'amounts name no currency: the reporting currency is assumed', 'Map the currency column of the export, or state it: currency: {value: EUR}.'],
  'exchange_rate_missing': ['error', 'amounts are in a currency without an exchange rate: they are counted, not added', 'Add the rates of the currency to the file named under tables: fx_rates.'],
  'plan_rate_missing': ['warning', 'amounts are in a currency that the plan has no rate for: they are in no amount at plan rates', 'Add the rate of the currency and period to the file named under tables: plan_rates.'],
  'without_account': ['warning', 'deals name no account: by account, industry and country they are in (none)', 'Fill the account of the deals in the CRM, the open ones first.'],
  'without_product': ['info', 'deals name no product: by product they are in (none)', 'Map the product column of the export, or export the line items.'],
  'without_owner': ['warning', 'deals have no owner: by owner and team they are in (none)', 'Give each open deal an owner in the CRM.'],
  'without_created_date': ['warning', 'deals have no created date: their clock starts at the first stage entry with a known date', 'Add the created date to the export (Created Date, Create Date).'],
  'without_start_date': ['warning', 'deals have neither a created date nor a dated stage entry: no period counts them as created', 'Add the created date or the date of the first stage to the export.'],
  'closed_before_created': ['warning', 'closed deals ended before they began: they are left out of the sales cycle', 'Correct the close date or the created date in the CRM.'],
  'won_in_future': ['error', 'won deals are dated after the as-of day: they are not booked yet', 'Set the close date of a won deal to the day it was won.'],
  'lost_in_future': ['warning', 'lost deals are dated after the as-of day: they are not counted yet', 'Set the close date of a lost deal to the day it was lost.'],
  'closed_without_close_date': ['warning', 'closed deals have no close date: the day of the closing event stands in for it', 'Map the close date column of the export.'],
  'open_without_close_date': ['warning', 'open deals have no expected close date: no quarter can plan with them', 'Export the expected close date, and require one in the CRM.'],
  'open_past_close_date': ['warning', 'open deals have an expected close date in the past', 'Move the close date or close the deal: past-due deals make a forecast too high.'],
  'lost_without_reason': ['info', 'lost deals have no reason: why deals are lost cannot be said', 'Export the loss reason, and require one when a deal is lost.'],
  'created_as_closed': ['info', 'closed deals were created as closed (imports): booked, but in no sales cycle', 'Nothing to do if they were imported on purpose.'],
  'open_with_inactive_owner': ['warning', 'open deals belong to an owner who is no longer active', 'Hand them over to an active owner.'],
  'stage_entry_unknown': ['warning', 'deals are in a stage whose entry has no date: it is left out of time in stage', 'Export the stage history, or the date entered of each stage.'],
  'history_left_truncated': ['info', 'deals have a history that begins after they did: their first stage is left out of time in stage', 'Export the stage history from the beginning where the CRM still has it.'],
  'history_gap': ['info', 'deals have a move whose reported old stage differs from the stage before it: a move is missing', 'Export the complete stage history; no move is invented.'],
  'record_differs_from_history': ['warning', 'deals stand in another stage than their history ends in: a move is inferred', 'Export stage history and deals at the same time.'],
  'moved_before_created_or_after_read': ['warning', 'deals have moves dated before their creation or in the future: set to the nearest possible day, left out of durations', 'Check the time zone of the source and imported dates.'],
  'order_uncertain': ['info', 'deals have moves at the same second whose order is uncertain', 'Map the sequence column of the stage history.'],
  'moved_in_bulk': ['info', 'deals were moved in bulk by one person: such moves are left out of conversion and time in stage', 'Nothing to do if it was a clean-up.'],
  'moved_and_back_at_once': ['info', 'deals were moved and moved back within a minute: metrics leave such visits out', 'Nothing to do.'],
  'unknown_product': ['warning', 'deals name a product that the products file does not know', 'Paste the line into the file named under tables: aliases, or add the product to its file.'],
  'unknown_account': ['warning', 'deals name an account that the accounts file does not know', 'Paste the line into the file named under tables: aliases, or add the account to its file.'],
  'unknown_owner': ['warning', 'deals name an owner that the owners file does not know', 'Paste the line into the file named under tables: aliases, or add the owner to its file.'],
  'unknown_stage': ['error', 'deals have been in a stage that the list of stages does not know', 'Paste the line into the list stages: of the source, with the outcome it has.'],
} %}
with context as (
  select * from {{ ref('stg_run_context') }}
),

words as (
  {%- for rule, words in rules.items() %}
    select
      '{{ rule }}' as rule_name,
      '{{ words[0] }}' as severity,
      '{{ words[1] }}' as finding,
      '{{ words[2] }}' as remedy
    {%- if not loop.last %}
      union all
    {%- endif %}
  {%- endfor %}
),

deal_rules as (
  select
    findings.source_relation,
    findings.rule_name,
    findings.subject,
    words.severity,
    case
      when findings.deals_checked = 0 then 'not_applicable'
      when findings.deals_affected = 0 then 'ok'
      when findings.is_gap then 'gap'
      else 'finding'
    end as status,
    findings.deals_affected,
    findings.deals_checked,
    cast(null as bigint) as rows_affected,
    cast(null as bigint) as rows_checked,
    {{ safe_rate('findings.deals_affected', 'findings.deals_checked') }} as share,
    findings.sample_ids,
    concat(
      case when findings.is_gap then 'Gap of the data: ' else '' end,
      cast(findings.deals_affected as {{ dbt.type_string() }}), ' of ', cast(findings.deals_checked as {{ dbt.type_string() }}), ' ',
      words.finding,
      case when findings.subject <> '(all)' then concat(': ', findings.subject) else '' end,
      case when suggestions.suggested_name is not null then concat('. It looks like ', suggestions.suggested_name) else '' end,
      '.'
    ) as message,
    case when findings.deals_affected > 0 then words.remedy end as remedy,
    case
      when suggestions.entity = 'stage'
        then concat('- {name: "', findings.subject, '", outcome: open}')
      when suggestions.suggested_name is not null
        then concat(
            suggestions.entity, ',',
            {%- for name in ['findings.subject', 'suggestions.suggested_name'] %}
              case when {{ name }} like '%,%' or {{ name }} like '%"%' then concat('"', replace({{ name }}, '"', '""'), '"') else {{ name }} end
              {{- ", ','," if not loop.last }}
            {%- endfor %}
          )
    end as line_to_paste
  from {{ ref('int_deal_findings') }} as findings
  inner join words on findings.rule_name = words.rule_name
  left join {{ ref('int_name_suggestions') }} as suggestions
    on findings.source_relation = suggestions.source_relation
      and findings.rule_name = concat('unknown_', suggestions.entity)
      and findings.subject = suggestions.written_name
),

file_rules as (
  select
    source_relation,
    rule_name,
    subject,
    severity,
    status,
    cast(null as bigint) as deals_affected,
    cast(null as bigint) as deals_checked,
    rows_affected,
    rows_checked,
    {{ safe_rate('rows_affected', 'rows_checked') }} as share,
    sample_ids,
    message,
    remedy,
    line_to_paste
  from (
    {%- for findings in ['int_file_findings', 'int_setting_findings', 'int_planning_findings'] %}
    select
      source_relation,
      rule_name,
      subject,
      severity,
      status,
      rows_affected,
      rows_checked,
      sample_ids,
      message,
      remedy,
      line_to_paste
    from {{ ref(findings) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
  ) as findings
),

snapshot_rules as (
  select
    source_relation,
    rule_name,
    subject,
    'warning' as severity,
    case when deals_affected > 0 then 'finding' else 'ok' end as status,
    deals_affected,
    cast(null as bigint) as deals_checked,
    cast(null as bigint) as rows_affected,
    cast(null as bigint) as rows_checked,
    cast(null as double) as share,
    sample_ids,
    message,
    case when deals_affected > 0 then remedy end as remedy,
    cast(null as {{ dbt.type_string() }}) as line_to_paste
  from {{ ref('int_snapshot_findings') }}
),

exclusion_rules as (
  select
    '(all)' as source_relation,
    rule_name,
    subject,
    severity,
    status,
    deals_affected,
    deals_checked,
    cast(null as bigint) as rows_affected,
    cast(null as bigint) as rows_checked,
    {{ safe_rate('deals_affected', 'deals_checked') }} as share,
    sample_ids,
    message,
    remedy,
    cast(null as {{ dbt.type_string() }}) as line_to_paste
  from {{ ref('int_exclusion_findings') }}
),

history_rules as (
  select
    source_relation,
    'history_begins_in_the_middle' as rule_name,
    '(all)' as subject,
    'info' as severity,
    'finding' as status,
    cast(null as bigint) as deals_affected,
    cast(null as bigint) as deals_checked,
    cast(null as bigint) as rows_affected,
    cast(null as bigint) as rows_checked,
    cast(null as double) as share,
    cast(null as {{ dbt.type_string() }}) as sample_ids,
    concat(
      'Deals are known from ', cast(first_known_on as {{ dbt.type_string() }}),
      case when first_close_on is not null then concat(', outcomes from ', cast(first_close_on as {{ dbt.type_string() }})) else '' end,
      '. Figures of closed deals are whole from ', cast(complete_from_on as {{ dbt.type_string() }}),
      ' on; a period that starts earlier is marked left_truncated and is no trend.'
    ) as message,
    'Export older deals with their dates if the CRM has them.' as remedy,
    cast(null as {{ dbt.type_string() }}) as line_to_paste
  from {{ ref('int_sales_history') }}
  where complete_from_on is not null
),

final as (
  select
    findings.source_relation,
    findings.rule_name as rule,
    findings.subject,
    findings.severity,
    findings.status,
    findings.deals_affected,
    findings.deals_checked,
    findings.rows_affected,
    findings.rows_checked,
    findings.share,
    findings.sample_ids,
    findings.message,
    findings.remedy,
    findings.line_to_paste,
    context.as_of,
    context.definition_version
  from (
    select * from deal_rules
    union all
    select * from file_rules
    union all
    select * from snapshot_rules
    union all
    select * from exclusion_rules
    union all
    select * from history_rules
  ) as findings
  cross join context
)

select * from final
