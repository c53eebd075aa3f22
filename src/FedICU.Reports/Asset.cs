using System.Collections.Concurrent;
using System.IO.Compression;
using System.Text;

namespace FedICU.Reports;

/// <summary>Reads the scripts and styles that are embedded in the assembly.</summary>
internal static class Asset
{
    private const string Compressed = ".gz";

    /// <summary>The plotting library, Apache ECharts.</summary>
    public const string Plots = "echarts.min.js" + Compressed;

    private static readonly ConcurrentDictionary<string, string> Texts = [];

    /// <summary>Returns an asset's text with LF as line end, as an HTML parser reads it.</summary>
    public static string Read(string name) => Texts.GetOrAdd(name, Load);

    private static string Load(string name)
    {
        using Stream stored = typeof(Asset).Assembly.GetManifestResourceStream(name) ??
            throw new InvalidOperationException($"The assembly has no asset '{name}'.");
        using Stream plain = name.EndsWith(Compressed, StringComparison.Ordinal)
            ? new GZipStream(stored, CompressionMode.Decompress)
            : stored;
        using var reader = new StreamReader(plain, Encoding.UTF8);
        return reader.ReadToEnd().ReplaceLineEndings("\n");
    }
}
