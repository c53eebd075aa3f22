namespace FedICU;

/// <summary>A file or a set of tensors is not the model it claims to be: malformed, truncated, inconsistent.</summary>
public class InvalidModelException : FedIcuException
{
    /// <summary>Makes a refusal of the sentence given.</summary>
    public InvalidModelException(string message) : base(message) { }

    /// <summary>Makes a refusal of the sentence given, with the exception that led to it.</summary>
    public InvalidModelException(string message, Exception innerException) : base(message, innerException) { }
}
