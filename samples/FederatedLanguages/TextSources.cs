using System.Collections;
using System.IO.Compression;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Resources;
using System.Text;
using System.Xml;

namespace FederatedLanguages;

/// <summary>
/// Reads texts that every machine with a .NET SDK has: its messages in thirteen languages (localized resources) and the
/// English documentation of its reference assemblies. Or reads a folder of the user's texts.
/// </summary>
internal static class TextSources
{
    // one line of this many is for testing; chosen
    private const int TestShare = 10;

    // the fewest messages of a language that is worth training on; chosen
    private const int FewestMessages = 1000;

    // characters of a documentation sentence that is too short to use; chosen
    private const int ShortSentence = 24;

    /// <summary>The names of the base's domain, which belongs to no client.</summary>
    public static IReadOnlyList<string> GeneralNames { get; } = ["en", "base", "general"];

    public static bool IsGeneral(DomainText domain) => GeneralNames.Contains(domain.Name);

    /// <summary>Reads the SDK's messages in one language, for example <c>de</c>.</summary>
    public static DomainText FromSdk(string language, int testBytes)
    {
        string sdk = Path.Combine(DotnetRoot(), "sdk");
        string? newest = Directory.Exists(sdk)
            ? Directory.GetDirectories(sdk).OrderBy(VersionOf).ThenBy(path => path, StringComparer.Ordinal).LastOrDefault()
            : null;
        var messages = new SortedSet<string>(StringComparer.Ordinal);
        if (newest is not null)
        {
            foreach (string file in Directory.EnumerateFiles(newest, "*.resources.dll", SearchOption.AllDirectories))
            {
                if (Path.GetFileName(Path.GetDirectoryName(file)) == language)
                    messages.UnionWith(ReadMessages(file));
            }
        }

        return messages.Count > FewestMessages
            ? Split(language, messages, testBytes)
            : throw new NoTextException(
                $"This .NET SDK has too few messages in '{language}' ({messages.Count} found); give another language, " +
                "or a folder with a text file for each domain with --data DIR.");
    }

