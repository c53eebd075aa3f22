using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using FedICU.Compute;

namespace FedICU.Interop;

/// <summary>A client's update, made and kept in memory.</summary>
internal sealed unsafe class Update : IDisposable
{
    private readonly MemorySink _sink;
    private readonly List<nint> _descriptions = [];
    private readonly Lock _gate = new();
    private bool _disposed;

    private Update(MemorySink sink) => _sink = sink;

    public MemoryModel Model => _sink.Model;

    public static Update Make(MaskSettings settings, long count, NativeTensor* global, NativeTensor* local, NativeTensor* momentum, NativeTensor* momentumOut)
    {
        FedIcuClientOptions options = FedIcuClientOptions.FromSettings(Aggregator.Pairs(settings.Settings)) with { Threads = settings.Threads, Round = settings.Round };
        // borrowed for the call
        using CallerTensors received = new(global, count, copy: false), trained = new(local, count, copy: false);
        // only what is trained has a momentum; the others' entries are there so that all arrays have the model's length
        HashSet<string> trains = [.. received.Model.Tensors.Where(tensor => tensor.DType.IsComputed).Select(tensor => tensor.Name)];
        // a momentum is told by its metadata; what a caller keeps has none
        using CallerTensors? kept = momentum == null ? null : new CallerTensors(momentum, count, copy: false, only: trains);
        var sink = new MemorySink();
        try
        {
            new FedIcuClient(options).CreateUpdate(
                received.Model, trained.Model, sink, kept?.Model, momentumOut == null ? null : new CallerSink(CallerTensors.Read(momentumOut, count).FindAll(place => trains.Contains(place.Info.Name))), settings.Dense);
            return new Update(sink);
        }
        catch
        {
            sink.Dispose();
            throw;
        }
    }

    /// <summary>Tensor i, in memory that is the update's.</summary>
    public NativeTensor Describe(long i)
    {
        lock (_gate)
            return DescribeAlive(i);
    }

    public void Save(string path)
    {
        lock (_gate)
        {
            RequireAlive();
            Model.SaveTo(TensorSink.ToFile(path));
        }
    }

    private NativeTensor DescribeAlive(long i)
    {
        RequireAlive();
        if (i < 0 || i >= Model.Tensors.Count)
            throw new ArgumentException($"The update has no tensor {i}; one from 0 to {Model.Tensors.Count - 1} was expected.");
        TensorInfo info = Model.Tensors[(int)i];
        _ = Model.TryPin(info, out MemoryHandle memory);
        byte[] name = Encoding.UTF8.GetBytes(info.Name + '\0'), type = Encoding.UTF8.GetBytes(info.DType.SafetensorsName + '\0');
        int lengths = info.Shape.Rank * sizeof(long);
        byte* description = (byte*)NativeMemory.Alloc((nuint)(lengths + name.Length + type.Length));
        _descriptions.Add((nint)description);
        info.Shape.Dimensions.CopyTo(new Span<long>(description, info.Shape.Rank));
        name.CopyTo(new Span<byte>(description + lengths, name.Length));
        type.CopyTo(new Span<byte>(description + lengths + name.Length, type.Length));
        return new NativeTensor
        {
            Name = description + lengths,
            DType = description + lengths + name.Length,
            Rank = info.Shape.Rank,
            Shape = (long*)description,
            Data = memory.Pointer,
            ByteLength = (ulong)info.ByteLength,
        };
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            _descriptions.ForEach(description => NativeMemory.Free((void*)description));
            _descriptions.Clear();
            _sink.Dispose();
        }
    }

    private void RequireAlive()
    {
        if (_disposed)
            throw new ArgumentException("The update was destroyed.");
    }
}

/// <summary>FedProx's term of tensors in the caller's memory.</summary>
internal static unsafe class CallerProximal
{
    public static double Run(double mu, NativeTensor* local, NativeTensor* global, NativeTensor* gradient)
    {
        (TensorInfo info, nint y) = CallerTensors.Read(local, 1)[0];
        (TensorInfo other, nint x) = CallerTensors.Read(global, 1)[0];
        Require(info, other, "global");
        nint g = 0;
        if (gradient != null)
        {
            (TensorInfo added, g) = CallerTensors.Read(gradient, 1)[0];
            Require(info, added, "gradient");
        }

        var term = new ProximalTerm(mu);
        int length = checked((int)info.ElementCount);
        if (info.DType == DType.F64)
            return Run<double>(term, y, x, g, length);
        if (info.DType == DType.F32)
            return Run<float>(term, y, x, g, length);
        if (info.DType == DType.F16)
            return Run<Half>(term, y, x, g, length);
        if (info.DType == DType.BF16)
            return Run<ushort>(term, y, x, g, length);
        throw new ArgumentException($"Tensor '{info.Name}' is {info.DType.SafetensorsName}; F64, F32, F16 or BF16 was expected.");
    }

    private static double Run<T>(ProximalTerm term, nint local, nint global, nint gradient, int length) where T : unmanaged
    {
        ReadOnlySpan<T> y = new((void*)local, length), x = new((void*)global, length);
        return gradient == 0 ? term.Value(y, x) : term.AddGradient(y, x, new Span<T>((void*)gradient, length));
    }

    private static void Require(TensorInfo local, TensorInfo other, string what)
    {
        if (other.DType != local.DType || other.Shape != local.Shape)
            throw new ArgumentException($"The {what} tensor '{other.Name}' is {other}; {local} was expected, as the local one is.");
    }
}
