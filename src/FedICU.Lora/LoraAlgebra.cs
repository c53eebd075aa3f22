using MathNet.Numerics.Providers.LinearAlgebra;

namespace FedICU.Lora;

/// <summary>Where this library's decompositions are computed.</summary>
public static class LoraAlgebra
{
    /// <summary>
    /// Gets or sets whether decompositions use MathNet's provider of the process (<c>Control.UseNativeMKL()</c> and
    /// others) in place of its managed one. Results then depend on that provider: products differ by up to 1e-12 of
    /// the largest singular value, and the same bits on every machine are no longer promised. <value>Default:
    /// false.</value>
    /// </summary>
    public static bool UsesProcessProvider { get; set; }

    // the managed provider's own instance, whatever the process has chosen for other work
    internal static ILinearAlgebraProvider Provider =>
        UsesProcessProvider ? LinearAlgebraControl.Provider : ManagedLinearAlgebraProvider.Instance;
}
