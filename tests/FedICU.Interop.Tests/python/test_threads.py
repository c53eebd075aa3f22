"""Several threads use the library: each with its own aggregator, and one that aborts another's round."""

import threading
import time
import unittest

import numpy as np

import fedicu


def models(count, size=64):
    random = np.random.default_rng(3)
    return [{"w": random.standard_normal((size, size)).astype(np.float32)} for _ in range(count)]


class ThreadTests(unittest.TestCase):
    def test_all_threads_get_the_same_bits(self):
        received, *trained = models(4)
        expected = fedicu.Aggregator("fedicu", threads=2).aggregate(received, [(f"c{k}", k + 1, trained[k]) for k in range(3)])["w"]
        wrong = []

        def work(own):
            for _ in range(50):
                result = own.aggregate(received, [(f"c{k}", k + 1, trained[k]) for k in range(3)])["w"]
                if not np.array_equal(result, expected):
                    wrong.append(result)

        threads = [threading.Thread(target=work, args=(fedicu.Aggregator("fedicu", threads=1),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_an_abort_ends_a_running_round(self):
        received, *trained = models(9, size=2048)
        aggregator = fedicu.Aggregator("fedicu", threads=1)
        ended = []

        def work():
            try:
                while True:
                    aggregator.aggregate(received, [(f"c{k}", 1, trained[k]) for k in range(8)])
            except fedicu.FedIcuError as error:
                ended.append(type(error))

        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            time.sleep(0.02)
            aggregator.abort()
        thread.join()
        # after an abort between two calls of a round, the second call finds no round
        self.assertIn(ended[0], (fedicu.AbortedError, fedicu.WrongStateError))


if __name__ == "__main__":
    unittest.main()
