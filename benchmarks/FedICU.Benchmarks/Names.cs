namespace FedICU.Benchmarks;

/// <summary>The names of the contenders in the tables.</summary>
internal static class Names
{
    public const string FedAvg = "FedAvg";
    public const string FedAvgAlone = "FedAvg (one thread)";
    public const string FedProx = "FedProx";
    public const string Statistics = "FedAvg with report statistics";
    public const string FedIcu = "FedICU";
    public const string FedIcuAlone = "FedICU (one thread)";
    public const string Median = "median";
    public const string TrimmedMean = "trimmed-mean";
    public const string Krum = "krum";
    public const string Ties = "ties";
    public const string Dare = "dare";
    public const string FedAdam = "fedadam over FedAvg";
    public const string Sparse = "FedAvg over packed updates";
    public const string Mask = "client mask with momentum";

    public const string Loop = "C# loop";
    public const string TensorPrimitives = "TensorPrimitives per client";
    public const string MathNet = "MathNet.Numerics vectors";
    public const string Linq = "LINQ";

    // must equal the names in benchmarks/python_peers.py and FedICU.Benchmarks.Torch
    public const string TorchSharp = "TorchSharp add_";
    public const string NumpyLoop = "numpy acc += x * w";
    public const string NumpyReduce = "numpy reduce(np.add)";
    public const string TorchAdd = "torch add_";
    public const string TorchMatmul = "torch stack and matmul";
    public const string TorchFedIcu = "torch FedICU";

    public const string NumpyMedian = "numpy median";
    public const string TorchMedian = "torch median";
    public const string TorchTies = "torch ties";
    public const string TorchDare = "torch dare";
    public const string NumpyTrimmedMean = "numpy trimmed mean by np.sort";
    public const string NumpyKrum = "numpy krum, a loop over pairs";

    /// <summary>
    /// The most time that a rule may take, with f32 and with other types, over FedAvg's or FedICU's, with ten clients.
    /// </summary>
    public static readonly (string Rule, bool OfFedAvg, double F32, double Other)[] Marks =
    [
        ("multi-krum", false, 1.6, 1.6), ("bulyan", false, 1.6, 1.6), ("geometric-median", false, 1.6, 1.6),
        ("centered-clip", false, 1.6, 1.6), ("fltrust", false, 1.6, 1.6),
        ("norm-clip", true, 2.2, 2.2), ("qfedavg", true, 2.2, 2.2), ("dp-fedavg without noise", true, 2.2, 2.2),
        ("fedavgm over FedAvg", true, 1.7, 2.2), ("fedyogi over FedAvg", true, 1.7, 2.2),
        ("fedadagrad over FedAvg", true, 1.7, 2.2), ("feddyn over FedAvg", true, 1.7, 2.2),
        (Ties, true, 4, 4), (Dare, true, 7, 12),
    ];

    public static readonly string[] Peers =
        [Loop, TensorPrimitives, MathNet, Linq, TorchSharp, NumpyLoop, NumpyReduce, TorchAdd, TorchMatmul];
}
