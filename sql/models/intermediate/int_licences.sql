{{ combined_licences(ref('int_candidates'), ['prompt_licence', 'completion_licence']) }}
