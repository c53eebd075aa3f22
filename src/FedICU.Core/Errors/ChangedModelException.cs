namespace FedICU.Errors;

/// <summary>The exception thrown if another program changed a file while it was read.</summary>
internal sealed class ChangedModelException(string message) : InvalidModelException(message);
