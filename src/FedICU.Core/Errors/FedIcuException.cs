using FedICU.Text;

namespace FedICU;

/// <summary>
/// The base class of the library's exceptions. The message is one sentence that says what was rejected and why. It has
/// at most 1,000 characters and no control characters.
/// </summary>
public class FedIcuException : Exception
{
    /// <summary>Creates an exception with the given message.</summary>
    public FedIcuException(string message) : base(Sentence.Fit(message)) { }

    /// <summary>Creates an exception with the given message and the exception that caused it.</summary>
    public FedIcuException(string message, Exception innerException) : base(Sentence.Fit(message), innerException) { }
}
