-- What each window means for the waterfall: the rules are in macros/waterfall.sql.
with {{ waterfall_moves(ref('int_pipeline_windows')) }}

select * from waterfall_moves
