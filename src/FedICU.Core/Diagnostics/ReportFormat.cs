using System.Text;
using System.Text.Json;

namespace FedICU.Diagnostics;

/// <summary>
/// The form of a report's JSON. It is checked before the rest is read, so that a later form is named and not taken for
/// a damaged report.
/// </summary>
internal static class ReportFormat
{
    public const int Current = 1;

    /// <summary>Refuses a report of another format. Reports of earlier versions state none.</summary>
    /// <exception cref="FedIcuException">The report has another format.</exception>
    /// <exception cref="JsonException">The text is not JSON.</exception>
    public static void RefuseOther(string json)
    {
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(json));
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            return;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool isFormat = reader.ValueTextEquals("format"u8);
            reader.Read();
            if (!isFormat)
            {
                reader.Skip();
                continue;
            }

            if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt64(out long format))
                throw new FedIcuException($"The text is not a report: its format is not a whole number; {Current} was expected.");
            if (format != Current)
                throw new FedIcuException($"The report has format {format}; this version of FedICU.Core reads format {Current}.");
            return;
        }
    }
}
