using System.CommandLine;
using FedICU.Cli.Json;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu diff</c>: compares two models. A difference is a result, not a failure.</summary>
internal sealed class DiffCommand : FedIcuCommand
{
    private readonly Argument<string> _first = new("A") { Description = "The first model." };
    private readonly Argument<string> _second = new("B") { Description = "The second model." };
    private readonly Option<bool> _json = Flags.Json();

    public DiffCommand(Terminal terminal)
        : base("diff", "Compares two models tensor by tensor; exit code 0 whether or not they differ.", terminal)
    {
        Add(_first);
        Add(_second);
        Add(_json);
    }

    public override IReadOnlyList<string> Examples => ["fedicu diff before.safetensors after.safetensors"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken) =>
        Task.Run(() => Run(line, cancellationToken), cancellationToken);

    private int Run(ParseResult line, CancellationToken cancellationToken)
    {
        using TensorSource a = Paths.Open("A", line.GetRequiredValue(_first));
        using TensorSource b = Paths.Open("B", line.GetRequiredValue(_second));
        if (b.Tensors.FirstOrDefault(tensor => a.Find(tensor.Name) is null) is { } extra)
        {
            throw new RefusedException(
                $"The models cannot be compared: tensor '{extra.Name}' of {extra} is in '{b.Location}' and missing in '{a.Location}'.");
        }

        List<TensorDifference> differences = [];
        try
        {
            foreach (TensorInfo tensor in a.Tensors)
                differences.Add(ModelStatistics.Compare(a, b, tensor.Name, cancellationToken));
        }
        catch (InvalidModelException e)
        {
            throw new RefusedException($"The models cannot be compared: {e.Message}");
        }

        (string digestA, string digestB) = (ModelDigest.Compute(a, cancellationToken), ModelDigest.Compute(b, cancellationToken));
        // a value that is not finite differs infinitely from any other
        Dictionary<string, (long A, long B)> nonFinite = differences
            .Where(difference => difference.MaxAbsolute is double.PositiveInfinity)
            .ToDictionary(difference => difference.Name, difference => (NonFinite(a, difference.Name), NonFinite(b, difference.Name)));
        if (line.GetValue(_json))
        {
            Terminal.Json(
                new ModelComparison(
                    new ComparedModel(line.GetRequiredValue(_first), digestA), new ComparedModel(line.GetRequiredValue(_second), digestB),
                    digestA == digestB, differences.Count(difference => difference.DifferentElements > 0),
                    [.. differences.Select(difference => Describe(a, b, difference, nonFinite))]),
                CliJson.Default.ModelComparison);
            return ExitCode.Done;
        }

        Write(a, b, differences);
        foreach ((string name, (long first, long second)) in nonFinite.Where(counts => counts.Value.A + counts.Value.B > 0))
        {
            Terminal.Line(
                $"{name}: {Text.Count(first, "value")} in A and {second} in B are NaN or infinite, so the largest difference is infinite");
        }

        Conclude(digestA, digestB, differences);
        return ExitCode.Done;

        long NonFinite(TensorSource model, string name) =>
            ModelStatistics.Measure(model, model.Find(name)!, cancellationToken).NonFinite ?? 0;
    }

    private static ComparedTensor Describe(
        TensorSource a, TensorSource b, TensorDifference difference, Dictionary<string, (long A, long B)> nonFinite)
    {
        (long A, long B)? counts = nonFinite.TryGetValue(difference.Name, out (long, long) found) ? found : null;
        return new ComparedTensor(
            difference.Name, a.Find(difference.Name)!.DType.SafetensorsName, b.Find(difference.Name)!.DType.SafetensorsName,
            difference.Elements, difference.DifferentElements, difference.MaxAbsolute, difference.MaxRelative, counts?.A, counts?.B);
    }

    private void Write(TensorSource a, TensorSource b, List<TensorDifference> differences)
    {
        var table = new ResultTable("tensor", "type", ">elements", ">different", ">max absolute", ">max relative");
        foreach (TensorDifference difference in differences)
        {
            (DType first, DType second) = (a.Find(difference.Name)!.DType, b.Find(difference.Name)!.DType);
            table.Add(
                difference.Name, first == second ? first.SafetensorsName : $"{first.SafetensorsName} and {second.SafetensorsName}",
                Text.Count(difference.Elements), Text.Count(difference.DifferentElements), Text.Number(difference.MaxAbsolute),
                Text.Number(difference.MaxRelative));
        }

        Terminal.Table(table);
    }

    private void Conclude(string a, string b, List<TensorDifference> differences)
    {
        Terminal.Line($"A {a}");
        Terminal.Line($"B {b}");
        int different = differences.Count(difference => difference.DifferentElements > 0);
        if (a == b)
            Terminal.Verdict("the models are identical", good: true);
        else if (different == 0)
            Terminal.Verdict("the models have the same values in other bits (types, signs of zeros, kinds of NaN)", good: true);
        else
            Terminal.Verdict($"the models differ in {different} of {Text.Count(differences.Count, "tensor")}", good: false);
    }
}
