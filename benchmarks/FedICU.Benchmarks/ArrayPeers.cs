using BenchmarkDotNet.Attributes;
using MathNet.Numerics.LinearAlgebra;

namespace FedICU.Benchmarks;

/// <summary>Measures FedAvg with libraries that work only on arrays.</summary>
[MemoryDiagnoser]
public class ArrayPeers
{
    private Vector<float>[][] _vectors = null!;

    private static Workload Workload => Suite.Workload;

    [GlobalSetup]
    public void Setup() => _vectors = [.. Workload.Arrays.Select(client => client.Select(Vector<float>.Build.Dense).ToArray())];

    [Benchmark(Description = Names.MathNet)]
    public void MathNet()
    {
        for (int i = 0; i < _vectors[0].Length; i++)
        {
            Vector<float> sum = Vector<float>.Build.Dense(_vectors[0][i].Count);
            for (int k = 0; k < Workload.Clients; k++)
                sum += _vectors[k][i] * (float)Workload.Share(k);
        }
    }

    [Benchmark(Description = Names.Linq)]
    public void Linq()
    {
        for (int i = 0; i < _vectors[0].Length; i++)
        {
            float[] sum = new float[_vectors[0][i].Count];
            for (int k = 0; k < Workload.Clients; k++)
            {
                float share = (float)Workload.Share(k);
                sum = [.. sum.Zip(Workload.Arrays[k][i], (a, x) => a + x * share)];
            }
        }
    }
}
