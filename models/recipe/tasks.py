"""Retrieval tasks written into natural text, token by token, with a loss weight for every token.

A task is a list of chains of statements (the statements of a chain keep their order), questions about them and,
where the task brings its own haystack, a body. Everything is a function of the seed.
"""

import random
import re
from typing import NamedTuple

import numpy as np

import wording as say
from tokenizer import Tokenizer

TEXT, PROMPT, BODY, STATEMENT, LEAD, ANSWER = 1.0, 0.25, 0.1, 0.0, 1.5, 8.0  # weights in the loss
TRIES = 20  # to cut text at sentences
Segment = tuple[list[int], float]


class Question(NamedTuple):
    text: str
    lead: str  # how the answer begins, up to what has to be found
    answer: str | list[int]


class Task(NamedTuple):
    chains: list[list[str]]
    questions: list[Question]
    body: str = ""


class Haystack:
    """The corpus, cut at sentences."""

    def __init__(self, tokens: np.ndarray, starts: np.ndarray):
        self.tokens, self.starts = tokens, starts

    def cut(self, rng: random.Random, n: int) -> tuple[list[int], list[int]]:
        """At most n tokens from sentence to sentence, and the places of sentences in them."""
        if n < 8:
            return [], [0]
        for _ in range(TRIES):
            i = rng.randrange(len(self.starts) - 2)
            j = int(np.searchsorted(self.starts, self.starts[i] + n, side="right")) - 1
            length = int(self.starts[j] - self.starts[i])
            if length and (n <= 200 or length >= 0.8 * n):
                places = (self.starts[i:j + 1] - self.starts[i]).tolist()
                return self.tokens[self.starts[i]:self.starts[j]].tolist(), places
        return self.window(rng, n).tolist(), [0, n]

    def window(self, rng: random.Random, n: int) -> np.ndarray:
        start = rng.randrange(len(self.tokens) - n)
        return self.tokens[start:start + n]


