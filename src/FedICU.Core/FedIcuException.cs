using FedICU.Safetensors;

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

/// <summary>A file or a set of tensors is not the model it claims to be: malformed, truncated, inconsistent.</summary>
public class InvalidModelException : FedIcuException
{
    /// <summary>Makes a refusal of the sentence given.</summary>
    public InvalidModelException(string message) : base(message) { }

    /// <summary>Makes a refusal of the sentence given, with the exception that led to it.</summary>
    public InvalidModelException(string message, Exception innerException) : base(message, innerException) { }
}

/// <summary>A file that another program changed while it was read.</summary>
internal sealed class ChangedModelException(string message) : InvalidModelException(message);

/// <summary>Options that contradict their rules; the message lists every error at once.</summary>
public sealed class InvalidOptionsException : FedIcuException
{
    /// <summary>Makes a refusal that lists the errors given.</summary>
    /// <param name="errors">A sentence for each option that is wrong.</param>
    public InvalidOptionsException(IReadOnlyList<string> errors) : base(string.Join(" ", errors)) => Errors = [.. errors.Select(Sentence.Fit)];

    /// <summary>A sentence for each option that is wrong.</summary>
    public IReadOnlyList<string> Errors { get; }
}
