using System.Text.RegularExpressions;
using FedICU.Text;

namespace FedICU.Errors;

/// <summary>
/// Creates the sentence that a client may see from the sentence for the server's log: without paths and without other
/// clients' ids. A sentence that could still contain one is replaced by a general sentence of the fault.
/// </summary>
internal static partial class ClientSentence
{
    // stand for the client's own id and its tensor's name, which may contain any characters; messages have no controls
    private const char Id = '\u0001';
    private const char Tensor = '\u0002';

    /// <summary>Creates the sentence.</summary>
    /// <param name="fault">The kind of fault.</param>
    /// <param name="message">The whole sentence.</param>
    /// <param name="clientId">The client that will see it; null if the fault is the round's.</param>
    /// <param name="tensor">The tensor at fault, or null.</param>
    public static string Create(RoundFault fault, string message, string? clientId, string? tensor)
    {
        if (clientId is null)
            return $"The round is refused: {Describe(fault)}.";
        string own = $"Client {Sentence.Quote(clientId)}";
        string? text = message.StartsWith(own, StringComparison.Ordinal) ? Hide(message, clientId, tensor) : null;
        return text is null || OtherClient().IsMatch(text) ? $"{own}: {Describe(fault)}." : Show(text, clientId, tensor);
    }

    /// <summary>
    /// Creates the sentence for the caller of a whole round, who may see the ids of all clients but no paths of the
    /// server. Returns null if a path could remain.
    /// </summary>
    /// <param name="message">The whole sentence.</param>
    /// <param name="clientId">The client at fault, or null.</param>
    /// <param name="tensor">The tensor at fault, or null.</param>
    public static string? RemovePlaces(string message, string? clientId, string? tensor) =>
        Hide(message, clientId, tensor) is { } text ? Show(text, clientId, tensor) : null;

    /// <summary>
    /// Removes all paths, and hides the two names behind characters. Returns null if a path could remain.
    /// </summary>
    private static string? Hide(string message, string? clientId, string? tensor)
    {
        string text = Sentence.Fit(message);
        // a sentence that was cut may contain a part of a path
        if (text.Length >= Sentence.ShortestCutMessage)
            return null;
        if (clientId is not null)
            text = text.Replace(Sentence.Quote(clientId), Id.ToString(), StringComparison.Ordinal);
        text = PlaceOfClient().Replace(text, "");
        if (tensor is not null)
            text = text.Replace(Sentence.Quote(tensor), Tensor.ToString(), StringComparison.Ordinal);
        text = NameOfFolder().Replace(QuotedPlace().Replace(text, "the file"), "");
        return text.AsSpan().ContainsAny('/', '\\') ? null : text;
    }

    private static string Show(string text, string? clientId, string? tensor) =>
        text.Replace(Tensor.ToString(), Sentence.Quote(tensor ?? ""), StringComparison.Ordinal)
            .Replace(Id.ToString(), Sentence.Quote(clientId ?? ""), StringComparison.Ordinal);

    private static string Describe(RoundFault fault) => fault switch
    {
        RoundFault.NonFinite => "values are NaN or infinite",
        RoundFault.Missing => "a tensor of the global model is missing",
        RoundFault.Extra => "a tensor is not in the global model",
        RoundFault.Shape => "a tensor has another shape than in the global model",
        RoundFault.DType => "a tensor has a type that does not fit the global model's",
        RoundFault.Base => "the update was made against another model",
        RoundFault.Unreadable => "the update cannot be read",
        RoundFault.Weight => "the stated weight does not fit the round",
        RoundFault.Config => "the adapter's configuration does not fit the round",
        RoundFault.Quantized => "the update has quantized tensors",
        RoundFault.Changed => "the update changed while it was read",
        RoundFault.Stale => "the update was made in another round",
        RoundFault.Statement => "a statement about the training is missing or out of range",
        RoundFault.Duplicate => "the client has sent another update already",
        RoundFault.Late => "the update came too late",
        RoundFault.Quorum => "too few clients take part",
        RoundFault.TooLarge => "the upload is too large",
        RoundFault.NotOpen => "the round is not open yet",
        _ => "the rule refuses it",
    };

    // the file after a client's name: Client 'a' ('updates/a.safetensors')
    [GeneratedRegex(@"(?<=\bClient (?:\x01|'[^']*')) \('.*?'\)(?=[: ,;.])")]
    private static partial Regex PlaceOfClient();

    // a name in quotes that has a separator: a path, or at worst a tensor's name
    [GeneratedRegex(@"'[^']*[/\\][^']*'")]
    private static partial Regex QuotedPlace();

    [GeneratedRegex(@"(?<=\b[Ff]older) '[^']*'")]
    private static partial Regex NameOfFolder();

    // another client by its id: but client 'z' does
    [GeneratedRegex(@"\bclients? '", RegexOptions.IgnoreCase)]
    private static partial Regex OtherClient();
}
