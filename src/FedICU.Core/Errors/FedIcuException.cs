using FedICU.Text;

namespace FedICU;

/// <summary>
/// The base of every refusal of the library: one sentence that names what was refused and why, of at most 1,000 characters, without control
/// characters.
/// </summary>
public class FedIcuException : Exception
{
    /// <summary>Makes a refusal of the sentence given.</summary>
    public FedIcuException(string message) : base(Sentence.Fit(message)) { }

    /// <summary>Makes a refusal of the sentence given, with the exception that led to it.</summary>
    public FedIcuException(string message, Exception innerException) : base(Sentence.Fit(message), innerException) { }
}
