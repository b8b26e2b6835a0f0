select
    mixture,
    part,
    completion_source,
    reason,
    count(*) as groups,
    any_value(detail) as example

from {{ ref('int_preference_removals') }}
group by all
order by all
