using System.Collections.Concurrent;
using System.Reflection;
using FedICU.Compute;
using ILGPU;
using ILGPU.Runtime;
using Bytes = ILGPU.ArrayView<byte>;
using Doubles = ILGPU.ArrayView<double>;
using Ints = ILGPU.ArrayView<int>;

namespace FedICU.Gpu.Kernels;

/// <summary>
/// The kernels of one device, each compiled when it is first used. Thread-safe. ILGPU caches kernels weakly; the
/// launchers kept here keep them alive.
/// </summary>
internal sealed class KernelSet(Accelerator accelerator)
{
    private static readonly Type[] Families =
    [
        typeof(WeightedSumKernels), typeof(PairKernels), typeof(CombinationKernels), typeof(ReductionKernels), typeof(MaskKernels),
        typeof(ProximalKernels),
    ];

    private static readonly (DType DType, Type Element)[] Elements =
        [(DType.F64, typeof(F64)), (DType.F32, typeof(F32)), (DType.F16, typeof(F16)), (DType.BF16, typeof(BF16))];

    private readonly ConcurrentDictionary<(string Name, Type? First, Type? Second, Type? Third), Delegate> _loaded = new();

    // ILGPU compiles one kernel at a time in a context
    private readonly Lock _compiling = new();

    /// <summary>Lists every kernel with every combination of its type arguments.</summary>
    public static IEnumerable<MethodInfo> All()
    {
        foreach (MethodInfo kernel in Families.SelectMany(family => family.GetMethods(BindingFlags.Public | BindingFlags.Static)))
        {
            IEnumerable<Type[]> combinations = [[]];
            foreach (Type parameter in kernel.GetGenericArguments())
            {
                Type[] choices = parameter.GetGenericParameterConstraints().Contains(typeof(IGroups))
                    ? [typeof(ByColumn), typeof(ByRow)]
                    : [.. Elements.Select(element => element.Element)];
                combinations = [.. combinations.SelectMany(types => choices.Select(choice => (Type[])[.. types, choice]))];
            }

            foreach (Type[] types in combinations)
                yield return types.Length == 0 ? kernel : kernel.MakeGenericMethod(types);
        }
    }

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, Doubles, double, long, Bytes, Ints> WeightedSum(DType input) =>
        Get<Action<AcceleratorStream, KernelConfig, DeviceInputs, Doubles, double, long, Bytes, Ints>>(
            nameof(WeightedSumKernels.WeightedSum), ElementOf(input));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, Doubles, double, double, long, Bytes, Ints> WeightedSumTo(
        DType input, DType output) =>
        Get<Action<AcceleratorStream, KernelConfig, DeviceInputs, Doubles, double, double, long, Bytes, Ints>>(
            nameof(WeightedSumKernels.WeightedSumTo), ElementOf(input), ElementOf(output));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, Ints, DeviceGeometry, long, Doubles> PairsOfColumns(DType input) =>
        Get<Action<AcceleratorStream, KernelConfig, DeviceInputs, Ints, DeviceGeometry, long, Doubles>>(
            nameof(PairKernels.PairsOfColumns), ElementOf(input));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, Ints, DeviceGeometry, long, Doubles> PairsOfRows(DType input) =>
        Get<Action<AcceleratorStream, KernelConfig, DeviceInputs, Ints, DeviceGeometry, long, Doubles>>(
            nameof(PairKernels.PairsOfRows), ElementOf(input));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, Doubles, Doubles, DeviceGeometry, long, long, Doubles> Projections(
        DType input, bool byColumn) =>
        Get<Action<AcceleratorStream, KernelConfig, DeviceInputs, Doubles, Doubles, DeviceGeometry, long, long, Doubles>>(
            nameof(CombinationKernels.Projections), ElementOf(input), GroupsOf(byColumn));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, Doubles, Doubles, DeviceGeometry, long, Bytes, Doubles, Ints> Combine(
        DType input, DType output, bool byColumn) =>
        Get<Action<AcceleratorStream, KernelConfig, DeviceInputs, Doubles, Doubles, DeviceGeometry, long, Bytes, Doubles, Ints>>(
            nameof(CombinationKernels.Combine), ElementOf(input), ElementOf(output), GroupsOf(byColumn));

    public Action<AcceleratorStream, KernelConfig, Doubles, long, long, long, Doubles> Fold() =>
        Get<Action<AcceleratorStream, KernelConfig, Doubles, long, long, long, Doubles>>(nameof(ReductionKernels.Fold));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, long, Ints> CountNonFinite(DType input) =>
        Get<Action<AcceleratorStream, KernelConfig, DeviceInputs, long, Ints>>(
            nameof(ReductionKernels.CountNonFinite), ElementOf(input));

    public Action<AcceleratorStream, KernelConfig, DeviceImportance, long, Doubles> Moments(DType input, DType momentum) =>
        Get<Action<AcceleratorStream, KernelConfig, DeviceImportance, long, Doubles>>(
            nameof(MaskKernels.Moments), ElementOf(input), ElementOf(momentum));

    public Action<AcceleratorStream, KernelConfig, DeviceImportance, long, DeviceScales, double, Bytes, Bytes, Ints> Select(
        DType input, DType momentum, DType output) =>
        Get<Action<AcceleratorStream, KernelConfig, DeviceImportance, long, DeviceScales, double, Bytes, Bytes, Ints>>(
            nameof(MaskKernels.Select), ElementOf(input), ElementOf(momentum), ElementOf(output));

    public Action<AcceleratorStream, KernelConfig, DeviceImportance, long, DeviceScales, Doubles, Doubles> Importance(
        DType input, DType momentum) =>
        Get<Action<AcceleratorStream, KernelConfig, DeviceImportance, long, DeviceScales, Doubles, Doubles>>(
            nameof(MaskKernels.Importance), ElementOf(input), ElementOf(momentum));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, Bytes, Ints, Bytes> Pack(DType input) =>
        Get<Action<AcceleratorStream, KernelConfig, DeviceInputs, Bytes, Ints, Bytes>>(nameof(MaskKernels.Pack), ElementOf(input));

    public Action<AcceleratorStream, KernelConfig, DeviceInputs, double, long, Bytes, Doubles> Proximal(DType input, DType gradient) =>
        Get<Action<AcceleratorStream, KernelConfig, DeviceInputs, double, long, Bytes, Doubles>>(
            nameof(ProximalKernels.Proximal), ElementOf(input), ElementOf(gradient));

    /// <summary>Returns the launcher of a kernel; compiles the kernel at the first call.</summary>
    /// <param name="name">The kernel's name, which no other family has.</param>
    /// <param name="first">The first type argument; null if there is none.</param>
    /// <param name="second">The second type argument; null if there is none.</param>
    /// <param name="third">The third type argument; null if there is none.</param>
    private TLauncher Get<TLauncher>(string name, Type? first = null, Type? second = null, Type? third = null) where TLauncher : Delegate
    {
        if (_loaded.TryGetValue((name, first, second, third), out Delegate? loaded))
            return (TLauncher)loaded;
        lock (_compiling)
        {
            if (_loaded.TryGetValue((name, first, second, third), out loaded))
                return (TLauncher)loaded;
            MethodInfo kernel = Families.Select(family => family.GetMethod(name)).OfType<MethodInfo>().Single();
            Type[] types = [.. new[] { first, second, third }.OfType<Type>()];
            TLauncher launcher = accelerator.LoadKernel<TLauncher>(types.Length == 0 ? kernel : kernel.MakeGenericMethod(types));
            _loaded[(name, first, second, third)] = launcher;
            return launcher;
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
