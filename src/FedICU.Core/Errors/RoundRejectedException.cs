using FedICU.Errors;
using FedICU.Text;

namespace FedICU;

/// <summary>A round that was refused; the old model is untouched. The message names client, tensor, expected and found.</summary>
public sealed class RoundRejectedException : FedIcuException
{
    /// <summary>Makes a refusal.</summary>
    /// <param name="fault">What was wrong.</param>
    /// <param name="message">One sentence.</param>
    /// <param name="clientId">The client at fault, null where it is the round.</param>
    /// <param name="tensor">The tensor at fault, null where it is the whole update.</param>
    public RoundRejectedException(RoundFault fault, string message, string? clientId = null, string? tensor = null) : base(message) =>
        (Fault, ClientId, Tensor) = (fault, clientId, tensor);

    /// <summary>A client's update that could not be read, or was changed, while the round read it.</summary>
    internal RoundRejectedException(string clientId, string? tensor, InvalidModelException broken)
        : base($"Client {Sentence.Quote(clientId)}: {broken.Message}", broken) => (Fault, ClientId, Tensor) = (FaultOf(broken), clientId, tensor);

    /// <summary>Which policy decides about an update that cannot be read.</summary>
    internal static RoundFault FaultOf(InvalidModelException broken) =>
        broken is ChangedModelException ? RoundFault.Changed : RoundFault.Unreadable;

    /// <summary>What was wrong.</summary>
    public RoundFault Fault { get; }

    /// <summary>The client at fault, null where it is the round.</summary>
    public string? ClientId { get; }

    /// <summary>The tensor at fault, null where it is the whole update.</summary>
    public string? Tensor { get; }
}
