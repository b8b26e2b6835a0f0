select
    removals.mixture,
    removals.source,
    removals.reason,
    count(*) as rows,
    any_value(removals.detail) as example

from {{ ref('int_removals') }} as removals
group by all
order by all
