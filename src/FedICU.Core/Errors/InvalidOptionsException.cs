using FedICU.Text;

namespace FedICU;

/// <summary>Options that contradict their rules; the message lists every error at once.</summary>
public sealed class InvalidOptionsException : FedIcuException
{
    /// <summary>Makes a refusal that lists the errors given.</summary>
    /// <param name="errors">A sentence for each option that is wrong.</param>
    public InvalidOptionsException(IReadOnlyList<string> errors) : base(string.Join(" ", errors)) => Errors = [.. errors.Select(Sentence.Fit)];

    /// <summary>A sentence for each option that is wrong.</summary>
    public IReadOnlyList<string> Errors { get; }
}
