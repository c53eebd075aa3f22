using System.Collections.Concurrent;
using System.Reflection;
using FedICU.Compute;
using FedICU.Compute.Simd;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu.Kernels;

/// <summary>The kernels of one device, compiled when they are first wanted. ILGPU forgets a kernel that nobody holds; the delegates here do.</summary>
internal sealed class KernelSet(Accelerator accelerator)
{
    /// <summary>The types that elements have, by their <see cref="DType"/>.</summary>
    public static IReadOnlyList<(DType DType, Type Element)> Elements { get; } = [(DType.F64, typeof(F64)), (DType.F32, typeof(F32)), (DType.F16, typeof(F16)), (DType.BF16, typeof(BF16))];

    private readonly ConcurrentDictionary<(string, Type?, Type?, Type?), Delegate> _loaded = new();

    // ILGPU compiles in one context at a time
    private readonly Lock _gate = new();

    /// <summary>All kernels with all types they can have.</summary>
    public static IEnumerable<MethodInfo> All()
    {
        foreach (MethodInfo kernel in typeof(Sums).GetMethods(BindingFlags.Public | BindingFlags.Static).Concat(typeof(Client).GetMethods(BindingFlags.Public | BindingFlags.Static)))
        {
            IEnumerable<Type[]> all = [[]];
            foreach (Type parameter in kernel.GetGenericArguments())
            {
                Type[] choices = parameter.GetGenericParameterConstraints().Contains(typeof(IGroups)) ? [typeof(ByColumn), typeof(ByRow)] : [.. Elements.Select(element => element.Element)];
                all = [.. all.SelectMany(types => choices.Select(choice => (Type[])[.. types, choice]))];
            }

            foreach (Type[] types in all)
                yield return types.Length == 0 ? kernel : kernel.MakeGenericMethod(types);
        }
    }

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<double>, double, long, ArrayView<byte>, ArrayView<int>> WeightedSum(DType input) =>
        Get(nameof(Sums.WeightedSum), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, ArrayView<double>, double, long, ArrayView<byte>, ArrayView<int>>>()), ElementOf(input));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<double>, double, double, long, ArrayView<byte>, ArrayView<int>> WeightedSumTo(DType input, DType output) =>
        Get(nameof(Sums.WeightedSumTo), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, ArrayView<double>, double, double, long, ArrayView<byte>, ArrayView<int>>>()), ElementOf(input), ElementOf(output));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<int>, DeviceGeometry, long, ArrayView<double>> PairsOfColumns(DType input) =>
        Get(nameof(Sums.PairsOfColumns), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, ArrayView<int>, DeviceGeometry, long, ArrayView<double>>>()), ElementOf(input));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<int>, DeviceGeometry, long, ArrayView<double>> PairsOfRows(DType input) =>
        Get(nameof(Sums.PairsOfRows), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, ArrayView<int>, DeviceGeometry, long, ArrayView<double>>>()), ElementOf(input));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<double>, ArrayView<double>, DeviceGeometry, long, long, ArrayView<double>> Projections(DType input, bool byColumn) =>
        Get(
            nameof(Sums.Projections),
            kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, ArrayView<double>, ArrayView<double>, DeviceGeometry, long, long, ArrayView<double>>>()),
            ElementOf(input), GroupsOf(byColumn));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<double>, ArrayView<double>, DeviceGeometry, long, ArrayView<byte>, ArrayView<double>, ArrayView<int>> Combine(
        DType input, DType output, bool byColumn) =>
        Get(
            nameof(Sums.Combine),
            kernel => accelerator.LoadKernel(kernel.CreateDelegate<
                Action<DeviceInputs, ArrayView<double>, ArrayView<double>, DeviceGeometry, long, ArrayView<byte>, ArrayView<double>, ArrayView<int>>>()), ElementOf(input), ElementOf(output), GroupsOf(byColumn));

    public Action<AcceleratorStream, KernelConfig, ArrayView<double>, long, long, long, ArrayView<double>> Fold() =>
        Get(nameof(Sums.Fold), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<ArrayView<double>, long, long, long, ArrayView<double>>>()));

    public Action<AcceleratorStream, KernelConfig, DeviceImportance, long, ArrayView<double>> Moments(DType input, DType momentum) =>
        Get(nameof(Client.Moments), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceImportance, long, ArrayView<double>>>()), ElementOf(input), ElementOf(momentum));

    public Action<AcceleratorStream, KernelConfig, DeviceImportance, long, DeviceScales, double, ArrayView<byte>, ArrayView<byte>, ArrayView<int>> Select(
        DType input, DType momentum, DType output) =>
        Get(
            nameof(Client.Select),
            kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceImportance, long, DeviceScales, double, ArrayView<byte>, ArrayView<byte>, ArrayView<int>>>()),
            ElementOf(input), ElementOf(momentum), ElementOf(output));

    public Action<AcceleratorStream, KernelConfig, DeviceImportance, long, DeviceScales, ArrayView<double>, ArrayView<double>> Importance(DType input, DType momentum) =>
        Get(
            nameof(Client.Importance),
            kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceImportance, long, DeviceScales, ArrayView<double>, ArrayView<double>>>()), ElementOf(input), ElementOf(momentum));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, ArrayView<byte>, ArrayView<int>, ArrayView<byte>> Pack(DType input) =>
        Get(nameof(Client.Pack), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, ArrayView<byte>, ArrayView<int>, ArrayView<byte>>>()), ElementOf(input));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, double, long, ArrayView<byte>, ArrayView<double>> Proximal(DType input, DType gradient) =>
        Get(nameof(Client.Proximal), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, double, long, ArrayView<byte>, ArrayView<double>>>()), ElementOf(input), ElementOf(gradient));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, long, ArrayView<int>> CountNonFinite(DType input) =>
        Get(nameof(Client.CountNonFinite), kernel => accelerator.LoadKernel(kernel.CreateDelegate<Action<DeviceInputs, long, ArrayView<int>>>()), ElementOf(input));

    private TDelegate Get<TDelegate>(string name, Func<MethodInfo, TDelegate> load, Type? first = null, Type? second = null, Type? third = null) where TDelegate : Delegate
    {
        if (_loaded.TryGetValue((name, first, second, third), out Delegate? loaded))
            return (TDelegate)loaded;
        lock (_gate)
        {
            if (_loaded.TryGetValue((name, first, second, third), out loaded))
                return (TDelegate)loaded;
            MethodInfo kernel = typeof(Sums).GetMethod(name) ?? typeof(Client).GetMethod(name)!;
            TDelegate made = load(first is null ? kernel : kernel.MakeGenericMethod([.. new[] { first, second, third }.OfType<Type>()]));
            _loaded[(name, first, second, third)] = made;
            return made;
        }
    }

    private static Type ElementOf(DType dtype)
    {
        foreach ((DType DType, Type Element) element in Elements)
        {
            if (element.DType == dtype)
                return element.Element;
        }

        throw Rounding.NotComputed(dtype);
    }

    private static Type GroupsOf(bool byColumn) => byColumn ? typeof(ByColumn) : typeof(ByRow);
}
