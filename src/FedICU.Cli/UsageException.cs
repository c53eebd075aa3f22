namespace FedICU.Cli;

/// <summary>Reports a command line that cannot be understood: exit code 2.</summary>
internal sealed class UsageException(string message) : Exception(Text.Sentence(message));
