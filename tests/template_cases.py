"""What template_oracle.py renders: conversations, templates and expressions that use each construct, and makers of
random expressions and templates."""

CALL = {"id": "abcdefgh1", "type": "function",
        "function": {"name": "weather", "arguments": {"city": "Köln", "days": 3, "exact": True, "near": None}}}
TEXT_CALL = {"id": "abcdefgh2", "type": "function", "function": {"name": "time", "arguments": "{\"zone\": \"CET\"}"}}

CONVERSATIONS = [
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "What is 2+2?"},
     {"role": "assistant", "content": "4"}, {"role": "user", "content": "And 3+3?"}],
    [{"role": "user", "content": "  blanks around  \n"}, {"role": "assistant", "content": " ok \n"},
     {"role": "user", "content": "one\n\ntwo\ttab"}],
    [{"role": "system", "content": ""}, {"role": "user", "content": "你好 😀 é “q” <|im_end|> {{ x }} {% if %}"},
     {"role": "assistant", "content": "```c\nint main(void){return 0;}\n```"}],
    [{"role": "user", "content": "Think."},
     {"role": "assistant", "content": "<think>\nfirst\n\nthen\n</think>\n\nDone."},
     {"role": "user", "content": "Again."},
     {"role": "assistant", "content": "", "reasoning_content": "\nlonger\n"},
     {"role": "user", "content": "/no_think Once more /nothink"}],
    [{"role": "system", "content": "Use tools. /no_think"}, {"role": "user", "content": "Weather?"},
     {"role": "assistant", "content": None, "tool_calls": [CALL]},
     {"role": "tool", "tool_call_id": "abcdefgh1", "content": "{\"t\": 21.5}"},
     {"role": "assistant", "content": "21.5 degrees."}, {"role": "user", "content": "Thanks <b>&amp;</b>"}],
    [{"role": "user", "content": "Both?"},
     {"role": "assistant", "content": "Looking.", "tool_calls": [CALL, TEXT_CALL]},
     {"role": "tool", "tool_call_id": "abcdefgh1", "name": "weather", "content": "rain"},
     {"role": "tool", "tool_call_id": "abcdefgh2", "name": "time", "content": "12:00"}],
    [{"role": "user", "content": [{"type": "text", "text": " Look: "}, {"type": "image"},
                                  {"type": "text", "text": "what?"}]},
     {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}, {"role": "user", "content": "Sure?"}],
    [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "x"}],
    [],
]

TOOLS = [
    {"type": "function", "function": {
        "name": "weather", "description": "Weather of a city, \"today\" <b>",
        "parameters": {"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "Its name: Köln, 東京"},
            "days": {"type": "integer", "minimum": 1, "default": 1},
            "units": {"type": "string", "enum": ["metric", "imperial"], "default": "metric"},
            "exact": {"type": ["boolean", "null"]},
            "points": {"type": "array", "items": {"type": "number"}},
            "box": {"type": "object", "properties": {"w": {"type": "number"}, "h": {"type": "number"}},
                    "required": ["w"]},
            "either": {"oneOf": [{"type": "string", "description": "a"}, {"type": "number"}], "default": 0.1},
        }}, "return": {"type": "object"}}},
    {"type": "function", "function": {"name": "now", "description": "The time.",
                                      "parameters": {"type": "object", "properties": {}}}},
]

