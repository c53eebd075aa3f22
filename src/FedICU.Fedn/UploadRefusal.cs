namespace FedICU.Fedn;

/// <summary>Why an upload cannot begin.</summary>
internal enum UploadRefusal
{
    /// <summary>The round has no room for one more client.</summary>
    TooManyClients,

    /// <summary>The client's earlier upload has not ended.</summary>
    IsOpen,

    /// <summary>An update of the client was accepted in this round.</summary>
    HasUpdate,

    /// <summary>The round has its new model, which has not been sent in whole.</summary>
    IsUnsent,
}
