using System.Runtime.InteropServices;
using FedICU.Tests;

namespace FedICU.Interop.Tests;

/// <summary>
/// Uses the exports as their users do: from C, from python3 through the shared library and through hostfxr, and from
/// function pointers.
/// </summary>
[Platform("Linux")]
internal sealed class BoundaryTests
{
    [Test]
    public void TheSharedLibraryHasLessThanEightMegabytes() =>
        Assert.That(new FileInfo(Builds.Native()).Length, Is.LessThan(8_000_000));

    [Test]
    public void ACProgramUsesEveryFunction([Values("alone", "AddressSanitizer", "valgrind")] string under)
    {
        string published = Builds.Native();
        string folder = Directory.CreateTempSubdirectory("fedicu-c-").FullName, program = Path.Combine(folder, "test");
        // copied away from its debug symbols, which valgrind cannot read
        string library = Path.Combine(folder, "libfedicu.so");
        File.Copy(published, library);
        if (Tools.TryRun("cc", ["--version"], out _) != 0)
            Tools.Missing("a C compiler");
        if (under == "valgrind" && Tools.TryRun("valgrind", ["--version"], out _) != 0)
            Tools.Missing("valgrind");
        try
        {
            string[] arguments =
            [
                "-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-g",
                .. under == "AddressSanitizer" ? ["-fsanitize=address"] : Array.Empty<string>(),
                "-I", Builds.Include, Path.Combine(Builds.Root, "tests", "FedICU.Interop.Tests", "c", "test.c"),
                library, $"-Wl,-rpath,{folder}", "-lm", "-o", program,
            ];
            Assert.That(Tools.TryRun("cc", arguments, out string output), Is.Zero, output);
            // no leak checks: .NET does not free its own memory when a process ends; and a heap limit that valgrind can
            // reserve
            string[] run =
            [
                "ASAN_OPTIONS=detect_leaks=0", "DOTNET_GCHeapHardLimit=0x10000000",
                .. under == "valgrind" ? ["valgrind", "--error-exitcode=9", "--leak-check=no"] : Array.Empty<string>(),
                program, folder,
            ];
            Assert.That(Tools.TryRun("/usr/bin/env", run, out output), Is.Zero, output);
            Assert.That(output, Does.Contain("0 failures"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void TheHeaderCompilesAsCPlusPlus()
    {
        if (Tools.TryRun("c++", ["--version"], out _) != 0)
            Tools.Missing("a C++ compiler");
        string[] arguments =
            ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++", Path.Combine(Builds.Include, "fedicu.h")];
        Assert.That(Tools.TryRun("c++", arguments, out string output), Is.Zero, output);
    }

    [Test]
    public void TheCExampleOfTheDocumentationRuns()
    {
        if (Tools.TryRun("cc", ["--version"], out _) != 0)
            Tools.Missing("a C compiler");
        string library = Builds.Native(), folder = Directory.CreateTempSubdirectory("fedicu-page-").FullName;
        string source = Path.Combine(folder, "round.c"), program = Path.Combine(folder, "round");
        try
        {
            File.WriteAllText(source, Builds.PageExample("c.md", "c"));
            string[] arguments =
            [
                "-std=c99", "-Wall", "-Wextra", "-Werror", "-I", Builds.Include, source, library,
                $"-Wl,-rpath,{Path.GetDirectoryName(library)}", "-o", program,
            ];
            Assert.That(Tools.TryRun("cc", arguments, out string output), Is.Zero, output);
            Assert.That(Tools.TryRun(program, [], out output), Is.Zero, output);
            string[] numbers = output.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            Assert.That(numbers.Select(double.Parse).Count(double.IsFinite), Is.EqualTo(6), output);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void ThePythonExamplesOfTheDocumentationRun()
    {
        string folder = Directory.CreateTempSubdirectory("fedicu-page-").FullName, script = Path.Combine(folder, "example.py");
        try
        {
            string examples = string.Join('\n', Builds.PageExamples("python.md", "python"));
            File.WriteAllText(script, $"import os\nos.chdir({System.Text.Json.JsonSerializer.Serialize(folder)})\n{examples}");
            string printed = Python(Builds.Managed, script);
            string shown = Builds.PageExample("python.md", "text");
            Assert.That(printed.ReplaceLineEndings("\n"), Does.StartWith(shown));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void TheWheelsPagePrintsWhatItShows()
    {
        string page = Path.Combine("..", "..", "src", "FedICU.Interop", "python", "README.md");
        string folder = Directory.CreateTempSubdirectory("fedicu-page-").FullName, script = Path.Combine(folder, "example.py");
        try
        {
            File.WriteAllText(script, Builds.PageExample(page, "python"));
            Assert.That(Python(Builds.Managed, script).ReplaceLineEndings("\n"), Is.EqualTo(Builds.PageExample(page, "text")));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void TheReadmesPythonExamplePrintsWhatItShows()
    {
        string folder = Directory.CreateTempSubdirectory("fedicu-readme-").FullName, script = Path.Combine(folder, "example.py");
        try
        {
            string readme = Path.Combine("..", "..", "README.md");
            File.WriteAllText(script, Builds.PageExample(readme, "python"));
            string[] arguments =
            [
                $"PYTHONPATH={Path.Combine(Builds.Root, "src", "FedICU.Interop", "python")}", "PYTHONDONTWRITEBYTECODE=1",
                $"FEDICU_LIBRARY={Builds.Managed}", Tools.PythonWithNumpy(), script,
            ];
            Assert.That(Tools.TryRun("/usr/bin/env", arguments, out string output), Is.Zero, output);
            string shown = File.ReadAllText(Path.Combine(Builds.Root, "README.md")).ReplaceLineEndings("\n");
            Assert.That(shown, Does.Contain($"```text\n{output.ReplaceLineEndings("\n").Trim()}\n```"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void ThePythonTestsPass(
        [Values("native", "hostfxr")] string build,
        [Values(
            "test_fedicu.py", "test_client.py", "test_flower.py", "test_flower_labels.py", "test_nvflare.py", "test_faults.py",
            "test_exports.py", "test_threads.py", "test_adapters.py", "test_mixed_ranks.py", "test_statements.py",
            "test_package.py", "test_flower_strategies.py")] string tests) =>
        Python(
            build == "native" ? Builds.Native() : Builds.Managed,
            Path.Combine(Builds.Root, "tests", "FedICU.Interop.Tests", "python", tests));

    [Test]
    public void ThePackagesTypesAreStrict()
    {
        string python = Tools.PythonWithNumpy(), package = Path.Combine(Builds.Root, "src", "FedICU.Interop", "python");
        if (Tools.TryRun(python, ["-m", "mypy", "--version"], out _) != 0)
            Tools.Missing("mypy");
        string cache = Directory.CreateTempSubdirectory("fedicu-mypy-").FullName;
        try
        {
            string[] arguments =
            [
                "-m", "mypy", "--config-file", Path.Combine(package, "pyproject.toml"), "--cache-dir", cache,
                Path.Combine(package, "fedicu"),
            ];
            Assert.That(Tools.TryRun(python, arguments, out string output), Is.Zero, output);
        }
        finally
        {
            Directory.Delete(cache, recursive: true);
        }
    }

    private static string Python(string library, string script)
    {
        string[] arguments =
        [
            $"PYTHONPATH={Path.Combine(Builds.Root, "src", "FedICU.Interop", "python")}", "PYTHONDONTWRITEBYTECODE=1",
            $"FEDICU_LIBRARY={library}", Tools.PythonWithNumpy(), "-X", "dev", "-W", "error", script,
        ];
        Assert.That(Tools.TryRun("/usr/bin/env", arguments, out string output), Is.Zero, output);
        return output;
    }

    [Test]
    public unsafe void ResultsEqualTheLibrarysBitForBit(
        [Values("fedavg", "fedprox", "fedicu", "median", "krum,fedadam")] string strategy,
        [Values("F32", "F16", "BF16", "F64")] string type)
    {
        nint library = NativeLibrary.Load(Builds.Native());
        Assert.That(DTypeExtensions.TryParseSafetensorsName(type, out DType dtype));
        var random = new Random(4);
        TensorInfo[] infos = [new("w", dtype, new TensorShape(300, 200)), new("b", dtype, new TensorShape(77))];
        byte[][][] models = [.. Enumerable.Range(0, 4).Select(_ => infos.Select(info => Fill(info, random)).ToArray())];
        byte[][] made = [.. infos.Select(info => new byte[info.ByteLength])];

        var create = (delegate* unmanaged<byte*, long*, int>)NativeLibrary.GetExport(library, "fedicu_create");
        var begin = (delegate* unmanaged<long, long, int>)NativeLibrary.GetExport(library, "fedicu_begin_round");
        var setGlobal = (delegate* unmanaged<long, long, NativeTensor*, uint, int>)NativeLibrary.GetExport(library, "fedicu_set_global");
        var add = (delegate* unmanaged<long, byte*, double, long, NativeTensor*, uint, int>)NativeLibrary.GetExport(library, "fedicu_add");
        var finish = (delegate* unmanaged<long, long, NativeTensor*, int>)NativeLibrary.GetExport(library, "fedicu_finish");
        var destroy = (delegate* unmanaged<long, int>)NativeLibrary.GetExport(library, "fedicu_destroy");
        long handle;
        fixed (byte* options = System.Text.Encoding.UTF8.GetBytes($"{{\"strategy\": \"{strategy}\"}}\0"))
            Assert.That(create(options, &handle), Is.Zero);
        Assert.That(begin(handle, 1), Is.Zero);
        using (var global = new Description(infos, models[0]))
            Assert.That(setGlobal(handle, infos.Length, global.Tensors, 0), Is.Zero);
        for (int k = 1; k < models.Length; k++)
        {
            using var client = new Description(infos, models[k]);
            fixed (byte* id = System.Text.Encoding.UTF8.GetBytes($"c{k}\0"))
                Assert.That(add(handle, id, 10 * k, infos.Length, client.Tensors, 0), Is.Zero);
        }

        using (var places = new Description(infos, made))
            Assert.That(finish(handle, infos.Length, places.Tensors), Is.Zero);
        Assert.That(destroy(handle), Is.Zero);

        var round = new AggregationRound(Model(models[0]));
        for (int k = 1; k < models.Length; k++)
            round.Add(ClientUpdate.FromTensors($"c{k}", Model(models[k]), examples: 10 * k));
        using var sink = new MemorySink();
        StrategyRegistry.Default.Create(strategy, []).Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        for (int i = 0; i < infos.Length; i++)
        {
            byte[] expected = new byte[infos[i].ByteLength];
            sink.Model.Read(infos[i], 0, expected);
            Assert.That(made[i], Is.EqualTo(expected), infos[i].Name);
        }

        MemoryModel Model(byte[][] data)
        {
            var model = new MemoryModel();
            for (int i = 0; i < infos.Length; i++)
                model.Add(infos[i], data[i]);
            return model;
        }
    }

    /// <summary>
    /// Random values, with the top byte of each changed so that all are finite and of similar magnitude.
    /// </summary>
    private static byte[] Fill(TensorInfo info, Random random)
    {
        byte[] bytes = new byte[info.ByteLength];
        random.NextBytes(bytes);
        int size = info.DType.BitSize / 8;
        for (int top = size - 1; top < bytes.Length; top += size)
            bytes[top] = (byte)(bytes[top] & 0x81 | (info.DType == DType.F16 ? 0x34 : 0x3E));
        return bytes;
    }

    [StructLayout(LayoutKind.Sequential)]
    private unsafe struct NativeTensor
    {
        public byte* Name;
        public byte* DType;
        public int Rank;
        public long* Shape;
        public void* Data;
        public ulong ByteLength;
    }

    /// <summary>An array of fedicu_tensor, in pinned memory until it is disposed of.</summary>
    private sealed unsafe class Description : IDisposable
    {
        private readonly List<GCHandle> _pinned = [];

        public Description(TensorInfo[] infos, byte[][] data)
        {
            var tensors = new NativeTensor[infos.Length];
            for (int i = 0; i < infos.Length; i++)
            {
                tensors[i] = new NativeTensor
                {
                    Name = (byte*)Pin(System.Text.Encoding.UTF8.GetBytes(infos[i].Name + '\0')),
                    DType = (byte*)Pin(System.Text.Encoding.UTF8.GetBytes(infos[i].DType.SafetensorsName + '\0')),
                    Rank = infos[i].Shape.Rank,
                    Shape = (long*)Pin(infos[i].Shape.Dimensions.ToArray()),
                    Data = (void*)Pin(data[i]),
                    ByteLength = (ulong)data[i].Length,
                };
            }

            Tensors = (NativeTensor*)Pin(tensors);
        }

        public NativeTensor* Tensors { get; }

        public void Dispose() => _pinned.ForEach(handle => handle.Free());

        private nint Pin(Array array)
        {
            var handle = GCHandle.Alloc(array, GCHandleType.Pinned);
            _pinned.Add(handle);
            return handle.AddrOfPinnedObject();
        }
    }
}
