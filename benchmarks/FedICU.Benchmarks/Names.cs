namespace FedICU.Benchmarks;

/// <summary>What the tables call the contenders.</summary>
internal static class Names
{
    public const string FedAvg = "FedAvg", FedAvgAlone = "FedAvg (one thread)", FedProx = "FedProx", Statistics = "FedAvg with report statistics", FedIcu = "FedICU",
        FedIcuAlone = "FedICU (one thread)", Sparse = "FedAvg over packed updates", Mask = "client mask with momentum";

    public const string Loop = "C# loop", TensorPrimitives = "TensorPrimitives per client", MathNet = "MathNet.Numerics vectors", Linq = "LINQ";

    // as benchmarks/python_peers.py and FedICU.Benchmarks.Torch call them
    public const string TorchSharp = "TorchSharp add_", NumpyLoop = "numpy acc += x * w", NumpyReduce = "numpy reduce(np.add)", TorchAdd = "torch add_", TorchMatmul = "torch stack and matmul",
        TorchFedIcu = "torch FedICU";

    public static readonly string[] Peers = [Loop, TensorPrimitives, MathNet, Linq, TorchSharp, NumpyLoop, NumpyReduce, TorchAdd, TorchMatmul];
}
