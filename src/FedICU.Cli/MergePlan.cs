using System.Globalization;

namespace FedICU.Cli;

/// <summary>A merge as its command line or its configuration describes it.</summary>
/// <param name="Method">The strategy's name.</param>
/// <param name="Base">The path of the base model.</param>
/// <param name="Models">The paths of the models with their weights, in the order given.</param>
/// <param name="Settings">The strategy's options.</param>
/// <param name="DType">The output's type; null: the base model's.</param>
internal sealed record MergePlan(
    string Method, string Base, IReadOnlyList<(string Path, double Weight)> Models,
    IReadOnlyList<KeyValuePair<string, string>> Settings, DType? DType)
{
    /// <summary>Reads a model's weight.</summary>
    /// <param name="text">The number.</param>
    /// <param name="refuse">Makes an error of the rest of a sentence that names the weight.</param>
    public static double ReadWeight(string text, Func<string, RefusedException> refuse) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double weight) && weight >= 0 && double.IsFinite(weight)
            ? weight
            : throw refuse($"is '{text}'; a finite number of at least 0 was expected");

    /// <summary>Returns the models as clients, whose ids keep the order given.</summary>
    public ClientList ToClients()
    {
        // a client's place decides random masks, and which of two models slerp begins with
        int digits = Models.Count.ToString(CultureInfo.InvariantCulture).Length;
        return new ClientList(Models.Select((model, i) => new ClientEntry(
            $"{(i + 1).ToString(CultureInfo.InvariantCulture).PadLeft(digits, '0')}={model.Path}", model.Path)
        { Weight = model.Weight }));
    }
}
