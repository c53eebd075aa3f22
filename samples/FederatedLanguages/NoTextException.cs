namespace FederatedLanguages;

/// <summary>Reports that a text is missing, in a sentence that says what to do.</summary>
internal sealed class NoTextException(string message) : Exception(message);
