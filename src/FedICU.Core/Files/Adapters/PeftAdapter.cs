using System.Buffers;
using System.Security.Cryptography;
using FedICU.Files;
using FedICU.Text;

namespace FedICU;

/// <summary>A PEFT adapter in a folder: adapter_model.safetensors and adapter_config.json.</summary>
public sealed class PeftAdapter : TensorSource
{
    // Opening is retried when a writer replaces both files meanwhile. The limit, which is chosen, ends this if a writer
    // never pauses.
    private const int MaxAttempts = 100;

    private readonly SafetensorsFile _file;

    private PeftAdapter(string folder, SafetensorsFile file, PeftAdapterConfig config)
    {
        Location = folder;
        _file = file;
        Config = config;
    }

    /// <summary>Opens an adapter's folder.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="access">
    /// How the data is read. Use <see cref="FileAccessMode.Mapped"/> only for files that nobody truncates while they
    /// are open.
    /// </param>
    /// <exception cref="InvalidModelException">
    /// One of the two files cannot be opened or is malformed. The message is one sentence.
    /// </exception>
    public static new PeftAdapter Open(string folder, FileAccessMode access = FileAccessMode.Read) => Open(folder, access, null);

    /// <inheritdoc cref="TensorSource.Open(string, FileAccessMode, RoundFiles?)"/>
    internal static new PeftAdapter Open(string folder, FileAccessMode access, RoundFiles? round)
    {
        ArgumentNullException.ThrowIfNull(folder);
        string configPath = Path.Combine(folder, ModelFolder.AdapterConfig);
        byte[] json = ModelFile.ReadAll(configPath, PeftAdapterConfig.MaxLength);
        for (int attempt = 0; ; attempt++)
        {
            PeftAdapterConfig config = round?.ShareConfig(json, configPath) ?? PeftAdapterConfig.Parse(json, configPath);
            var file = SafetensorsFile.Open(Path.Combine(folder, ModelFolder.AdapterModel), access, round);
            try
            {
                string? stated = file.OwnMetadata.GetValueOrDefault(MetadataKeys.Config);
                if (stated is null || stated == ChecksumOf(json))
                    return new PeftAdapter(folder, file, config);
                // A writer may have replaced both files since the configuration was read.
                byte[] again = ModelFile.ReadAll(configPath, PeftAdapterConfig.MaxLength);
                if (again.AsSpan().SequenceEqual(json) || attempt == MaxAttempts)
                    throw new InvalidModelException($"'{file.Location}' belongs to a different configuration: its metadata " +
                        $"'{MetadataKeys.Config}' is {Sentence.Quote(stated)}, " +
                        $"but the checksum of '{configPath}' is '{ChecksumOf(json)}'.");
                json = again;
            }
            catch
            {
                file.Dispose();
                throw;
            }

            file.Dispose();
        }
    }

    /// <summary>Computes the value of <see cref="MetadataKeys.Config"/> for a configuration.</summary>
    internal static string ChecksumOf(ReadOnlySpan<byte> config) => "sha256:" + Convert.ToHexStringLower(SHA256.HashData(config));

    /// <summary>Gets the content of adapter_config.json.</summary>
    public PeftAdapterConfig Config { get; }

    /// <inheritdoc/>
    public override PeftAdapterConfig AdapterConfig => Config;

    /// <summary>Gets the tensors in the order of their data.</summary>
    public override IReadOnlyList<TensorInfo> Tensors => _file.Tensors;

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, string> Metadata => _file.Metadata;

    /// <summary>Gets the folder's path as it was given.</summary>
    public override string Location { get; }

    /// <inheritdoc/>
    public override void Read(TensorInfo tensor, long offset, Span<byte> destination) => _file.Read(tensor, offset, destination);

    /// <inheritdoc/>
    public override bool TryPin(TensorInfo tensor, out MemoryHandle memory) => _file.TryPin(tensor, out memory);

    internal override void RequireUnchanged() => _file.RequireUnchanged();

    internal override void Forget(TensorInfo tensor, long offset, long length) => _file.Forget(tensor, offset, length);

    internal override bool TryReadAhead(TensorInfo tensor, long offset, Span<byte> buffer) =>
        _file.TryReadAhead(tensor, offset, buffer);

    private protected override TensorInfo? Lookup(string name) => _file.Find(name);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        _file.Dispose();
        base.Dispose(disposing);
    }
}
