namespace FedICU.Cli;

/// <summary>Reports a value that was understood but is not accepted: exit code 1.</summary>
internal sealed class RefusedException(string message) : FedIcuException(message);
