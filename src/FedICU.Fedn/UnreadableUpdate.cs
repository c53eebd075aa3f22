namespace FedICU.Fedn;

/// <summary>
/// The update of a client whose model was refused or never arrived. Reading it throws the reason, so that the round's
/// policy on-unreadable applies. The client's weight stays known, so that a fault of it is found too.
/// </summary>
/// <param name="fault">The end of a sentence that begins with the client's name.</param>
internal sealed class UnreadableUpdate(string fault) : TensorSource
{
    /// <inheritdoc/>
    public override IReadOnlyList<TensorInfo> Tensors => throw new InvalidModelException(fault);

    /// <inheritdoc/>
    public override string Location => "memory";

    /// <inheritdoc/>
    public override bool IsInMemory => true;

    /// <inheritdoc/>
    public override void Read(TensorInfo tensor, long offset, Span<byte> destination) => throw new InvalidModelException(fault);
}
