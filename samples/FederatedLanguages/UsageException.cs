namespace FederatedLanguages;

/// <summary>Reports a command line that cannot be understood, in a sentence that quotes it.</summary>
internal sealed class UsageException(string message) : Exception(message);
