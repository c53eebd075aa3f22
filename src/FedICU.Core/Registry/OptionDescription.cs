namespace FedICU;

/// <summary>An option of a strategy, as help texts and tables show it.</summary>
/// <param name="Name">The option's name in <c>--set name=value</c>.</param>
/// <param name="Values">The values it takes: <c>number</c>, <c>true, false</c>, or the choices.</param>
/// <param name="Default">The value without the option; <c>required</c> if it must be given.</param>
/// <param name="Summary">What the option does, in one sentence.</param>
public sealed record OptionDescription(string Name, string Values, string Default, string Summary)
{
    /// <summary>The <see cref="Default"/> of an option that must be given.</summary>
    internal const string Required = "required";
}
