#!/usr/bin/env python3
"""The dashboards through Grafana Labs' own model of dashboards (grafana-foundation-sdk, generated from Grafana's schema): read and written again,
nothing is lost or changed, so there is no field, panel or query that Grafana does not know."""
import json
import os
import pathlib
import sys
import unittest

# Of the environment that scripts/test.sh makes beside the build.
sys.path += map(str, pathlib.Path(os.environ["CONCLAVE_BINARY_DIR"]).glob("openai-venv/lib/python3*/site-packages"))
try:
    from grafana_foundation_sdk.cog import encoder, plugins
    from grafana_foundation_sdk.models import dashboard
except ImportError:
    print("skipped: grafana-foundation-sdk is not installed; scripts/test.sh installs it where there is a package index")
    sys.exit(77)

DASHBOARDS = sorted((pathlib.Path(os.environ["CONCLAVE_SOURCE_DIR"]) / "deploy/grafana/dashboards").glob("*.json"))


def through_the_model(board):
    return json.loads(encoder.JSONEncoder().encode(dashboard.Dashboard.from_json(board)))


def lost(before, after, path="$"):
    """Where after lacks or changes something of before; what it adds are defaults."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [line for name, value in before.items() for line in (lost(value, after[name], f"{path}.{name}") if name in after else
                                                                    [f"{path}.{name}"] if value not in (None, [], {}) else [])]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [line for index, value in enumerate(before) for line in lost(value, after[index], f"{path}[{index}]")]
    return [] if before == after else [path]


class GrafanaModel(unittest.TestCase):
    def setUp(self):
        plugins.register_default_plugins()

    def test_boards_keep_everything(self):
        self.assertEqual(len(DASHBOARDS), 5)
        for path in DASHBOARDS:
            board = json.loads(path.read_text())
            self.assertEqual(lost(board, through_the_model(board)), [], path.name)

    def test_a_misspelt_field_is_seen(self):
        board = json.loads(DASHBOARDS[0].read_text())
        board["panels"][0]["gridPoss"] = board["panels"][0].pop("gridPos")
        board["panels"][1]["targets"][0]["legendFormatt"] = "x"
        self.assertEqual(lost(board, through_the_model(board)), ["$.panels[0].gridPoss", "$.panels[1].targets[0].legendFormatt"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
