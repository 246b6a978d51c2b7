"""Words and forms of the retrieval tasks that the base model learnt. {p}: property, {k}: key, {v}: value."""

FIRST_NAMES = """
    Anna Tom Clara Henry Lucy Martin Edith Oscar Ruth Walter Nora Felix Alice George Emma Arthur Mary
    Hugh Rose Peter Jane Simon Grace Victor Helen Leo Ada Frank Ivy Ralph Elsie Hector Mabel Jonas Irene
    Silas Beth Conrad Dora Edgar Flora Gilbert Hazel Isaac Judith Karl Lydia Miles Nancy Otto Pearl
    Quentin Rachel Samuel Thea Ursula Vera Wilfred Yvonne Amos Bridget Cecil Daphne Ernest
""".split()
LAST_NAMES = """
    Miller Carter Bell Hughes Ward Fletcher Grant Hale Mason Porter Reed Stone Webb York Abbott Barnes
    Clarke Dawson Ellis Foster Gibson Harper Irving Jenkins Knight Lambert Morton Norris Osborne Palmer
    Quinn Russell Sawyer Turner Vaughan Walsh
""".split()
CITIES = """
    London Paris Lisbon Vienna Dublin Madrid Rome Athens Oslo Berlin Prague Geneva Boston Chicago Denver
    Montreal Cairo Delhi Tokyo Sydney Bristol Leeds York Oxford Naples Milan Venice Florence Munich
    Hamburg Zurich Brussels
""".split()
JOBS = """
    carpenter baker teacher sailor doctor gardener printer tailor painter farmer lawyer miller nurse
    engineer clockmaker librarian shepherd blacksmith musician cook
""".split()
COLOURS = """
    red blue green yellow purple orange brown black white grey pink silver
""".split()
ANIMALS = """
    dog cat horse goat parrot rabbit pony hen duck sheep donkey mouse
""".split()
ADJECTIVES = """
    amber silver golden quiet broken ancient hidden northern southern frozen crimson hollow gentle
    bitter clever wooden copper velvet distant narrow rapid curious humble brave gloomy bright dusty
    lonely mighty pale rusty silent stormy sunny tall tiny vast wild young busy calm cold dark deep
    early eager faint fierce fresh green grand heavy iron jolly keen large loud lucky merry noble odd
    plain proud quick rare royal sharp shy simple slow smooth solid sour spare steep still strange
    strong sweet swift thick warm weary white wise
""".split()
SYLLABLES = """
    ka lo mi ra ven tor sha dri bel zu quo fen gar hil jo kor lin mar nes ott pel rud sil tam ul vor wen
    yat zel bri cas dov
""".split()
VEHICLES = """
    train boat coach horse car bicycle
""".split()
NUMBERED = """
    room box ship train case house
""".split()
PROPERTIES = [
    "magic number",
    "secret code",
    "access code",
    "password",
    "lucky number",
    "locker number",
    "call sign",
    "secret word",
    "code name",
    "serial number",
    "key phrase",
    "special magic number",
    "ticket number",
    "safe combination",
    "hidden token",
    "registration mark",
    "watchword",
    "reference number",
]
STATEMENTS = [
    "The {p} for {k} is {v}.",
    "The {p} of {k} is {v}.",
    "Remember that the {p} for {k} is {v}.",
    "Note that the {p} for {k} is {v}.",
    "It is known that the {p} of {k} is {v}.",
    "Please keep in mind: the {p} for {k} is {v}.",
    "For {k} the {p} is {v}.",
]
QUESTIONS = [
    "What is the {p} for {k}?",
    "What is the {p} of {k}?",
    "Tell me the {p} for {k}.",
    "According to the text, what is the {p} for {k}?",
    "Which {p} was given for {k}?",
]
INTRODUCTIONS = [
    "Read the following text carefully. There will be questions about it afterwards.",
    "Some special facts are hidden within the following text. Make sure to memorize them. "
    "I will quiz you about them afterwards.",
    "Here is a long text. Answer the question at the end.",
    "",
]
CONTINUE = [
    "Continue this text.",
    "Please continue the following passage.",
    "Write what comes next.",
    "Go on with this story.",
]

# What is said of a person, the question, the lead of the answer. {n}: name, {a}: something that both know.
FACTS = [
    ("{n} lives in {v}.", "Where does {n} live?", "{n} lives in", "city"),
    ("{n} works as a {v}.", "What is the job of {n}?", "{n} works as a", "job"),
    ("{n}'s favourite colour is {v}.", "What is {n}'s favourite colour?", "{n}'s favourite colour is",
     "colour"),
    ("{n} was born in {v}.", "When was {n} born?", "{n} was born in", "year"),
    ("{n} has a {a} called {v}.", "What is the name of the {a} that {n} has?",
     "The {a} that {n} has is called", "pet"),
    ("{n} travelled to {a} by {v}.", "How did {n} travel to {a}?", "{n} travelled to {a} by", "vehicle"),
    ("The secret word of {n} is {v}.", "What is the secret word of {n}?", "The secret word of {n} is", "word"),
]
