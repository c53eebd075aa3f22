using TorchSharp;
using static TorchSharp.torch;

namespace FedICU.TorchSharp;

/// <summary>
/// A state dict as a model: contiguous tensors in the processor's memory are taken where they lie, others are copied there once. The tensors must neither change nor be
/// disposed of while the model is in use.
/// </summary>
public sealed unsafe class StateDictModel : IDisposable
{
    private static readonly (ScalarType Scalar, DType DType)[] Types =
    [
        (ScalarType.Float64, DType.F64), (ScalarType.Float32, DType.F32), (ScalarType.Float16, DType.F16), (ScalarType.BFloat16, DType.BF16), (ScalarType.Int64, DType.I64),
        (ScalarType.Int32, DType.I32), (ScalarType.Int16, DType.I16), (ScalarType.Int8, DType.I8), (ScalarType.Byte, DType.U8), (ScalarType.Bool, DType.Bool),
    ];

    private readonly List<Tensor> _held = [];

    /// <summary>Borrows the tensors.</summary>
    /// <param name="stateDict">Names and tensors, as <c>module.state_dict()</c> gives them.</param>
    /// <param name="metadata">The model's metadata, such as <see cref="MetadataKeys.Examples"/>; null: none.</param>
    /// <exception cref="ArgumentException">A tensor's type has no counterpart in safetensors, or it has no memory of its own (sparse tensors).</exception>
    public StateDictModel(IEnumerable<KeyValuePair<string, Tensor>> stateDict, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentNullException.ThrowIfNull(stateDict);
        Model = new MemoryModel(metadata);
        try
        {
            foreach ((string name, Tensor tensor) in stateDict)
                Add(name, tensor);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The model, for a round's global model, a client's update, a client's masks.</summary>
    public MemoryModel Model { get; }

    /// <summary>Frees copies; the tensors stay the caller's.</summary>
    public void Dispose()
    {
        _held.ForEach(tensor => tensor.Dispose());
        _held.Clear();
    }

    /// <summary>The type of a tensor's elements.</summary>
    internal static DType TypeOf(string name, ScalarType type)
    {
        foreach ((ScalarType scalar, DType dtype) in Types)
        {
            if (scalar == type)
                return dtype;
        }

        throw new ArgumentException($"Tensor '{name}' is {type}; a type of safetensors was expected.");
    }

    /// <summary>The type of the elements of a tensor that is made.</summary>
    internal static ScalarType TypeOf(TensorInfo tensor)
    {
        foreach ((ScalarType scalar, DType dtype) in Types)
        {
            if (dtype == tensor.DType)
                return scalar;
        }

        throw new ArgumentException($"Tensor '{tensor.Name}' is {tensor.DType.SafetensorsName}, which TorchSharp has not.");
    }

    /// <summary>The address of a contiguous tensor's memory on the host.</summary>
    internal static nint AddressOf(Tensor tensor)
    {
        fixed (byte* first = tensor.bytes)
            return (nint)first;
    }

    private void Add(string name, Tensor tensor)
    {
        if (tensor.is_sparse)
            throw new ArgumentException($"Tensor '{name}' is sparse; a dense one was expected.");
        var info = new TensorInfo(name, TypeOf(name, tensor.dtype), new TensorShape(tensor.shape));
        using IDisposable noGradients = no_grad();
        // each is a handle of its own on the same memory, where nothing has to be copied
        Tensor detached = tensor.detach(), here = detached.cpu(), whole = here.contiguous();
        foreach (Tensor step in (Tensor[])[detached, here, whole])
        {
            // kept until the model is, also where the caller works in a scope
            step.DetachFromDisposeScope();
            _held.Add(step);
        }

        Model.Add(info, info.ByteLength == 0 ? 0 : AddressOf(whole));
    }
}
