with mixtures as (

    select * from {{ ref('preference_mixtures') }}
    where list_contains({{ string_list(chosen_mixtures('preference_mixtures')) }}, mixture)

),

recipes as (

    select * from {{ ref('preference_recipes') }}

),

joined as (

    select
        mixtures.mixture,
        recipes.part,
        recipes.source,
        -- Another judge stands in for the recipe's; a source that ranks its responses itself keeps its ranking.
        if(recipes.judge is null, '', coalesce(mixtures.judge, recipes.judge)) as judge,
        coalesce(mixtures.policy, recipes.policy, 'any') as policy,
        coalesce(mixtures.prompts, recipes.prompts, 'any') as prompts,
        mixtures.verified,
        mixtures.pairs,
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
