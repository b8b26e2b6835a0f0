with parts as (

    select * from {{ ref('int_preference_parts') }}

),

completions as (

    select * from {{ ref('stg_completions') }}

),

prompts as (

    select * from {{ ref('stg_prompts') }}

),

findings as (

    select * from {{ ref('int_text_findings') }}

),

contaminated as (

    select
        {{ row_key() }},
        -- A set that is left out needs no reasons for its rows.
        min_by({reason: reason, detail: detail}, reason = 'contaminated_row') as why

    from {{ ref('int_contaminated_rows') }}
    group by all

),

-- A response lies beside its prompt, or in a campaign whose `file` names the prompt's source and file.
placed as (

    select
        completions.source,
        completions.file,
        completions.row,
        completions.branch,
        completions.sample,
        completions.completion_id,
        completions.prompt_id,
        completions.preference,
        completions.score,
        completions.model,
        completions.licence,
        completions.policy,
        completions.finish_reason,
        hash(trim(completions.content)) as text_hash,
        if(own.source is null, split_part(completions.file, '/', 1), completions.source) as prompt_source,
        if(own.source is null, substr(completions.file, strpos(completions.file, '/') + 1), completions.file) as prompt_file

    from completions
    semi join parts using (source)
    left join (select distinct source from prompts) as own using (source)

),

with_prompt as (

    select
        placed.*,
        prompts.revision as prompt_revision,
        prompts.licence as prompt_licence,
        prompts.skill,
        prompts.language

    from placed
    left join prompts
        on
            prompts.source = placed.prompt_source
            and prompts.file = placed.prompt_file
            and prompts.row = placed.row
            and prompts.branch = placed.branch
            and prompts.prompt_id = placed.prompt_id

),

judged as (

    select
        with_prompt.* exclude (finish_reason),
        case
            when with_prompt.prompt_revision is null then {reason: 'no_prompt', detail: null::varchar}
            when contaminated.why is not null then contaminated.why
            when with_prompt.finish_reason = 'length' then {reason: 'truncated', detail: null}
            when of_response.reason = 'empty_response' then {reason: 'empty_response', detail: null}
            -- Rows that teach a model who it is speak of it on purpose.
            when with_prompt.skill = 'identity' then null
            when of_response.reason is not null then {reason: of_response.reason, detail: of_response.detail}
            when of_earlier_turns.reason is not null
                then {reason: of_earlier_turns.reason, detail: 'earlier turn: ' || of_earlier_turns.detail}
        end as why

    from with_prompt
    left join contaminated
        on
            contaminated.source = with_prompt.prompt_source
            and contaminated.file = with_prompt.prompt_file
            and contaminated.row = with_prompt.row
            and contaminated.branch = with_prompt.branch
    left join findings as of_response
        on {{ same_row('of_response', 'with_prompt') }} and of_response.sample = with_prompt.sample
    left join findings as of_earlier_turns
        on
            of_earlier_turns.sample is null
            and of_earlier_turns.source = with_prompt.prompt_source
            and of_earlier_turns.file = with_prompt.prompt_file
            and of_earlier_turns.row = with_prompt.row
            and of_earlier_turns.branch = with_prompt.branch

)

select
    * exclude (why),
    why.reason as reason,
    why.detail as detail

from judged
