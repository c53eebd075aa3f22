using System.Globalization;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using FedICU.Compute;

namespace FedICU.TestChild;

/// <summary>
/// Runs every verb over a seeded batch of panels and hashes the bits of its results. A process with fewer CPU
/// instructions must print the same hashes.
/// </summary>
public static unsafe class ComputeHash
{
    private static readonly DType[] Types = [DType.F64, DType.F32, DType.F16, DType.BF16];
    private static readonly int[] Lengths = [1, 2, 7, 8, 9, 15, 16, 31, 64, 100, 257, 511, 513, 1023, 1025, 2047, 2049, 2500, 4100];
    private static readonly int[] Counts = [1, 2, 3, 4, 5, 9];

    /// <summary>
    /// Prints the hashes of the backend that this process selects, for verbs and for whole rounds, and the width of its
    /// vector registers.
    /// </summary>
    public static int Print()
    {
        foreach (string line in Lines(new SimdBackend()).Concat(RoundHash.Lines(new SimdBackend())))
            Console.WriteLine(line);
        Console.WriteLine(Registers);
        return 0;
    }

    private static int Registers =>
        Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : Vector128.IsHardwareAccelerated ? 128 : 0;

    /// <summary>Computes the hashes of a backend, one line a verb.</summary>
    public static IReadOnlyList<string> Lines(IClientBackend backend)
    {
        (string Name, Action<Batch> Run)[] verbs =
        [
            ("WeightedSum", WeightedSum), ("AddSquares", AddSquares), ("AddGram", AddGram), ("AddProjections", AddProjections),
            ("Combine", Combine), ("MiddleMean", MiddleMean), ("AddPairDistances", AddPairDistances),
            ("AddDistances", AddDistances), ("Noise", Noise), ("CountNonFinite", CountNonFinite),
            ("AddMoments", AddMoments), ("SelectImportant", SelectImportant),
            ("Importance", Importance), ("AddProximal", AddProximal), ("CreateUpdate", CreateUpdate),
        ];
        var lines = new List<string>();
        foreach (var (name, run) in verbs)
        {
            using var batch = new Batch(backend);
            foreach (int length in Lengths)
            {
                for (int seed = 0; seed < 4; seed++)
                {
                    batch.Begin(length, seed);
                    run(batch);
                }
            }

            lines.Add(string.Create(CultureInfo.InvariantCulture, $"{name} {batch.Hash:x16}"));
        }

        return lines;
    }

    private static void WeightedSum(Batch batch)
    {
        TensorPanel output = batch.Output();
        double[] weights = SamplePanels.Doubles(batch.Inputs.Length, batch.Random, Spread.Tame);
        batch.Add(batch.Backend.WeightedSum(batch.Inputs, weights, 3.7, batch.Length, output));
        batch.Add(output, batch.Length);
    }

    private static void AddSquares(Batch batch)
    {
        double[] sums = new double[batch.Inputs.Length * batch.Geometry.Groups];
        fixed (double* data = sums)
            batch.Backend.AddSquares(batch.Inputs, batch.Geometry, new GroupValues(data, batch.Geometry.Groups));
        batch.Add(sums);
    }

    private static void AddGram(Batch batch)
    {
        double[] grams = new double[GramPairs.Count(batch.Inputs.Length) * batch.Geometry.Groups];
        fixed (double* data = grams)
            batch.Backend.AddGram(batch.Inputs, batch.Geometry, new GroupValues(data, batch.Geometry.Groups));
        batch.Add(grams);
    }

    private static void AddProjections(Batch batch)
    {
        int groups = batch.Geometry.Groups, n = batch.Inputs.Length;
        double[] a = SamplePanels.Doubles(n * groups, batch.Random, Spread.Tame);
        double[] b = SamplePanels.Doubles(n * groups, batch.Random, Spread.Tame);
        double[] dots = new double[n];
        fixed (double* first = a, second = b)
        {
            batch.Backend.AddProjections(
                batch.Inputs, batch.Geometry, new GroupValues(first, groups), new GroupValues(second, groups), dots);
        }

        batch.Add(dots);
    }

