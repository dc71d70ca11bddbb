{# Statistics that marts share, in SQL that every engine reads. All results are double. #}

{# num / den as a double; null, never 0, where there is nothing to divide by. #}
{% macro safe_rate(num, den) -%}
case when ({{ den }}) > 0 then cast({{ num }} as double) / cast({{ den }} as double) end
{%- endmacro %}

{# The same, and null where den is below the sample floor. #}
{% macro sampled_rate(num, den, min_sample) -%}
case
  when ({{ den }}) > 0 and ({{ den }}) >= {{ min_sample }}
    then cast({{ num }} as double) / cast({{ den }} as double)
end
{%- endmacro %}

{# Ends of the Wilson score interval of num / den, 95 % (z = 1.96). Wilson 1927, JASA 22, 209-212.
   At none and at all the end is exact: rounding would leave 1e-17. #}
{% macro wilson_low(num, den) -%}
case
  when ({{ den }}) > 0 and ({{ num }}) <= 0 then 0e0
  when ({{ den }}) > 0 then {{ wilson_centre(num, den) }} - {{ wilson_half_width(num, den) }}
end
{%- endmacro %}

{% macro wilson_high(num, den) -%}
case
  when ({{ den }}) > 0 and ({{ num }}) >= ({{ den }}) then 1e0
  when ({{ den }}) > 0 then {{ wilson_centre(num, den) }} + {{ wilson_half_width(num, den) }}
end
{%- endmacro %}

{% macro wilson_centre(num, den) -%}
((cast({{ num }} as double) + 1.9208e0) / (cast({{ den }} as double) + 3.8416e0))
{%- endmacro %}

{% macro wilson_half_width(num, den) -%}
(
  1.96e0 * sqrt(
    cast({{ num }} as double) * cast(({{ den }}) - ({{ num }}) as double) / cast({{ den }} as double) + 0.9604e0
  ) / (cast({{ den }} as double) + 3.8416e0)
)
{%- endmacro %}

{# z of the pooled two-proportion test of num_a / den_a against num_b / den_b; null where a side is empty
   or where both sides agree completely (all or none). #}
{% macro two_proportion_z(num_a, den_a, num_b, den_b) -%}
case
  when ({{ den_a }}) > 0
    and ({{ den_b }}) > 0
    and ({{ num_a }}) + ({{ num_b }}) > 0
    and ({{ num_a }}) + ({{ num_b }}) < ({{ den_a }}) + ({{ den_b }})
    then (
      cast({{ num_a }} as double) / cast({{ den_a }} as double)
      - cast({{ num_b }} as double) / cast({{ den_b }} as double)
    ) / sqrt(
      (cast(({{ num_a }}) + ({{ num_b }}) as double) / cast(({{ den_a }}) + ({{ den_b }}) as double))
      * (1e0 - cast(({{ num_a }}) + ({{ num_b }}) as double) / cast(({{ den_a }}) + ({{ den_b }}) as double))
      * (1e0 / cast({{ den_a }} as double) + 1e0 / cast({{ den_b }} as double))
    )
end
{%- endmacro %}

{# |z| that a two-sided test at 5 %, corrected for a number of comparisons (Bonferroni), has to exceed.
   Rational approximation of the normal quantile, error below 4.5e-4:
   Abramowitz and Stegun 1964, formula 26.2.23. #}
{% macro corrected_critical_z(comparisons) -%}
{%- set t = 'sqrt(-2e0 * ln(0.025e0 / cast(greatest(' ~ comparisons ~ ', 1) as double)))' -%}
(
  {{ t }}
  - (2.515517e0 + 0.802853e0 * {{ t }} + 0.010328e0 * {{ t }} * {{ t }})
  / (1e0 + 1.432788e0 * {{ t }} + 0.189269e0 * {{ t }} * {{ t }} + 0.001308e0 * {{ t }} * {{ t }} * {{ t }})
)
{%- endmacro %}

{# Does the rate of a segment differ from the rate of all the others by more than chance?
   The segment is part of the total, so it is compared with the total without it. Null where the normal
   approximation does not hold (fewer than 5 expected in a cell): unknown is not "no". #}
{% macro differs_from_rest(num, den, total_num, total_den, comparisons) -%}
case
  when ({{ den }}) > 0
    and ({{ total_den }}) > ({{ den }})
    and cast({{ total_num }} as double) * least(({{ den }}), ({{ total_den }}) - ({{ den }})) >= 5e0 * ({{ total_den }})
    and cast(({{ total_den }}) - ({{ total_num }}) as double) * least(({{ den }}), ({{ total_den }}) - ({{ den }}))
    >= 5e0 * ({{ total_den }})
    then abs({{ two_proportion_z(num, den, '(' ~ total_num ~ ') - (' ~ num ~ ')', '(' ~ total_den ~ ') - (' ~ den ~ ')') }})
      > {{ corrected_critical_z(comparisons) }}
end
{%- endmacro %}

{# The share of a cell that is open when an age begins: Kaplan and Meier's product over the `younger` ages, as exp(sum(ln)).
   Where all that were left ended at one age, nobody is open after it. #}
{% macro share_still_open(endings, at_risk, younger) -%}
case
  when coalesce(max(case when {{ endings }} > 0 and {{ endings }} >= {{ at_risk }} then 1 else 0 end) over {{ younger }}, 0) = 1 then 0e0
  else exp(coalesce(sum(case when {{ endings }} < {{ at_risk }} then ln(1e0 - {{ endings }} / {{ at_risk }}) else 0e0 end) over {{ younger }}, 0e0))
end
{%- endmacro %}
