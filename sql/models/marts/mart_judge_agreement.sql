with scores as (

    select * from {{ ref('int_response_scores') }}

),

orders as (

    select * from {{ ref('int_response_orders') }}

),

rated_by_both as (

    select
        one.rater,
        other.rater as other_rater,
        one.aspect,
        one.score,
        other.score as other_score

    from scores as one
    inner join scores as other
        on
            one.rater < other.rater
            and one.aspect = other.aspect
            and one.prompt_id = other.prompt_id
            and one.text_hash = other.text_hash

),

-- Equal scores share the mean of their ranks.
ranked as (

    select
        *,
        rank() over (partition by rater, other_rater, aspect order by score)
        + count(*) over (partition by rater, other_rater, aspect, score) / 2 as place,
        rank() over (partition by rater, other_rater, aspect order by other_score)
        + count(*) over (partition by rater, other_rater, aspect, other_score) / 2 as other_place

    from rated_by_both

),

of_scores as (

    select
        rater,
        other_rater,
        aspect,
        count(*) as responses,
        corr(place, other_place) as spearman,
        avg((score = other_score)::integer) as same_score

    from ranked
    group by all

),

{% for name, relation, of, key in [
    ('score', 'rated_by_both', ['score', 'other_score'], 'rater, other_rater, aspect'),
    ('order', 'ordered_by_both', ['better', 'other_better'], 'rater, other_rater'),
] %}
{% if name == 'order' %}
ordered_by_both as (

    select
        one.rater,
        other.rater as other_rater,
        one.better,
        other.better as other_better

    from orders as one
    inner join orders as other
        on
            one.rater < other.rater
            and one.prompt_id = other.prompt_id
            and one.one = other.one
            and one.other = other.other

),
{% endif %}
-- Agreement that chance alone would give, from how often each rater gives each value.
{{ name }}_chance as (

    select
        {{ key }},
        sum(times * other_times) as chance

    from (
        select {{ key }}, {{ of[0] }} as value, count(*) as times from {{ relation }} group by all
    ) as mine
    inner join (
        select {{ key }}, {{ of[1] }} as value, count(*) as other_times from {{ relation }} group by all
    ) as theirs using ({{ key }}, value)
    group by all

),
{% endfor %}

of_orders as (

    select
        rater,
        other_rater,
        count(*) as pairs,
        count(*) filter (where better != 0 and other_better != 0) as pairs_without_tie,
        avg((better = other_better)::integer) filter (where better != 0 and other_better != 0) as same_order,
        avg((better = other_better)::integer) as same

    from ordered_by_both
    group by all

),

-- Cohen's kappa: agreement beyond chance as a share of what there is beyond chance.
joined as (

    select
        coalesce(of_scores.rater, of_orders.rater) as rater,
        coalesce(of_scores.other_rater, of_orders.other_rater) as other_rater,
        coalesce(of_scores.aspect, 'mean') as aspect,
        of_scores.responses,
        of_scores.spearman,
        of_scores.same_score,
        if(
            of_scores.aspect != 'mean',
            (of_scores.same_score - coalesce(score_chance.chance, 0) / of_scores.responses ** 2)
            / nullif(1 - coalesce(score_chance.chance, 0) / of_scores.responses ** 2, 0),
            null
        ) as kappa,
        of_orders.pairs,
        of_orders.pairs_without_tie,
        of_orders.same_order,
        (of_orders.same - coalesce(order_chance.chance, 0) / of_orders.pairs ** 2)
        / nullif(1 - coalesce(order_chance.chance, 0) / of_orders.pairs ** 2, 0) as order_kappa

    from of_scores
    full join of_orders
        on
            of_orders.rater = of_scores.rater
            and of_orders.other_rater = of_scores.other_rater
            and of_scores.aspect = 'mean'
    left join score_chance
        on
            score_chance.rater = of_scores.rater
            and score_chance.other_rater = of_scores.other_rater
            and score_chance.aspect = of_scores.aspect
    left join order_chance
        on order_chance.rater = of_orders.rater and order_chance.other_rater = of_orders.other_rater

)

-- Rounded: the last digits of a sum depend on its order.
select
    rater,
    other_rater,
    aspect,
    responses,
    round(spearman, 9) as spearman,
    round(same_score, 9) as same_score,
    round(kappa, 9) as kappa,
    pairs,
    pairs_without_tie,
    round(same_order, 9) as same_order,
    round(order_kappa, 9) as order_kappa

from joined