    /// <summary>Reads the English documentation of the reference assemblies, which is the base's domain.</summary>
    public static DomainText EnglishFromSdk(int testBytes)
    {
        string packs = Path.Combine(DotnetRoot(), "packs", "Microsoft.NETCore.App.Ref");
        string? file = Directory.Exists(packs)
            ? Directory.GetFiles(packs, "System.Runtime.xml", SearchOption.AllDirectories)
                .OrderBy(path => VersionOf(Path.GetRelativePath(packs, path).Split(Path.DirectorySeparatorChar)[0]))
                .ThenBy(path => path, StringComparer.Ordinal)
                .LastOrDefault()
            : null;
        if (file is null)
        {
            throw new NoTextException(
                "This .NET SDK has no XML documentation (packs/Microsoft.NETCore.App.Ref); " +
                "give a folder with a text file for each domain with --data DIR.");
        }

        var sentences = new SortedSet<string>(StringComparer.Ordinal);
        using var reader = XmlReader.Create(file, new XmlReaderSettings { IgnoreComments = true, DtdProcessing = DtdProcessing.Ignore });
        while (reader.Read())
        {
            if (reader.NodeType != XmlNodeType.Text)
                continue;
            string sentence = string.Join(' ', reader.Value.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
            if (sentence.Length > ShortSentence)
                sentences.Add(sentence);
        }

        return Split("en", sentences, testBytes);
    }

    /// <summary>
    /// Reads the domains of a folder. A domain is a subfolder with train.txt and test.txt (or .txt.gz), or a .txt file,
    /// which is split here. A domain named en, base or general is the base's domain.
    /// </summary>
    public static List<DomainText> FromFolder(string folder, int testBytes, int leastBytes)
    {
        if (!Directory.Exists(folder))
            throw new NoTextException($"The folder '{folder}' of --data does not exist.");
        var domains = new List<DomainText>();
        foreach (string path in Directory.GetDirectories(folder).Order(StringComparer.Ordinal))
        {
            (byte[]? train, byte[]? test) = (ReadText(path, "train"), ReadText(path, "test"));
            if (train is null && test is null)
                continue;
            if (train is null || test is null)
            {
                (string found, string missing) = train is null ? ("test", "train") : ("train", "test");
                throw new NoTextException($"The folder '{path}' of --data has {found}.txt but no {missing}.txt (or .txt.gz).");
            }

            domains.Add(Checked(new DomainText(Path.GetFileName(path), train, test.AsSpan(0, Math.Min(test.Length, testBytes)).ToArray())));
        }

        foreach (string path in Directory.GetFiles(folder, "*.txt").Order(StringComparer.Ordinal))
        {
            var lines = new SortedSet<string>(File.ReadLines(path), StringComparer.Ordinal);
            domains.Add(Checked(Split(Path.GetFileNameWithoutExtension(path), lines, testBytes)));
        }

        return domains.Count > 0
            ? domains
            : throw new NoTextException(
                $"The folder '{folder}' has no domains: neither folders with train.txt and test.txt (or .txt.gz) nor .txt files.");

        DomainText Checked(DomainText domain) => Math.Min(domain.Train.Length, domain.Test.Length) > leastBytes
            ? domain
            : throw new NoTextException(
                $"The domain '{domain.Name}' of --data is too small: " +
                $"{domain.Train.Length} bytes to train on and {domain.Test.Length} to test with.");
    }

    private static byte[]? ReadText(string folder, string name)
    {
        string plain = Path.Combine(folder, name + ".txt"), packed = plain + ".gz";
        if (File.Exists(plain))
            return File.ReadAllBytes(plain);
        if (!File.Exists(packed))
            return null;
        using var stream = new GZipStream(File.OpenRead(packed), CompressionMode.Decompress);
        using var text = new MemoryStream();
        stream.CopyTo(text);
        return text.ToArray();
    }

    /// <summary>
    /// Splits a text: one line in ten, chosen by its hash, is for testing. The lines are ordered by hash, the same on
    /// every machine.
    /// </summary>
    private static DomainText Split(string name, SortedSet<string> lines, int testBytes)
    {
        var train = new MemoryStream();
        var test = new MemoryStream();
        IEnumerable<(ulong Hash, string Line)> ordered = lines.Select(line => (Hash: Hash(line), Line: line))
            .OrderBy(pair => pair.Hash).ThenBy(pair => pair.Line, StringComparer.Ordinal);
        foreach ((ulong hash, string line) in ordered)
            (hash % TestShare == 0 ? test : train).Write(Encoding.UTF8.GetBytes(line + "\n"));
        return new DomainText(name, train.ToArray(), test.ToArray()[..(int)Math.Min(test.Length, testBytes)]);
    }

    /// <summary>
    /// Computes FNV-1a with a final mix of its bits. string.GetHashCode cannot be used: it differs from run to run.
    /// </summary>
    private static ulong Hash(string line)
    {
        ulong hash = 14695981039346656037;
        foreach (byte b in Encoding.UTF8.GetBytes(line))
            hash = unchecked((hash ^ b) * 1099511628211);
        hash = unchecked((hash ^ hash >> 32) * 0xD6E8FEB86659FD93);
        return hash ^ hash >> 32;
    }

    /// <summary>Reads the strings of a satellite assembly. The assembly is read as data and not loaded.</summary>
    private static List<string> ReadMessages(string assembly)
    {
        var messages = new List<string>();
        using var image = new PEReader(File.OpenRead(assembly));
        if (!image.HasMetadata || image.PEHeaders.CorHeader is not { } header)
            return messages;
        MetadataReader metadata = image.GetMetadataReader();
        PEMemoryBlock resources = image.GetSectionData(header.ResourcesDirectory.RelativeVirtualAddress);
        foreach (ManifestResource resource in metadata.ManifestResources.Select(metadata.GetManifestResource))
        {
            if (!resource.Implementation.IsNil || !metadata.GetString(resource.Name).EndsWith(".resources", StringComparison.Ordinal))
                continue;
            BlobReader blob = resources.GetReader((int)resource.Offset, resources.Length - (int)resource.Offset);
            byte[] bytes = blob.ReadBytes(blob.ReadInt32());
            using var reader = new ResourceReader(new MemoryStream(bytes));
            foreach (DictionaryEntry entry in reader)
            {
                reader.GetResourceData((string)entry.Key, out string type, out byte[] data);
                if (type != "ResourceTypeCode.String")
                    continue;
                string text = new BinaryReader(new MemoryStream(data), Encoding.UTF8).ReadString().ReplaceLineEndings(" ").Trim();
                if (text.Length > 0)
                    messages.Add(text);
            }
        }

        return messages;
    }

    private static string DotnetRoot()
    {
        if (Environment.GetEnvironmentVariable("DOTNET_ROOT") is { Length: > 0 } root && Directory.Exists(Path.Combine(root, "sdk")))
            return root;
        // <root>/shared/Microsoft.NETCore.App/<version>/System.Private.CoreLib.dll
        return Path.GetFullPath(Path.Combine(Path.GetDirectoryName(typeof(object).Assembly.Location)!, "..", "..", ".."));
    }

    private static Version VersionOf(string folder) =>
        Version.TryParse(Path.GetFileName(folder).Split('-')[0], out Version? version) ? version : new Version();
}
