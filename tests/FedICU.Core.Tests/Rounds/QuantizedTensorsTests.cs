namespace FedICU.Tests;

/// <summary>Quantized tensors are found by their types and names together, and are refused, dropped or kept.</summary>
internal sealed class QuantizedTensorsTests
{
    private static IEnumerable<TestCaseData> Quantized()
    {
        yield return Case("bitsandbytes 4-bit", "l.weight U8", "l.weight.absmax F32", "l.weight.quant_map F32",
            "l.weight.quant_state.bitsandbytes__nf4 U8");
        yield return Case("bitsandbytes 4-bit", "l.weight U8", "l.weight.absmax U8", "l.weight.nested_absmax F32",
            "l.weight.nested_quant_map F32");
        yield return Case("bitsandbytes 4-bit", "l.weight BF16", "l.weight.absmax F32", "l.weight.quant_map F32",
            "l.weight.quant_state.bitsandbytes__fp4 U8");
        yield return Case("bitsandbytes 8-bit", "l.weight I8", "l.SCB F32", "l.weight_format U8");
        yield return Case("GPTQ or AWQ", "l.qweight I32", "l.scales F16", "l.qzeros I32", "l.g_idx I32");
        yield return Case("GPTQ or AWQ", "l.qweight I32", "l.qzeros I32");
        yield return Case("8-bit or smaller floats", "l.weight F8_E4M3", "l.weight_scale F32");
        yield return Case("8-bit or smaller floats", "l.weight F8_E4M3", "l.weight_scale_inv F32");
        yield return Case("8-bit or smaller floats", "l.weight F8_E5M2", "l.input_scale F32");
        yield return Case("8-bit or smaller floats", "experts.gate_up_proj F8_E4M3", "experts.gate_up_proj_scale F32");
        yield return Case("MXFP4", "experts.gate_up_proj_blocks U8", "experts.gate_up_proj_scales U8");
        yield return Case("compressed-tensors", "l.weight_packed I32", "l.weight_scale BF16", "l.weight_shape I64",
            "l.weight_zero_point I32");
        yield return Case("compressed-tensors", "l.weight_packed U8", "l.weight_scale F8_E4M3", "l.weight_global_scale F32",
            "l.input_global_scale F32");
        yield return Case("8-bit integers", "l.weight I8", "l.weight_scale F32", "l.weight_zero_point I8");
        yield return Case("quanto", "l.weight._data I8", "l.weight._scale F16");
        yield return Case("HQQ", "l.W_q U8", "l.scale F16", "l.zero F16");
        yield return Case("AQLM", "l.codes I8", "l.codebooks F16", "l.scales F16");

        static TestCaseData Case(string scheme, params string[] tensors) => new TestCaseData(scheme, tensors).SetArgDisplayNames(tensors);
    }

