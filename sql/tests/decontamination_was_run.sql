{{ config(severity='warn') }}

-- There is evidence of contamination where there are evaluations: none at all says that nobody looked.
select 'attr.contamination is empty: run pipelines/decontaminate.py' as problem
where
    exists (select 1 from {{ ref('stg_eval_instances') }})
    and not exists (select 1 from {{ source('attr', 'contamination') }})
