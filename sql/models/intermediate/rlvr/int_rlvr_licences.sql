{{ combined_licences(ref('int_rlvr_prompts'), ['prompt_licence']) }}
