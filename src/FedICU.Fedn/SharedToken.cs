using System.Security.Cryptography;
using System.Text;
using FedICU.Files;
using FedICU.Text;

namespace FedICU.Fedn;

/// <summary>
/// The token that a caller sends as <c>authorization: Bearer ...</c>. It is kept as a hash, so that comparing takes the
/// same time for tokens of any length.
/// </summary>
internal sealed class SharedToken
{
    // characters; chosen: 16 random characters of base64 are 96 bits
    private const int MinLength = 16;

    // bytes; chosen, so that a wrong path to a large file is refused before it is read
    private const int MaxFileLength = 4096;

    private const string Scheme = "Bearer ";

    private readonly byte[] _hash;

    private SharedToken(string token) => _hash = Hash(token);

    /// <summary>Reads the token from the options or from their file; null if there is none.</summary>
    /// <exception cref="FedIcuException">
    /// The token is too short or cannot be sent in a header; its file cannot be read.
    /// </exception>
    public static SharedToken? Read(FednOptions options)
    {
        if ((options.Token ?? (options.TokenFile is null ? null : ReadFile(options.TokenFile))) is not { } token)
            return null;
        string name = options.Token is null ? "FedIcu:TokenFile" : "FedIcu:Token";
        if (token.Length < MinLength)
            throw Refused($"{name} has a token of {Sentence.Count(token.Length, "character")}; at least {MinLength} were expected.");
        if (token.AsSpan().ContainsAnyExceptInRange('!', '~'))
            throw Refused($"{name} has a token with a character that is not visible ASCII; letters, digits and signs were expected.");
        return new SharedToken(token);
    }

    /// <summary>
    /// Returns whether a call's header <c>authorization</c> holds the token. The time does not depend on where a wrong
    /// token differs.
    /// </summary>
    public bool Accepts(string? authorization) =>
        authorization is not null && authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase) &&
        CryptographicOperations.FixedTimeEquals(Hash(authorization[Scheme.Length..].Trim(' ')), _hash);

    private static string ReadFile(string path)
    {
        try
        {
            using FileStream file = File.OpenRead(path);
            byte[] bytes = new byte[MaxFileLength + 1];
            int length = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            return length <= MaxFileLength ? Encoding.UTF8.GetString(bytes, 0, length).Trim()
                : throw new FedIcuException($"The token's file '{path}' has more than {MaxFileLength} bytes.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new FedIcuException($"The token's file '{path}' cannot be read: {FileFailure.Describe(e)}.", e);
        }
    }

    private static InvalidOptionsException Refused(string sentence) => new([sentence]);

    private static byte[] Hash(string token) => SHA256.HashData(Encoding.UTF8.GetBytes(token));
}
