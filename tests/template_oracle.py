#!/usr/bin/env python3
"""Renders templates with Python's jinja2, set up as transformers sets it up, and prints one JSON object per line:
what went in and what came out (want: null where jinja2 raises). test_template_oracle compares.

    template_oracle.py FOLDER SEED COUNT

FOLDER holds templates (*.jinja), each rendered with every conversation; SEED and COUNT are those of the random
expressions and templates. Exit code 77: jinja2 is not installed."""
import datetime
import functools
import json
import pathlib
import random
import sys
import warnings

try:
    import jinja2
    import jinja2.ext
    import jinja2.sandbox
    from jinja2 import nodes
except ImportError:
    sys.exit(77)

from template_cases import CONVERSATIONS, EXPRESSIONS, TEMPLATES, TOOLS, random_expression, random_template

NOW = 1753963200  # 2025-07-31 12:00 UTC
BOS, EOS = "<s>", "</s>"


class Generation(jinja2.ext.Extension):
    """{% generation %} as transformers has it: the body is a block that is called."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("write")
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def write(self, caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def strftime_now(format):
    return datetime.datetime.fromtimestamp(NOW).strftime(format)


# Not optimized: constants that are folded behave differently from the same values in variables.
ENVIRONMENT = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=[Generation, jinja2.ext.loopcontrols])
ENVIRONMENT.filters["tojson"] = tojson
ENVIRONMENT.globals["raise_exception"] = raise_exception
ENVIRONMENT.globals["strftime_now"] = strftime_now


@functools.lru_cache(maxsize=4)
def compiled(source):
    return ENVIRONMENT.from_string(source)


def render(source, messages, tools, variables, generate):
    try:
        return compiled(source).render(
            messages=messages, tools=tools, documents=None, add_generation_prompt=generate, bos_token=BOS,
            eos_token=EOS, **variables), None
    except Exception as e:
        return None, f"{type(e).__name__}: {e}"


def emit(name, source, messages, tools=None, variables={}, generate=True):
    # What goes in is read anew from JSON, so that both engines see the same objects.
    texts = [json.dumps(messages), json.dumps(tools) if tools is not None else "", json.dumps(variables)]
    want, why = render(source, json.loads(texts[0]), json.loads(texts[1]) if texts[1] else None,
                       json.loads(texts[2]), generate)
    print(json.dumps({"name": name, "template": source, "messages": texts[0], "tools": texts[1],
                      "variables": texts[2], "generate": generate, "want": want, "why": why}))


def main():
    warnings.simplefilter("ignore")  # about what the random expressions do
    folder, seed, count = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_text()
        for i, messages in enumerate(CONVERSATIONS):
            for tools in None, TOOLS:
                for variables in {}, {"enable_thinking": False}, {"enable_thinking": True, "in_user": False}:
                    emit(f"{path.name} with conversation {i}", source, messages, tools, variables, i % 2 == 0)
    for i, source in enumerate(TEMPLATES):
        emit(f"template {i}", source, CONVERSATIONS[1], TOOLS, {"x": 3})
    for i, expression in enumerate(EXPRESSIONS):
        emit(f"expression {i}", "{% set v = " + expression + " %}{{ v }}", CONVERSATIONS[1], TOOLS, {"x": 3})
    numbers = random.Random(seed)
    for i in range(count):
        expression = "{% set v = " + random_expression(numbers) + " %}{{ v }}"
        emit(f"random expression {i} of seed {seed}", expression, CONVERSATIONS[1], TOOLS, {"x": 3})
        emit(f"random template {i} of seed {seed}", random_template(numbers), CONVERSATIONS[1], TOOLS, {"x": 3})


if __name__ == "__main__":
    main()
