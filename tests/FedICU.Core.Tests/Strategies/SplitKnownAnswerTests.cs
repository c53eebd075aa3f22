namespace FedICU.Tests;

/// <summary>
/// Numbers that Debian's numpy computed once, so that the library and <see cref="SplitByHand"/> cannot drift together.
/// All are of one round with three clients of 1, 2 and 5 examples.
/// </summary>
/// <remarks>
/// /usr/bin/python3 known.py, numpy 1.24.2:
/// <code>
/// import numpy as np
/// x = np.array([[1., 0, 2], [0, 2, -1]])
/// y = np.array([[[2., 1, 2], [0, 2, -1]], [[1, 1, 1], [1, 2, 0]], [[-1, 0, 3], [2, 3, 1]]])
/// p = np.array([1, 2, 5]) / 8
/// def fedicu(axis=1, sim='pairwise', weigh='softmax', tau=.1, share=False, consensus=None, delta=False, coherence=0):
///     t = np.concatenate([y - x if delta else y, [x * 0 if delta else x]])
///     m = np.sqrt((t * t).sum(axis=axis, keepdims=True))
///     v = np.divide(t, m, out=np.zeros_like(t), where=m > 1e-12)
///     f = np.array([a.ravel() / (np.linalg.norm(a) or 1) for a in v])
///     c, S = f[:3] @ f[:3].T, f[:3].sum(0)
///     s = {'pairwise': (c.sum(1) - c.diagonal()) / 2, 'pairwise-self': c.mean(1),
///          'mean': f[:3] @ S / np.linalg.norm(S), 'previous': f[:3] @ f[3]}[sim]
///     e = {'softmax': np.exp(s / tau), 'relu': np.maximum(s, 0), 'raw': s}[weigh]
///     w = e if weigh == 'raw' else e / e.sum()
///     w = w * p / (w * p).sum() if share else w
///     V = v[3] + sum(w[k] * (v[k] - v[3]) for k in range(3))
///     q = np.sqrt((V * V).sum(axis=tuple(a - 1 for a in np.atleast_1d(axis)), keepdims=True))
///     print(s, w, (x if delta else 0) + np.average(m[:3], axis=0, weights=consensus) * V * q ** (coherence - 1))
/// fedicu()
/// fedicu(tau=np.inf, delta=True, coherence=.5)
/// fedicu(axis=2, sim='mean', weigh='relu', share=True, consensus=p)
/// fedicu(sim='previous', weigh='raw')
/// fedicu(axis=2, sim='pairwise-self', tau=1., delta=True)
/// fedicu(axis=(1, 2), sim='previous', tau=np.inf, share=True, consensus=p)
/// fedicu(sim='mean', weigh='raw', share=True, delta=True)
/// fedicu(axis=(1, 2), weigh='raw')
/// </code>
/// </remarks>
internal sealed class SplitKnownAnswerTests
{
    private static readonly double[] Global = [1, 0, 2, 0, 2, -1];
    private static readonly double[][] Clients = [[2, 1, 2, 0, 2, -1], [1, 1, 1, 1, 2, 0], [-1, 0, 3, 2, 3, 1]];
    private static readonly double[] Examples = [1, 2, 5];

