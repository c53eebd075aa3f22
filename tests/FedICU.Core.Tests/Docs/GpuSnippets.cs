using FedICU.Compute;
using FedICU.Gpu;

namespace FedICU.Tests.Docs;

/// <summary>Runs what docs/gpu.md shows.</summary>
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

    [Test]
    public async Task TensorsOnTheDevice()
    {
        var info = new TensorInfo("w", DType.F32, new TensorShape(2, 2));
        // without a CUDA device the example ends by printing the reason; with one it would need pointers to device
        // memory
        if (GpuBackend.TryCreate(GpuKind.Cuda, null, out GpuBackend? there, out _))
        {
            there.Dispose();
            Assert.Ignore("there is a CUDA device, and this test has no pointers to its memory");
        }

        nint pointerToGlobal = 0, pointerToClient = 0;
        await Run();

        async Task Run()
        {
            #region gpu-device
            if (!GpuBackend.TryCreate(GpuKind.Cuda, null, out GpuBackend? cuda, out string? reason))
            {
                Console.WriteLine(reason);
                return;
            }

            using (cuda)
            {
                using var received = new DeviceTensors(cuda);
                received.Add(info, pointerToGlobal);
                using var trained = new DeviceTensors(cuda);
                trained.Add(info, pointerToClient);
                using var next = new DeviceSink(cuda);
                var options = new RoundOptions { Backend = cuda };
                var round = new AggregationRound(received, options) { ClientUpdate.FromTensors("a", trained, examples: 120) };
                await new FedIcuAggregator().AggregateAsync(round, next);
                Console.WriteLine(next.Model.AddressOf(info));
            }
            #endregion
        }
    }
}
