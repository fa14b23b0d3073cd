"""Drawn chat templates: expressions and statements over a fixed set of variables, from a seed."""
import random

TEXTS = [")))))))))))))))))))))))))))))))))))))))", "a", "Hello World", "  two  words ", "line one\nline two\n", "ÄÖ ß straße", "日本 語", "ǆ ﬁ ŉ", "½²٣Ⅷ", "a-b_c",
         "<b>&\"'</b>))", "tab\there", "x=1, y=2", "%s and %d%%", "{} {0} {name})))", "UPPER lower", "3.14", " 42 ", "-7", "0x1f", "1_000",
         "</think>answer)", "e\u0301 🙂", "\u00a0nbsp\u2003", "see (https://a.example/x?y=1), www.b.org. or me@c.com <http://1.2.3.4:80/> ftp://d", "camelCase words-and more", "one\r\ntwo\rthree\x0bfour", "'quoted'", "true"]
NUMBERS = [0, 1, 2, -1, 3, 7, -5, 10, 16, 100, 255, 1000, 123456789, 2**40]
FLOATS = [0.0, 0.5, -1.5, 2.0, 3.14159, 1e16, 1e-5, 123456.789, -0.0, 2.5, 1e22]

VARIABLES = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Héllo <b> & 'you'\n"},
                 {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "type": "function", "function": {
                     "name": "add", "arguments": {"b": 2, "a": [1, None, 2.5, True], "s": "ü\"<"}}}]},
                 {"role": "tool", "content": "3", "tool_call_id": "c1", "name": "add"}, {"role": "user", "content": "thanks  "}],
    "s": "Hello World", "t": "  spaced out text, with commas  ", "u": "Straße ÄÖÜ 日本", "e": "", "h": "<a href=\"x\">R&D</a>",
    "i": 7, "j": -3, "z": 0, "f": 2.5, "g": -0.125, "yes": True, "no": False, "nil": None,
    "nums": [3, 1, 2, 3, -4, 0], "words": ["pear", "Apple", "fig", "apple", "Zoo"], "mixed": [1, "a", None, 2.5, True, [1], {"k": 1}],
    "empty": [], "d": {"b": 1, "a": "x", "C": None, "n": {"deep": [1, 2, {"k": "v"}]}}, "pairs": [["k", 1], ["l", 2]],
    "rows": [{"n": 2, "t": "b", "x": {"y": 1}}, {"n": 1, "t": "B", "x": {"y": 0}}, {"n": 2, "t": "a", "x": {"y": 5}}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True,
}
TEXT_NAMES = ["s", "t", "u", "e", "h", "bos_token", "messages[1].content", "messages[0]['role']", "messages[-1].content", "d.a"]
LIST_NAMES = ["nums", "words", "mixed", "empty", "pairs", "rows", "messages", "d.n.deep", "messages[2].tool_calls"]
DICT_NAMES = ["d", "messages[0]", "messages[2].tool_calls[0].function", "messages[2].tool_calls[0]['function'].arguments", "rows[1]", "d.n"]
JSON_ARGUMENTS = ["", "indent=2", "sort_keys=true", "ensure_ascii=true", "separators=(',',':')))", "4"]
ROUNDINGS = ["abs", "round", "round(2)", "round(1, 'ceil')", "round(-1)", "int", "round(1, 'floor')"]
ROW_FILTERS = ["map(attribute='role')", "map(attribute='x.y', default=9)", "groupby('t')", "sort(attribute='n,t')", "selectattr('n', 'equalto', 2)",
               "rejectattr('content')", "groupby('n', default=0)", "groupby('t', case_sensitive=true)", "unique(attribute='t')"]
DICT_FILTERS = ["dictsort", "items|list)", "list", "dictsort(by='value')", "dictsort(true)", "dictsort(reverse=true)"]
ODD_NAMES = ["missing", "nil", "d.missing", "messages[9]", "loop", "s.missing"]


