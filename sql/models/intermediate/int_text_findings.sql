with prompts as (

    select * from {{ ref('stg_prompts') }}

),

completions as (

    select * from {{ ref('stg_completions') }}

),

-- The response, and the assistant's earlier turns where there are any.
texts as (

    select
        source,
        file,
        row,
        branch,
        sample,
        content as text

    from completions

    union all

    select
        source,
        file,
        row,
        branch,
        null as sample,
        array_to_string([turn.content for turn in messages if turn.role = 'assistant'], chr(10)) as text

    from prompts
    where len(messages) > 2

),

suspects as (

    select
        *,
        not regexp_matches(text, '[^\s\p{Z}\p{C}]') as is_empty

    from texts
    where is_empty or {{ names_an_ai('text') }}

),

found as (

    select
        source,
        file,
        row,
        branch,
        sample,
        is_empty,
        {{ first_self_statement('text') }} as self_statement

    from suspects

),

-- Rows that teach a model who it is speak of it on purpose.
identity_rows as (

    select {{ row_key() }} from prompts where skill = 'identity'

),

findings as (

    select
        {{ row_key() }},
        sample,
        'empty_response' as reason,
        null as detail

    from found
    where is_empty and sample is not null

    union all

    select
        {{ row_key() }},
        sample,
        'speaks_of_model' as reason,
        self_statement as detail

    from found
    anti join identity_rows using ({{ row_key() }})
    where self_statement is not null

)

select * from findings
