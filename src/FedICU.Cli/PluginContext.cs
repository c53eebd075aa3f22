using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.Loader;

namespace FedICU.Cli;

/// <summary>
/// Loads a plug-in with the libraries beside it. FedICU.Core is the tool's own, or the plug-in's strategies would be
/// of other types than the tool's.
/// </summary>
internal sealed class PluginContext(string file) : AssemblyLoadContext(file)
{
    private readonly AssemblyDependencyResolver _beside = new(file);

    [UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "Plug-ins are refused where code is compiled ahead of time.")]
    protected override Assembly? Load(AssemblyName assemblyName)
    {
        Assembly core = typeof(IStrategyPlugin).Assembly;
        if (assemblyName.Name == core.GetName().Name)
            return core;
        return _beside.ResolveAssemblyToPath(assemblyName) is { } path ? LoadFromAssemblyPath(path) : null;
    }

    protected override nint LoadUnmanagedDll(string unmanagedDllName) =>
        _beside.ResolveUnmanagedDllToPath(unmanagedDllName) is { } path ? LoadUnmanagedDllFromPath(path) : 0;
}
