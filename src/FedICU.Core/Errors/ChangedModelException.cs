namespace FedICU.Errors;

/// <summary>A file that another program changed while it was read.</summary>
internal sealed class ChangedModelException(string message) : InvalidModelException(message);