    private static void Combine(Batch batch)
    {
        int groups = batch.Geometry.Groups;
        TensorPanel output = batch.Output();
        double[] coefficients = SamplePanels.Doubles(batch.Inputs.Length * groups, batch.Random, Spread.Tame), squares = new double[groups];
        double[] scales = SamplePanels.Doubles(groups, batch.Random, Spread.Tame);
        fixed (double* first = coefficients, sums = squares, factors = scales)
        {
            batch.Add(batch.Backend.Combine(
                batch.Inputs, batch.Geometry, new GroupValues(first, groups), groups % 2 == 0 ? factors : null, output, sums));
        }

        batch.Add(output, batch.Length);
        batch.Add(squares);
    }

    private static void MiddleMean(Batch batch)
    {
        TensorPanel output = batch.Output();
        for (int trim = 0; 2 * trim < batch.Inputs.Length; trim++)
        {
            batch.Add(batch.Backend.MiddleMean(batch.Inputs, trim, batch.Length, output));
            batch.Add(output, batch.Length);
        }
    }

    private static void AddPairDistances(Batch batch)
    {
        double[] sums = new double[batch.Inputs.Length * (batch.Inputs.Length - 1) / 2];
        batch.Backend.AddPairDistances(batch.Inputs, batch.Length, sums);
        batch.Add(sums);
    }

    private static void AddDistances(Batch batch)
    {
        double[] squares = new double[batch.Inputs.Length], products = new double[batch.Inputs.Length];
        batch.Backend.AddDistances(batch.Inputs, batch.Inputs[0], batch.Inputs[^1], batch.Length, squares, products);
        batch.Backend.AddDistances(batch.Inputs, default, default, batch.Length, squares, []);
        batch.Add(squares);
        batch.Add(products);
    }

    private static void Noise(Batch batch)
    {
        double[] values = SamplePanels.Doubles(batch.Length, batch.Random, Spread.Tame);
        new GaussianNoise(batch.Length, "tensor").AddTo(batch.Length, 0.7, values);
        batch.Add(values);
    }

    private static void CountNonFinite(Batch batch)
    {
        foreach (TensorPanel input in batch.Inputs)
            batch.Add(batch.Backend.CountNonFinite(input, batch.Length));
    }

    private static void AddMoments(Batch batch)
    {
        MagnitudeMoments update = default, global = default;
        batch.Backend.AddMoments(batch.Importance(), batch.Length, ref update, ref global);
        foreach (MagnitudeMoments moments in (MagnitudeMoments[])[update, global])
            batch.Add([moments.Count, moments.Mean, moments.SquaredDeviations, moments.Minimum, moments.Maximum]);
    }

    private static void SelectImportant(Batch batch)
    {
        byte[] mask = new byte[(batch.Length + 7) / 8];
        TensorPanel momentum = batch.Output();
        fixed (byte* bits = mask)
        {
            batch.Add(batch.Backend.SelectImportant(
                batch.Importance(), batch.Length, new ImportanceScale(0.9, 1.3), new ImportanceScale(0.8, 1.7), bits, momentum));
        }

        foreach (byte bits in mask)
            batch.Add(bits);
        batch.Add(momentum, batch.Length);
    }

    private static void Importance(Batch batch)
    {
        double[] update = new double[batch.Length], global = new double[batch.Length];
        fixed (double* u = update, g = global)
        {
            batch.Backend.Importance(
                batch.Importance(), batch.Length, new ImportanceScale(0.9, 1.3), new ImportanceScale(0.8, 1.7),
                batch.Random.Next(2) == 0, u, g);
        }

        batch.Add(update);
        batch.Add(global);
    }

    private static void AddProximal(Batch batch)
    {
        TensorPanel gradient = batch.Output();
        SamplePanels.Fill(gradient.Data, gradient.DType, batch.Length, batch.Random, Spread.Tame);
        batch.Add([batch.Backend.AddProximal(batch.Inputs[0], batch.Inputs[^1], 0.3, batch.Length, gradient)]);
        batch.Add(gradient, batch.Length);
    }

