using System.Buffers;
using System.Numerics.Tensors;
using BenchmarkDotNet.Attributes;

namespace FedICU.Benchmarks;

/// <summary>Measures FedAvg as a user would write it without the library: in float32, client by client.</summary>
[MemoryDiagnoser]
public class Peers
{
    private float[][] _sums = null!;
    private float[] _widened = null!;
    private ushort[][] _narrow = null!;

    private static Workload Workload => Suite.Workload;

    [GlobalSetup]
    public void Setup()
    {
        // kept between the rounds, as the library's sink keeps its memory
        _sums = [.. Workload.Layout.Tensors.Select(tensor => new float[tensor.Rows * tensor.Columns])];
        _widened = new float[_sums.Max(sum => sum.Length)];
        _narrow = Workload.DType == DType.F32 ? [] : [.. _sums.Select(sum => new ushort[sum.Length])];
    }

    [Benchmark(Description = Names.Loop)]
    public void Loop()
    {
        switch (Workload.DType)
        {
            case DType.F32:
                Each<float>((sum, values, share) =>
                {
                    for (int i = 0; i < sum.Length; i++)
                        sum[i] += values[i] * share;
                }, (_, _) => { });
                break;
            case DType.F16:
                Each<Half>((sum, values, share) =>
                {
                    for (int i = 0; i < sum.Length; i++)
                        sum[i] += (float)values[i] * share;
                }, (sum, narrow) =>
                {
                    for (int i = 0; i < sum.Length; i++)
                        narrow[i] = BitConverter.HalfToUInt16Bits((Half)sum[i]);
                });
                break;
            default:
                Each<ushort>((sum, values, share) =>
                {
                    for (int i = 0; i < sum.Length; i++)
                        sum[i] += BitConverter.UInt32BitsToSingle((uint)values[i] << 16) * share;
                }, (sum, narrow) =>
                {
                    for (int i = 0; i < sum.Length; i++)
                    {
                        uint bits = BitConverter.SingleToUInt32Bits(sum[i]);
                        narrow[i] = (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
                    }
                });
                break;
        }
    }

    [Benchmark(Description = Names.TensorPrimitives)]
    public void Primitives()
    {
        if (Workload.DType == DType.F32)
        {
            Each<float>((sum, values, share) => TensorPrimitives.MultiplyAdd(values, share, sum, sum), (_, _) => { });
            return;
        }

        Each<Half>((sum, values, share) =>
        {
            Span<float> widened = _widened.AsSpan(0, sum.Length);
            TensorPrimitives.ConvertToSingle(values, widened);
            TensorPrimitives.MultiplyAdd(widened, share, sum, sum);
        }, (sum, narrow) => TensorPrimitives.ConvertToHalf(sum, System.Runtime.InteropServices.MemoryMarshal.Cast<ushort, Half>(narrow)));
    }

    private delegate void Step<T>(Span<float> sum, ReadOnlySpan<T> values, float share);

    private delegate void Narrow(ReadOnlySpan<float> sum, Span<ushort> narrow);

    private unsafe void Each<T>(Step<T> step, Narrow narrow) where T : unmanaged
    {
        for (int i = 0; i < _sums.Length; i++)
        {
            Array.Clear(_sums[i]);
            for (int k = 0; k < Workload.Clients; k++)
            {
                MemoryModel client = Workload.Client(k);
                client.TryPin(client.Tensors[i], out MemoryHandle handle);
                using (handle)
                    step(_sums[i], new ReadOnlySpan<T>(handle.Pointer, _sums[i].Length), (float)Workload.Share(k));
            }

            if (_narrow.Length > 0)
                narrow(_sums[i], _narrow[i]);
        }
    }
}
