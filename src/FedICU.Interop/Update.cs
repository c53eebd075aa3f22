using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using FedICU.Compute;

namespace FedICU.Interop;

/// <summary>
/// Tensors in the library's memory: a client's update, a cut adapter, or the result of a round.
/// </summary>
internal sealed unsafe class Update : IDisposable
{
    private readonly MemorySink _sink;
    private readonly List<nint> _descriptions = [];
    private readonly Lock _gate = new();
    private bool _disposed;

    private Update(MemorySink sink, PeftAdapterConfig? config) => (_sink, Config) = (sink, config);

    public MemoryModel Model => _sink.Model;

    /// <summary>The configuration of an adapter; null if there is none.</summary>
    public PeftAdapterConfig? Config { get; }

    /// <summary>
    /// Makes an update. All tensors have <paramref name="count"/> entries and are borrowed for the call.
    /// </summary>
    public static Update Make(
        MaskSettings settings, long count, NativeTensor* global, NativeTensor* local, NativeTensor* momentum, NativeTensor* momentumOut)
    {
        FedIcuClientOptions options = FedIcuClientOptions.FromSettings(InteropJson.ToText(settings.Settings)) with
        {
            Threads = settings.Threads,
            Round = settings.Round,
        };
        using CallerTensors received = new(global, count, copy: false), trained = new(local, count, copy: false);
        // Only trained tensors have a momentum. The momentum arrays have an entry for each tensor all the same, so that
        // all arrays have the model's length.
        HashSet<string> trainedNames = [.. received.Model.Tensors.Where(tensor => tensor.DType.IsComputed).Select(tensor => tensor.Name)];
        using CallerTensors? kept = momentum == null ? null : new CallerTensors(momentum, count, copy: false, only: trainedNames);
        var client = new FedIcuClient(options);
        CallerSink? momentumSink = momentumOut == null ? null
            : new CallerSink(CallerTensors.Read(momentumOut, count).FindAll(output => trainedNames.Contains(output.Info.Name)));
        return Write(sink =>
        {
            client.CreateUpdate(received.Model, trained.Model, sink, kept?.Model, momentumSink, settings.Dense);
            return null;
        });
    }

    /// <summary>Cuts an adapter to a rank. Its tensors are borrowed for the call.</summary>
    public static Update Adapt(AdaptSettings settings, PeftAdapterConfig? config, NativeTensor* tensors, long count)
    {
        if (settings.Rank < 1)
            throw new InvalidOptionsException([$"rank is {settings.Rank}; a whole number of at least 1 was expected."]);
        using var adapter = new CallerTensors(tensors, count, copy: false, config: config);
        var options = new FlexLoraOptions { LoraScaling = settings.LoraScaling };
        return Write(sink =>
            AdapterCut.CutAsync(adapter.Model, settings.Rank, sink, options, settings.Threads).GetAwaiter().GetResult().AdapterConfig);
    }

    /// <summary>Keeps what is written to a sink.</summary>
    /// <param name="write">Writes, and returns the configuration of an adapter.</param>
    public static Update Write(Func<MemorySink, PeftAdapterConfig?> write)
    {
        var sink = new MemorySink();
        try
        {
            return new Update(sink, write(sink));
        }
        catch
        {
            sink.Dispose();
            throw;
        }
    }

    /// <summary>Describes tensor <paramref name="i"/>, in memory that the update owns.</summary>
    public NativeTensor Describe(long i)
    {
        lock (_gate)
        {
            RequireAlive();
            if (i < 0 || i >= Model.Tensors.Count)
                throw new ArgumentException($"The update has no tensor {i}; one from 0 to {Model.Tensors.Count - 1} was expected.");
            return Describe(Model.Tensors[(int)i]);
        }
    }

    public void Save(string path)
    {
        lock (_gate)
        {
            RequireAlive();
            Model.SaveTo(TensorSink.ToFile(path));
        }
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

    private NativeTensor Describe(TensorInfo info)
    {
        _ = Model.TryPin(info, out MemoryHandle memory);
        byte[] name = Encoding.UTF8.GetBytes(info.Name + '\0'), type = Encoding.UTF8.GetBytes(info.DType.SafetensorsName + '\0');
        int shapeBytes = info.Shape.Rank * sizeof(long);
        byte* description = (byte*)NativeMemory.Alloc((nuint)(shapeBytes + name.Length + type.Length));
        _descriptions.Add((nint)description);
        info.Shape.Dimensions.CopyTo(new Span<long>(description, info.Shape.Rank));
        name.CopyTo(new Span<byte>(description + shapeBytes, name.Length));
        type.CopyTo(new Span<byte>(description + shapeBytes + name.Length, type.Length));
        return new NativeTensor
        {
            Name = description + shapeBytes,
            DType = description + shapeBytes + name.Length,
            Rank = info.Shape.Rank,
            Shape = (long*)description,
            Data = memory.Pointer,
            ByteLength = (ulong)info.ByteLength,
        };
    }

    private void RequireAlive()
    {
        if (_disposed)
            throw new ArgumentException("The update was destroyed.");
    }
}
