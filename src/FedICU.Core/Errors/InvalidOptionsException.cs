using FedICU.Text;

namespace FedICU;

/// <summary>The exception thrown if options are invalid. The message lists all errors at once.</summary>
public sealed class InvalidOptionsException : FedIcuException
{
    /// <summary>Creates an exception that lists the given errors.</summary>
    /// <param name="errors">One sentence for each invalid option.</param>
    public InvalidOptionsException(IReadOnlyList<string> errors) : base(string.Join(" ", errors)) =>
        Errors = [.. errors.Select(Sentence.Fit)];

    /// <summary>Gets one sentence for each invalid option.</summary>
    public IReadOnlyList<string> Errors { get; }
}