    // not a verb, but packing also depends on the CPU's instructions
    private static void CreateUpdate(Batch batch)
    {
        if (batch.Seed > 0)
            return; // the lengths and types matter, and a whole update takes as long as all verbs together
        foreach (DType dtype in Types)
        {
            var info = new TensorInfo("w", dtype, new TensorShape(batch.Length));
            MemoryModel global = [], local = [];
            global.Add(info, (nint)batch.Filled(dtype).Data);
            local.Add(info, (nint)batch.Filled(dtype).Data);
            foreach (MaskRule mask in (ReadOnlySpan<MaskRule>)[MaskRule.Hard, MaskRule.TopRatio])
            {
                using var sink = new MemorySink();
                new FedIcuClient(new FedIcuClientOptions { Mask = mask, TopRatio = 0.4 })
                    .CreateUpdate(global, local, sink, dense: batch.Length % 3 == 0, backend: batch.Backend);
                foreach (TensorInfo tensor in sink.Model.Tensors)
                {
                    byte[] bytes = new byte[tensor.ByteLength];
                    sink.Model.Read(tensor, 0, bytes);
                    foreach (byte value in bytes)
                        batch.Add(value);
                }
            }
        }
    }

    /// <summary>The panels of one case after another, and the hash of their results.</summary>
    private sealed class Batch(IClientBackend backend) : IDisposable
    {
        private readonly List<nint> _allocated = [];

        public IClientBackend Backend { get; } = backend;
        public int Seed { get; private set; }
        public Random Random { get; private set; } = new(0);
        public int Length { get; private set; }
        public TensorPanel[] Inputs { get; private set; } = [];
        public PanelGeometry Geometry { get; private set; }
        public ulong Hash { get; private set; } = 0xCBF2_9CE4_8422_2325;

        public void Begin(int length, int seed)
        {
            Dispose();
            (Length, Seed) = (length, seed);
            Random = new Random(length * 1000 + seed);
            Spread spread = seed == 3 ? Spread.Wild : Spread.Tame;
            int rows = length % 5 == 0 ? 5 : length % 3 == 0 ? 3 : 1;
            Geometry = new PanelGeometry(rows, length / rows, Random.Next(2) == 0);
            Inputs = new TensorPanel[Counts[Random.Next(Counts.Length)]];
            DType dtype = Types[Random.Next(Types.Length)];
            bool mixed = Random.Next(3) == 0;
            for (int k = 0; k < Inputs.Length; k++)
                Inputs[k] = Allocate(mixed ? Types[Random.Next(Types.Length)] : dtype, spread);
        }

        public TensorPanel Filled(DType dtype) => Allocate(dtype, Spread.Tame);

        public TensorPanel Output() => Allocate(Types[Random.Next(Types.Length)], null);

        public ImportanceInputs Importance() => new(
            Inputs[0], Inputs[Inputs.Length / 2], Inputs[^1], (MomentumRule)Random.Next(3), 0.9);

        public void Add(long value) => Hash = (Hash ^ (ulong)value) * 0x100_0000_01B3 ^ Hash >> 29;

        public void Add(double[] values)
        {
            // the bits of a NaN depend on the instruction; the library never writes them out
            foreach (double value in values)
                Add(double.IsNaN(value) ? 0x7FF8_0000_0000_0000 : BitConverter.DoubleToInt64Bits(value));
        }

        public void Add(TensorPanel panel, int length)
        {
            foreach (byte value in new ReadOnlySpan<byte>(panel.Data, length * panel.DType.BitSize / 8))
                Add(value);
        }

        public void Dispose()
        {
            foreach (nint address in _allocated)
                NativeMemory.Free((void*)address);
            _allocated.Clear();
        }

        private TensorPanel Allocate(DType dtype, Spread? spread)
        {
            void* data = NativeMemory.AllocZeroed((nuint)(Length * dtype.BitSize / 8));
            _allocated.Add((nint)data);
            if (spread is Spread values)
                SamplePanels.Fill(data, dtype, Length, Random, values);
            return new TensorPanel(data, dtype);
        }
    }
}
