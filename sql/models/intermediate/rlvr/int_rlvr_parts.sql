with mixtures as (

    select * from {{ ref('rlvr_mixtures') }}
    where list_contains({{ string_list(chosen_mixtures('rlvr_mixtures')) }}, mixture)

),

recipes as (

    select * from {{ ref('rlvr_recipes') }}

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
    where
        (mixtures.only is null or list_has_any({{ words('mixtures.only') }}, {{ words('recipes.groups') }}))
        and not list_has_any({{ words('mixtures.without') }}, {{ words('recipes.groups') }})

)

select * from joined
