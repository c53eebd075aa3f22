using System.Globalization;
using FedICU.Text;

namespace FedICU.Files;

/// <summary>
/// A server's state that was opened and belongs to the round: its tensors and the numbers in its metadata.
/// </summary>
internal sealed class ServerState : IDisposable
{
    private const string StartAgain = "to start without the state, remove the file";

    private ServerState(SafetensorsFile source, long rounds) => (Source, Rounds) = (source, rounds);

    /// <summary>Gets the tensors, which are those that the caller expected.</summary>
    public TensorSource Source { get; }

    /// <summary>Gets the number of rounds that the state has been through.</summary>
    public long Rounds { get; }

    /// <summary>Returns the metadata of a state, without <see cref="MetadataKeys.Base"/>.</summary>
    /// <param name="stages">The names of the strategy's stages, joined by commas.</param>
    /// <param name="rounds">The number of rounds including the one that writes the state.</param>
    /// <param name="round">The number of the round that writes the state, if known.</param>
    public static Dictionary<string, string> Describe(string stages, long rounds, long? round)
    {
        var metadata = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            [MetadataKeys.State] = stages,
            [MetadataKeys.Rounds] = rounds.ToString(CultureInfo.InvariantCulture),
        };
        if (round is { } number)
            metadata[MetadataKeys.Round] = number.ToString(CultureInfo.InvariantCulture);
        return metadata;
    }

    /// <summary>Opens a state and checks that it belongs to the round.</summary>
    /// <param name="path">The state's file.</param>
    /// <param name="stages">The names of the strategy's stages, joined by commas.</param>
    /// <param name="expected">The tensors of the state, in any order.</param>
    /// <param name="modelDigest">Computes the digest of the round's global model. It is called last.</param>
    /// <param name="round">The number of the round, if known.</param>
    /// <exception cref="InvalidModelException">
    /// The file cannot be read, or is the state of another strategy, model, round or set of tensors. The message is one
    /// sentence.
    /// </exception>
    public static ServerState Open(string path, string stages, IReadOnlyList<TensorInfo> expected, Func<string> modelDigest, long? round)
    {
        SafetensorsFile source = SafetensorsFile.Open(path);
        try
        {
            Require(source, MetadataKeys.State, stages);
            long rounds = ReadNumber(source, MetadataKeys.Rounds) ?? throw Fail(
                source, $"metadata '{MetadataKeys.Rounds}' is missing; a whole number of at least 0 was expected");
            if (round is { } present && ReadNumber(source, MetadataKeys.Round) is { } written && written >= present)
                throw Fail(source, $"the state is of round {written}; one of a round before {present} was expected; {StartAgain}");
            CheckTensors(source, expected);
            string digest = modelDigest();
            if (source.Metadata.GetValueOrDefault(MetadataKeys.Base) is { } model && model != digest)
            {
                throw Fail(
                    source, $"the state belongs to the model {Sentence.Clean(model)}, which its round wrote; " +
                    $"this round's global model is {digest}; {StartAgain}");
            }

            Require(source, MetadataKeys.Base, digest);
            return new ServerState(source, rounds);
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => Source.Dispose();

    private static void Require(SafetensorsFile source, string key, string expected)
    {
        string? found = source.Metadata.GetValueOrDefault(key);
        if (found != expected)
            throw Fail(source, $"metadata '{key}' is {(found is null ? "missing" : Sentence.Quote(found))}; '{expected}' was expected");
    }

    private static long? ReadNumber(SafetensorsFile source, string key)
    {
        if (!source.Metadata.TryGetValue(key, out string? text))
            return null;
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long number)
            ? number
            : throw Fail(source, $"metadata '{key}' is {Sentence.Quote(text)}; a whole number of at least 0 was expected");
    }

    private static void CheckTensors(SafetensorsFile source, IReadOnlyList<TensorInfo> expected)
    {
        foreach (TensorInfo tensor in expected)
        {
            TensorInfo found = source.Find(tensor.Name) ??
                throw Fail(source, $"tensor {Sentence.Quote(tensor.Name)} is missing; {tensor} was expected");
            if (found != tensor)
                throw Fail(source, $"tensor {Sentence.Quote(tensor.Name)} is {found}; {tensor} was expected");
        }

        if (source.Tensors.Count == expected.Count)
            return;
        HashSet<string> names = [.. expected.Select(tensor => tensor.Name)];
        TensorInfo extra = source.Tensors.First(tensor => !names.Contains(tensor.Name));
        throw Fail(source, $"tensor {Sentence.Quote(extra.Name)} is {extra}, but the model and strategy have no such state");
    }

    private static InvalidModelException Fail(SafetensorsFile source, string what) => new($"'{source.Location}': {what}.");
}
