namespace FedICU.Fuzz;

/// <summary>How a case ended.</summary>
internal enum Outcome
{
    /// <summary>The library took the input.</summary>
    Accepted,
    /// <summary>The library refused it in a sentence.</summary>
    Refused,
}

/// <summary>A part of the library that takes untrusted input: makes inputs, and checks what becomes of one.</summary>
internal abstract class FuzzTarget
{
    /// <summary>What the command line and reports call it.</summary>
    public abstract string Name { get; }

    /// <summary>Makes an input; a function of the choices alone.</summary>
    public abstract IReadOnlyList<FuzzPart> Generate(Choices choices);

    /// <summary>Gives an input to the library.</summary>
    /// <exception cref="FuzzFailure">A property does not hold.</exception>
    public abstract Outcome Check(FuzzInput input, FuzzPlace place, Caller library);

    /// <summary>The case of a seed.</summary>
    public FuzzInput Make(ulong seed, long number) => new(Name, seed, number, Generate(new Choices(seed, Name, number)));

    /// <summary>All targets, in the order they are run.</summary>
    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        new Targets.SafetensorsTarget(), new Targets.ShardedTarget(), new Targets.AdapterTarget(), new Targets.UpdateTarget(),
        new Targets.MomentumTarget(),
        new Targets.SessionTarget(), new Targets.NpzTarget(), new Targets.SettingsTarget(), new Targets.CommandLineTarget(),
        new Targets.ReportTarget(),
        new Targets.NamesTarget(),
    ];
}