    [TestCaseSource(nameof(Quantized))]
    public void QuantizedTensorsAreRefusedByDefault(string scheme, string[] tensors)
    {
        (MemoryModel global, ClientUpdate client) = (Model(1, tensors), ClientUpdate.FromTensors("x", Model(2, tensors), 1));
        RoundRejectedException refused = Assert.Throws<RoundRejectedException>(() => Models.Run(new FedAvgAggregator(), global, [client]))!;
        Assert.That((refused.Fault, refused.Tensor), Is.EqualTo((RoundFault.Quantized, NameOf(tensors[0]))));
        Assert.That(refused.Message, Does.Contain(scheme).And.Contain($"'{NameOf(tensors[0])}'").And.Contain("on-quantized=keep"));

        MemoryModel plain = Model(1);
        refused = Assert.Throws<RoundRejectedException>(
            () => Models.Run(new FedAvgAggregator(), plain, [client], new RoundOptions { OnExtra = FaultPolicy.DropTensor }))!;
        Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((RoundFault.Quantized, "x")),
            "of a client too, whatever else is ignored");
    }

    [TestCaseSource(nameof(Quantized))]
    public void QuantizedTensorsAreKeptWithTheirCompanions(string scheme, string[] tensors)
    {
        MemoryModel global = Model(1, tensors);
        ClientUpdate[] clients = [ClientUpdate.FromTensors("x", Model(3, tensors), 1),
            ClientUpdate.FromTensors("without them", Model(5), 1)];
        (RoundReport report, MemorySink sink) =
            Models.Run(new FedAvgAggregator(), global, clients, new RoundOptions { OnQuantized = QuantizedPolicy.Keep });
        using (sink)
        {
            foreach (string tensor in tensors.Select(NameOf))
                Assert.That(Models.Bytes(sink.Model, tensor), Is.EqualTo(Models.Bytes(global, tensor)), tensor);
            Assert.That(sink.Model.ToArray<float>("norm.weight"), Is.EqualTo(new float[] { 4, 4 }), "the others are averaged");
        }

        foreach (string tensor in tensors.Select(NameOf))
            Assert.That(report.Tensors.Single(row => row.Name == tensor).Reason, Does.Contain(scheme));
    }

    [Test]
    public void QuantizedTensorsOfOneClientAreItsFault()
    {
        MemoryModel global = new() { { "l.weight", [4], new float[] { 1, 1, 1, 1 } }, { "norm.weight", [2], new float[] { 1, 1 } } };
        ClientUpdate good = ClientUpdate.FromTensors("good",
            new MemoryModel { { "l.weight", [4], new float[] { 3, 3, 3, 3 } }, { "norm.weight", [2], new float[] { 3, 3 } } }, 1);
        ClientUpdate codes = ClientUpdate.FromTensors("codes", Model(5, "l.weight U8", "l.weight.absmax F32"), 1);
        Assert.That(() => Models.Run(new FedAvgAggregator(), global, [good, codes],
            new RoundOptions { OnQuantized = QuantizedPolicy.Keep }),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("Client 'codes': tensor 'l.weight' has the type U8"),
            "the global model's are floats");
        (_, MemorySink sink) = Models.Run(new FedAvgAggregator(), global, [good, codes],
            new RoundOptions { OnQuantized = QuantizedPolicy.DropClient, Quorum = 1 });
        using (sink)
            Assert.That(sink.Model.ToArray<float>("l.weight"), Is.EqualTo(new float[] { 3, 3, 3, 3 }));
    }

    [Test]
    public void CountersAndFloatsWithSimilarNamesAreAveraged()
    {
        string[] ordinary =
        [
            "bn.num_batches_tracked I64", "bn.running_mean F32", "a.scales F32", "a.weight F32", "a.weight_scale F32", "a.input_scale F32",
            "b.qweight F32", "b.scales F32", "b.qzeros F32",
            "c.weight F16", "c.weight.absmax F32", "d.blocks U8", "d.scales F32", "position_ids I64", "e.codes I32", "f.SCB F32",
            "f.weight F32", "g.weight_packed F32", "g.weight_scale F32",
        ];
        MemoryModel global = Model(1, ordinary);
        RoundReport report = Models.RunForReport(new FedAvgAggregator(), global, [ClientUpdate.FromTensors("x", Model(3, ordinary), 1)]);
        Assert.That(report.Tensors.Select(tensor => tensor.Rule), Is.All.EqualTo("fedavg").Or.EqualTo("integer mean"));
    }

    [Test]
    public void AMaskRefusesQuantizedTensors()
    {
        string[] tensors = ["l.weight U8", "l.weight.absmax F32"];
        Assert.That(() => new FedIcuClient().CreateUpdate(Model(1, tensors), Model(3, tensors), TensorSink.Discard),
            Throws.TypeOf<InvalidModelException>().With.Message.StartsWith(
                "'memory': tensor 'l.weight' of U8 [4] is quantized (bitsandbytes 4-bit"));
    }

    private static string NameOf(string tensor) => tensor.Split(' ')[0];

    /// <summary>
    /// Creates tensors of the given names and types with 4 elements each, and a float tensor. All have one value.
    /// </summary>
    private static MemoryModel Model(int value, params string[] tensors)
    {
        var model = new MemoryModel();
        foreach (string tensor in tensors)
        {
            Assert.That(DTypeExtensions.TryParseSafetensorsName(tensor.Split(' ')[1], out DType dtype));
            var info = new TensorInfo(NameOf(tensor), dtype, new TensorShape(4));
            byte[] bytes = dtype.IsComputed
                ? Models.Tensor(info.Name, dtype, [4], _ => value).Bytes : [.. Enumerable.Repeat((byte)value, (int)info.ByteLength)];
            model.Add(info, bytes);
        }

        model.Add("norm.weight", [2], new float[] { value, value });
        return model;
    }
}
