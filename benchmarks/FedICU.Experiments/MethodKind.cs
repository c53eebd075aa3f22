namespace FedICU.Experiments;

/// <summary>How a method trains, and what its clients share.</summary>
internal enum MethodKind
{
    /// <summary>Nothing is trained.</summary>
    Base,

    /// <summary>Each client trains its own adapter.</summary>
    Local,

    /// <summary>One adapter is trained on all clients' texts, with as many steps as all clients together.</summary>
    Central,

    /// <summary>Clients train one adapter in the rounds of a federation.</summary>
    Federated,
}
