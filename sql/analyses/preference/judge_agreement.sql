-- Needs: dbt build --select +mart_judge_agreement
select
    rater,
    other_rater,
    aspect,
    responses,
    round(spearman, 3) as spearman,
    round(100 * same_score, 1) as percent_same_score,
    round(kappa, 3) as kappa,
    pairs,
    round(100 * same_order, 1) as percent_same_order,
    round(order_kappa, 3) as order_kappa

from {{ ref('mart_judge_agreement') }}
order by rater, other_rater, aspect != 'mean', aspect
