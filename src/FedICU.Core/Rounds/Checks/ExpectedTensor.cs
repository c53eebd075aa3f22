using FedICU.Text;

namespace FedICU.Rounds.Checks;

/// <summary>Compares a model beside the global one with the global model's float tensors.</summary>
internal static class ExpectedTensor
{
    /// <summary>Describes the first tensor that a model lacks or has in another form; null if there is none.</summary>
    /// <param name="model">The model.</param>
    /// <param name="global">The global model.</param>
    /// <param name="has">The verb after the model's name: <c>has</c> or <c>have</c>.</param>
    public static string? DescribeFault(TensorSource model, TensorSource global, string has)
    {
        foreach (TensorInfo tensor in global.Tensors.Where(tensor => tensor.DType.IsComputed))
        {
            string name = Sentence.Quote(tensor.Name);
            if (model.Find(tensor.Name) is not { } found)
                return $"{has} no tensor {name}; the global model's {tensor} was expected";
            if (!found.DType.IsComputed || found.Shape != tensor.Shape)
                return $"{has} the tensor {name} of {found}; a float tensor of the shape {tensor.Shape} was expected";
        }

        return null;
    }
}
