#!/usr/bin/env python3
"""Builds the training corpus from unpacked Debian packages.

Usage: build_corpus.py PACKAGES OUT.jsonl

PACKAGES holds one folder a package (dpkg-deb -x). Each line of OUT is {"d": domain, "t": text}.
"""
import argparse
import gzip
import html.parser
import json
import pathlib
import random
import re
import subprocess

MAX_DOMAIN_CHARACTERS = 14_000_000
MIN_DOCUMENT_CHARACTERS = 40
MAN_SECTIONS = ("man1", "man2", "man5", "man7", "man8")


def read(path):
    data = path.read_bytes()
    if path.suffix in (".gz", ".dz"):
        data = gzip.decompress(data)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def find(root, *patterns):
    files = {f for p in patterns for f in root.rglob(p) if f.is_file() and not f.is_symlink()}
    return sorted(files)


class TextOfHtml(html.parser.HTMLParser):
    SKIPPED = {"script", "style", "head", "nav"}
    BREAK_BEFORE = {"p", "div", "br", "tr", "li", "h1", "h2", "h3", "h4", "pre", "dt", "dd", "table"}
    BREAK_AFTER = {"p", "h1", "h2", "h3", "pre", "tr"}

    def __init__(self):
        super().__init__()
        self.parts, self.skipping = [], 0

    def handle_starttag(self, tag, attrs):
        self.skipping += tag in self.SKIPPED
        if tag in self.BREAK_BEFORE:
            self.parts.append("\n")

    def handle_endtag(self, tag):
        if tag in self.SKIPPED and self.skipping:
            self.skipping -= 1
        if tag in self.BREAK_AFTER:
            self.parts.append("\n")
        if tag in ("td", "th"):
            self.parts.append(" ")

    def handle_data(self, data):
        if not self.skipping:
            self.parts.append(data)


def clean(text):
    text = re.sub(r"[ \t]+\n", "\n", text.replace("\r", ""))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def html_text(markup):
    parser = TextOfHtml()
    parser.feed(markup)
    return clean("".join(parser.parts))


def html_documents(root):
    return [html_text(read(f)) for f in find(root, "*.html", "*.html.gz", "*.htm")]


def dictd_number(text):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    number = 0
    for character in text:
        number = number * 64 + alphabet.index(character)
    return number


def dictd_entries(root, name):
    """(headword, text) of each entry of a dictd dictionary, once."""
    base = root / f"dict-{name}" / "usr/share/dictd" / name
    data = gzip.decompress(base.with_suffix(".dict.dz").read_bytes())
    seen, entries = set(), []
    for line in base.with_suffix(".index").read_text(errors="replace").splitlines():
        fields = line.split("\t")
        if len(fields) < 3 or fields[0].startswith("00"):
            continue
        place = (dictd_number(fields[1]), dictd_number(fields[2]))
        if place not in seen:
            seen.add(place)
            entries.append((fields[0], data[place[0]:sum(place)].decode("utf-8", "replace")))
    return entries


def grouped(entries, size):
    texts = [text for _, text in entries]
    random.shuffle(texts)
    return ["\n\n".join(texts[i:i + size]) for i in range(0, len(texts), size)]


def turn(question, answer):
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"


def definitions(wordnet):
    for _, text in wordnet:
        head, *rest = (line.strip() for line in text.split("\n"))
        body = re.sub(r"\s+", " ", " ".join(rest)).replace("{", "").replace("}", "").strip()
        if head and len(body) >= 10:
            question = random.choice([f"What does {head} mean?", f"Define {head}.", f"What is the meaning of {head}?", f"define: {head}"])
            yield turn(question, body[:600])


def one_line_descriptions(root):
    """name -> what the NAME section of its manual page says."""
    found = {}
    for package in ("manpages", "manpages-dev", "coreutils", "util-linux", "git-man", "systemd", "perl-doc", "glibc-doc"):
        for file in find(root / package, *(f"{section}/*.gz" for section in MAN_SECTIONS)):
            section = re.search(r'\.S[Hh]\s+"?NAME"?\s*\n((?:.*\n){1,6}?)(?=\.S[Hh]|\.SY)', read(file))
            if not section:
                continue
            line = re.sub(r"\.\w+\s*", "", re.sub(r"\\f.", "", section.group(1)))
            line = re.sub(r"\s+", " ", line.replace("\\-", "-").replace("\\&", "").replace("\n", " ")).strip()
            match = re.match(r"^([\w.+:,\s-]+?)\s+-+\s+(.{8,200})$", line)
            if match:
                found.setdefault(file.name.split(".")[0], match.group(2).strip())
    return found


