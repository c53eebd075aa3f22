using System.CommandLine;
using FedICU.Cli.Json;
using FedICU.Gpu;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu devices</c>: lists the devices that can compute, and why one is not used.</summary>
internal sealed class DevicesCommand : FedIcuCommand
{
    private readonly Option<bool> _json = Flags.Json();

    public DevicesCommand(Terminal terminal)
        : base(
            "devices", "Lists the GPUs that drivers report, checks each against the reference, and says why one is not used.", terminal) =>
        Add(_json);

    public override IReadOnlyList<string> Examples => ["fedicu devices"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken) =>
        Task.Run(() => Run(line), cancellationToken);

    private int Run(ParseResult line)
    {
        if (!ManagedTool.IsThis)
            throw new ManagedToolNeededException("'fedicu devices'");
        IReadOnlyList<GpuDevice> devices = GpuDevices.List();
        if (line.GetValue(_json))
        {
            Terminal.Json(
                new DeviceListing([.. devices.Select(Describe)], Environment.ProcessorCount), CliJson.Default.DeviceListing);
            return ExitCode.Done;
        }

        var table = new ResultTable("backend", ">number", "device", ">memory", "driver", "");
        foreach (GpuDevice device in devices)
        {
            table.Add(
                Backend(device), Text.Number(device.Number), device.Name, Text.Bytes(device.MemoryBytes),
                device.Driver,
                device.Refusal is null ? "passes its check" : $"refused: {device.Refusal}");
        }

        table.Add("simd", "", $"{Environment.ProcessorCount} CPUs", "", "", "always available");
        Terminal.Table(table);
        if (devices.Count == 0)
            Terminal.Line("No GPU was found: neither NVIDIA's driver nor an OpenCL driver reports one that ILGPU can program.");
        return ExitCode.Done;
    }

    private static string Backend(GpuDevice device) => device.Kind == GpuKind.Cuda ? "cuda" : "opencl";

    private static ListedDevice Describe(GpuDevice device) =>
        new(Backend(device), device.Number, device.Name, device.MemoryBytes, device.Driver, device.Refusal);
}
