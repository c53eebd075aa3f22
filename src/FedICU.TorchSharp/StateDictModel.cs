using TorchSharp;
using static TorchSharp.torch;

namespace FedICU.TorchSharp;

/// <summary>
/// A state dict as a model. Contiguous tensors in the CPU's memory are borrowed; others are copied once into the CPU's
/// memory. The tensors must not change or be disposed of while the model is in use.
/// </summary>
public sealed unsafe class StateDictModel : IDisposable
{
    private static readonly (ScalarType Scalar, DType DType)[] Types =
    [
        (ScalarType.Float64, DType.F64), (ScalarType.Float32, DType.F32), (ScalarType.Float16, DType.F16),
        (ScalarType.BFloat16, DType.BF16), (ScalarType.Int64, DType.I64), (ScalarType.Int32, DType.I32),
        (ScalarType.Int16, DType.I16), (ScalarType.Int8, DType.I8), (ScalarType.Byte, DType.U8), (ScalarType.Bool, DType.Bool),
    ];

    private readonly List<Tensor> _held = [];

    /// <summary>Creates a model that borrows the tensors.</summary>
    /// <param name="stateDict">Names and tensors, as <c>module.state_dict()</c> returns them.</param>
    /// <param name="metadata">The model's metadata, such as <see cref="MetadataKeys.Examples"/>; null: none.</param>
    /// <exception cref="ArgumentException">
    /// A tensor is sparse, or safetensors has no counterpart of its type.
    /// </exception>
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

    /// <summary>Gets the model: for a round's global model, a client's update, or a client's masks.</summary>
    public MemoryModel Model { get; }

    /// <summary>Frees the copies. The tensors themselves stay the caller's.</summary>
    public void Dispose()
    {
        _held.ForEach(tensor => tensor.Dispose());
        _held.Clear();
    }

    /// <summary>Returns the safetensors type of a tensor's elements.</summary>
    internal static DType TypeOf(string name, ScalarType type)
    {
        foreach ((ScalarType scalar, DType dtype) in Types)
        {
            if (scalar == type)
                return dtype;
        }

        throw new ArgumentException($"Tensor '{name}' is {type}; a type that safetensors has was expected.");
    }

    /// <summary>Returns TorchSharp's type of a tensor's elements.</summary>
    internal static ScalarType TypeOf(TensorInfo tensor)
    {
        foreach ((ScalarType scalar, DType dtype) in Types)
        {
            if (dtype == tensor.DType)
                return scalar;
        }

        throw new ArgumentException($"Tensor '{tensor.Name}' is {tensor.DType.SafetensorsName}; a type that TorchSharp has was expected.");
    }

    /// <summary>Returns the address of a contiguous tensor in the CPU's memory.</summary>
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
        // each step is a new handle, on the same memory unless it has to copy
        Tensor detached = tensor.detach(), onCpu = detached.cpu(), contiguous = onCpu.contiguous();
        foreach (Tensor step in (Tensor[])[detached, onCpu, contiguous])
        {
            // must live as long as the model, even if the caller is in a dispose scope
            step.DetachFromDisposeScope();
            _held.Add(step);
        }

        Model.Add(info, info.ByteLength == 0 ? 0 : AddressOf(contiguous));
    }
}