TEMPLATES = [
    # white space
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n",
    "a\n  {%+ if true %}\n  b\n  {%+ endif +%}\nc\n\n",
    "a  {%- if true -%}  b  {%- endif -%}  c",
    "a\r\nb\rc {# note\n #}\n  {# note #}\n  x {#- y -#}  z\n",
    "{% for i in [1,2] -%}\n  {{ i }}\n{%- endfor %}\n",
    "  {{- ' a ' -}}  b\n  {{ 'c' }}\n  d",
    "{% raw %}{{ x }}{% y %}{# z #}{% endraw %}\nafter",
    "a  {%- raw -%}  {{ b }}  {%- endraw -%}  c",
    "{% raw %}\n  a\n  {% endraw %}\nb",
    "\n\n{% set a = 1 %}\n\n{{ a }}\n\n",
    "x\n{#+ kept #}\ny\n  {#+ kept +#}\nz",
    "{{ '%}' }}{{ \"}}\" }}{{ {'a': {'b': 1}} }}{{ {'a':{}}}}",
    " \t{% set a = 1 %} \t\n \t{{ a }}\t\n",
    "<a>  {% if x %} 1 {% endif %}  </a>\n\u00a0\u3000{% if x %}2{% endif %}",
    "line\n   {%- set a = 1 +%}\n  {{ a }}",
    # statements
    "{% for m in messages %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}"
    "/{{ loop.last }}/{{ loop.length }}/{{ loop.depth }}/{{ loop.depth0 }}/{{ loop.cycle('a', 'b', 'c') }};{% endfor %}",
    "{% for m in messages %}{{ loop.previtem.role }}<{{ m.role }}>{{ loop.nextitem.role if not loop.last }};{% endfor %}",
    "{% for m in messages %}{% if not loop.first %}{{ loop.previtem.role }}{% endif %}"
    "{% if loop.nextitem is defined %}>{{ loop.nextitem.role }}{% endif %};{% endfor %}",
    "{% for m in messages if m.role != 'system' %}{{ loop.index }}{{ loop.length }}{{ loop.last }}{{ m.content }} {% endfor %}",
    "{% set ns = namespace(stop=false) %}{% for i in range(9) if not ns.stop %}{{ i }}{% if i == 3 %}"
    "{% set ns.stop = true %}{% endif %}{% endfor %}",
    "{% set ns = namespace(stop=false) %}{% for i in range(9) if not ns.stop %}{{ i }}{{ loop.last }}{% if i == 3 %}"
    "{% set ns.stop = true %}{% endif %}{% endfor %}",
    "{% for a in [] %}{{ a }}{% else %}none{% endfor %}{% for a in [1] %}{{ a }}{% else %}none{% endfor %}",
    "{% for a in [1, 2, 3] if a > 5 %}{{ a }}{% else %}none{% endfor %}",
    "{% for k, v in {'a': 1, 'b': [2]}.items() %}{{ k }}={{ v }},{% endfor %}",
    "{% for k, (a, b) in [(1, (2, 3)), [4, [5, 6]]] %}{{ k }}{{ a }}{{ b }};{% endfor %}",
    "{% for k, v in [(1, 2, 3)] %}{{ k }}{% endfor %}",
    "{% for k, v in 7 %}{% endfor %}",
    "{% for c in 'añ😀' %}{{ c }}.{% endfor %}{% for k in {'x': 1, 'y': 2} %}{{ k }}{% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in range(3) %}{% for j in range(3) %}{% if j == 1 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "{% for i in range(3) %}{% set seen = i %}{{ seen }}{% endfor %}{{ seen is defined }}",
    "{% set n = 0 %}{% for i in range(3) %}{{ n }}{% set n = n + 1 %}{{ n }};{% endfor %}{{ n }}",
    "{% set ns = namespace(n=0, l=[]) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% set ns.l = ns.l + [i] %}"
    "{% endfor %}{{ ns.n }}{{ ns.l }}{{ ns.other is defined }}{{ ns['n'] }}{{ ns }}",
    "{% if x == 1 %}1{% elif x == 2 %}2{% elif x == 3 %}3{% else %}4{% endif %}{% if none %}a{% endif %}b",
    "{% if x %}{% set y = 1 %}{% endif %}{{ y }}",
    "{% set a, b = 1, 'two' %}{{ a }}{{ b }}{% set (c, d) = [3, 4] %}{{ c }}{{ d }}{% set t = 1, 2 %}{{ t }}",
    "{% set a, b = [1] %}",
    "{% set text %}  a {{ x }}\n b{% endset %}[{{ text }}]{% set up | upper | trim %} abc {% endset %}[{{ up }}]",
    "{% set x.y = 1 %}",
    "{% set d = {'a': 1} %}{% set d.a = 2 %}",
    "{% set true = 1 %}",
    "{% macro m(a, b=2, c=a) %}({{ a }},{{ b }},{{ c }}){% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=5) }}{{ m(b=7) }}",
    "{% macro m(a) %}{{ a }}|{{ varargs }}|{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, z=4) }}{{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, z=2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m is callable }}{{ m(*[1]) }}{{ m(**{'a': 2}) }}",
    "{% macro down(n) %}{{ n }}{% if n > 0 %}{{ down(n - 1) }}{% endif %}{% endmacro %}{{ down(9) }}",
    "{% macro m() %}{{ x }}{{ later }}{% endmacro %}{% set later = 5 %}{{ m() }}",
    "{% macro m() %}{% set x = 9 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}",
    "{% macro box(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call box('b') %}in {{ x }}{% endcall %}",
    "{% macro each(l) %}{% for i in l %}{{ caller(i, i * 2) }};{% endfor %}{% endmacro %}"
    "{% call(a, b) each([1, 2]) %}{{ a }}-{{ b }}{% endcall %}",
    "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}{% call m() %}{% endcall %}",
    "{% macro m() %}x{% endmacro %}{% call m() %}{% endcall %}",
    "{% macro m(caller=3) %}{{ caller }}{% endmacro %}{{ m() }}",
    "{% filter upper %}abc {{ x }}{% endfilter %}{% filter trim | replace('b', 'c') %}  abc  {% endfilter %}",
    "{% with a = 1, b = x %}{{ a }}{{ b }}{% set c = 3 %}{% endwith %}{{ a is defined }}{{ c is defined }}",
    "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
    "{% generation %}{% set g = 1 %}{{ g }}{{ x }}{% endgeneration %}{{ g is defined }}",
    "{% for m in messages %}{% generation %}{{ loop.index }}{% endgeneration %}{% endfor %}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}",
    "{% set j = joiner('; ') %}{% for i in range(3) %}{{ j() }}{{ i }}{% endfor %}{% set k = joiner() %}{{ k() }}{{ k() }}",
    "{% for i in [1, 1, 2] %}{{ loop.changed(i) }}{% endfor %}",
    "{{ loop }}",
    "{% for i in [1] %}{{ loop.nothing is defined }}{{ loop['index'] }}{% endfor %}",
    "{{ raise_exception('no') }}",
    "{% if false %}{{ raise_exception('no') }}{{ 1 / 0 }}{{ nothing.at.all }}{% endif %}fine",
    "{{ messages.append(1) }}",
    "{{ {'a': 1}.update({'b': 2}) }}",
    "{% set l = [3, 1] %}{{ l.sort() }}",
    "{{ strftime_now('%Y-%m-%d %H %b %A %d %B') }}|{{ strftime_now('') }}",
    "{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}{{ documents }}{{ unk_token }}",
    "{{ messages | tojson }}\n{{ tools | tojson(indent=2) }}\n{{ tools }}",
    "{% for m in messages %}{{ m.content[:3] ~ m['content'][-2:] }}{% endfor %}",
    # errors of the grammar
    "{% if %}{% endif %}", "{% if x %}", "{% endif %}", "{% for x %}{% endfor %}", "{{ }}", "{{ x", "{% x %}", "{# x",
    "{{ 'a }}", "{{ (1 }}", "{{ 1] }}", "{{ a b }}", "{{ x | }}", "{{ x is }}", "{{ x is none is none }}", "{% break %}",
    "{% macro m(a=1, b) %}{% endmacro %}", "{% macro %}{% endmacro %}", "{{ x | nothing }}", "{{ x is nothing }}",
    "{% set %}", "{{ f(a=1, 2) }}", "{{ {1} }}", "{{ [1, }}", "{{ 1..a }}", "{{ x.| }}", "{{ $ }}",
    "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% else %}{% endif %}{{", "{% for a.b in [1] %}{% endfor %}",
]

