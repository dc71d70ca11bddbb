-- What hazards would have said at every week's end about five quarters, by what was known then.
with context as (
  select as_of from {{ ref('stg_run_context') }}
),

days as (
  {{ days_asked(ref('dim_date'), 'asked.date_day = asked.week_end_on and asked.date_day <= (select as_of from context)') }}
),

from_open as (
  {{ expected_from_open(ref('int_win_curves'), ref('int_win_curves'), ref('int_win_amounts')) }}
),

arrivals as (
  {{ expected_arrivals('days', ref('int_open_spans'), ref('dim_date')) }}
),

from_new as (
  {{ expected_from_new('days', ref('int_hazard_exposures'), 'arrivals', ref('int_new_business')) }}
),

final as (
  {{ expected_bookings('days', 'from_open', 'from_new', ref('int_calendar_index'), ref('int_new_business')) }}
)

select * from final
