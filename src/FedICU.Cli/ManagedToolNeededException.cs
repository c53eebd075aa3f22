namespace FedICU.Cli;

/// <summary>
/// Ends a command of the native build before it has read or written anything, so that the managed build runs it.
/// </summary>
/// <param name="need">The option or command that needs the managed build.</param>
internal sealed class ManagedToolNeededException(string need) : Exception
{
    /// <summary>Gets the option or command that needs the managed build.</summary>
    public string Need { get; } = need;
}