EXPRESSIONS = [
    # numbers
    "1 + 2 * 3 - 4 / 2", "7 // 2, -7 // 2, 7 // -2, 7 % 3, -7 % 3, 7 % -3, 7.5 // 2, -7.5 % 2, 7.5 % -2", "2 ** 10, 2 ** -1, 2 ** 0.5, (-2) ** 3, -2 ** 2, 2 ** 3 ** 2",
    "1 / 0", "1 // 0", "1 % 0", "1.0 / 0", "10 / 2, 1 / 3, 1e100, 1e16, 1e15, 123456789.0 * 10, 0.1 + 0.2, 1e-4, 1e-5, 5e-324",
    "1.5e3, 1e+2, 1_000, 0x1f, 0b101, 0o17, 00, 1_0.5_0", "true + 1, true * 3, -true, +false, true / 2", "+3, --3, - - 3, -3.5",
    "9223372036854775807, -9223372036854775807", "1 < 2 < 3, 1 < 3 < 2, 1 == 1.0, 1 != 2, 2 >= 2, true == 1, 1 < 'a'", "'a' < 'b', 'a' < 'B', [1, 2] < [1, 3], (1,) < (1, 2), [1] < (1,)",
    "none < 1", "{} < {}", "1 in [1, 2], 3 not in [1, 2], 'a' in 'abc', '' in '', 'k' in {'k': 1}, 1 in {1: 2}, 1.0 in [1]",
    "1 in 'abc'", "1 in 5", "[1] in {}", "9007199254740993 == 9007199254740992.0, 9007199254740993 > 9007199254740992.0",
    "-0.0, 0.0 == -0.0, 1e308 * 10, -1e308 * 10, (1e308 * 10) - (1e308 * 10)", "100000000000000000000.0, 1.0, 100.0, 12345678901234567.0", "3.0 // 1, -3.0 // 2, 3.7 // 0.1, 0.3 % 0.1",
    "2 ** 0, 0 ** 0, 0.0 ** 0, 2.0 ** 3, 0 ** -1", "round(1)", "(1.5)|int",
    # strings
    "'a' 'b' \"c\", 'a' + 'b', 'a' * 3, 3 * 'a', 'a' * 0, 'a' * -1, 'a' ~ 1 ~ none ~ 1.0 ~ [1] ~ true", "'a' + 1", "1 + 'a'", "'a' - 'b'", "'a' * 'b'",
    r"'\n\t\\\'\"\x41\u00e9\U0001F600\101\q\a'", "'it\\'s', \"it's\", 'say \"x\"', 'both \\' and \"'", "['it\\'s', \"q\\\"\", 'both \\' \"', '\\n\\t\\\\', 'é😀', '\\x00\\x7f\\x1b', '\\u200b\\u00a0\\ue000\\u00ad']",
    "'abc'[0], 'abc'[-1], 'abc'[5], 'abc'[1:], 'abc'[:-1], 'abc'[::-1], 'abc'[::2], 'abcdef'[4:1:-1], 'abcdef'[-1:-4:-2], 'añ😀b'[1:3], 'añ😀b'[::-1], 'abc'[5:], 'abc'[2:1]",
    "'abc'[::0]", "'abc'['a':]", "'abc'['x'] is defined, 'abc'.nothing is defined, 'abc'.upper is defined", "'abc'[none:none:none], 'abc'[true:]",
    "'  a b  '.strip() ~ '|' ~ '  a '.lstrip() ~ '|' ~ ' a  '.rstrip() ~ '|'", "'xxaxx'.strip('x'), 'xyaxy'.lstrip('xy'), 'abcab'.rstrip('ba'), 'a'.strip(none), '\u3000a\u00a0'.strip()", "'a'.strip(1)",
    "'a b  c '.split(), 'a,b,,c'.split(','), 'a,b,c'.split(',', 1), ' a b '.split(' '), ''.split(), ''.split(','), 'abc'.split('abc'), '  a  b  c '.split(none, 1), 'a b c'.split(maxsplit=1)",
    "'a b  c '.rsplit(), 'a,b,c'.rsplit(',', 1), ' a b  c '.rsplit(none, 1), 'a--b--c'.rsplit('--', 1), 'aaa'.rsplit('aa')", "'a'.split('')",
    "'abc'.startswith('a'), 'abc'.startswith(('x', 'ab')), 'abc'.endswith('c'), 'abc'.endswith(()), 'abc'.startswith('b', 1), 'abc'.endswith('b', 0, 2), 'abc'.startswith('')", "'abc'.startswith(['a'])", "'abc'.startswith(1)",
    "'hello wORLD ß é'.upper(), 'HELLO É'.lower(), 'hello wORLD'.title(), \"they're bill's\".title(), 'hELLO'.capitalize(), 'aBc'.swapcase(), ''.capitalize(), 'éa b1c'.title()",
    "'aXbXc'.replace('X', '-'), 'aaa'.replace('a', 'b', 2), 'abc'.replace('', '-'), 'abc'.replace('', '-', 2), 'añ'.replace('', '.'), 'aaa'.replace('aa', 'b'), ''.replace('', 'x'), 'abc'.replace('x', 'y')",
    "'abcabc'.find('c'), 'abcabc'.rfind('c'), 'abc'.find('x'), 'añb'.find('b'), 'abcabc'.find('a', 1), 'abcabc'.index('b'), 'aaa'.count('a'), 'aaaa'.count('aa'), 'abc'.count(''), 'abcabc'.find('c', 0, 2), 'abc'.find('', 5), 'abc'.find('', 3), 'abcabc'.rfind('a', -3)",
    "'abc'.index('x')", "'-'.join(['a', 'b']), ''.join([]), ', '.join('abc'), '-'.join({'a': 1, 'b': 2})", "'-'.join([1])", "'a\\nb\\r\\nc\\n'.splitlines(), 'a\\nb'.splitlines(true), ''.splitlines(), '\\n'.splitlines()",
    "'prefix-a'.removeprefix('prefix-'), 'a.txt'.removesuffix('.txt'), 'a'.removesuffix('b'), 'a'.removesuffix('')", "'a-b-c'.partition('-'), 'a-b-c'.rpartition('-'), 'abc'.partition('-'), 'abc'.rpartition('-')",
    "'abc'.isalpha(), '12'.isdigit(), 'a1'.isalnum(), ' '.isspace(), ''.isspace(), 'ABC'.isupper(), 'abc1'.islower(), '12'.isnumeric(), '1'.isdecimal(), 'a'.isascii()",
    "'a'.ljust(3) ~ '|', 'a'.rjust(3, '-'), 'ab'.center(5, '*'), 'abc'.center(6, '*'), '7'.zfill(3), '-7'.zfill(4), 'abc'.zfill(2)",
    "'{} and {}'.format(1, 'b'), '{1}{0}'.format('a', 'b'), '{x}'.format(x=3), '{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd'), '{:05d}, {:.2f}, {:e}, {:,}, {:x}, {:#x}, {:+d}, {:%}'.format(42, 3.14159, 12345.678, 1234567, 255, 255, 7, 0.25), '{{}}'.format()",
    "'{}'.format()", "'{:d}'.format('a')", "'{!r} {!s}'.format('a', 'b'), '{0} {0}'.format(1), '{:5}|{:5}'.format(1, 'a'), '{:.3}'.format('abcdef'), '{}'.format([1, none, true])",
    "'%s %d %.2f %5s|%-5s|%05d %x %r %% %c' % ('a', 3, 2.5, 'b', 'c', 42, 255, 'q', 'z')", "'%s-%s' % ('a', 1), '%s' % 'a', '%d' % 3.9, '%s' % none, '%s' % [1], '%(a)s %(b)d' % {'a': 1, 'b': 2}, '%+d % d' % (1, 2), '%e %g %G' % (1234.5, 0.00001, 1e10), '%*d' % (5, 3), '%.3s' % 'abcdef'",
    "'%s %s' % ('a',)", "'%s' % ('a', 'b')", "'%d' % 'a'", "'a' % 1", "'a' % {}", "'x'.__class__, 'x'['__class__'] is defined, ''.__class__.__mro__",
    # lists, dicts
    "[1, 'a', none, true, 1.5, [2], {'k': 'v'}, (1,), ()]", "(1), (1,), ()", "[1, 2] + [3], (1,) + (2,), [0] * 3, [] * 5", "[1] + (2,)", "[1, 2, 3][1], [1, 2, 3][-1], [1, 2, 3][9] is defined, [1, 2, 3][::-1], [1, 2, 3][1:], [1, 2, 3, 4][::2], (1, 2, 3)[:2]",
    "[1][1].x", "{'a': 1}.a, {'a': 1}['a'], {'a': 1}.b is defined, {'items': 5}['items'], {'a': 1, 'a': 2}, {1: 'x', none: 'y', (1, 2): 'z'}, {1: 'a', 1.0: 'b', true: 'c'}", "{'items': 5}.items is callable, {'x': 1}.get('x'), {'x': 1}.get('y'), {'x': 1}.get('y', 2)",
    "{'a': 1, 'b': 2}.keys(), {'a': 1}.values(), {'a': 1}.items(), {'a': 1}.keys()|list, {}.items()", "{[1]: 2}", "{{}: 1}", "{'a': 1}[[1]] is defined", "{'b': 1, 'a': 2} == {'a': 2, 'b': 1}, [1, [2]] == [1, [2]], (1,) == [1], 'a' == 'a', none == false",
    "[1, 2, 1].count(1), [1, 2, 1].index(2), (1, 2).index(2)", "[1].index(5)", "dict(a=1, b=2), dict({'a': 1}, b=2), dict([('a', 1), ['b', 2]]), dict()", "dict(1)", "dict([1])", "namespace(a=1).a, namespace({'b': 2}).b, namespace().x is defined",
    "range(3), range(1, 4)|list, range(5, 0, -2)|list, range(3)[1], range(3)|length, range(0)|list, range(2, 2)|list, 2 in range(3), range(10)[2:5], range(3) == range(0, 3)", "range(1000000)", "range(1, 2, 0)", "range('a')", "range(1.5)",
    "[[1, 2], [3]]|sum(start=[])", "{'a': {'b': [10, 20]}}.a.b.1, {'a': {'b': [10, 20]}}['a']['b'][0], [[1, 2], [3]][0][1]",
    # undefined
    "nothing, nothing is defined, nothing is undefined, nothing|default('d'), nothing == other, not nothing, nothing ~ 'x', [nothing]", "nothing.x", "nothing['x']", "nothing()", "nothing + 1", "-nothing", "nothing < 1", "1 < nothing", "nothing|int", "nothing|abs", "nothing|tojson", "nothing|length, nothing|list, nothing|join, nothing|trim, nothing|upper, nothing|first is defined, nothing|string",
    "1 in nothing, nothing in [1], nothing or 'x', nothing and 'x', 'a' if nothing else 'b'", "('a' if false), ('a' if false) is defined, ('a' if false) ~ 'b'", "nothing|items|list", "nothing|dictsort", "nothing|replace('a', 'b')", "none.x is defined, none['x'] is defined, (1).x is defined, true.x is defined", "none.x.y", "none + 1", "none()", "none|length", "nothing is none, none is none, none is defined", "nothing.x is defined", "messages[9].role", "messages[9] is defined", "nothing == none, nothing != none", "nothing in {}",
    # logic
    "1 and 2, 0 and 2, 0 or 3, '' or none, not 0, not not 1, not 1 == 2, 1 or 1 / 0, 0 and 1 / 0", "1 if 2 > 1 else 3, 'a' if 0 else 'b' if 0 else 'c'", "true and false or true, not true or true, True, False, None", "1 == 1 and 2 != 3 and 'a' not in 'bcd'", "not 1 in [1], not (1 in [2])", "1 is defined and x is divisibleby 3, x is divisibleby(2), x is odd, x is even, 4 is even",
    # filters
    "'  a  '|trim ~ '|', 'xxaxx'|trim('x'), 5|trim", "'abc'|length, [1, 2]|count, {'a': 1}|length, 'añ😀'|length, ()|length", "5|length", "'a'|upper|lower|upper, 'ab cd-ef'|title, 'HELLO wORLD'|capitalize, \"it's (a) [b]\"|title, 'é'|upper", "[1, 'a', none]|join(','), ['a']|join, 'abc'|join('-'), messages|join(', ', attribute='role'), messages|join('|', 'content')",
    "[3, 1, 2]|sort, ['b', 'A', 'c']|sort, ['b', 'A', 'c']|sort(case_sensitive=true), [3, 1]|sort(reverse=true), messages|sort(attribute='role')|map(attribute='role')|list, messages|sort(attribute='role,content')|map(attribute='content')|list", "[1, 'a']|sort", "[1, 1, 2, 'a', 'A', 'a']|unique|list, [[1, 2], [1, 3]]|unique(attribute=0)|list",
    "[1, 2, 3]|first, [1, 2, 3]|last, []|first is defined, 'abc'|first, 'abc'|last, {'a': 1, 'b': 2}|first, {'a': 1, 'b': 2}|last, (1, 2)|last", "range(3)|map('string')|last", "[1, 2]|reverse|list, 'añb'|reverse, {'a': 1, 'b': 2}|reverse|list, range(3)|reverse|list", "5|reverse", "5|first", "5|list", "'abc'|list, {'a': 1}|list, (1, 2)|list",
    "messages|map(attribute='role')|list, messages|map(attribute='x', default='d')|list, ['a', 'b']|map('upper')|list, ['a']|map('replace', 'a', 'b')|join, [1, 2]|map('string')|join('+'), messages|map(attribute='content.0')|list", "[1]|map('nothing')|list", "messages|map(attribute='x.y')|list", "messages|map(attribute='x')|list", "messages|map(attribute='x')|join(',')",
    "[0, 1, 2, '', 'a']|select|list, [1, 2, 3]|select('odd')|list, [1, 2, 3]|reject('odd')|list, [1, 2, 3]|select('gt', 1)|list, [1, none]|select('none')|list, [1, 2]|reject|list, [1, 2, 3]|select('in', [1, 3])|list, [1, 2]|select('==', 2)|list, ['a']|select('equalto', 'a')|list",
    "messages|selectattr('role', 'equalto', 'user')|list|length, messages|rejectattr('role', 'eq', 'user')|map(attribute='role')|list, messages|selectattr('x')|list, messages|selectattr('tool_calls', 'defined')|list, messages|selectattr('content')|list|length, messages|rejectattr('x', 'defined')|list|length", "[1]|select('nothing')|list", "[1]|select|length", "[1, 2, 3]|select('gt', 1)|first, ([1, 2, 3]|select('gt', 1)|list)[0]", "messages|selectattr('role', 'in', ['user', 'x'])|list|length",
    "{'b': 1, 'a': 2}|dictsort, {'b': 1, 'a': 2}|dictsort(by='value'), {'b': 1, 'A': 2}|dictsort, {'b': 1, 'A': 2}|dictsort(true), {'a': 1, 'b': 2}|dictsort(reverse=true), {'a': 1}|items|list", "[1]|dictsort", "{'a': 1}|dictsort(by='x')",
    "[1, 2, 3]|sum, [0.1, 0.2]|sum, []|sum, [{'a': 1}, {'a': 2}]|sum(attribute='a'), [1]|sum(start=10)", "['a']|sum", "[3, 1, 2]|max, [3, 1, 2]|min, ['b', 'A']|min, ['b', 'A']|max, ['b', 'A']|min(case_sensitive=true), []|max is defined, messages|max(attribute='role')", "[1, 'a']|max",
    "-5|abs, (-5)|abs, 5.5|abs, -5.5|abs, true|abs", "'a'|abs", "2.5|round, 3.5|round, 2.567|round(2), 5|round, 2.1|round(method='ceil'), 2.9|round(method='floor'), 2.675|round(2), 42.55|round(1, 'floor'), -2.5|round, 1234.5|round(-2), 5|round(2), 5|round(method='ceil')", "1.5|round(method='x')", "'a'|round",
    "'5'|int, '5.7'|int, 'x'|int, 'x'|int(9), 5.9|int, -5.9|int, '0x1f'|int(0, 16), '1f'|int(base=16), '101'|int(0, 2), none|int, true|int, ' 7 '|int, '1e3'|int, '1_0'|int, ''|int, [1]|int", "'5'|float, 'x'|float, 'x'|float(1.5), 5|float, '1e3'|float, none|float, 'inf'|float, ' 2.5 '|float, true|float, '1_0.5'|float", "'inf'|float|int",
    "1|string + '2', none|string, [1]|string, 'a'|string, true|string, 1.0|string", "'abc'|replace('b', 'x'), 'aaa'|replace('a', 'b', 2), 123|replace(2, 5), 'aaa'|replace('a', 'b', count=1)", "'x'|default('d'), ''|default('d'), ''|default('d', true), none|default('d'), none|default('d', true), nothing|d('e'), nothing|default, 0|default(1, boolean=true)",
    "'a\\nb\\n\\nc'|indent, 'a\\nb\\n\\nc'|indent(2), 'a\\nb'|indent(2, true), 'a\\n\\nb'|indent(2, blank=true), 'a\\nb'|indent('> '), 'a\\nb\\n'|indent(1), ''|indent, ''|indent(2, first=true), 'a\\nb'|indent(width=2, first=true)", "'a\\rb\\r\\nc\\x0bd'|indent(1)",
    "'the quick brown fox'|truncate(10), 'the quick brown fox'|truncate(10, true), 'the quick brown fox'|truncate(10, true, '..'), 'short'|truncate(3), 'the quick'|truncate(9), 'abcdefghijkl'|truncate(8, false, '..', 0), 'a b'|truncate(255)", "'abc'|truncate(1)", "'a b  c-d'|wordcount, ''|wordcount, 'ein zwei'|wordcount", "'a'|center(5) ~ '|', 'ab'|center(5) ~ '|'", "'a b/ü&'|urlencode",
    "'<a href=\"x\">\\'&'|e, '<'|escape, ('<'|e)|e, '<'|safe, ('<b>'|safe) + '<i>', '<i>' + ('<b>'|safe), ('<'|safe) ~ '<', '<'|forceescape, ('<'|e)|forceescape, ('<'|safe) is escaped, '<'|safe|string", "['<'|safe]", "('<'|safe) * 2",
    "[1, 2, 3, 4, 5]|batch(2)|list, [1, 2, 3]|batch(2, 'x')|list, [1, 2, 3, 4, 5]|slice(2)|list, [1, 2, 3]|slice(2, 'x')|list", "messages|groupby('role')|length", "messages|groupby('role')|map('first')|list", "'%s-%d'|format('a', 3), '%(a)s'|format(a=1)", "{'a': 1}|attr('a') is defined, 'a'|attr('upper') is defined, namespace(a=1)|attr('a')",
    "{'a': 1, 'b': [1, 2, {'c': none}], 'd': true, 'e': 1.0, 'f': 'é\\n\"\\\\/', 'g': {}, 'h': []}|tojson", "{'a': 1, 'b': [1, {'c': none}], 'g': {}, 'h': []}|tojson(indent=2)", "{'b': 1, 'a': [1, 2]}|tojson(indent=4, sort_keys=true)", "{'b': 'é😀\\x7f\\x01', 'a': 1}|tojson(ensure_ascii=true)", "{'b': 1, 'a': 2}|tojson(separators=(',', ':'))", "[1, 2]|tojson(separators=(',', ':'), indent=1)", "{1: 'a', none: 'b', true: 'c', 1.5: 'd'}|tojson", "{(1, 2): 3}|tojson", "range(3)|tojson", "(1, 2)|tojson", "'</script>&\\''|tojson", "[1e308 * 10, 1e22, 1e-7, -0.0]|tojson", "messages|selectattr('role')|tojson", "namespace(a=1)|tojson", "{'a': 1}.items()|tojson", "'a'|tojson(indent='--'), [1, [2]]|tojson(indent='--'), [1]|tojson(indent=0), [1]|tojson(indent=none), [1]|tojson(2)",
    "'a'|tojson|safe, 'a\\u2028b'|tojson",
    # tests
    "1 is integer, 1.0 is integer, true is integer, 1.0 is float, 1 is number, true is number, 'a' is number, 'a' is string, [] is string", "[] is sequence, 'a' is sequence, {} is sequence, 1 is sequence, () is sequence, range(2) is sequence, {}.items() is sequence, nothing is sequence", "[] is iterable, 'a' is iterable, 1 is iterable, {} is iterable, nothing is iterable, none is iterable, range(2) is iterable, {}.keys() is iterable, ([]|select) is iterable", "{} is mapping, [] is mapping, namespace() is mapping", "true is true, 1 is true, false is false, 0 is false, true is boolean, 1 is boolean", "range is callable, 'a'.upper is callable, 1 is callable, nothing is callable, joiner() is callable, namespace() is callable",
    "1 is eq 1, 1 is equalto 1, 1 is ne 2, 1 is lt 2, 1 is le 1, 2 is gt 1, 2 is ge 2, 1 is sameas 1, none is sameas none, true is sameas 1, 1 is lessthan 2, 2 is greaterthan(1)", "'abc' is lower, 'ABC' is upper, 'aB' is lower, '1' is lower, 'a' is in 'abc', 1 is in [1], 1 is not in [2]", "1 is not none, 1 is not defined, x is not string and x is defined", "'upper' is filter, 'nope' is filter, 'odd' is test, 'nope' is test", "1 is even, 'a' is odd", "'a' is even", "5 is divisibleby 0", "1 is defined(2)", "1 is foo.bar", "1 is in", "x is number and x > 2, x is defined or y", "messages[0] is mapping, messages is iterable and messages is not string, messages[0].content is string",
    # calls
    "'a'.replace(old='a', new='b')", "'abc'.upper(1)", "'abc'.split(sep='b')", "range()", "raise_exception()", "'a'|replace('a')", "'a'|upper(1)", "'a'|trim(x=1)", "'a'|default('x', 'y', 'z')", "'a'|default(default_value='b')", "dict(**{'a': 1}, **{'b': 2})", "dict(a=1, **{'a': 2})", "dict(*[[('a', 1)]])", "'a'.join(*[['x', 'y']])", "range(*[1, 3])|list", "'a'.upper()()", "'abc'|upper()[0]", "('abc'|upper)[0], 'abc'.upper()[0], ('a', 'b')[0].upper()", "lipsum is callable", "'x'.nothing()", "{'f': 1}.f()", "cycler()", "joiner(1, 2)", "namespace(1)", "strftime_now(1)", "raise_exception('m') if false else 'fine'",
    # precedence
    "1 + 2 ~ 3 + 4, 1 ~ 2 * 3, -1|abs, 2 ** -1|abs, 'a' ~ 'b'|upper, not 1 is none, 1 + 1 is odd, 10 - 2 - 3, 100 // 7 // 2, 2 * 3 % 4", "'a' + 'b' if true else 'c' + 'd'", "1 < 2 == true, 1 == 1 == 1, 3 > 2 > 1, 1 < 2 in [2]", "[1, 2, 3,], {'a': 1,}, (1, 2,)", "'a' is string is defined", "x|string|length, x|string ~ 'a'|length", "-x ** 2", "x if x is defined else 'none', x is defined if false",
]

