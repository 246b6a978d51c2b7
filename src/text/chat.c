/* text/chat.c: chat templates for models that carry none, by the names of the formats. Each writes what the
 * models of that format have learnt. */
#include "terse/text.h"

#include <string.h>

static const struct {
    const char *name, *text;
} TEMPLATES[] = {
    { "chatml", "{% for m in messages %}"
                "{{ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' }}"
                "{% endfor %}"
                "{{ '<|im_start|>assistant\\n' if add_generation_prompt }}" },
    { "llama3",
      "{{ bos_token }}"
      "{% for m in messages %}"
      "{{ '<|start_header_id|>' ~ m.role ~ '<|end_header_id|>\\n\\n' ~ m.content | trim ~ '<|eot_id|>' }}"
      "{% endfor %}"
      "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' if add_generation_prompt }}" },
    { "mistral", "{{ bos_token }}"
                 "{% for m in messages %}"
                 "{% if m.role != ('user', 'assistant')[loop.index0 % 2] %}"
                 "{{ raise_exception('user and assistant take turns, the user first') }}"
                 "{% endif %}"
                 "{{ '[INST] ' ~ m.content ~ ' [/INST]' if m.role == 'user' else m.content ~ eos_token }}"
                 "{% endfor %}" },
    { "gemma", "{{ bos_token }}"
               "{% for m in messages %}"
               "{% if m.role != ('user', 'assistant')[loop.index0 % 2] %}"
               "{{ raise_exception('user and assistant take turns, the user first') }}"
               "{% endif %}"
               "{{ '<start_of_turn>' ~ ('user' if m.role == 'user' else 'model') ~ '\\n' ~ m.content | trim }}"
               "{{ '<end_of_turn>\\n' }}"
               "{% endfor %}"
               "{{ '<start_of_turn>model\\n' if add_generation_prompt }}" },
    { "phi3", "{% for m in messages %}"
              "{{ '<|' ~ m.role ~ '|>\\n' ~ m.content ~ '<|end|>\\n' }}"
              "{% endfor %}"
              "{{ '<|assistant|>\\n' if add_generation_prompt else eos_token }}" },
    { "zephyr", "{% for m in messages %}"
                "{{ '<|' ~ m.role ~ '|>\\n' ~ m.content ~ eos_token ~ '\\n' }}"
                "{% endfor %}"
                "{{ '<|assistant|>\\n' if add_generation_prompt }}" },
};
enum { N_TEMPLATES = sizeof TEMPLATES / sizeof TEMPLATES[0] };

const char *terse_chat_name(int32_t i)
{
    return i >= 0 && i < N_TEMPLATES ? TEMPLATES[i].name : NULL;
}

terse_str terse_chat_template(const char *name)
{
    for (int32_t i = 0; i < N_TEMPLATES && name; i++)
        if (strcmp(TEMPLATES[i].name, name) == 0)
            return (terse_str){ TEMPLATES[i].text, strlen(TEMPLATES[i].text) };
    return (terse_str){ NULL, 0 };
}
