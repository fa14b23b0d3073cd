#!/usr/bin/env python3
"""Chat templates as a client and an operator meet them: what reaches them, and who is told what when they are broken."""
import json
import os
import pathlib
import tempfile
import unittest

import cluster


def folder_with(template, at, **config):
    """The demo model with another chat template; weights are linked."""
    folder = pathlib.Path(at)
    for file in cluster.DEMO.iterdir():
        if file.is_file() and file.name not in ("tokenizer_config.json", "chat_template.jinja"):
            os.symlink(file, folder / file.name)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", **config}))
    (folder / "chat_template.jinja").write_text(template)
    return folder


USER = {"role": "user", "content": "u"}


class Rendering(unittest.TestCase):
    def rendered(self, template, messages, **fields):
        """What the template wrote, by way of the byte-level tokenizer; or the error."""
        with tempfile.TemporaryDirectory() as at, cluster.Cluster(model=folder_with(template, at), ranks=1, transport="local") as server:
            texts = []
            for one in messages:
                answer = server.post("/tokenize", {"messages": one, **fields})
                texts.append(server.post("/detokenize", {"tokens": answer.json()["tokens"]}).json()["prompt"] if answer.status == 200
                             else answer.json()["error"])
            return texts

    def test_conversations_reach_the_template_as_transformers_hands_them_over(self):
        template = ("{% for m in messages %}[{{ m.role }}|{{ m.content }}|{{ m.name is defined }}|{{ m.refusal }}|{{ m.reasoning_content }}"
                    "{% for c in m.tool_calls or [] %}|{{ c.function.arguments is mapping }} {{ c.function.arguments|tojson }}{% endfor %}]{% endfor %}"
                    "{{ tools is none }}{{ documents is none }}{{ reasoning_effort }}{{ enable_thinking }}{{ k }}")
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"b": 1, "a": "x"}'}}
        texts = self.rendered(template, [
            [{**USER, "name": None}, {"role": "assistant", "content": None, "tool_calls": [call], "reasoning": "r"},
             {"role": "tool", "tool_call_id": "c", "content": "3"}, {"role": "function", "name": "f", "content": "4"}],
            [USER, {"role": "assistant", "content": None, "refusal": "No."}, USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}]}, USER],
        ], reasoning_effort="none", chat_template_kwargs={"k": 7})
        self.assertEqual(texts, ['[user|u|False||][assistant||False||r|True {"b": 1, "a": "x"}][tool|3|False||][function|4|True||]TrueTruenoneFalse7',
                                 "[user|u|False||][assistant||False|No.|][user|u|False||][assistant||False|Never.|][user|u|False||]TrueTruenoneFalse7"])

    def test_parts_reach_a_template_that_loops_over_them(self):
        parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
        loops = "{% for m in messages %}{% if m.content is string %}S{{ m.content }}{% else %}{% for p in m.content %}[{{ p.text }}]{% endfor %}{% endif %}{% endfor %}"
        self.assertEqual(self.rendered(loops, [parts, [USER]]), ["[a][b]", "Su"])
        self.assertEqual(self.rendered("{{ messages[0].content }}", [parts]), ["a\nb"])
        refused = self.rendered(loops, [[USER, {"role": "assistant", "content": "x", "prefix": True}]])[0]
        self.assertEqual(refused["param"], "messages[1].prefix")

    def test_an_error_in_a_template_is_the_templates_and_an_exception_the_messages(self):
        template = "{% if messages[0].content == 'raise' %}{{ raise_exception('not so') }}{% endif %}\n{{ messages[0].missing.deeper }}"
        fault, refusal = self.rendered(template, [[USER], [{"role": "user", "content": "raise"}]])
        self.assertIsNone(fault["param"])
        self.assertEqual(fault["code"], "chat_template_error")
        self.assertRegex(fault["message"], r"chat_template\.jinja, line 2: .*'missing'")
        self.assertEqual(refusal["param"], "messages")
        self.assertIn("not so", refusal["message"])

    def test_faults_are_in_the_log_once(self):
        with tempfile.TemporaryDirectory() as at, cluster.Cluster(model=folder_with("{{ 1 / 0 }}", at), ranks=1, transport="local") as server:
            for _ in range(3):
                self.assertEqual(server.post("/tokenize", {"messages": [USER]}).status, 400)
            cluster.wait_for("the fault in the log", lambda: "division by zero" in server.log())
            self.assertEqual(server.log().count("division by zero"), 1)


class BrokenTemplates(unittest.TestCase):
    def test_an_unknown_filter_is_named_before_anything_is_served(self):
        with tempfile.TemporaryDirectory() as at:
            model = folder_with("one\n{{ messages|no_such_filter }}", at)
            for arguments in (["serve", "--port", "0", "--admin-port", "0", "--transport", "local"], ["generate", "--chat", "x"]):
                done = cluster.run(*arguments, "--model", model, check=False)
                self.assertEqual(done.returncode, 3, done.stderr)
                self.assertIn("chat_template.jinja, line 2: No filter named 'no_such_filter'.", done.stderr)
            shown = cluster.run("inspect", "--no-measure", "--model", model).stdout
            self.assertIn("line 2: No filter named 'no_such_filter'.", shown)

    def test_what_fails_only_if_reached_is_said_at_start(self):
        template = "{% if tools %}{{ tools|no_such_filter }}{{ now() }}{% endif %}{{ messages[0].content }}"
        with tempfile.TemporaryDirectory() as at:
            model = folder_with(template, at)
            with cluster.Cluster(model=model, ranks=1, transport="local") as server:
                self.assertIn("No filter named 'no_such_filter'", server.log())
                self.assertIn("it calls 'now'", server.log())
                self.assertEqual(server.post("/tokenize", {"messages": [USER]}).status, 200)
            notes = json.loads(cluster.run("inspect", "--no-measure", "-o", "json", "--model", model).stdout)["notes"]
            for part in ("No filter named 'no_such_filter'", "it calls 'now'"):
                self.assertTrue(any(part in note for note in notes), notes)


if __name__ == "__main__":
    unittest.main()
