namespace FedICU.Fuzz;

/// <summary>How a case ended.</summary>
internal enum Outcome
{
    /// <summary>The library accepted the input.</summary>
    Accepted,

    /// <summary>The library refused the input with a message.</summary>
    Refused,
}

/// <summary>
/// A part of the library that takes untrusted input. A target generates inputs and checks how the library handles them.
/// </summary>
internal abstract class FuzzTarget
{
    /// <summary>The target's name on the command line and in reports.</summary>
    public abstract string Name { get; }

    /// <summary>Generates an input. The result depends only on the choices.</summary>
    public abstract IReadOnlyList<FuzzPart> Generate(Choices choices);

    /// <summary>Gives an input to the library and checks the outcome.</summary>
    /// <exception cref="FuzzFailure">A property does not hold.</exception>
    public abstract Outcome Check(FuzzInput input, FuzzPlace place, Caller library);

    /// <summary>Generates a case of a seed.</summary>
    public FuzzInput Make(ulong seed, long number) => new(Name, seed, number, Generate(new Choices(seed, Name, number)));

    /// <summary>All targets, in the order in which they run.</summary>
    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        new Targets.SafetensorsTarget(), new Targets.ShardedTarget(), new Targets.AdapterTarget(), new Targets.UpdateTarget(),
        new Targets.MomentumTarget(), new Targets.SessionTarget(), new Targets.NpzTarget(), new Targets.SettingsTarget(),
        new Targets.CommandLineTarget(), new Targets.ReportTarget(), new Targets.NamesTarget(),
    ];
}
