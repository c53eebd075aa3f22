using FedICU.Compute;
using FedICU.Model;

namespace FedICU.Clients;

/// <summary>
/// Checks that the received model, the trained model and the momentum fit each other, before anything is computed.
/// </summary>
internal static class ClientModelCheck
{
    /// <summary>Checks the models of an update.</summary>
    /// <exception cref="InvalidModelException">
    /// A model cannot be masked, or the models do not fit each other.
    /// </exception>
    public static void Run(MaskRun run)
    {
        (TensorSource global, TensorSource local, TensorSource? momentum) = (run.Global, run.Local, run.Momentum);
        RequireModel(global);
        RequireModel(local);
        // Another tool's momentum may have no metadata. Its types must then be exactly those of a momentum.
        bool isBare = momentum is { Metadata.Count: 0 } && run.Options.Momentum == MomentumRule.Ema;
        if (momentum is not null && !isBare)
            MomentumState.Check(momentum, run.Options.Momentum);
        var used = new HashSet<TensorInfo?>();
        foreach (TensorInfo expected in global.Tensors)
        {
            used.Add(RequireTrained(expected, global, local));
            if (momentum is not null && expected.DType.IsComputed)
                RequireMomentum(MaskRun.MomentumInfo(expected), momentum, isBare);
        }

        if (local.Tensors.FirstOrDefault(tensor => !used.Contains(tensor)) is { } extra)
        {
            throw new InvalidModelException(
                $"'{local.Location}': tensor '{extra.Name}' of {extra} is not in the global model '{global.Location}'.");
        }
    }

    private static void RequireModel(TensorSource model)
    {
        if (model.DescribeNoModel() is { } other)
            throw new InvalidModelException(other);
        if (QuantizedTensors.Find(model.Tensors, model.Find) is [var quantized, ..])
            throw new InvalidModelException($"'{model.Location}': tensor {quantized.Describe()}.");
    }

    private static TensorInfo RequireTrained(TensorInfo expected, TensorSource global, TensorSource local)
    {
        if (local.FindTied(expected.Name) is not { } found)
            throw new InvalidModelException($"'{local.Location}': tensor '{expected.Name}' is missing; {expected} was expected.");
        if ((found.DType, found.Shape) == (expected.DType, expected.Shape))
            return found;
        throw new InvalidModelException(
            $"'{local.Location}': tensor '{expected.Name}' is {found}; {expected} was expected, as in '{global.Location}'.");
    }

    private static void RequireMomentum(TensorInfo expected, TensorSource momentum, bool isBare)
    {
        TensorInfo? found = momentum.Find(expected.Name);
        bool hasType = found is not null && (isBare ? found.DType == expected.DType : found.DType.IsComputed);
        if (!hasType || found!.Shape != expected.Shape)
        {
            throw new InvalidModelException(
                $"'{momentum.Location}': the momentum of tensor '{expected.Name}' is {found?.ToString() ?? "missing"}; " +
                $"{expected} was expected.");
        }
    }
}
