namespace FedICU.Fedn;

/// <summary>The spool has no room for more bytes.</summary>
/// <param name="message">The end of a sentence that begins with a model's name.</param>
internal sealed class SpoolFullException(string message) : FedIcuException(message);
