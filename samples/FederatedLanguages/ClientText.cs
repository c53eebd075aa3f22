namespace FederatedLanguages;

/// <summary>A client's private text.</summary>
/// <param name="Name">The client's name.</param>
/// <param name="Domain">The place of the client's domain among all domains.</param>
/// <param name="Train">The text to train on.</param>
internal sealed record ClientText(string Name, int Domain, byte[] Train);
