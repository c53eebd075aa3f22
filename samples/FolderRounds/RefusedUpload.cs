using FedICU;

namespace FolderRounds;

/// <summary>
/// An upload that is not read. Opening it fails with the reason, which falls under the round's <c>on-unreadable</c> as any other file that
/// cannot be read.
/// </summary>
internal sealed class RefusedUpload(string path, string reason) : TensorSource
{
    public override IReadOnlyList<TensorInfo> Tensors => throw Refused();

    public override IReadOnlyDictionary<string, string> Metadata => throw Refused();

    public override string Location => path;

    public override void Read(TensorInfo tensor, long offset, Span<byte> destination) => throw Refused();

    private InvalidModelException Refused() => new($"'{path}' {reason}");
}
