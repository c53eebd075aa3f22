namespace FedICU.Tests;

/// <summary>A global model of two tensors, and clients without faults.</summary>
internal static class TwoTensorRound
{
    public static readonly MemoryModel Global = new() { { "a", [2], new float[] { 1, 2 } }, { "b", [2, 2], new float[] { 1, 2, 3, 4 } } };

    public static readonly ClientUpdate Good = ClientUpdate.FromTensors("good", ModelOf([3, 4], [5, 6, 7, 8]), 1);

    public static readonly ClientUpdate AlsoGood = ClientUpdate.FromTensors("fine", ModelOf([5, 6], [7, 8, 9, 10]), 1);

    public static MemoryModel ModelOf(float[] a, float[] b) => new() { { "a", [2], a }, { "b", [2, 2], b } };
}
