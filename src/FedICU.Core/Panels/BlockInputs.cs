namespace FedICU.Panels;

/// <summary>The inputs of a pass in blocks of float64: the clients' readers, then the global model's.</summary>
/// <param name="Readers">The readers; without the global model if the block's result is the output itself.</param>
/// <param name="Clients">The number of clients.</param>
/// <param name="SubtractsGlobal">Whether a block has the differences of the clients and the global model.</param>
internal readonly record struct BlockInputs(PanelReader[] Readers, int Clients, bool SubtractsGlobal)
{
    /// <summary>Gets whether the global model is the last input.</summary>
    public bool HasGlobal => Readers.Length > Clients;

    /// <summary>Returns the inputs of one client.</summary>
    public BlockInputs Of(int client) => this with { Readers = [Readers[client], .. Readers[Clients..]], Clients = 1 };
}
