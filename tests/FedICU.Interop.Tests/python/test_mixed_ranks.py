"""The federation of samples/MixedRanks: alone, in Flower and in NVFlare, against stand-ins of their classes."""

import contextlib
import functools
import io
import pathlib
import runpy
import sys
import types
import unittest

import numpy as np

import standin_flower as flower
import standin_nvflare as nvflare

import fedicu
from fedicu.nvflare import FedICUModelAggregator

SAMPLE = pathlib.Path(__file__).resolve().parents[3] / "samples" / "MixedRanks"
sys.path.insert(0, str(SAMPLE))

import flower_apps  # noqa: E402
import mixed_ranks  # noqa: E402
from nvflare_workflow import MixedRanks  # noqa: E402

RANKS = list(mixed_ranks.RANKS.values())
federate = functools.cache(mixed_ranks.federate)


def ranks_of(tensors):
    return tensors[mixed_ranks.A].shape[0], tensors[mixed_ranks.B].shape[1]


class MixedRanksTests(unittest.TestCase):
    def assert_falls(self, losses):
        for before, after in zip(losses, losses[1:]):
            self.assertLess(after, before)
        self.assertLess(losses[-1], losses[0] / 5)

    def test_losses_fall_and_ranks_are_as_the_rule_says(self):
        for strategy, after, rank in (("flexlora", None, 16), ("flora", "cut", 28), ("flora", "fuse", 28)):
            with self.subTest(strategy, after=after):
                losses, ranks = federate(strategy, after)
                self.assert_falls(losses)
                self.assertEqual(set(ranks), {rank})

    def test_floras_result_cut_to_a_rank_is_flexloras(self):
        cut, best = (federate(strategy, after)[0] for strategy, after in (("flora", "cut"), ("flexlora", None)))
        np.testing.assert_allclose(cut, best, rtol=1e-4)

    def test_the_page_shows_what_the_sample_prints(self):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(str(SAMPLE / "mixed_ranks.py"), run_name="__main__")
        page = (SAMPLE.parents[1] / "docs" / "plugging-in" / "mixed-ranks.md").read_text()
        self.assertIn(f"```text\n{printed.getvalue()}```", page)
        for name in ("mixed_ranks", "flower_apps", "nvflare_workflow", "nvflare_client", "nvflare_job"):
            self.assertIn(f"```python\n{(SAMPLE / f'{name}.py').read_text()}```", page, name)

    def test_the_flower_apps_federate(self):
        grid = flower.Grid(flower_apps.client, mixed_ranks.RANKS)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            flower_apps.server.functions["main"](grid, None)
        losses = eval(printed.getvalue().removeprefix("rank 16 "))
        self.assertEqual(len(losses), 5)
        self.assert_falls([federate("flexlora", None)[0][0], *losses])
        questions, *rounds = grid.sent
        self.assertEqual([len(messages) for messages in grid.sent], [3] * 6)
        for messages in rounds:
            self.assertEqual([ranks_of(flower.loaded(message.content["arrays"])) for message in messages], [(r, r) for r in RANKS])

    def test_the_nvflare_workflow_federates(self):
        losses, seen = [], []

        class Workflow(MixedRanks):
            def clients(self, data, targets):
                [name] = targets
                seen.append((name, ranks_of(data.params)))
                model = run_client(name, data)
                losses.append(model.metrics["loss"])
                model.meta["client_name"] = name
                return [model]

        def run_client(name, data):
            """Runs the client's script for one round of NVFlare's client API."""
            sent, turns = [], iter((True, False))
            members = {
                "init": lambda: None, "is_running": lambda: next(turns), "receive": lambda: data, "get_site_name": lambda: name,
                "send": sent.append, "FLModel": nvflare.FLModel,
            }
            sys.modules["nvflare.client"] = sys.modules["nvflare"].client = types.SimpleNamespace(**members)
            runpy.run_path(str(SAMPLE / "nvflare_client.py"))
            [model] = sent
            return model

        aggregator = FedICUModelAggregator("flexlora", adapter_config=mixed_ranks.CONFIG)
        workflow = Workflow(num_rounds=5, aggregator=aggregator, ranks=mixed_ranks.RANKS)
        model = workflow.load_model()
        for number in range(5):
            aggregator.reset_stats()
            workflow.send_model(task_name="train", data=model, targets=list(mixed_ranks.RANKS), callback=aggregator.accept_model)
            made = aggregator.aggregate_model()
            self.assertEqual(made.meta["adapter_config"]["r"], 16)
            model = nvflare.FLModel(made.params_type, made.params, current_round=number, meta=made.meta)
        self.assertEqual(seen, [(name, (rank, rank)) for name, rank in mixed_ranks.RANKS.items()] * 5)
        means = np.reshape(losses, (5, 3)).mean(axis=1)
        self.assert_falls([federate("flexlora", None)[0][0], *means])
        # the frameworks' rounds have the library's bits
        expected, plain = mixed_ranks.new_adapter(), fedicu.Aggregator("flexlora")
        for _ in range(5):
            expected = plain.aggregate(expected, [
                (name, 100, mixed_ranks.train(mixed_ranks.BASE, fedicu.adapt(expected, rank), name))
                for name, rank in mixed_ranks.RANKS.items()])
        np.testing.assert_array_equal(model.params[mixed_ranks.A], expected.tensors[mixed_ranks.A])


if __name__ == "__main__":
    unittest.main()