ATOMS = ["0", "1", "2", "-3", "7", "1.5", "-0.25", "1e3", "true", "false", "none", "'a'", "'Ab c'", "''", "' x '", "'añ😀'", "'a,b,c'",
         "[]", "[1, 2, 3]", "['b', 'a', 'C']", "[0, '', none, 'x']", "(1, 'a')", "{}", "{'a': 1, 'b': 'x'}", "x", "nothing",
         "messages", "messages[0]", "tools[0].function", "range(4)"]
FILTERS = ["trim", "upper", "lower", "title", "capitalize", "length", "list", "first", "last", "string", "int", "float", "abs",
           "round", "sum", "min", "max", "sort", "unique|list", "reverse|list", "join('-')", "default('d')", "tojson",
           "replace('a', 'o')", "map('string')|list", "select|list", "reject('none')|list", "indent(2)", "escape", "wordcount",
           "batch(2)|list", "dictsort", "items|list", "truncate(5, true)", "center(7)"]
TESTS = ["defined", "none", "string", "number", "integer", "float", "boolean", "mapping", "iterable", "sequence", "true",
         "odd", "even", "lower", "upper", "callable", "divisibleby(3)", "in 'abc'", "eq(1)", "lt(2)", "sameas none"]
METHODS = ["strip()", "upper()", "title()", "split()", "split(',')", "rsplit(none, 1)", "startswith('a')", "endswith('c')", "replace('a', 'b')",
           "find('b')", "join(['x', 'y'])", "splitlines()", "count('a')", "items()", "keys()", "values()", "get('a')",
           "index(1)", "lstrip(' A')", "isalpha()", "partition(',')", "zfill(5)", "format(1)"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in", "not in"]
SUBSCRIPTS = ["[0]", "[-1]", "[1:]", "[::-1]", "[:2]", "['a']", ".a", ".role", "[none]", "[1.0]", "[-2:]", "[5]"]


def random_expression(r, depth=0):
    kind = r.randrange(9 if depth < 4 else 1)
    if kind == 0:
        return r.choice(ATOMS)
    inner = random_expression(r, depth + 1)
    if kind == 1:
        return f"({inner}) {r.choice(OPERATORS)} ({random_expression(r, depth + 1)})"
    if kind == 2:
        return f"({inner})|{r.choice(FILTERS)}"
    if kind == 3:
        return f"({inner}) is {r.choice(['', 'not '])}{r.choice(TESTS)}"
    if kind == 4:
        return f"({inner}).{r.choice(METHODS)}"
    if kind == 5:
        return f"({inner}){r.choice(SUBSCRIPTS)}"
    if kind == 6:
        return f"{r.choice(['not', '-', '+'])} ({inner})"
    if kind == 7:
        return f"({inner}) if ({random_expression(r, depth + 1)}) else ({random_expression(r, depth + 1)})"
    return f"[{inner}, {random_expression(r, depth + 1)}]"


def sign(r, end=False):
    return r.choice(["", "", "", "-", "-", "+"])


def tag(r, inner):
    """A statement with random signs. The signs at its end are those that Jinja2 knows there."""
    return "{%" + sign(r) + " " + inner + " " + sign(r) + "%}"


def random_text(r):
    return "".join(r.choice(["a", "b ", " ", "  ", "\n", "\n\n", "\t", "\n  ", "é", "{", "}", "%", "#", "\u3000"]) for _ in range(r.randrange(5)))


def random_value(r):
    return r.choice(["x", "y", "z", "i", "ns.n", "loop.index", "loop.last", "m(1)", "m(y, b=2)", "nothing", "'s'", "[1, 2]", "messages|length",
                     "i ~ y", "x + 1", "caller is defined", "d.k", "i is defined", "loop is defined", "'a\nb'"])


def random_list(r):
    return r.choice(["[1, 2, 3]", "range(4)", "messages|map(attribute='role')", "'abc'", "{'p': 1, 'q': 2}", "[]", "[[1, 2], [3, 4]]", "y"])


def random_block(r, depth, in_loop):
    def body(loop=in_loop):
        return random_template(r, depth + 1, loop)
    kind = r.randrange(14 if depth < 4 else 3)
    if kind == 0:
        return random_text(r)
    if kind == 1:
        return "{{" + r.choice(["", "-", ""]) + " " + random_value(r) + " " + r.choice(["", "-", ""]) + "}}"
    if kind == 2:
        return "{#" + sign(r) + random_text(r).replace("#", "") + sign(r) + "#}"
    if kind in (3, 4):
        test = tag(r, "if " + random_value(r)) + body()
        if r.random() < 0.3:
            test += tag(r, "elif " + random_value(r)) + body()
        return test + (tag(r, "else") + body() if r.random() < 0.5 else "") + tag(r, "endif")
    if kind in (5, 6):
        loop = tag(r, "for i in " + random_list(r) + r.choice(["", "", " if i != 2", " if loop_off is not defined"])) + body(True)
        return loop + (tag(r, "else") + body() if r.random() < 0.3 else "") + tag(r, "endfor")
    if kind == 7:
        return tag(r, "set " + r.choice(["y", "z", "i", "ns.n"]) + " = " + random_value(r))
    if kind == 8:
        return tag(r, "set " + r.choice(["y", "z"]) + r.choice(["", " | upper", " | trim"])) + body(False) + tag(r, "endset")
    if kind == 9:
        return tag(r, "filter " + r.choice(["upper", "trim", "indent(1)", "replace('a', 'o')"])) + body(False) + tag(r, "endfilter")
    if kind == 10:
        return tag(r, "with y = " + random_value(r)) + body() + tag(r, "endwith")
    if kind == 11:
        return "{%" + sign(r) + " raw " + r.choice(["", "-"]) + "%}" + random_text(r) + "{{ x }}" + tag(r, "endraw")
    if kind == 12 and in_loop:
        return tag(r, "if i == 2") + tag(r, r.choice(["break", "continue"])) + tag(r, "endif")
    if kind == 13 and depth < 3:
        return tag(r, "call m(" + random_value(r) + ")") + body(False) + tag(r, "endcall")
    return tag(r, "generation") + body(False) + tag(r, "endgeneration")


def random_template(r, depth=0, in_loop=False):
    start = ""
    if depth == 0:
        start = ("{% set ns = namespace(n=0) %}{% set d = {'k': 'v'} %}{% set y = 'Y' %}"
                 "{% macro m(a, b='B') %}<{{ a }}{{ b }}{{ caller() if caller is defined }}>{% endmacro %}\n")
    end = "." if depth == 0 else ""  # Jinja2 takes an open comment at the very end for closed
    return start + "".join(random_block(r, depth, in_loop) for _ in range(r.randrange(1, 6))) + end
