"""Chat templates in the manner of those that models ship, and drawn conversations for them."""
import json
import random

MARKED_TURNS = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Tools\\nCall one or more:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}{{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string and not (message.content.startswith('<r>') and message.content.endswith('</r>')) %}
        {%- set ns.multi_step = false %}{%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}{%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > ns.last and (loop.last or reasoning) %}{{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' }}{%- endif %}
        {{- content.lstrip('\\n') }}
        {%- for call in message.tool_calls or [] %}
            {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
            {%- if call.function %}{%- set call = call.function %}{%- endif %}
            {{- '<tool_call>\\n{"name": "' ~ call.name ~ '", "arguments": ' }}
            {%- if call.arguments is string %}{{- call.arguments }}{%- else %}{{- call.arguments | tojson }}{%- endif %}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<r>\\n' }}{{- content }}{{- '\\n</r>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}"""

HEADERS = """{{ bos_token }}{% if tools is not none %}TOOLS {{ tools | length }}{% endif %}
{% for m in messages if m['role'] != 'function' %}
<|header|>{{ m['role'] }}<|end|>

{% if m.content is string %}{{ m['content'] | trim }}{% elif m.content is iterable %}{% for part in m.content %}{{ part.text | default('') }}{% endfor %}{% endif %}<|eot|>
{% endfor %}
{% if add_generation_prompt %}<|header|>assistant<|end|>

{% endif %}"""

INSTRUCT = """{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}
{%- else %}{%- set loop_messages = messages %}{%- endif %}
{%- for message in loop_messages | rejectattr("role", "equalto", "tool") | rejectattr("role", "equalto", "function") | selectattr("tool_calls", "undefined") %}
    {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}
        {{- raise_exception("After the optional system message, roles must alternate: " + message["role"]) }}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system_message is defined %}{{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}{%- endif %}
    {%- elif message["role"] == "assistant" and message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[CALLS] [" }}
        {%- for call in message.tool_calls %}
            {%- set out = call.function|tojson %}
            {{- out[:-1] }}
            {%- if not call.id is defined or call.id|length < 2 %}{{- raise_exception("ids must be longer") }}{%- endif %}
            {{- ', "id": "' + call.id + '"}' }}{{- ", " if not loop.last else "]" + eos_token }}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token }}
    {%- elif message["role"] in ["tool", "function"] %}{{- '[RESULTS] {"content": ' + message.content|string + "}[/RESULTS]" }}
    {%- endif %}
{%- endfor %}"""

CHANNELS = """{%- macro render_type(spec) -%}
    {%- if spec.type == "array" -%}{{ render_type(spec['items']) if spec['items'] else 'any' }}[]
    {%- elif spec.type is iterable and spec.type is not string -%}{{ spec.type | join(" | ") }}
    {%- elif spec.type == "object" -%}{
{% for name, prop in (spec.properties or {}) | dictsort %}
  {{ name }}{{ "?" if name not in (spec.required or []) }}: {{ render_type(prop) }}{{ ", // " ~ prop.description if prop.description }}
{% endfor %}
}
    {%- else -%}{{ spec.type | default("any") }}{%- endif -%}
{%- endmacro -%}
<|start|>system<|message|>Reasoning: {{ reasoning_effort | default("medium") }}{% if tools %} tools:{% for tool in tools %}
type {{ tool.function.name }} = (_: {{ render_type(tool.function.parameters) if tool.function.parameters else "" }}) => any;{% endfor %}{% endif %}<|end|>
{%- for message in messages -%}
    {%- if message.role == 'assistant' -%}
        {%- if message.thinking and not loop.last %}{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}{%- endif %}
        {%- if "tool_calls" in message %}{%- for call in message.tool_calls %}{{- "<|start|>assistant to=functions." ~ call.function.name ~ "<|message|>" ~ call.function.arguments|tojson ~ "<|call|>" }}{%- endfor %}
        {%- else %}{{- "<|start|>assistant<|channel|>final<|message|>" ~ message.content ~ "<|end|>" }}{%- endif %}
    {%- elif message.role in ('tool', 'function') %}{{- "<|start|>functions." ~ (message.name or 'f') ~ "<|message|>" ~ message.content|tojson ~ "<|end|>" }}
    {%- else %}{{- "<|start|>" ~ message.role ~ "<|message|>" ~ message.content ~ "<|end|>" }}{%- endif %}
{%- endfor -%}
{%- if add_generation_prompt %}<|start|>assistant{%- endif %}"""

PARAMETERS = """{% for message in messages %}
{% if message.role == "assistant" and message.tool_calls %}
<|a|>{{ message.content or "" }}
{% for call in message.tool_calls %}
<call name={{ call.function.name }}>
{% for key, value in call.function.arguments | items %}
<p={{ key }}>{% if value is mapping or (value is sequence and value is not string) %}{{ value | tojson }}{% else %}{{ value | string }}{% endif %}</p>
{% endfor %}
</call>
{% endfor %}
{% else %}
<|{{ message.role[0] }}|>{{ message.content | replace("<", "&lt;") | trim }}
{% endif %}
{% endfor %}{{ documents is none }}{% if documents %}{{ documents | length }}{% endif %}{{ pad_token | default("none") }}"""

WHOLE = """{% for message in messages %}{{ message }}|{{ message | tojson }}|{{ message.keys() | list }}
{% endfor %}{{ messages | groupby('role') | map(attribute='grouper') | join(',') }} {{ tools }} {{ documents }} {{ add_generation_prompt }}"""

ALL = {"marked turns": MARKED_TURNS, "headers": HEADERS, "instruct": INSTRUCT, "channels": CHANNELS, "parameters": PARAMETERS, "whole": WHOLE}

WORDS = ["Hello", "Was ist los?", "日本語で", "line\nbreak\n", "  padded ", "<think>\nhm\n</think>\n\nyes", "</think>", "<b>&amp;</b>", "🙂", "", "{\"a\": 1}", "100%"]
ARGUMENTS = ['{"a": 1, "b": "x"}', '{}', '', 'not json', '{"n": {"k": [1, 2.5, null, true]}, "ü": "é\\n"}', '[1, 2]', '"text"', '{"a": 1, "a": 2}', '{"f": 1e3, "g": -0.0}', "  {\"s\": 1}  "]
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds <two>", "parameters": {"type": "object", "properties": {
    "b": {"type": "number", "description": "second"}, "A": {"type": ["integer", "null"]}, "l": {"type": "array", "items": {"type": "string"}}}, "required": ["b"]}}},
    {"type": "function", "function": {"name": "now"}}]


def conversation(seed):
    """{"messages", "add_generation_prompt", "special_tokens", "arguments"} and sometimes "reasoning_effort"."""
    r = random.Random(seed)
    messages = [{"role": "system", "content": r.choice(WORDS)}] if r.random() < 0.5 else []
    for _ in range(r.randint(1, 4)):
        messages.append({"role": "user", "content": r.choice(WORDS)})
        answer = {"role": "assistant", "content": r.choice(WORDS)}
        if r.random() < 0.3:
            answer["content"] = ""
            answer["tool_calls"] = [{"id": r.choice(["c1", "call_22", "x"]), "type": "function", "function": {"name": "add", "arguments": r.choice(ARGUMENTS)}}
                                    for _ in range(r.randint(1, 2))]
        for name in ("reasoning", "reasoning_content", "thinking"):
            if r.random() < 0.15:
                answer[name] = r.choice(WORDS + [None])
        for name in ("refusal", "name", "function_call", "audio", "tool_calls"):
            if r.random() < 0.3:
                answer.setdefault(name, None)
        messages.append(answer)
        if "tool_calls" in answer and answer["tool_calls"]:
            messages.append({"role": "tool", "tool_call_id": "c1", "content": r.choice(WORDS), "name": r.choice(["add", None])})
    if r.random() < 0.2:
        messages.append({"role": "function", "name": "f", "content": r.choice(WORDS)})
    chat = {"messages": messages, "add_generation_prompt": r.random() < 0.5, "special_tokens": {"bos_token": "<s>", "eos_token": "</s>"}, "arguments": {}}
    if r.random() < 0.4:
        chat["arguments"]["tools"] = TOOLS[:r.randint(1, 2)]
    if r.random() < 0.2:
        chat["special_tokens"]["pad_token"] = "<pad>"
    if r.random() < 0.3:
        chat["reasoning_effort"] = r.choice(["none", "low", "high"])
    if r.random() < 0.2:
        chat["arguments"]["enable_thinking"] = r.random() < 0.5
    if r.random() < 0.1:
        chat["arguments"]["documents"] = [{"title": "t", "text": "x"}]
    return chat


def as_peers_see(chat):
    """The arguments of transformers' render_jinja_template for the conversation, prepared as apply_chat_template and vLLM do."""
    messages = json.loads(json.dumps(chat["messages"]))
    for message in messages:
        for call in message.get("tool_calls") or []:
            text = call["function"]["arguments"]
            try:
                value = json.loads(text) if text else {}
            except ValueError:
                value = text
            call["function"]["arguments"] = value if isinstance(value, dict) else text
    variables = dict(chat["special_tokens"])
    if "reasoning_effort" in chat:
        variables.update(reasoning_effort=chat["reasoning_effort"], enable_thinking=chat["reasoning_effort"] != "none")
    variables.update(chat["arguments"])
    tools, documents = variables.pop("tools", None), variables.pop("documents", None)
    return messages, dict(tools=tools, documents=documents, add_generation_prompt=chat["add_generation_prompt"], **variables)
