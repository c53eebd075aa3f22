using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FedICU.Files;
using FedICU.Model;
using FedICU.Panels;
using FedICU.Rounds;

namespace FedICU.Tests;

/// <summary>
/// Rounds whose files do not fit in memory. A child process runs with a low memory limit, so that small files are
/// enough.
/// </summary>
[Platform("Linux")]
internal sealed class LargerThanMemoryTests
{
    private const int Rows = 1024, Columns = 1000, Clients = 3,
        PieceBytes = 1 << 18, Pieces = (Rows * Columns * sizeof(float) + PieceBytes - 1) / PieceBytes;

    [TestCase("fedavg"), TestCase("fedicu")]
    public void ARoundLargerThanMemoryHasTheSameBits(string strategy)
    {
        string folder = Directory.CreateTempSubdirectory("fedicu-larger-").FullName;
        try
        {
            var random = new Random(1);
            string[] files = [.. Enumerable.Range(0, Clients + 1).Select(i => Path.Combine(folder, $"{i}.safetensors"))];
            foreach (string file in files)
                Save(file, random);
            Assert.That(Hash("40000000"), Is.EqualTo(Hash("1000000")), "1 GiB and 16 MiB of memory for 36 MiB of files");

            string Hash(string limit)
            {
                string output = Path.Combine(folder, "out.safetensors");
                int exit = Tools.TryRun(
                    "/usr/bin/env", [$"DOTNET_GCHeapHardLimit=0x{limit}", "dotnet",
                        Path.Combine(AppContext.BaseDirectory, "FedICU.TestChild.dll"), "aggregate-peak", strategy, output, .. files],
                        out string said);
                Assert.That(exit, Is.Zero, said);
                return Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(output)));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void ReadingAheadAlternatesBetweenTheClients()
    {
        var log = new List<string>();
        using var global = new Watched("global", log);
        TensorSource[] clients = [.. Enumerable.Range(0, Clients).Select(k => new Watched($"c{k}", log))];
        using (var ahead = new ReadAhead(global, clients))
        {
            ahead.Begin(1);
            ahead.Begin(1);
            ahead.Begin(0);
            ahead.Begin(2);
            Assert.That(SpinWait.SpinUntil(() => log.Count >= Clients * Pieces, TimeSpan.FromSeconds(30)), Is.True);
        }

        Assert.That(log, Is.EqualTo(Enumerable.Range(0, Clients * Pieces)
            .Select(i => $"c{i % Clients} second {i / Clients * PieceBytes}")));
    }

    private static void Save(string path, Random random)
    {
        TensorSink sink = TensorSink.ToFile(path);
        TensorInfo[] tensors = [.. Enumerable.Range(0, 3).Select(t => new TensorInfo($"t{t}", DType.F32, new TensorShape(Rows, Columns)))];
        sink.Begin(tensors, new Dictionary<string, string>());
        float[] values = new float[Rows * Columns];
        foreach (TensorInfo tensor in tensors)
        {
            for (int i = 0; i < values.Length; i++)
                values[i] = random.NextSingle() - 0.5f;
            sink.Write(tensor, 0, MemoryMarshal.AsBytes(values.AsSpan()));
        }

        sink.Commit();
    }

    private sealed class Watched(string name, List<string> log) : TensorSource
    {
        public override IReadOnlyList<TensorInfo> Tensors { get; } =
            [.. new[] { "first", "second" }.Select(tensor => new TensorInfo(tensor, DType.F32, new TensorShape(Rows, Columns)))];

        public override string Location => name;

        public override void Read(TensorInfo tensor, long offset, Span<byte> destination) =>
            throw new InvalidOperationException("Nothing is read but ahead.");

        internal override bool TryReadAhead(TensorInfo tensor, long offset, Span<byte> unused)
        {
            lock (log)
                log.Add($"{name} {tensor.Name} {offset}");
            return true;
        }
    }
}
