using CsCheck;
using FedICU.Compute;

namespace FedICU.Tests.Rounds;

/// <summary>The eigenvalues and eigenvectors of symmetric matrices.</summary>
internal sealed class SymmetricEigenTests
{
    [Test]
    public void EigenvectorsDiagonalizeTheMatrix() => Gen.Select(Gen.Int[1, 12], Gen.Int[0, 1 << 20]).Sample((n, seed) =>
    {
        var random = new Random(seed);
        double[] g = new double[n * n];
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j <= i; j++)
                g[i * n + j] = g[j * n + i] = random.NextDouble() - 0.5;
        }

        (double[] values, double[] u) = SymmetricEigen.Decompose([.. g], n);
        Assert.That(values, Is.Ordered.Descending);
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j < n; j++)
            {
                Assert.That(Dot(k => u[i * n + k], k => u[j * n + k], n), Is.EqualTo(i == j ? 1 : 0).Within(1e-13));
                Assert.That(Dot(k => u[k * n + i] * values[k], k => u[k * n + j], n), Is.EqualTo(g[i * n + j]).Within(1e-12));
            }
        }
    }, iter: 200);

    /// <summary>
    /// The decomposition of a matrix of this order takes many seconds, and a cancelled round must not wait for it.
    /// </summary>
    [Test]
    public void ACancelledDecompositionStops()
    {
        const int N = 1000;
        var random = new Random(3);
        double[] g = [.. Enumerable.Range(0, N * N).Select(_ => random.NextDouble())];
        using var cancel = new CancellationTokenSource(TimeSpan.FromMilliseconds(300));
        long start = System.Diagnostics.Stopwatch.GetTimestamp();
        Assert.That(() => SymmetricEigen.Decompose(g, N, cancel.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(System.Diagnostics.Stopwatch.GetElapsedTime(start), Is.LessThan(TimeSpan.FromSeconds(5)));
    }

    private static double Dot(Func<int, double> x, Func<int, double> y, int count) => Enumerable.Range(0, count).Sum(i => x(i) * y(i));
}
