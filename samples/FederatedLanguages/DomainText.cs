namespace FederatedLanguages;

/// <summary>A domain's text to train on, and its text to test on.</summary>
internal sealed record DomainText(string Name, byte[] Train, byte[] Test);