class Grammar:
    """One template; names: what the peer offers, {"filters", "tests", "str", "list", "dict", "int", "float", "tuple"}."""

    def __init__(self, seed, names):
        self.r, self.names, self.local, self.macros, self.loops = random.Random(seed), names, [], [], 0

    def pick(self, *choices):
        return self.r.choice(choices)

    # Expressions by the type that they mostly have.
    def quoted(self, text):
        return repr(text) if self.r.random() < 0.7 else '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r") + '"'

    def text(self, depth=2):
        if depth <= 0 or self.r.random() < 0.25:
            return self.pick(self.quoted(self.r.choice(TEXTS)), self.r.choice(TEXT_NAMES), *self.local[-2:])
        deeper = depth - 1
        return self.r.choice([
            lambda: f"{self.text(deeper)}.{self.r.choice(self.names['str'])}({self.arguments(deeper)})",
            lambda: f"{self.text(deeper)}.{self.pick('strip', 'upper', 'title', 'swapcase', 'capitalize', 'casefold', 'lower')}()",
            lambda: f"({self.text(deeper)}|{self.filter(deeper)})",
            lambda: f"({self.text(deeper)}|{self.pick('trim', 'upper', 'title', 'capitalize', 'e', 'safe', 'string', 'tojson', 'indent', 'striptags')})",
            lambda: f"({self.text(deeper)}|{self.text_filter(deeper)})",
            lambda: f"({self.text(deeper)} ~ {self.any(deeper)})",
            lambda: f"({self.text(deeper)} + {self.text(deeper)})",
            lambda: f"{self.text(deeper)}[{self.slice(deeper)}]",
            lambda: f"({self.text(deeper)} * {self.r.randint(-1, 3)})",
            lambda: f"{self.percent()}",
            lambda: f"{self.braces()}",
            lambda: f"({self.text(deeper)} if {self.truth(deeper)} else {self.text(deeper)})",
            lambda: f"({self.list(deeper)}|join({self.quoted(self.pick(', ', '', '-'))}))",
            lambda: f"({self.any(deeper)}|tojson({self.r.choice(JSON_ARGUMENTS)}))",
            lambda: f"{self.text(deeper)}.replace({self.text(0)}, {self.text(0)}{self.pick('', ', 1')})",
            lambda: f"({self.any(deeper)}|pprint)",
        ])()

    def number(self, depth=2):
        if depth <= 0 or self.r.random() < 0.3:
            return self.pick(str(self.r.choice(NUMBERS)), repr(self.r.choice(FLOATS)), "i", "j", "f", "g", "z", "yes", "nums[0]")
        deeper = depth - 1
        return self.r.choice([
            lambda: f"({self.number(deeper)} {self.pick('+', '-', '*', '/', '//', '%')} {self.number(deeper)})",
            lambda: f"({self.pick('2', '3', 'i', 'f')} ** {self.r.randint(-2, 5)})",
            lambda: f"(-{self.number(deeper)})",
            lambda: f"({self.any(deeper)}|{self.pick('length', 'int', 'float', 'count', 'int(5)', 'float(0.5)', 'int(0, 16)', 'wordcount')})",
            lambda: f"({self.number(deeper)}|{self.r.choice(ROUNDINGS)})",
            lambda: f"{self.text(deeper)}.{self.pick('find', 'rfind', 'count', 'index')}({self.text(0)})",
            lambda: f"({self.list(deeper)}|{self.pick('sum', 'min', 'max', 'first', 'last', 'length')})",
            lambda: f"({self.number(deeper)}).{self.r.choice(self.names['int'] + self.names['float'])}{self.pick('()', '', '()')}",
        ])()

    def list(self, depth=2):
        if depth <= 0 or self.r.random() < 0.3:
            return self.r.choice(LIST_NAMES)
        deeper = depth - 1
        return self.r.choice([
            lambda: "[" + ", ".join(self.any(deeper) for _ in range(self.r.randint(0, 3))) + "]",
            lambda: "(" + "".join(self.any(deeper) + ", " for _ in range(self.r.randint(1, 3))) + ")",
            lambda: f"range({self.r.randint(-2, 4)}, {self.r.randint(-2, 6)}{self.pick('', ', 2', ', -1')})",
            lambda: f"{self.text(deeper)}.{self.pick('split', 'rsplit', 'splitlines')}({self.pick('', self.text(0), 'maxsplit=1')})",
            lambda: f"{self.list(deeper)}|{self.pick('list', 'sort', 'reverse|list', 'unique|list', 'sort(reverse=true)', 'batch(2)|list', 'slice(2)|list', 'slice(3, 0)|list')}",
            lambda: f"({self.pick('rows', 'messages')}|{self.r.choice(ROW_FILTERS)}|list)",
            lambda: f"({self.list(deeper)}|{self.pick('select', 'reject', 'map')}({self.quoted(self.r.choice(self.names['tests'] + self.names['filters']))}{self.pick('', ', ' + self.any(0))})|list)",
            lambda: f"{self.list(deeper)}[{self.slice(deeper)}]",
            lambda: f"({self.list(deeper)} + {self.list(deeper)})",
            lambda: f"({self.dict(deeper)}.{self.pick('items', 'keys', 'values')}()|list)",
            lambda: f"({self.dict(deeper)}|{self.r.choice(DICT_FILTERS)})",
        ])()

    def dict(self, depth=2):
        if depth <= 0 or self.r.random() < 0.5:
            return self.r.choice(DICT_NAMES)
        deeper = depth - 1
        return self.r.choice([
            lambda: "{" + ", ".join(f"{self.pick(self.quoted('k'), self.quoted('ü'), '1', 'none', 'true', '1.5')}: {self.any(deeper)}" for _ in range(self.r.randint(0, 3))) + "}",
            lambda: f"dict({self.pick('', 'pairs', self.dict(deeper))}{self.pick('', ', q=' + self.any(0)) if self.r.random() < 0.5 else ''})",
            lambda: f"dict(a={self.any(deeper)}, b={self.any(deeper)})",
        ])()

    def truth(self, depth=2):
        if depth <= 0 or self.r.random() < 0.2:
            return self.pick("yes", "no", "missing", "true", "False", "s", "e", "nums", "empty")
        deeper = depth - 1
        return self.r.choice([
            lambda: f"{self.any(deeper)} is {self.pick('', 'not ')}{self.test(deeper)}",
            lambda: f"({self.number(deeper)} {self.pick('<', '<=', '>', '>=', '==', '!=')} {self.number(deeper)})",
            lambda: f"({self.text(deeper)} {self.pick('<', '==', '!=', 'in', 'not in', '>=')} {self.text(deeper)})",
            lambda: f"({self.any(deeper)} {self.pick('in', 'not in')} {self.list(deeper)})",
            lambda: f"({self.any(deeper)} == {self.any(deeper)})",
            lambda: f"({self.truth(deeper)} {self.pick('and', 'or')} {self.truth(deeper)})",
            lambda: f"(not {self.truth(deeper)})",
            lambda: f"({self.number(0)} < {self.number(0)} <= {self.number(0)})",
            lambda: f"{self.text(deeper)}.{self.pick('startswith', 'endswith')}({self.text(0)})",
            lambda: f"{self.text(deeper)}.{self.r.choice([n for n in self.names['str'] if n.startswith('is')])}()",
        ])()

    def any(self, depth=2):
        roll = self.r.random()
        if roll < 0.06:
            return self.r.choice(ODD_NAMES)
        kinds = [self.text, self.text, self.number, self.list, self.dict, self.truth]
        return self.r.choice(kinds)(depth)

    def method(self, depth):
        kind = self.pick("list", "dict", "tuple", "int", "float", "str")
        value = {"list": self.list, "dict": self.dict, "tuple": lambda d: "(1, 'a', 1)", "int": lambda d: f"({self.pick('i', 'j', '5')})",
                 "float": lambda d: self.pick("f", "g", "2.0"), "str": self.text}[kind](depth)
        return f"{value}.{self.r.choice(self.names[kind])}({self.arguments(depth - 1)})"

    def arguments(self, depth):
        count = self.pick(0, 0, 1, 1, 2, 3) if self.r.random() < 0.9 else 0
        return ", ".join(self.pick(self.text, self.number, self.any)(min(depth, 1)) for _ in range(count))

    def filter(self, depth):
        name = self.r.choice(self.names["filters"])
        return name if self.r.random() < 0.5 else f"{name}({self.arguments(depth)})"

    def text_filter(self, depth):
        n = self.r.randint(0, 30)
        return self.pick(f"truncate({n})", f"truncate({n}, true)", f"truncate({n}, false, '..', 0)", f"wordwrap({n})",
                         f"wordwrap({n}, false)", f"wordwrap({n}, wrapstring='|', break_on_hyphens=false)", f"center({n})", f"indent({n % 5}, true)",
                         "indent('> ', blank=true)", "urlencode", "forceescape", "urlize", "urlize(12, true, target='_blank')", "urlize(extra_schemes=['ftp://'])", "striptags", "replace('o', '0', 1)", "format('x', 3)",
                         f"default('z', {self.pick('true', 'false')})", "wordcount", "reverse", "first", "last", "trim('H d')", "xmlattr", "escape|e",
                         "filesizeformat", "attr('upper')", "batch(2, '-')|list")

    def test(self, depth):
        name = self.r.choice(self.names["tests"])
        if not name.isidentifier():
            return "defined"
        needs = name in ("divisibleby", "sameas", "in", "eq", "equalto", "ne", "gt", "greaterthan", "ge", "lt", "lessthan", "le")
        return f"{name}({self.any(0)})" if needs or self.r.random() < 0.05 else name

    def slice(self, depth):
        bound = lambda: self.pick("", str(self.r.randint(-4, 8)), "z", "j")
        return self.pick(str(self.r.randint(-3, 4)), "i", f"{bound()}:{bound()}", f"{bound()}:{bound()}:{self.pick('', '2', '-1', '-2', '3')}")

    def percent(self):
        flags = self.pick("", "-", "0", "+", " ", "#", "+0")
        width = self.pick("", "5", "12", "1")
        precision = self.pick("", ".2", ".0", ".10", "")
        kind = self.pick(*"sdrifFeEgGxXoca%u")
        value = self.text(1) if kind in "srac" else self.number(1)
        more = self.pick("", " and %s")
        return f"('[%{flags}{width}{precision}{kind}]{more}' % ({value}, {self.any(0) if more and kind != '%' else ''}))" if kind != "%" else "('100%%' % ())"

    def braces(self):
        fill = self.pick("", "<", ">", "^", "*^", "=", "0=", "é>")
        sign = self.pick("", "", "+", " ", "-")
        alternate = self.pick("", "", "#")
        zero = self.pick("", "", "0")
        width = self.pick("", "6", "12")
        group = self.pick("", "", ",", "_")
        precision = self.pick("", ".2", ".0", ".7")
        kind = self.pick("", "", "d", "f", "e", "g", "x", "X", "o", "b", "s", "%", "n", "c", "G", "E", "F")
        spec = f":{fill}{sign}{alternate}{zero}{width}{group}{precision}{kind}"
        value = self.pick(self.text, self.number, self.number)(1)
        name = self.pick("", "0", "x", "0.upper", "0[0]", "0[k]", "x!r", "!s", "!a")
        spec = self.pick(spec, spec, "", ":{1}", ":>{1}")
        return f"'<{{{name}{spec}}}>'.format({value}, {self.pick('3', '10', 's')}, x={self.any(0)})"

    # Statements.
    def tag(self, inside):
        return f"{{%{self.pick('', '', '-', '+')} {inside} {self.pick('', '', '-', '+')}%}}"

    def output(self, expression):
        return f"{{{{{self.pick('', '', '-')} {expression} {self.pick('', '', '-')}}}}}"

    def space(self):
        return self.pick("", "", "\n", " ", "\n\n", "  \n  ", "text", "\ttext \n", "é\n")

    def body(self, depth):
        return "".join(self.space() + self.statement(depth) + self.space() for _ in range(self.r.randint(1, 2)))

    def statement(self, depth):
        if depth <= 0 or self.r.random() < 0.35:
            return self.output(self.any(2) if self.r.random() < 0.9 else self.method(2))
        deeper = depth - 1
        return self.r.choice([self.if_, self.for_, self.for_, self.set_, self.set_block, self.with_, self.macro, self.call, self.filter_block,
                              self.raw, self.comment, self.namespace, self.block, self.generation, self.globals_, self.recursive])(deeper)

    def if_(self, depth):
        out = self.tag("if " + self.truth()) + self.body(depth)
        if self.r.random() < 0.4:
            out += self.tag("elif " + self.truth()) + self.body(depth)
        if self.r.random() < 0.5:
            out += self.tag("else") + self.body(depth)
        return out + self.tag("endif")

    def for_(self, depth):
        name = self.pick("x", "y", "m")
        target, over = self.pick((name, self.list()), (name, self.list()), (f"{name}, v", f"{self.dict()}.items()"), (name, self.dict()), (name, self.text()))
        condition = f" if {self.truth(1)}" if self.r.random() < 0.2 else ""
        self.local.append(name)
        self.loops += 1
        extra = self.output(self.pick("loop.index", "loop.last", "loop.first", "loop.length", "loop.revindex", "loop.previtem", "loop.nextitem is defined",
                                      "loop.cycle('a', 'b')", "loop.changed(" + name + ")", "loop.depth", "loop.revindex0", name))
        stop = self.tag("if loop.index > 2") + self.tag(self.pick("break", "continue")) + self.tag("endif") if self.r.random() < 0.15 else ""
        out = self.tag(f"for {target} in {over}{condition}") + stop + extra + self.body(depth)
        self.local.pop()
        self.loops -= 1
        if self.r.random() < 0.2:
            out += self.tag("else") + self.body(depth)
        return out + self.tag("endfor")

    def recursive(self, depth):
        inner = self.pick("loop(x)", "loop(x.n)", "loop([])")
        return (self.tag("for x in [1, [2, [3]], 4] recursive") + "<{{ loop.depth }}{{ loop.depth0 }}"
                + "{% if x is sequence %}{{ " + inner + " }}{% else %}{{ x }}{% endif %}>" + self.tag("endfor"))

    def set_(self, depth):
        name = self.pick("a", "b", "s", "q")
        self.local.append(name)
        return self.pick(self.tag(f"set {name} = {self.any()}"), self.tag(f"set {name}, c = {self.any(1)}, {self.any(1)}")) + self.output(name)

    def set_block(self, depth):
        filters = self.pick("", " | upper", " | trim | title", f" | {self.text_filter(1)}")
        return self.tag(f"set a{filters}") + self.body(depth) + self.tag("endset") + self.output("a")

    def with_(self, depth):
        return self.tag(f"with w = {self.any()}, x = {self.any(1)}") + self.output("w") + self.body(depth) + self.tag("endwith")

    def macro(self, depth):
        name = self.pick("mac", "show")
        out = self.tag(f"macro {name}(p, q={self.any(1)})") + "({{ p }}|{{ q }}" + self.pick("", "{{ varargs }}", "{{ kwargs }}", "{{ caller() if caller else '' }}")
        out += self.body(depth) + ")" + self.tag("endmacro")
        return out + self.output(f"{name}({self.any(1)}{self.pick('', ', ' + self.any(1), ', q=1', ', 1, 2', ', z=1')})") + self.pick("", "{{ mac.name }}{{ mac.arguments }}")

    def call(self, depth):
        return (self.tag("macro wrap(a=1)") + "[{{ caller('c') }}{{ a }}]" + self.tag("endmacro")
                + self.tag(f"call(v) wrap({self.any(1)})") + "{{ v }}" + self.body(depth) + self.tag("endcall"))

    def filter_block(self, depth):
        replace_e = "replace('e', '3')"
        return self.tag(f"filter {self.pick('upper', 'trim', 'indent(2)', replace_e, 'e', self.text_filter(1))}") + self.body(depth) + self.tag("endfilter")

    def raw(self, depth):
        return self.pick("{% raw %}", "{%- raw -%}", "{% raw -%}") + self.pick(" {{ x }} ", "{% if %}\n", "\n{# #}") + self.tag("endraw")

    def comment(self, depth):
        return f"{{#{self.pick('', '-', '+')} a comment\n {{{{ x }}}} {self.pick('', '-', '+')}#}}"

    def namespace(self, depth):
        return (self.tag(f"set ns = namespace(v={self.any(1)}, n=0)") + self.tag(f"for x in {self.list(1)}") + self.tag("set ns.n = ns.n + 1")
                + self.tag(f"set ns.v = {self.pick('x', 'ns.v', self.any(1))}") + self.tag("endfor") + "{{ ns.n }}{{ ns.v }}" + self.pick("", "{{ ns.missing }}"))

    def block(self, depth):
        return self.tag("block part" + str(self.r.randint(0, 10**6))) + self.body(depth) + self.tag("endblock")

    def generation(self, depth):
        return self.tag("generation") + self.body(depth) + self.tag("endgeneration")

    def globals_(self, depth):
        return self.pick("{% set c = cycler('odd', 'even') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{% set _ = c.reset() %}{{ c.current }}",
                         "{% set j = joiner(', ') %}{% for x in nums %}{{ j() }}{{ x }}{% endfor %}", "{% set j = joiner() %}{{ j() }}{{ j() }}",
                         "{{ dict.fromkeys(['a', 'b'], 1) }}", "{{ namespace(a=1).a }}", "{{ range(3)|list }}{{ range(5)[1:3] }}{{ range(2) }}",
                         "{{ raise_exception('no') }}", "{% print s, i %}")

    def template(self):
        return "".join(self.space() + self.statement(self.r.randint(0, 2)) for _ in range(self.r.randint(1, 4))) + self.space()
