with mixtures as (

    select * from {{ ref('mixtures') }}
    where list_contains({{ string_list(chosen_mixtures()) }}, mixture)

),

recipes as (

    select * from {{ ref('recipes') }}

),

joined as (

    select
        mixtures.mixture,
        recipes.source,
        recipes.rows,
        recipes.share,
        cast(mixtures.fraction as decimal(9, 6)) as fraction,
        mixtures.use,
        mixtures.seed

    from mixtures
    inner join recipes using (recipe)
    where not list_has_any(
        string_split(coalesce(mixtures.without, ''), ' '),
        [name for name in string_split(coalesce(recipes.groups, ''), ' ') if name != '']
    )

)

select * from joined
