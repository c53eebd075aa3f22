using System.Collections.Concurrent;
using FedICU.Files;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

[Parallelizable(ParallelScope.Self)]
public sealed class DigestSinkTests
{
    private static readonly ArrayModel Model = new(
    [
        Tensor("scalar", DType.F64),
        Tensor("empty", DType.F32, 0, 3),
        Tensor("small", DType.BF16, 5),
        Tensor("\ud83d\ude00", DType.U8, 100_003),
        Tensor("\uff5e", DType.F32, 300, 70),
    ]);

    [Test]
    public void TheDigestIsThatOfTheModelForAnyOrderAndThreads([Range(1, 8)] int threads)
    {
        var output = new MemorySink();
        var sink = new DigestSink(output);
        var random = new Random(threads);
        for (int repeat = 0; repeat < 10; repeat++)
        {
            (TensorInfo Tensor, int Start, int Length)[] ranges = [.. Model.Tensors.SelectMany(tensor => Cut(tensor, random))];
            random.Shuffle(ranges);
            sink.Begin(Model.Tensors, NoMetadata);
            Parallel.ForEach(
                Partitioner.Create(ranges, EnumerablePartitionerOptions.NoBuffering),
                new ParallelOptions { MaxDegreeOfParallelism = threads },
                range => sink.Write(range.Tensor, range.Start, Model.DataOf(range.Tensor.Name).AsSpan(range.Start, range.Length)));
            Assert.That(sink.Digest, Is.EqualTo(ModelDigest.Compute(Model)));
            sink.Commit();
            AssertSame(output.Model, Model);
            Assert.That(sink.Digest, Is.EqualTo(ModelDigest.Compute(Model)), "after the commit");
        }
    }

    [Test]
    public void RangesInReverseOrderAreHashedInOrder()
    {
        var sink = new DigestSink(TensorSink.Discard);
        sink.Begin(Model.Tensors, NoMetadata);
        foreach (TensorInfo tensor in Model.Tensors)
        {
            ReadOnlySpan<byte> data = Model.DataOf(tensor.Name);
            for (int start, end = data.Length; end > 0; end = start)
            {
                start = Math.Max(0, end - 13);
                sink.Write(tensor, start, data[start..end]);
            }
        }

        Assert.That(sink.Digest, Is.EqualTo(ModelDigest.Compute(Model)));
    }

    [Test]
    public void AModelWithMissingBytesHasNoDigest()
    {
        var sink = new DigestSink(TensorSink.Discard);
        sink.Begin([Model.Tensors[2]], NoMetadata);
        sink.Write(Model.Tensors[2], 4, new byte[6]);
        sink.Write(Model.Tensors[2], 0, new byte[3]);
        Assert.That(Assert.Throws<InvalidOperationException>(() => _ = sink.Digest)!.Message,
            Is.EqualTo("Tensor 'small' has no digest yet: the first 3 of its 10 bytes were written."));
    }

    [TestCase(0, 4, 2, 4)]
    [TestCase(0, 4, 0, 4)]
    [TestCase(4, 4, 4, 2)]
    [TestCase(4, 6, 0, 5)]
    public void BytesWrittenTwiceAreRefused(int firstStart, int firstLength, int start, int length)
    {
        var sink = new DigestSink(TensorSink.Discard);
        sink.Begin([Model.Tensors[2]], NoMetadata);
        sink.Write(Model.Tensors[2], firstStart, new byte[firstLength]);
        Assert.That(Assert.Throws<InvalidOperationException>(() => sink.Write(Model.Tensors[2], start, new byte[length]))!.Message,
            Does.EndWith("was written twice, so the digest would be wrong."));
    }

    [Test]
    public void AnAbortedModelDoesNotEnterTheNext()
    {
        var sink = new DigestSink(new MemorySink());
        sink.Begin(Model.Tensors, NoMetadata);
        sink.Write(Model.Tensors[2], 2, new byte[8]);
        sink.Write(Model.Tensors[3], 0, new byte[8]);
        sink.Abort();
        Write(Model, sink);
        Assert.That(sink.Digest, Is.EqualTo(ModelDigest.Compute(Model)));
    }

    [Test]
    public unsafe void TheOutputStaysVisibleButLendsNoMemory()
    {
        using var folder = new TempFolder();
        TensorSink file = TensorSink.ToFile(folder["m.safetensors"]);
        var sink = new DigestSink(file);
        Assert.That(sink.Place, Is.EqualTo((folder["m.safetensors"], false)));
        Assert.That(sink.ReplacedFiles(), Is.EquivalentTo(file.ReplacedFiles()));
        sink.Begin(Model.Tensors, new Dictionary<string, string> { ["a"] = "0" });
        foreach (TensorInfo tensor in Model.Tensors)
            sink.Write(tensor, 0, Model.DataOf(tensor.Name));
        Assert.That(sink.CanAmend);
        sink.Amend(new Dictionary<string, string> { ["a"] = "1" });
        sink.Commit();
        using (var written = SafetensorsFile.Open(folder["m.safetensors"]))
            Assert.That(written.Metadata["a"], Is.EqualTo("1"));

        var lending = new DigestSink(new MemorySink());
        lending.Begin(Model.Tensors, NoMetadata);
        Assert.That(lending.TryGetPointer(Model.Tensors[3]) is null);
    }

    private static IEnumerable<(TensorInfo Tensor, int Start, int Length)> Cut(TensorInfo tensor, Random random)
    {
        int longest = random.Next(1, 20_000);
        for (int at = 0, length; at < tensor.ByteLength; at += length)
        {
            length = (int)Math.Min(random.Next(1, longest + 1), tensor.ByteLength - at);
            yield return (tensor, at, length);
        }
    }
}