class Writer:
    """Makes tasks. `mix` is a table of task names (methods of this class) and their shares."""

    def __init__(self, tokenizer: Tokenizer, hay: Haystack, seed: int, mix: dict[str, float]):
        self.tokenizer, self.hay, self.rng = tokenizer, hay, random.Random(seed)
        self.names, self.shares = list(mix), list(mix.values())
        self.words = sorted(t[1:] for t in tokenizer.tokens if re.fullmatch("\u0120[a-z]{4,11}", t))

    # Values and keys

    def hexadecimal(self, n: int) -> str:
        return f"{self.rng.getrandbits(4 * n):0{n}x}"

    def word(self) -> str:
        return self.rng.choice(self.words)

    def syllables(self) -> str:
        return "".join(self.rng.choice(say.SYLLABLES) for _ in range(self.rng.choice((2, 3))))

    def person(self) -> str:
        return f"{self.rng.choice(say.FIRST_NAMES)} {self.rng.choice(say.LAST_NAMES)}"

    def number(self) -> str:
        digits = self.rng.choice((4, 5, 6, 7, 7, 7, 8))
        return str(self.rng.randrange(10 ** (digits - 1), 10 ** digits))

    def value(self, kind: str) -> str:
        make = {"number": self.number, "word": self.word, "syllables": self.syllables,
                "hex": lambda: self.hexadecimal(8), "two": lambda: f"{self.word()} {self.word()}",
                "uuid": lambda: "-".join(self.hexadecimal(n) for n in (8, 4, 4, 4, 12))}
        return make[kind]()

    def key(self, kind: str) -> str:
        make = {"adjective": lambda: f"the {self.rng.choice(say.ADJECTIVES)} {self.word()}", "word": self.word,
                "two": lambda: f"{self.word()} {self.word()}", "person": self.person,
                "syllables": lambda: self.syllables().capitalize(),
                "number": lambda: f"{self.rng.choice(say.NUMBERED)} {self.rng.randrange(10, 9999)}",
                "hyphen": lambda: f"{self.word()}-{self.word()}"}
        return make[kind]()

    def keys(self, kind: str, n: int) -> list[str]:
        return list(dict.fromkeys(self.key(kind) for _ in range(n)))

    def count(self, low: int, high: int) -> int:
        """Between low and high, small counts as often as large ones."""
        return round(low * (max(low, high) / low) ** self.rng.random())

    # Tasks for a prompt of `length` tokens

    def needles(self, n: int, value: str = "") -> Task:
        choose, chains, questions = self.rng.choice, [], []
        kind = choose(("adjective", "two", "word", "syllables", "person", "number", "hyphen"))
        value = value or choose(("word", "number", "number", "uuid", "hex", "syllables", "two"))
        about, statement, question = choose(say.PROPERTIES), choose(say.STATEMENTS), choose(say.QUESTIONS)
        for k in self.keys(kind, n):
            v = self.value(value)
            chains.append([statement.format(p=about, k=k, v=v)])
            questions.append(Question(question.format(p=about, k=k), f"The {about} for {k} is", v))
        self.rng.shuffle(questions)
        return Task(chains, questions[:12])

    def single(self, length: int) -> Task:
        return self.needles(self.count(1, 3), self.rng.choice(("word", "number", "uuid")))

    def multikey(self, length: int) -> Task:
        return self.needles(self.count(2, min(max(3, length // 60), 48)))

    def multivalue(self, length: int) -> Task:
        about, statement = self.rng.choice(say.PROPERTIES), self.rng.choice(say.STATEMENTS)
        statement = statement.replace("The {p}", "One {p}").replace("the {p}", "one {p}")
        kind, chains, questions = self.rng.choice(("word", "number", "syllables", "hex")), [], []
        for k in self.keys("adjective", self.count(1, min(length // 240 + 1, 8))):
            values = [self.value(kind) for _ in range(self.rng.choice((2, 3, 4)))]
            chains.append([statement.format(p=about, k=k, v=v) for v in values])
            questions.append(Question(f"What are all the {about}s for {k}?", f"The {about}s for {k} are",
                                      ", ".join(values)))
        return Task(chains, questions)

    def multiquery(self, length: int) -> Task:
        about, statement = self.rng.choice(say.PROPERTIES), self.rng.choice(say.STATEMENTS)
        kind, questions = self.rng.choice(("word", "number", "syllables", "hex")), []
        keys = self.keys("adjective", self.count(4, min(max(4, length // 120), 24)))
        values = {k: self.value(kind) for k in keys}
        for _ in range(self.rng.randrange(1, 5)):
            some = self.rng.sample(keys, min(len(keys), self.rng.choice((2, 3, 4))))
            names = ", ".join(some[:-1]) + " and " + some[-1] if len(some) > 1 else some[0]
            questions.append(Question(f"What are the {about}s for {names}?", f"The {about}s for {names} are",
                                      ", ".join(values[k] for k in some)))
        return Task([[statement.format(p=about, k=k, v=v)] for k, v in values.items()], questions)

    def variables(self, length: int) -> Task:
        chains, questions, n = [], [], self.count(1, min(max(1, length // 300), 5))
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        fresh = iter(dict.fromkeys("".join(self.rng.choices(letters, k=4)) for _ in range(40)))
        for _ in range(n):
            value = str(self.rng.randrange(10000, 99999))
            names = [next(fresh) for _ in range(self.rng.choice((2, 3, 4, 5)))]
            chains.append([f"VAR {names[0]} = {value}."]
                          + [f"VAR {b} = VAR {a}." for a, b in zip(names, names[1:])])
            questions.append(Question(
                f"Find all variables that are assigned the value {value} in the text above.",
                f"The variables that are assigned the value {value} are:", ", ".join(names)))
        self.rng.shuffle(questions)
        return Task(chains, questions)

    def common_words(self, length: int) -> Task:
        n = max(12, int((length - 70) * (0.24 if length < 1500 else 0.9)))
        common = self.rng.sample(self.words, 3)
        rest = [w for w in self.rng.sample(self.words, min(n, len(self.words))) if w not in common]
        repeated = common * max(3, n // 12)
        order = repeated + [rest[i % len(rest)] for i in range(n - len(repeated))]
        self.rng.shuffle(order)
        listed = [f"{i + 1}. {w}" for i, w in enumerate(order)] if length < 1500 else order
        body = (f"Below is a {'numbered ' if length < 1500 else ''}list of words. In these words, some appear "
                "more often than others. Memorize the ones that appear most often.\n" + " ".join(listed))
        answer = ", ".join(sorted(common, key=order.index))
        return Task([], [Question("What are the 3 most common words in the above list?",
                                  "The 3 most common words in the list are:", answer)], body)

    def key_value(self, length: int) -> Task:
        asked = self.rng.randrange(1, 9 if length >= 480 else 2)
        kind = self.rng.choice(("hex", "hyphen", "syllables"))
        value = self.rng.choice(("hex", "word", "number", "uuid") if length > 300 else ("word", "number"))
        each = 15 if kind == "hex" else 11  # tokens of a key and its signs, then of a value
        each += {"hex": 9, "word": 2, "number": 5, "uuid": 34}[value]
        make = {"hex": lambda: self.hexadecimal(8), "hyphen": lambda: self.key("hyphen"),
                "syllables": lambda: self.syllables() + self.syllables()}[kind]
        pairs = {make(): self.value(value) for _ in range(max(2, (length - 60 * asked - 30) // each))}
        body = ("Extract the value of the given key from this JSON object.\n{"
                + ", ".join(f'"{k}": "{v}"' for k, v in pairs.items()) + "}")
        questions = [Question(f'What is the value of the key "{k}"?', f'The value of the key "{k}" is',
                              f'"{pairs[k]}"') for k in self.rng.sample(list(pairs), min(asked, len(pairs)))]
        return Task([], questions, body)

    def facts(self, length: int) -> Task:
        known = {"city": say.CITIES, "job": say.JOBS, "colour": say.COLOURS, "vehicle": say.VEHICLES}
        made = {"year": lambda: str(self.rng.randrange(1800, 2020)), "word": self.word,
                "pet": lambda: self.syllables().capitalize()}
        chains, questions = {}, []
        for _ in range(self.count(2, min(max(2, length // 60), 32))):
            n = self.person() if self.rng.random() < 0.6 else self.rng.choice(say.FIRST_NAMES)
            statement, question, lead, kind = self.rng.choice(say.FACTS)
            a = self.rng.choice(say.ANIMALS if kind == "pet" else say.CITIES)
            v = self.rng.choice(known[kind]) if kind in known else made[kind]()
            if (n, kind) not in chains:
                chains[n, kind] = [statement.format(n=n, a=a, v=v)]
                questions.append(Question(question.format(n=n, a=a), lead.format(n=n, a=a), v))
        self.rng.shuffle(questions)
        return Task(list(chains.values()), questions[:10])

    # From tasks to tokens

    def prompted(self, text: str) -> Segment:
        return self.tokenizer.encode(text), PROMPT

    def ask_in_chat(self, questions: list[Question]) -> list[Segment]:
        t, out = self.tokenizer, []
        for i, q in enumerate(questions):
            turn = t.encode("\n") + [t.turn]
            asked = t.encode("\n\n" + q.text) if i == 0 else turn + t.encode("user\n" + q.text)
            out += [(asked + [t.end] + turn + t.encode("assistant\n"), PROMPT), (t.encode(q.lead), LEAD),
                    (t.encode(" " + q.answer), ANSWER), (t.encode(".") + [t.end], LEAD)]
        return out

    def ask_plainly(self, questions: list[Question], lead: bool) -> list[Segment]:
        t, out = self.tokenizer, []
        for q in questions:
            answer = q.answer if isinstance(q.answer, list) else t.encode(" " + q.answer)
            with_lead = lead and q.lead != ""
            out += [self.prompted(f"\n\nQuestion: {q.text}\nAnswer:"),
                    (t.encode(" " + q.lead) if with_lead else [], LEAD), (answer, ANSWER),
                    (t.encode("." if with_lead else "\n"), LEAD)]
        return out

    def scatter(self, chains: list[list[str]], n: int) -> list[Segment]:
        """n tokens of text with the statements between its sentences."""
        encoded = [[self.tokenizer.encode(" " + s) for s in chain] for chain in chains]
        ids, places = self.hay.cut(self.rng, n - sum(len(s) for chain in encoded for s in chain))
        order = [i for i, chain in enumerate(encoded) for _ in chain]
        self.rng.shuffle(order)
        out, last, queues = [], 0, [iter(chain) for chain in encoded]
        for i, place in zip(order, sorted(self.rng.choices(places, k=len(order)))):
            out += [(ids[last:place], TEXT), (next(queues[i]), STATEMENT)]
            last = place
        return out + [(ids[last:], TEXT)]

    def copy(self, length: int) -> list[Segment]:
        """Text, then questions for whole sentences of it."""
        ids, places = self.hay.cut(self.rng, length - 110)
        fits = [i for i in range(len(places) - 1) if 14 <= places[i + 1] - places[i] <= 60]
        questions = []
        for i in self.rng.sample(fits, min(len(fits), self.rng.randrange(1, 4))):
            sentence = ids[places[i]:places[i + 1]]
            first = self.tokenizer.decode(sentence[:6]).strip()
            if "\ufffd" not in first and '"' not in first:
                asked = f'Repeat the sentence that begins with the words "{first}"'
                questions.append(Question(asked, "", sentence))
        return [self.introduction(), (ids, TEXT), *self.ask_plainly(questions, False)]

    def introduction(self) -> Segment:
        text = self.rng.choice(say.INTRODUCTIONS)
        return self.prompted(text + "\n\n" if text else "")

    def segments(self, length: int) -> list[Segment]:
        name = self.rng.choices(self.names, self.shares)[0]
        if name == "copy":
            return self.copy(length)
        task: Task = getattr(self, name)(length)
        chat = name == "facts" or self.rng.random() < 0.35
        tail = self.ask_in_chat(task.questions) if chat else self.ask_plainly(task.questions,
                                                                             self.rng.random() < 0.6)
        head = [([self.tokenizer.turn] + self.tokenizer.encode("user\n"), PROMPT)] if chat else []
        if task.body:
            return [*head, (self.tokenizer.encode(task.body), BODY), *tail]
        head.append(self.introduction())
        used = sum(len(ids) for ids, _ in head + tail) + 2
        return [*head, *self.scatter(task.chains, length - used), *tail]


class Rows:
    """Training rows: windows of text, and windows filled with tasks."""

    def __init__(self, writer: Writer, size: int, task_share: float, long_share: float):
        self.writer, self.size, self.task_share, self.long_share = writer, size, task_share, long_share

    def length(self, room: int) -> int:
        """Of a task: of every size down to 160 tokens, or a good part of the room."""
        rng = self.writer.rng
        if rng.random() < self.long_share:
            return rng.randrange(room // 4, room)
        return int(160 * (room / 160) ** rng.random())

    def row(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [size] and weights [size]; weights are those of the token at the same place."""
        writer, rng = self.writer, self.writer.rng
        ids, weights = [], []
        room = self.size if rng.random() < self.task_share else 0
        while room - len(ids) > 200:
            ids.append(writer.tokenizer.bos)
            weights.append(0.0)
            for some, weight in writer.segments(self.length(room - len(ids))):
                ids += some
                weights += [weight] * len(some)
            ids.append(writer.tokenizer.eos)
            weights.append(0.5)
        rest = self.size - len(ids)
        if rest > 0:
            text = writer.hay.window(rng, rest).tolist()
            ids += [writer.tokenizer.bos] + text[1:]
            weights += [TEXT] * rest
        return np.array(ids[:self.size], np.int32), np.array(weights[:self.size], np.float32)

    def batch(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        rows = [self.row() for _ in range(n)]
        return np.stack([ids for ids, _ in rows]), np.stack([weights for _, weights in rows])
