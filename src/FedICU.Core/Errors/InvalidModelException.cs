namespace FedICU;

/// <summary>
/// The exception thrown if a file or a set of tensors is not a valid model: malformed, truncated or inconsistent.
/// </summary>
public class InvalidModelException : FedIcuException
{
    /// <summary>Creates an exception with the given message.</summary>
    public InvalidModelException(string message) : base(message) { }

    /// <summary>Creates an exception with the given message and the exception that caused it.</summary>
    public InvalidModelException(string message, Exception innerException) : base(message, innerException) { }
}
