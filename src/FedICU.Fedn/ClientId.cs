using System.Text;
using FedICU.Text;
using Google.Protobuf;

namespace FedICU.Fedn;

/// <summary>The id in FEDn's messages: a client's, or the one that stands for the global model.</summary>
internal static class ClientId
{
    /// <summary>The id of the global model.</summary>
    public const string GlobalModel = "global_model";

    /// <summary>The longest id, in characters. Chosen: FEDn's own ids have 36.</summary>
    public const int MaxLength = 1000;

    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>Reads an id.</summary>
    /// <exception cref="InvalidModelException">
    /// The id is too long or not UTF-8; the message is a whole sentence.
    /// </exception>
    public static string Read(ByteString id)
    {
        try
        {
            string text = StrictUtf8.GetString(id.Span);
            return text.Length <= MaxLength ? text : throw new InvalidModelException(
                $"The client's id is {Sentence.Quote(text)}; a name of at most {MaxLength} characters was expected.");
        }
        catch (DecoderFallbackException)
        {
            throw new InvalidModelException(
                $"The client's id {Sentence.Quote(Encoding.UTF8.GetString(id.Span))} holds bytes that are not UTF-8.");
        }
    }

    /// <summary>Names a client at the start of a sentence.</summary>
    public static string Describe(string id) => $"Client {Sentence.Quote(id)}";
}
