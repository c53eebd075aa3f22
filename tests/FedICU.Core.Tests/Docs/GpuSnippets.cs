using FedICU.Compute;
using FedICU.Gpu;

namespace FedICU.Tests.Docs;

/// <summary>What docs/gpu.md shows.</summary>
internal sealed class GpuSnippets : SnippetFixture
{
    [Test]
    public async Task TheBestBackend()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");
        #region gpu
        IComputeBackend backend = ComputeBackends.Best(new GpuOptions { Warning = Console.Error.WriteLine });
        using var device = backend as IDisposable;
        var round = new AggregationRound(global, new RoundOptions { Backend = backend }) { ClientUpdate.FromFile("a", "a.safetensors") };
        AggregationResult result = await new FedIcuAggregator().AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        Console.WriteLine(result.Report.Backend);
        #endregion
        Assert.That(ValuesOf("next.safetensors"), Is.EqualTo(ValuesOf("a.safetensors")).Within(1e-6));
        Assert.That(result.Report.Backend, Is.EqualTo(backend.Name));
    }
}
