using FedICU.Strategies.Abstractions;

namespace FedICU.Rounds.State;

/// <summary>The tensors of a rule's state: for each float tensor of the model one for each slot.</summary>
internal static class StateTensors
{
    /// <summary>Returns the tensors of a state file, in the model's order.</summary>
    public static List<TensorInfo> List(TensorSource global, StageSequence stages) =>
    [
        .. global.Tensors.Where(tensor => tensor.DType.IsComputed)
            .SelectMany(tensor => stages.State.Select(state => Describe(tensor, state.Key))),
        .. stages.Scalars.Select(scalar => new TensorInfo(scalar.Key, DType.F64, new TensorShape())),
    ];

    /// <summary>Returns a tensor's state: F32, or F64 for an F64 tensor.</summary>
    public static TensorInfo Describe(TensorInfo tensor, string key) =>
        new($"{tensor.Name}#{key}", tensor.DType == DType.F64 ? DType.F64 : DType.F32, tensor.Shape);
}
