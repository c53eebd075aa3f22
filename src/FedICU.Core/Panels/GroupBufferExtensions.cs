using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>Passes pooled memory to the backend's verbs.</summary>
internal static unsafe class GroupBufferExtensions
{
    /// <summary>Converts the buffer to a verb's table of inputs x groups.</summary>
    public static GroupValues ToValues(this GroupBuffer buffer) => new(buffer.Data, buffer.Groups);
}
