using FedICU;

namespace FolderRounds;

/// <summary>
/// Stands in for an upload that must not be read. Opening it fails with the reason, so the round treats it by
/// <c>on-unreadable</c>, as any unreadable file.
/// </summary>
internal sealed class RefusedUpload(string path, string reason) : TensorSource
{
    public override IReadOnlyList<TensorInfo> Tensors => throw Refused();

    public override IReadOnlyDictionary<string, string> Metadata => throw Refused();

    public override string Location => path;

    public override void Read(TensorInfo tensor, long offset, Span<byte> destination) => throw Refused();

    private InvalidModelException Refused() => new($"'{path}' {reason}");
}
