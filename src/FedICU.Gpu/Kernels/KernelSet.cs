using System.Collections.Concurrent;
using System.Reflection;
using FedICU.Compute;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu.Kernels;

/// <summary>The kernels of one device, compiled when they are first wanted. ILGPU forgets a kernel that nobody holds; the delegates here do.</summary>
internal sealed class KernelSet(Accelerator accelerator)
{
    /// <summary>The types that elements have, by their <see cref="DType"/>.</summary>
    public static IReadOnlyList<(DType DType, Type Element)> Elements { get; } = [(DType.F64, typeof(F64)), (DType.F32, typeof(F32)), (DType.F16, typeof(F16)), (DType.BF16, typeof(BF16))];

    private readonly ConcurrentDictionary<(string, DType, DType, DType), Delegate> _loaded = new();

    // ILGPU compiles in one context at a time
    private readonly Lock _gate = new();

    /// <summary>All kernels with all types they can have.</summary>
    public static IEnumerable<MethodInfo> All()
    {
        foreach (MethodInfo kernel in typeof(Sums).GetMethods(BindingFlags.Public | BindingFlags.Static).Concat(typeof(Client).GetMethods(BindingFlags.Public | BindingFlags.Static)))
        {
            int types = kernel.IsGenericMethodDefinition ? kernel.GetGenericArguments().Length : 0;
            for (int i = 0; i < Math.Pow(Elements.Count, types); i++)
            {
                int which = i;
                yield return types == 0 ? kernel : kernel.MakeGenericMethod([.. Enumerable.Range(0, types).Select(t => Elements[which / (int)Math.Pow(Elements.Count, t) % Elements.Count].Element)]);
            }
        }
    }

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<double>, double, long, ArrayView<byte>, ArrayView<int>> WeightedSum(DType input) =>
        Get(nameof(Sums.WeightedSum), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, ArrayView<double>, double, long, ArrayView<byte>, ArrayView<int>>>()), input);

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<double>, double, long, ArrayView<byte>, ArrayView<int>> WeightedSumTo(DType input, DType output) =>
        Get(nameof(Sums.WeightedSumTo), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, ArrayView<double>, double, long, ArrayView<byte>, ArrayView<int>>>()), input, output);

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<int>, DeviceGeometry, long, ArrayView<double>> PairsOfColumns(DType input) =>
        Get(nameof(Sums.PairsOfColumns), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, ArrayView<int>, DeviceGeometry, long, ArrayView<double>>>()), input);

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<int>, DeviceGeometry, long, ArrayView<double>> PairsOfRows(DType input) =>
        Get(nameof(Sums.PairsOfRows), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, ArrayView<int>, DeviceGeometry, long, ArrayView<double>>>()), input);

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<double>, ArrayView<double>, DeviceGeometry, long, long, ArrayView<double>> Projections(DType input) =>
        Get(
            nameof(Sums.Projections),
            kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, ArrayView<double>, ArrayView<double>, DeviceGeometry, long, long, ArrayView<double>>>()), input);

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<double>, ArrayView<double>, DeviceGeometry, long, ArrayView<byte>, ArrayView<double>, ArrayView<int>> Combine(
        DType input, DType output) =>
        Get(
            nameof(Sums.Combine),
            kernel => accelerator.LoadKernel(kernel.CreateDelegate<
                Action<DeviceInputs, ArrayView<double>, ArrayView<double>, DeviceGeometry, long, ArrayView<byte>, ArrayView<double>, ArrayView<int>>>()), input, output);

    public Action<AcceleratorStream, KernelConfig, ArrayView<double>, long, long, long, ArrayView<double>> Fold() =>
        Get(nameof(Sums.Fold), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<ArrayView<double>, long, long, long, ArrayView<double>>>()));

    public Action<AcceleratorStream, KernelConfig, DeviceImportance, long, ArrayView<double>> Moments(DType input, DType momentum) =>
        Get(nameof(Client.Moments), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceImportance, long, ArrayView<double>>>()), input, momentum);

    public Action<AcceleratorStream, KernelConfig, DeviceImportance, long, DeviceScales, double, ArrayView<byte>, ArrayView<byte>, ArrayView<int>> Select(
        DType input, DType momentum, DType output) =>
        Get(
            nameof(Client.Select),
            kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceImportance, long, DeviceScales, double, ArrayView<byte>, ArrayView<byte>, ArrayView<int>>>()),
            input, momentum, output);

    public Action<AcceleratorStream, KernelConfig, DeviceImportance, long, DeviceScales, ArrayView<double>, ArrayView<double>> Importance(DType input, DType momentum) =>
        Get(
            nameof(Client.Importance),
            kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceImportance, long, DeviceScales, ArrayView<double>, ArrayView<double>>>()), input, momentum);

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, double, long, ArrayView<byte>, ArrayView<double>> Proximal(DType input, DType gradient) =>
        Get(nameof(Client.Proximal), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, double, long, ArrayView<byte>, ArrayView<double>>>()), input, gradient);

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, long, ArrayView<int>> CountNonFinite(DType input) =>
        Get(nameof(Client.CountNonFinite), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, long, ArrayView<int>>>()), input);

    private TDelegate Get<TDelegate>(string name, Func<MethodInfo, TDelegate> load, params ReadOnlySpan<DType> types) where TDelegate : Delegate
    {
        DType first = types.Length > 0 ? types[0] : default, second = types.Length > 1 ? types[1] : default, third = types.Length > 2 ? types[2] : default;
        if (_loaded.TryGetValue((name, first, second, third), out Delegate? loaded))
            return (TDelegate)loaded;
        lock (_gate)
        {
            if (_loaded.TryGetValue((name, first, second, third), out loaded))
                return (TDelegate)loaded;
            MethodInfo kernel = typeof(Sums).GetMethod(name) ?? typeof(Client).GetMethod(name)!;
            TDelegate made = load(types.Length == 0 ? kernel : kernel.MakeGenericMethod([.. types.ToArray().Select(ElementOf)]));
            _loaded[(name, first, second, third)] = made;
            return made;
        }
    }

    private static Type ElementOf(DType dtype) => Elements.FirstOrDefault(element => element.DType == dtype).Element ?? throw Rounding.NotComputed(dtype);
}
