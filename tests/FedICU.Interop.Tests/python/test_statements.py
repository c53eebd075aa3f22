"""Strategies that read what clients state, and rules with a state, by name against the formulas of their papers."""

import json
import os
import tempfile
import unittest

import numpy as np

import fedicu
from fedicu import Update

RANDOM = np.random.default_rng(11)
RECEIVED = {"w": RANDOM.standard_normal((6, 5)), "b": RANDOM.standard_normal(3)}
TRAINED = [{name: RANDOM.standard_normal(array.shape) for name, array in RECEIVED.items()} for _ in range(3)]
DIFFERENCES = [{name: model[name] - RECEIVED[name] for name in RECEIVED} for model in TRAINED]


def run(strategy, updates, **settings):
    return fedicu.Aggregator(strategy, **settings).aggregate(RECEIVED, updates)


def updates(**stated):
    """The three clients; each statement has a value for each."""
    return [
        Update(f"c{k}", 10 * (k + 1), model, **{key: values[k] for key, values in stated.items()}) for k, model in enumerate(TRAINED)]


class StatementTests(unittest.TestCase):
    def assert_steps(self, made, factors):
        """Asserts that made is the received model plus the differences times their factors."""
        for name, array in RECEIVED.items():
            expected = array + sum(factor * difference[name] for factor, difference in zip(factors, DIFFERENCES))
            np.testing.assert_allclose(made[name], expected, rtol=1e-12, atol=1e-12)

    def test_fednova_divides_by_local_steps(self):
        steps, shares = [5, 20, 80], np.array([1, 2, 3]) / 6
        effective = float(shares @ steps)
        factors = [effective * share / count for share, count in zip(shares, steps)]
        self.assert_steps(run("fednova", updates(local_steps=steps)), factors)
        # a normalizer counts in place of the steps
        self.assert_steps(run("fednova", updates(local_steps=[1, 1, 1], normalizer=steps)), factors)
        # numpy's numbers are numbers
        self.assert_steps(run("fednova", updates(local_steps=[np.int64(5), np.array(20), np.float32(80)])), factors)

    def test_qfedavg_weighs_by_losses(self):
        losses, q, rate = [0.5, 2.0, 1.0], 0.7, 0.2
        squares = [sum(float((array**2).sum()) for array in difference.values()) for difference in DIFFERENCES]
        powers = [loss**q / rate for loss in losses]
        h = [q * loss ** (q - 1) / rate**2 * square + power for loss, square, power in zip(losses, squares, powers)]
        made = run("qfedavg", updates(loss=losses), q=q, local_lr=rate, loss_eps=0)
        self.assert_steps(made, [power / sum(h) for power in powers])

    def test_fedbuff_discounts_late_updates(self):
        late = [0, 3, 8]
        self.assert_steps(run("fedbuff", updates(staleness=late)), [(1 + rounds) ** -0.5 / 3 for rounds in late])

    def test_scaffold_takes_control_variates_from_memory_and_from_files(self):
        random = np.random.default_rng(2)
        controls = [{name: random.standard_normal(array.shape) for name, array in RECEIVED.items()} for _ in range(3)]
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, f"{k}.safetensors") for k in range(3)]
            states = [os.path.join(folder, f"state-{k}.safetensors") for k in range(2)]
            for path, control in zip(paths, controls):
                fedicu.Aggregator("fedavg").aggregate(control, [("one", 1, control)], out=path)
            made = [run("scaffold", updates(control=sent), state=state) for sent, state in zip((controls, paths), states)]
            with open(states[0], "rb") as first, open(states[1], "rb") as second:
                self.assertEqual(first.read(), second.read())
            kept = fedicu.FileTensor(states[0], next(name for name in names_in(states[0]) if name.startswith("w"))).open()[0]
            # at the start c is 0, and the mean of the clients' changes is added
            np.testing.assert_allclose(kept, sum(control["w"] for control in controls) / 3, rtol=1e-6)
            del kept
        self.assert_steps(made[0], [1 / 3] * 3)
        self.assert_steps(made[1], [1 / 3] * 3)
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "^Client 'c0': its control variates are missing"):
            run("scaffold", updates())

    def test_fedadam_keeps_its_moments_in_memory_and_in_a_file(self):
        def step(model, m, v, difference):
            m, v = 0.9 * m + 0.1 * difference, 0.99 * v + 0.01 * difference**2
            return model + 0.1 * m / (np.sqrt(v) + 1e-3), m, v

        def mean_difference(received):
            return sum((k + 1) / 6 * (model["b"] - received) for k, model in enumerate(TRAINED))

        expected, m, v = RECEIVED["b"], 0.0, 1e-6
        for _ in range(3):
            expected, m, v = step(expected, m, v, mean_difference(expected))
        in_memory, model = fedicu.Aggregator("fedadam"), RECEIVED
        for number in range(3):
            model = in_memory.aggregate(model, updates(), round=number)
        np.testing.assert_allclose(model["b"], expected, rtol=1e-6)
        with tempfile.TemporaryDirectory() as folder:
            again = RECEIVED
            for number in range(3):
                # a new aggregator for each round, as in programs that end after one
                aggregator = fedicu.Aggregator("fedadam", state=os.path.join(folder, "state.safetensors"))
                again = aggregator.aggregate(again, updates(), round=number)
        np.testing.assert_array_equal(again["b"], model["b"])

    def test_a_state_in_memory_and_in_a_file_refuse_an_earlier_round(self):
        with tempfile.TemporaryDirectory() as folder:
            for state, message in (
                (None, "^The state in memory is of round 5; one of a round before {} was expected."),
                (
                    os.path.join(folder, "state.safetensors"),
                    "the state is of round 5; one of a round before {} was expected; to start without the state, remove the file",
                ),
            ):
                aggregator = fedicu.Aggregator("fedadam", state=state)
                model = aggregator.aggregate(RECEIVED, updates(), round=5)
                for number in (2, 5):
                    with self.assertRaisesRegex(fedicu.FedIcuError, message.format(number)):
                        aggregator.aggregate(model, updates(), round=number)
                aggregator.aggregate(model, updates(), round=6)

    def test_krum_leaves_the_attacker_out_before_fedadam_steps(self):
        honest = [{name: array + 0.01 * k for name, array in TRAINED[0].items()} for k in range(4)]
        attacker = {name: 1e6 * array for name, array in TRAINED[0].items()}
        sent = [(f"c{k}", 1, model) for k, model in enumerate([*honest, attacker])]
        made = run("krum,fedadam", sent, server_lr=0.1, **{"krum.byzantine": 1})
        candidates = [run("fedadam", [("one", 1, model)], server_lr=0.1)["b"] for model in honest]
        self.assertTrue(any(np.array_equal(made["b"], candidate) for candidate in candidates))

    def test_a_wrong_statement_names_the_client(self):
        for strategy, stated, message in (
            ("fednova", {"local_steps": [5, None, 5]}, "Client 'c1': local_steps is missing; a whole number of at least 1 was expected"),
            ("fednova", {"local_steps": [5, 5, 0.5]}, "Client 'c2': local_steps is 0.5; a whole number of at least 1 was expected"),
            ("fednova", {"local_steps": [5, 2.5, 5]}, "Client 'c1': local_steps is 2.5; a whole number of at least 1 was expected"),
            ("fednova", {"local_steps": [5, "20", 5]}, "Client 'c1': local_steps is '\"20\"'; a number was expected"),
            ("fednova", {"local_steps": [5, 5, "many"]}, "Client 'c2': local_steps is .*many.*; a number was expected"),
            ("fednova", {"local_steps": [True, 5, 5]}, "Client 'c0': local_steps is 'True'; a number was expected"),
            ("fednova", {"normalizer": [1, -1, 1]}, "Client 'c1': normalizer is -1; a number above 0 was expected"),
            ("qfedavg", {"loss": [1, float("nan"), 1]}, "Client 'c1': loss is NaN; a finite number was expected"),
            ("qfedavg", {"loss": [1, 10**400, 1]}, "Client 'c1': loss is "),
            ("fedbuff", {"staleness": [0, -2, 0]}, "Client 'c1': staleness is -2; a number of at least 0 was expected"),
            ("scaffold", {"control": [TRAINED[0], {"w": RECEIVED["w"]}, TRAINED[0]]}, "Client 'c1': its control variates"),
        ):
            with self.subTest(message), self.assertRaisesRegex(fedicu.RoundRejectedError, message):
                run(strategy, updates(**stated))
        # the policy applies, and a strategy that does not read a statement does not check it
        aggregator = fedicu.Aggregator("fedbuff", on_statement="drop-client", quorum=2)
        aggregator.aggregate(RECEIVED, updates(staleness=[0, "late", 0]))
        self.assertEqual([client["included"] for client in aggregator.report["clients"]], [True, False, True])
        self.assert_steps(run("fedavg", updates(loss=["none", {}, [1]])), [1 / 6, 2 / 6, 3 / 6])

    def test_a_control_variate_that_cannot_be_read_is_the_clients_fault(self):
        broken = {**TRAINED[0], "b": np.ma.masked_array(RECEIVED["b"], [0, 1, 0])}
        with self.assertRaisesRegex(fedicu.RoundRejectedError, "^Client 'c1': tensor 'b' is a masked array"):
            run("scaffold", updates(control=[TRAINED[0], broken, TRAINED[0]]))

    def test_statements_go_with_every_form_of_an_update(self):
        masked = [fedicu.mask(RECEIVED, model, mask="top=1") for model in TRAINED]
        late = [0, 3, 8]
        sent = [Update(f"c{k}", 1, model, staleness=late[k]) for k, model in enumerate(masked)]
        self.assert_steps(run("fedbuff", sent), [(1 + rounds) ** -0.5 / 3 for rounds in late])
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, f"{k}.safetensors") for k in range(3)]
            for path, model in zip(paths, TRAINED):
                fedicu.Aggregator("fedavg").aggregate(model, [("one", 1, model)], out=path)
            sent = [Update(f"c{k}", 1, path, staleness=late[k]) for k, path in enumerate(paths)]
            self.assert_steps(run("fedbuff", sent), [(1 + rounds) ** -0.5 / 3 for rounds in late])


def names_in(path):
    with open(path, "rb") as file:
        return [name for name in json.loads(file.read(int.from_bytes(file.read(8), "little"))) if name != "__metadata__"]


if __name__ == "__main__":
    unittest.main()