    private static IEnumerable<TestCaseData> Rounds()
    {
        FedIcuOptions none = new();
        yield return Case("default", none,
            [0.625975724812, 0.793478704542, 0.552276438626],
            [0.146681226029, 0.783124352628, 0.070194421343],
            [1.385022126137, 1.042903070176, 2.130697355940, 1.276327407962, 2.261857506219, -0.094272592676]);
        yield return Case("coherent", FedIcuOptions.Balanced,
            [0.059786577935, 0.374679903099, 0.026218190570],
            [1.0 / 3, 1.0 / 3, 1.0 / 3],
            [1.206801079800, 0.772194790192, 1.856666036014, 1.205325022936, 2.386097395096, -0.116736315788]);
        yield return Case("rows, mean, relu, shares",
            none with
            {
                Axis = NormAxis.Rows,
                Similarity = Similarity.MeanDirection,
                Weights = WeightRule.Relu,
                TimesShare = true,
                Consensus = ConsensusRule.Share,
            },
            [0.897053867069, 0.953726850775, 0.814333357352],
            [0.130458278209, 0.277400426890, 0.592141294901],
            [0.199368542523, 0.678047890275, 2.693248672992, 1.468141598109, 2.797753373926, 0.332949216798]);
        yield return Case("previous, raw", none with { Similarity = Similarity.PreviousDirection, Weights = WeightRule.Raw },
            [0.964809063667, 0.831987054395, 0.419964395229],
            [0.964809063667, 0.831987054395, 0.419964395229],
            [0.286843891690, 1.753811674940, 2.071876260983, 1.861456022581, 1.768556134553, 0.506050692633]);
        yield return Case("delta, rows, pairwise-self, tau 1",
            none with { Target = SplitTarget.Delta, Axis = NormAxis.Rows, Similarity = Similarity.PairwiseWithSelf, Tau = 1 },
            [0.302113265031, 0.555614676125, 0.288692347428],
            [0.305325057783, 0.393420251749, 0.301254690469],
            [0.825225682393, 1.612493526398, 1.531790914733, 1.029194654572, 2.215749831530, 0.029194654572]);
        yield return Case("tensor, previous, tau inf, shares",
            none with
            {
                Axis = NormAxis.Tensor,
                Similarity = Similarity.PreviousDirection,
                Tau = double.PositiveInfinity,
                TimesShare = true,
                Consensus = ConsensusRule.Share,
            },
            [0.929669680201, 0.782623792125, 0.645497224368],
            [0.125, 0.25, 0.625],
            [0.128926523910, 0.568402844883, 2.510464959257, 1.603263774694, 2.922959516277, 0.439476320974]);
        yield return Case("delta, mean, raw times share",
            none with { Target = SplitTarget.Delta, Similarity = Similarity.MeanDirection, Weights = WeightRule.Raw, TimesShare = true },
            [0.565371096378, 0.883405846599, 0.531467825532],
            [0.113311677102, 0.354104405694, 0.532583917204],
            [0.454416039808, 0.659626980204, 1.979558787709, 1.514183013319, 2.751593139263, 0.216588798051]);
        yield return Case("tensor, raw", none with { Axis = NormAxis.Tensor, Weights = WeightRule.Raw },
            [0.670705158651, 0.786053950379, 0.606339044759],
            [0.670705158651, 0.786053950379, 0.606339044759],
            [0.648099111258, 1.678979584531, 1.231645806724, 1.929756164951, 2.252301579462, 1.030880473274]);

        static TestCaseData Case(string name, FedIcuOptions options, double[] scores, double[] weights, double[] theta) =>
            new TestCaseData(options, scores, weights, theta).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Rounds))]
    public void TheLibraryGivesTheKnownAnswers(FedIcuOptions options, double[] scores, double[] weights, double[] theta)
    {
        (RoundReport report, MemorySink sink) = Models.Run(
            new FedIcuAggregator(options), Models.Of64("w", [2, 3], Global),
            Clients.Select((client, k) => ClientUpdate.FromTensors($"{k}", Models.Of64("w", [2, 3], client), Examples[k])));
        using (sink)
        {
            Assert.That(report.Tensors[0].Clients.Select(client => client.Score!.Value), Is.EqualTo(scores).Within(1e-12));
            Assert.That(report.Tensors[0].Clients.Select(client => client.Weight!.Value), Is.EqualTo(weights).Within(1e-12));
            Assert.That(sink.Model.ToArray<double>("w"), Is.EqualTo(theta).Within(2e-12));
        }
    }

    [TestCaseSource(nameof(Rounds))]
    public void TheHandComputationGivesTheKnownAnswers(FedIcuOptions options, double[] scores, double[] weights, double[] theta)
    {
        HandResult result = new SplitByHand(options, Examples).Round(["0", "1", "2"], new HandTensor("w", [2, 3], Global, Clients))[0];
        Assert.That(result.Scores, Is.EqualTo(scores).Within(1e-12));
        Assert.That(result.Weights, Is.EqualTo(weights).Within(1e-12));
        Assert.That(result.Theta, Is.EqualTo(theta).Within(2e-12));
    }
}
