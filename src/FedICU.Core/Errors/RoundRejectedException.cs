using FedICU.Errors;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// The exception thrown if a round is rejected. The old model is not changed. The message gives the client, the tensor,
/// and the expected and actual values.
/// </summary>
public sealed class RoundRejectedException : FedIcuException
{
    /// <summary>Creates an exception.</summary>
    /// <param name="fault">The kind of fault.</param>
    /// <param name="message">One sentence.</param>
    /// <param name="clientId">The client at fault; null if the fault is the round's.</param>
    /// <param name="tensor">The tensor at fault; null if the fault is the whole update's.</param>
    public RoundRejectedException(RoundFault fault, string message, string? clientId = null, string? tensor = null) : base(message) =>
        (Fault, ClientId, Tensor, ClientMessage) = (fault, clientId, tensor, ClientSentence.Create(fault, message, clientId, tensor));

    /// <summary>
    /// Creates an exception for a client's update that could not be read, or was changed, while the round read it.
    /// </summary>
    internal RoundRejectedException(string clientId, string? tensor, InvalidModelException broken)
        : base($"Client {Sentence.Quote(clientId)}: {broken.Message}", broken) =>
        (Fault, ClientId, Tensor, ClientMessage) =
            (FaultOf(broken), clientId, tensor, ClientSentence.Create(FaultOf(broken), Message, clientId, tensor));

    /// <summary>Returns the fault of an update that cannot be read.</summary>
    internal static RoundFault FaultOf(InvalidModelException broken) =>
        broken is ChangedModelException ? RoundFault.Changed : RoundFault.Unreadable;

    /// <summary>Gets the kind of fault.</summary>
    public RoundFault Fault { get; }

    /// <summary>
    /// Gets the sentence for the client at fault. Unlike <see cref="Exception.Message"/>, it contains no path and no
    /// other client's id.
    /// </summary>
    public string ClientMessage { get; }

    /// <summary>Gets the client at fault; null if the fault is the round's.</summary>
    public string? ClientId { get; }

    /// <summary>Gets the tensor at fault; null if the fault is the whole update's.</summary>
    public string? Tensor { get; }
}
