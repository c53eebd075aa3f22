namespace FedICU.Tests;

/// <summary>Memory for inputs in files does not grow with the number of clients.</summary>
internal sealed class PeakMemoryTests
{
    [TestCase("fedavg", false), TestCase("fedicu", false), TestCase("fedavg", true)]
    public void FortyClientsNeedNoMoreMemoryThanFour(string strategy, bool sparse)
    {
        const int FileMegabytes = 24;
        string folder = Directory.CreateTempSubdirectory("fedicu-peak-").FullName;
        try
        {
            var random = new Random(1);
            string[] files = [.. Enumerable.Range(0, 5).Select(i => Path.Combine(folder, $"{i}.safetensors"))];
            foreach (string file in files)
            {
                float[] values = new float[FileMegabytes << 18];
                for (int i = 0; i < values.Length; i++)
                    values[i] = random.NextSingle() - 0.5f;
                TensorSink sink = TensorSink.ToFile(file);
                var info = new TensorInfo("w", DType.F32, new TensorShape(values.Length / 1024, 1024));
                sink.Begin([info], new Dictionary<string, string>());
                sink.Write(info, 0, System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()));
                sink.Commit();
            }

            // if masks were kept in memory, 36 more clients would take 27 MiB more
            for (int k = 1; sparse && k < files.Length; k++)
            {
                string packed = Path.Combine(folder, $"{k}.sparse.safetensors");
                using TensorSource global = TensorSource.Open(files[0]), local = TensorSource.Open(files[k]);
                new FedIcuClient(new FedIcuClientOptions { Mask = MaskRule.TopRatio, TopRatio = 0.01 })
                    .CreateUpdate(global, local, TensorSink.ToFile(packed));
                files[k] = packed;
            }

            long four = Peak(4), forty = Peak(40);
            TestContext.Out.WriteLine(
                $"{strategy}{(sparse ? ", sparse" : "")}: peak {four >> 20} MiB for 4 clients, {forty >> 20} MiB for 40");
            // 36 more clients have 864 MiB more inputs. Only a few kilobytes of names and headers for each client, and
            // FedICU's norms (clients x columns x 8 bytes for each accumulator), may grow
            Assert.That(forty - four, Is.LessThan(24 << 20));

            long Peak(int clients)
            {
                var arguments = new List<string> { Path.Combine(AppContext.BaseDirectory, "FedICU.TestChild.dll"), "aggregate-peak",
                    strategy, Path.Combine(folder, "out.safetensors"), files[0] };
                for (int k = 0; k < clients; k++)
                {
                    string link = Path.Combine(folder, $"client-{clients}-{k}.safetensors");
                    File.CreateSymbolicLink(link, files[1 + k % 4]);
                    arguments.Add(link);
                }

                // garbage collection and the system add a varying amount to a peak: the smallest of three is closest to
                // the round's own
                return Enumerable.Range(0, 3).Min(_ =>
                {
                    int exit = Tools.TryRun("dotnet", arguments, out string output);
                    Assert.That(exit, Is.Zero, output);
                    return long.Parse(output, System.Globalization.CultureInfo.InvariantCulture);
                });
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
