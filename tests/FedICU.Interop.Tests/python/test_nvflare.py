"""The aggregator against stand-ins of NVFlare's classes."""

import enum
import os
import sys
import tempfile
import types
import unittest

import numpy as np


class ParamsType(str, enum.Enum):
    FULL = "FULL"
    DIFF = "DIFF"


class FLModel:
    def __init__(self, params_type=None, params=None, metrics=None, current_round=None, meta=None):
        self.params_type, self.params, self.metrics, self.current_round, self.meta = params_type, params, metrics, current_round, meta


class ModelAggregator:
    def __init__(self):
        self.fl_ctx = None


def install():
    names = ["nvflare", "nvflare.app_common", "nvflare.app_common.abstract", "nvflare.app_common.abstract.fl_model", "nvflare.app_common.aggregators",
             "nvflare.app_common.aggregators.model_aggregator"]
    modules = {name: types.ModuleType(name) for name in names}
    modules[names[3]].FLModel, modules[names[3]].ParamsType, modules[names[5]].ModelAggregator = FLModel, ParamsType, ModelAggregator
    sys.modules.update(modules)


try:
    import nvflare  # noqa: F401
except ImportError:
    install()

import fedicu  # noqa: E402
from fedicu.nvflare import FedICUModelAggregator  # noqa: E402


class Context(dict):
    get_prop = dict.get


def models(count):
    random = np.random.default_rng(6)
    return [{"w": random.standard_normal((20, 30)).astype(np.float32), "b": random.standard_normal(5)} for _ in range(count)]


def sent(k, params, kind=ParamsType.FULL):
    return FLModel(kind, params, current_round=4, meta={"client_name": f"site-{k}", "NUM_STEPS_CURRENT_ROUND": 10 * k})


class NvflareTests(unittest.TestCase):
    def round(self, strategy, received, models):
        aggregator = FedICUModelAggregator(strategy)
        aggregator.fl_ctx = Context() if received is None else Context(global_model={"weights": received, "meta": {}})
        for model in models:
            aggregator.accept_model(model)
        return aggregator.aggregate_model()

    def test_full_parameters_and_differences_have_the_librarys_bits(self):
        received, *trained = models(4)
        for strategy in ("fedavg", "fedicu"):
            for kind in ParamsType:
                expected = fedicu.Aggregator(strategy).aggregate(
                    received, [fedicu.Update(f"site-{k}", 10 * k, trained[k - 1], delta=kind == ParamsType.DIFF) for k in (1, 2, 3)])
                result = self.round(strategy, received, [sent(k, trained[k - 1], kind) for k in (1, 2, 3)])
                self.assertEqual((result.params_type, result.current_round), (ParamsType.FULL, 4))
                for name in received:
                    np.testing.assert_array_equal(result.params[name], expected[name])
                self.assertEqual([client["id"] for client in result.meta["fedicu_report"]["clients"]], ["site-1", "site-2", "site-3"])

    def test_differences_without_a_global_model_are_averaged(self):
        _, first, second = models(3)
        result = self.round("fedavg", None, [sent(1, first, ParamsType.DIFF), sent(3, second, ParamsType.DIFF)])
        self.assertEqual(result.params_type, ParamsType.DIFF)
        np.testing.assert_allclose(result.params["b"], (10 * first["b"] + 30 * second["b"]) / 40, rtol=1e-15)
        with self.assertRaisesRegex(fedicu.WrongStateError, "'fedicu' wants it"):
            self.round("fedicu", None, [sent(1, first, ParamsType.DIFF)])

    def test_files_are_taken_by_path(self):
        received, trained = models(2)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "site.safetensors")
            fedicu.Aggregator("fedavg").aggregate(trained, [("one", 1, trained)], out=path)
            result = self.round("fedavg", received, [FLModel(ParamsType.FULL, path, meta={"client_name": "site-1"})])
        for name in received:
            np.testing.assert_array_equal(result.params[name], trained[name])

    def test_what_is_wrong_is_refused_by_name(self):
        received, trained = models(2)
        aggregator = FedICUModelAggregator("fedavg")
        with self.assertRaisesRegex(fedicu.WrongStateError, "No client's model"):
            aggregator.aggregate_model()
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "Client 'site-2' sent no parameters"):
            aggregator.accept_model(sent(2, None))
        aggregator.accept_model(sent(1, trained))
        with self.assertRaisesRegex(fedicu.InvalidArgumentError, "Client 'site-2' sent parameters of type DIFF; FULL was expected"):
            aggregator.accept_model(sent(2, trained, ParamsType.DIFF))
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "[Cc]lient 'site-1'.*'w'"):
            self.round("fedavg", received, [sent(1, {**trained, "w": trained["w"][:2]})])


if __name__ == "__main__":
    unittest.main()