def chat_documents(root, wordnet):
    commands = [turn(question, f"{name} - {description}") for name, description in one_line_descriptions(root).items()
                for question in (f"What does {name} do?", f"What is {name}?", f"whatis {name}", f"Explain {name}.")]
    turns = list(definitions(wordnet)) + commands * 6
    random.shuffle(turns)
    return ["".join(turns[i:i + 12]) for i in range(0, len(turns), 12)]


def bible(root):
    done = subprocess.run([root / "bible-kjv/usr/bin/bible", "-p", f"{root}/bible-kjv-text/usr/lib/", "-f", "gen1:1-rev22:21"],
                          capture_output=True, text=True, errors="replace", check=True)
    lines = done.stdout.split("\n")
    return ["\n".join(lines[i:i + 200]) for i in range(0, len(lines), 200)]


def manual_sources(root):
    for package in ("manpages", "manpages-dev", "coreutils", "util-linux", "git-man", "systemd"):
        for file in find(root / package, "*.gz"):
            if "/man" in str(file):
                yield "\n".join(line for line in read(file).split("\n") if not line.startswith(('.\\"', "'\\\"")))


def domains(root):
    wordnet = dictd_entries(root, "wn")
    texts = lambda package, *patterns: [read(f) for f in find(root / package, *patterns)]
    debian = ("debian-policy*.txt.gz", "policy*.txt.gz", "developers-reference*.txt*", "debian-reference.en.txt*", "maint-guide.en.txt*", "*faq*.en.txt*")
    return {
        "bible": bible(root),
        "dictionary": grouped(dictd_entries(root, "gcide"), 40),
        "computing": grouped(dictd_entries(root, "foldoc"), 20) + grouped(dictd_entries(root, "jargon"), 20),
        "chat": chat_documents(root, wordnet),
        "kernel": texts("linux-doc-6.1", "*.rst.gz", "*.rst", "*.txt.gz", "*.rst.txt", "*.txt"),
        "manual": list(manual_sources(root)),
        "perl": texts("perl-doc", "*.pod", "*.pod.gz"),
        "git": texts("git-doc", "*.txt", "*.txt.gz") or html_documents(root / "git-doc"),
        "vim": html_documents(root / "vim-doc"),
        "postgres": html_documents(root / "postgresql-doc-15"),
        "sqlite": html_documents(root / "sqlite3-doc"),
        "apache": [html_text(t) for t in texts("apache2-doc", "*.html.en", "*.html.en.gz")] or html_documents(root / "apache2-doc"),
        "debian": html_documents(root / "debian-handbook/usr/share/doc/debian-handbook/html/en-US") + [read(f) for f in find(root, *debian)],
        "cpp": html_documents(root / "cppreference-doc-en-html"),
        "office": html_documents(root / "libreoffice-help-en-us"),
        "gimp": html_documents(root / "gimp-help-en"),
        "octave": html_documents(root / "octave-doc"),
        "python": texts("python3", "*.py"),
        "fortune": [read(f) for f in sorted((root / "fortunes/usr/share/games/fortunes").iterdir()) if "." not in f.name],
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("packages", type=pathlib.Path)
    arguments.add_argument("out", type=pathlib.Path)
    options = arguments.parse_args()
    random.seed(7)
    with open(options.out, "w", encoding="utf-8") as out:
        for domain, documents in domains(options.packages).items():
            if domain != "chat":
                documents = [d for d in map(clean, documents) if len(d) > MIN_DOCUMENT_CHARACTERS]
            random.shuffle(documents)
            written = 0
            for document in documents:
                if domain != "chat" and written + len(document) > MAX_DOMAIN_CHARACTERS:
                    continue
                written += len(document)
                out.write(json.dumps({"d": domain, "t": document}, ensure_ascii=False) + "\n")
            print(f"{domain}: {len(documents)} documents, {written // 1000} K characters", flush=True)


if __name__ == "__main__":
    main()
