using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>Hands pooled memory to the verbs.</summary>
internal static unsafe class GroupBufferExtensions
{
    /// <summary>The buffer as a verb's table of N inputs x groups.</summary>
    public static GroupValues ToValues(this GroupBuffer buffer) => new(buffer.Data, buffer.Groups);
}
