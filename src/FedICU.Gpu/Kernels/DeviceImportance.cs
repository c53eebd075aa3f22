using FedICU.Compute;
using ILGPU;

namespace FedICU.Gpu.Kernels;

/// <summary>What an importance is computed from, on the device.</summary>
internal struct DeviceImportance
{
    /// <summary>The global model (input 0) and the local model (input 1).</summary>
    public DeviceInputs Models;

    /// <summary>The momentum of the previous round, or the supplied update.</summary>
    public ArrayView<byte> Momentum;

    /// <summary>A <see cref="MomentumRule"/>.</summary>
    public int Rule;

    public double Beta;

    /// <summary>Computes the update u of one element.</summary>
    public readonly double Update<T, TMomentum>(long index) where T : struct, IElement where TMomentum : struct, IElement
    {
        if (Rule == (int)MomentumRule.Supplied)
            return TMomentum.Read(Momentum, index);
        double delta = Models.Read<T>(1, index) - Models.Read<T>(0, index);
        return Rule == (int)MomentumRule.None ? delta : DeviceMath.Fma(Beta, TMomentum.Read(Momentum, index), (1 - Beta) * delta);
    }
}

/// <summary>The center and spread of the magnitudes of the update and of the global model.</summary>
internal struct DeviceScales
{
    public double UpdateCenter, UpdateSpread, GlobalCenter, GlobalSpread;
}
