using System.Diagnostics.CodeAnalysis;
using System.Reflection;

namespace FedICU.Cli;

/// <summary>
/// The strategies of a run: the library's and those of its plug-ins. A failure of a plug-in is reported with its file.
/// </summary>
internal sealed class Plugins
{
    private readonly Dictionary<string, string> _fileOf = new(StringComparer.Ordinal);

    private Plugins() => new LoraStrategies().Register(Registry);

    public StrategyRegistry Registry { get; } = new();

    /// <summary>Loads the assemblies of <c>--plugin</c> and lets their plug-ins add strategies.</summary>
    /// <exception cref="RefusedException">A file is no plug-in, or a plug-in fails.</exception>
    public static Plugins Load(string[]? files)
    {
        var plugins = new Plugins();
        foreach (string file in files ?? [])
            plugins.Add(file);
        return plugins;
    }

    /// <summary>Runs code of strategies. Reports what a plug-in's strategy throws with the plug-in's file.</summary>
    /// <param name="strategies">The strategies' names, joined by commas.</param>
    /// <param name="work">The work.</param>
    public async Task<T> GuardAsync<T>(string strategies, Func<Task<T>> work)
    {
        string[] files = [.. strategies.Split(',').Select(name => _fileOf.GetValueOrDefault(name)).OfType<string>().Distinct()];
        try
        {
            return await work();
        }
        // the library's own exceptions are sentences that name the client, tensor or option
        catch (Exception e) when (files.Length > 0 && e is not (FedIcuException or OperationCanceledException))
        {
            throw Fail(string.Join("' or '", files), e);
        }
    }

    /// <inheritdoc cref="GuardAsync"/>
    public T Guard<T>(string strategies, Func<T> work) =>
        GuardAsync(strategies, () => Task.FromResult(work())).GetAwaiter().GetResult();

    private void Add(string file)
    {
        if (!ManagedTool.IsThis)
            throw new ManagedToolNeededException("--plugin");
        if (!File.Exists(Paths.Read("--plugin", file)))
            throw new RefusedException($"--plugin '{file}' does not exist; the .dll of a plug-in was expected.");
        HashSet<string> known = [.. Registry.Names];
        try
        {
            List<IStrategyPlugin> plugins = Create(Path.GetFullPath(file));
            if (plugins.Count == 0)
            {
                throw new RefusedException(
                    $"--plugin '{file}' has no public {nameof(IStrategyPlugin)} with a constructor without parameters; one was expected.");
            }

            plugins.ForEach(plugin => plugin.Register(Registry));
        }
        catch (BadImageFormatException)
        {
            throw new RefusedException($"--plugin '{file}' is no .NET assembly; the .dll of a plug-in was expected.");
        }
        catch (Exception e) when (e is not RefusedException)
        {
            throw Fail(file, e);
        }

        foreach (string name in Registry.Names.Where(name => !known.Contains(name)))
            _fileOf.Add(name, file);
    }

    [UnconditionalSuppressMessage("Trimming", "IL2026", Justification = "Plug-ins are refused where code is compiled ahead of time.")]
    [UnconditionalSuppressMessage("Trimming", "IL2067", Justification = "A plug-in's own types are never trimmed.")]
    [UnconditionalSuppressMessage("Trimming", "IL2070", Justification = "A plug-in's own types are never trimmed.")]
    [UnconditionalSuppressMessage("Trimming", "IL2072", Justification = "A plug-in's own types are never trimmed.")]
    [UnconditionalSuppressMessage("Trimming", "IL2075", Justification = "A plug-in's own types are never trimmed.")]
    private static List<IStrategyPlugin> Create(string file)
    {
        Assembly assembly = new PluginContext(file).LoadFromAssemblyPath(file);
        return
        [
            .. assembly.GetExportedTypes()
                .Where(type => type is { IsClass: true, IsAbstract: false, IsGenericTypeDefinition: false } &&
                    typeof(IStrategyPlugin).IsAssignableFrom(type) && type.GetConstructor(Type.EmptyTypes) is not null)
                .OrderBy(type => type.FullName, StringComparer.Ordinal)
                .Select(type => (IStrategyPlugin)Activator.CreateInstance(type)!),
        ];
    }

    private static RefusedException Fail(string files, Exception e)
    {
        // constructors and threads wrap what a plug-in throws
        Exception inner = e.GetBaseException();
        string message = inner switch
        {
            FedIcuException => inner.Message,
            ArgumentException { ParamName: { } parameter } =>
                inner.Message.Replace($" (Parameter '{parameter}')", "", StringComparison.Ordinal),
            _ => $"{inner.GetType().Name}: {inner.Message}",
        };
        return new RefusedException($"--plugin '{files}' failed: {message}");
    }
}
