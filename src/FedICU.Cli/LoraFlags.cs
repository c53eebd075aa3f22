using System.CommandLine;
using System.Globalization;

namespace FedICU.Cli;

/// <summary>The options that commands on LoRA adapters share.</summary>
internal static class LoraFlags
{
    public static Option<string?> Scaling() => Flags.Optional(
        "--scaling", "S", "The scaling s of an adapter without adapter_config.json, whose files do not state it: alpha / r.");

    /// <summary>Reads a finite number other than 0; null if the option was not given.</summary>
    public static double? ReadNumber(string option, string? text)
    {
        const NumberStyles Style = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        if (text is null)
            return null;
        return double.TryParse(text, Style, CultureInfo.InvariantCulture, out double value) && double.IsFinite(value) && value != 0
            ? value
            : throw new RefusedException($"{option} is '{text}'; a finite number other than 0 was expected.");
    }
}
