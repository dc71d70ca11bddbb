{%- set lost_reasons = ['Loss_Reason__c', 'Lost_Reason__c', 'Closed_Lost_Reason__c', 'Reason_Lost__c'] -%}
{%- set competitors = ['Competitor__c', 'Main_Competitor__c', 'MainCompetitors__c'] -%}
{%- set regions = ['Region__c', 'Sales_Region__c'] -%}
{%- set fields = [
  'Name', 'StageName', 'CloseDate', 'IsClosed', 'IsWon', 'OwnerId', 'CreatedDate', 'Probability', 'ForecastCategory',
  'AccountId', 'LeadSource', 'Type', 'NextStep', 'LastActivityDate', 'LastStageChangeDate', 'RecordTypeId',
  'CurrencyIsoCode', 'stageledger'
] + lost_reasons + competitors + regions -%}
{%- set usual_region = 'coalesce(rows_landed.p.' ~ (regions | map('lower') | join(', rows_landed.p.')) ~ ')' -%}
{%- set usual_lost_reason = 'coalesce(rows_landed.p.' ~ (lost_reasons | map('lower') | join(', rows_landed.p.')) ~ ')' -%}
{%- set usual_competitor = 'coalesce(rows_landed.p.' ~ (competitors | map('lower') | join(', rows_landed.p.')) ~ ')' -%}
-- Versions of opportunities. A tombstone says only that a deal is gone: it takes its values from the newest version.
with rows_landed as (
  {{ landed_salesforce('deals', fields) }}
),

-- deals of an account that was merged away belong to the one that was kept
merged_accounts as (
  select
    source_relation,
    record_id as account_id,
    p.masterrecordid as kept_account_id
  from ({{ landed_salesforce_newest('accounts', ['MasterRecordId']) }}) as accounts
  where p.masterrecordid is not null
),

own as (
  {{ own_properties() }}
),

versions as (
  select
    rows_landed.source_relation,
    rows_landed.record_id as deal_id,
    rows_landed.modified_at,
    rows_landed.extracted_at,
    rows_landed.batch_id,
    rows_landed.is_initial_load,
    rows_landed.is_deleted,
    rows_landed.p.name as deal_name,
    coalesce(rows_landed.p.recordtypeid, 'default') as pipeline_id,
    rows_landed.p.stagename as stage_id,
    case
      when rows_landed.p.iswon = 'true' then 'won'
      when rows_landed.p.isclosed = 'true' then 'lost'
      else 'open'
    end as status,
    {{ try_type(own_or('amount', 'rows_landed.payload', json_number_text('rows_landed.payload', 'Amount')), 'decimal(20, 3)') }} as amount_native,
    upper(rows_landed.p.currencyisocode) as currency,
    {{ try_type('rows_landed.p.createddate', 'timestamp') }} as created_at,
    {{ try_type('rows_landed.p.closedate', 'date') }} as close_date,
    case
      when rows_landed.p.isclosed = 'true' then {{ try_type('rows_landed.p.laststagechangedate', 'timestamp') }}
    end as closed_at,
    rows_landed.p.ownerid as owner_id,
    coalesce(merged_accounts.kept_account_id, rows_landed.p.accountid) as account_id,
    {{ own_or('product', 'rows_landed.payload', 'null') }} as product_id,
    {{ own_or('region', 'rows_landed.payload', usual_region) }} as region,
    {{ own_or('country', 'rows_landed.payload', 'null') }} as country,
    {{ own_or('source', 'rows_landed.payload', 'rows_landed.p.leadsource') }} as lead_source,
    {{ own_or('deal_type', 'rows_landed.payload', 'rows_landed.p.type') }} as deal_type,
    {{ own_or('forecast_category', 'rows_landed.payload', salesforce_category('rows_landed.p.forecastcategory')) }} as forecast_category,
    {{ try_type('rows_landed.p.probability', 'double') }} / 100 as probability,
    {{ own_or('lost_reason', 'rows_landed.payload', usual_lost_reason) }} as lost_reason,
    {{ own_or('competitor', 'rows_landed.payload', usual_competitor) }} as competitor,
    {{ own_or('next_step', 'rows_landed.payload', 'rows_landed.p.nextstep') }} as next_step,
    {{ try_type('rows_landed.p.lastactivitydate', 'timestamp') }} as last_activity_at,
    case when rows_landed.is_deleted then rows_landed.modified_at end as deleted_at
  from rows_landed
  left join merged_accounts
    on rows_landed.source_relation = merged_accounts.source_relation
      and rows_landed.p.accountid = merged_accounts.account_id
  left join own on rows_landed.source_relation = own.source_relation
  where rows_landed.p.stageledger is null
),

ranked as (
  select
    *,
    row_number() over (
      partition by source_relation, deal_id
      order by modified_at desc, extracted_at desc, batch_id desc
    ) as newest_first
  from versions
),

tombstones as (
  select
    *,
    {{ json_struct('p.stageledger', ['deleted_at']) }} as words
  from rows_landed
  where p.stageledger is not null
),

together as (
  select
    source_relation,
    deal_id,
    modified_at,
    extracted_at,
    batch_id,
    is_initial_load,
    is_deleted,
    deal_name,
    pipeline_id,
    stage_id,
    status,
    amount_native,
    currency,
    created_at,
    close_date,
    closed_at,
    owner_id,
    account_id,
    product_id,
    region,
    country,
    lead_source,
    deal_type,
    forecast_category,
    probability,
    lost_reason,
    competitor,
    next_step,
    last_activity_at,
    deleted_at
  from versions
  union all
  select
    tombstones.source_relation,
    tombstones.record_id as deal_id,
    tombstones.modified_at,
    tombstones.extracted_at,
    tombstones.batch_id,
    tombstones.is_initial_load,
    true as is_deleted,
    ranked.deal_name,
    ranked.pipeline_id,
    ranked.stage_id,
    ranked.status,
    ranked.amount_native,
    ranked.currency,
    ranked.created_at,
    ranked.close_date,
    ranked.closed_at,
    ranked.owner_id,
    ranked.account_id,
    ranked.product_id,
    ranked.region,
    ranked.country,
    ranked.lead_source,
    ranked.deal_type,
    ranked.forecast_category,
    ranked.probability,
    ranked.lost_reason,
    ranked.competitor,
    ranked.next_step,
    ranked.last_activity_at,
    {{ try_type('tombstones.words.deleted_at', 'timestamp') }} as deleted_at
  from tombstones
  left join ranked
    on tombstones.source_relation = ranked.source_relation
      and tombstones.record_id = ranked.deal_id
      and ranked.newest_first = 1
),

final as (
  select
    source_relation,
    deal_id,
    modified_at,
    extracted_at,
    batch_id,
    is_initial_load,
    is_deleted,
    cast(null as date) as data_as_of,
    deal_name,
    pipeline_id,
    stage_id,
    status,
    amount_native,
    currency,
    created_at,
    close_date,
    closed_at,
    owner_id,
    account_id,
    product_id,
    region,
    country,
    lead_source,
    deal_type,
    forecast_category,
    probability,
    lost_reason,
    competitor,
    next_step,
    last_activity_at,
    cast(null as {{ dbt.type_string() }}) as deal_url,
    deleted_at,
    cast(null as {{ dbt.type_string() }}) as merged_into_deal_id,
    cast(null as timestamp) as merged_at
  from together
)

select * from final
