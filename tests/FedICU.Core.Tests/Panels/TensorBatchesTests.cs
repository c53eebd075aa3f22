using System.Collections.Concurrent;
using FedICU.Panels;

namespace FedICU.Tests;

/// <summary>Small tensors run side by side, large ones one after the other.</summary>
internal sealed class TensorBatchesTests
{
    private static readonly long[] Values = [1, 200_000, 3, 900_000, 800_000, 0, 700_000];

    [Test]
    public void LargeTensorsRunInOrderAfterTheSmallOnesBeforeThem()
    {
        using var workers = new Workers(4, CancellationToken.None);
        ConcurrentBag<int> small = [];
        List<(int Tensor, int SmallBefore)> large = [];
        TensorBatches.Run(workers, Values.Length, i => Values[i], largestSmall: 200_000, small.Add, i => large.Add((i, small.Count)));
        Assert.That(small, Is.EquivalentTo(new[] { 0, 1, 2, 5 }));
        Assert.That(large, Is.EqualTo(new[] { (3, 3), (4, 3), (6, 4) }));
    }

    [Test]
    public void WithoutALargestSmallTensorAllRunInOrder()
    {
        using var workers = new Workers(4, CancellationToken.None);
        List<int> order = [];
        TensorBatches.Run(workers, Values.Length, i => Values[i], largestSmall: null, _ => Assert.Fail("none is small"), order.Add);
        Assert.That(order, Is.EqualTo(Enumerable.Range(0, Values.Length)));
    }
}
