using System.Reflection;

namespace FedICU.Cli;

/// <summary>The version of this tool.</summary>
internal static class ToolVersion
{
    /// <summary>Gets the version as <c>fedicu --version</c> prints it.</summary>
    public static string Text { get; } =
        typeof(ToolVersion).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "";
}
