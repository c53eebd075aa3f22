using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace FedICU.TorchSharp.Tests;

/// <summary>State dicts as models, in rounds and as results.</summary>
internal sealed class StateDictTests
{
    [Test]
    public void StateDictsAggregateLikeCopiesInArrays([Values("fedavg", "fedicu")] string strategy)
    {
        using DisposeScope scope = NewDisposeScope();
        random.manual_seed(3);
        using Module<Tensor, Tensor> global = Net();
        Module<Tensor, Tensor>[] clients = [.. Enumerable.Range(0, 3).Select(_ => Train(global))];

        // what a user writes
        using var received = new StateDictModel(global.state_dict());
        var round = new AggregationRound(received.Model);
        List<StateDictModel> updates = [.. clients.Select(client => new StateDictModel(client.state_dict()))];
        for (int k = 0; k < updates.Count; k++)
            round.Add(ClientUpdate.FromTensors($"client-{k}", updates[k].Model, examples: 10 * (k + 1)));
        var sink = new StateDictSink(global.state_dict());
        StrategyRegistry.Default.Create(strategy, []).Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        updates.ForEach(update => update.Dispose());

        // the same round with copies in arrays
        var copies = new AggregationRound(Copy(global));
        for (int k = 0; k < clients.Length; k++)
            copies.Add(ClientUpdate.FromTensors($"client-{k}", Copy(clients[k]), examples: 10 * (k + 1)));
        using var expected = new MemorySink();
        StrategyRegistry.Default.Create(strategy, []).Aggregator.AggregateAsync(copies, expected).GetAwaiter().GetResult();
        foreach (TensorInfo tensor in expected.Model.Tensors)
        {
            byte[] bytes = new byte[tensor.ByteLength];
            expected.Model.Read(tensor, 0, bytes);
            Assert.That(sink.StateDict[tensor.Name].bytes.ToArray(), Is.EqualTo(bytes), tensor.Name);
        }

        global.load_state_dict(sink.StateDict);
        Assert.That(global.state_dict()["first.weight"].allclose(sink.StateDict["first.weight"]));
    }

    [Test]
    public unsafe void ContiguousTensorsAreBorrowed(
        [Values(
            ScalarType.Float32, ScalarType.Float64, ScalarType.Float16, ScalarType.BFloat16, ScalarType.Int64, ScalarType.Bool)]
        ScalarType type)
    {
        using Tensor tensor = ones(6, 5).to(type), turned = tensor.t();
        using var model = new StateDictModel(new Dictionary<string, Tensor> { ["w"] = tensor, ["t"] = turned });
        Assert.That(model.Model.TryPin(model.Model.Find("w")!, out System.Buffers.MemoryHandle memory));
        fixed (byte* first = tensor.bytes)
            Assert.That((nint)memory.Pointer, Is.EqualTo((nint)first));
        Assert.That(model.Model.Find("t")!.Shape, Is.EqualTo(new TensorShape(5, 6)));
    }

    [Test]
    public void ATypeThatSafetensorsDoesNotHaveIsRefusedByName()
    {
        using Tensor tensor = zeros(2, ScalarType.ComplexFloat64);
        Assert.That(
            () => new StateDictModel(new Dictionary<string, Tensor> { ["w"] = tensor }),
            Throws.ArgumentException.With.Message.StartsWith("Tensor 'w' is ComplexFloat64"));
    }

    [Test]
    public void RefusedRoundsLeakNoTensors()
    {
        using Tensor right = ones(6, 5), wrong = ones(6, 4);
        using var received = new StateDictModel([new("w", right)]);
        long before = Tensor.TotalCount;
        for (int i = 0; i < 10_000; i++)
        {
            using var update = new StateDictModel([new("w", wrong)]);
            var round = new AggregationRound(received.Model) { ClientUpdate.FromTensors("a", update.Model) };
            var sink = new StateDictSink([new("w", right)]);
            Assert.Throws<RoundRejectedException>(() => new FedAvgAggregator().AggregateAsync(round, sink).GetAwaiter().GetResult());
        }

        Assert.That(Tensor.TotalCount, Is.LessThanOrEqualTo(before));
    }

    private static Module<Tensor, Tensor> Net() => Sequential(("first", Linear(4, 8)), ("norm", BatchNorm1d(8)), ("second", Linear(8, 2)));

    private static Module<Tensor, Tensor> Train(Module<Tensor, Tensor> global)
    {
        Module<Tensor, Tensor> local = Net();
        local.load_state_dict(global.state_dict());
        using optim.Optimizer optimizer = optim.SGD(local.parameters(), 0.1);
        for (int step = 0; step < 3; step++)
        {
            optimizer.zero_grad();
            functional.mse_loss(local.forward(randn(16, 4)), randn(16, 2)).backward();
            optimizer.step();
        }

        return local;
    }

    private static MemoryModel Copy(Module<Tensor, Tensor> module)
    {
        var model = new MemoryModel();
        foreach ((string name, Tensor tensor) in module.state_dict())
        {
            DType dtype = tensor.dtype == ScalarType.Int64 ? DType.I64 : DType.F32;
            model.Add(new TensorInfo(name, dtype, new TensorShape(tensor.shape)), tensor.bytes.ToArray());
        }

        return model;
    }
}
