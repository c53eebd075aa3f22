namespace FedICU.Interop;

/// <summary>FedProx's proximal term on tensors in the caller's memory.</summary>
internal static unsafe class CallerProximal
{
    /// <summary>
    /// Computes mu / 2 ||local - global||^2, and adds mu (local - global) to the gradient unless it is null.
    /// </summary>
    public static double Run(double mu, NativeTensor* local, NativeTensor* global, NativeTensor* gradient)
    {
        (TensorInfo info, nint y) = CallerTensors.Read(local, 1)[0];
        (TensorInfo other, nint x) = CallerTensors.Read(global, 1)[0];
        RequireSame(info, other, "global");
        nint g = 0;
        if (gradient != null)
        {
            (TensorInfo added, g) = CallerTensors.Read(gradient, 1)[0];
            RequireSame(info, added, "gradient");
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

    private static void RequireSame(TensorInfo local, TensorInfo other, string what)
    {
        if (other.DType != local.DType || other.Shape != local.Shape)
            throw new ArgumentException($"The {what} tensor '{other.Name}' is {other}; {local}, like the local tensor, was expected.");
    }
}
