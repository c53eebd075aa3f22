using System.CommandLine;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu diff</c>: compares two models. A difference is a result, not a failure.</summary>
internal sealed class DiffCommand : FedIcuCommand
{
    private readonly Argument<string> _first = new("A") { Description = "The first model." };
    private readonly Argument<string> _second = new("B") { Description = "The second model." };

    public DiffCommand(Terminal terminal)
        : base("diff", "Compares two models tensor by tensor; exit code 0 whether or not they differ.", terminal)
    {
        Add(_first);
        Add(_second);
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

        Write(a, b, differences);
        // a value that is not finite differs infinitely from any other
        foreach (TensorDifference difference in differences.Where(difference => difference.MaxAbsolute is double.PositiveInfinity))
        {
            long first = NonFinite(a, difference.Name), second = NonFinite(b, difference.Name);
            if (first + second > 0)
            {
                Terminal.Line(
                    $"{difference.Name}: {Text.Count(first, "value")} in A and {second} in B are NaN or infinite, " +
                    "so the largest difference is infinite");
            }
        }

        Conclude(ModelDigest.Compute(a, cancellationToken), ModelDigest.Compute(b, cancellationToken), differences);
        return ExitCode.Done;

        long NonFinite(TensorSource model, string name) =>
            ModelStatistics.Measure(model, model.Find(name)!, cancellationToken).NonFinite ?? 0;
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
