using System.CommandLine;
using FedICU.Gpu;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu devices</c>: lists the devices that can compute, and why one is not used.</summary>
internal sealed class DevicesCommand(Terminal terminal) : FedIcuCommand(
    "devices", "Lists the GPUs that drivers report, checks each against the reference, and says why one is not used.", terminal)
{
    public override IReadOnlyList<string> Examples => ["fedicu devices"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken) => Task.Run(Run, cancellationToken);

    private int Run()
    {
        if (!ManagedTool.IsThis)
            throw new ManagedToolNeededException("'fedicu devices'");
        IReadOnlyList<GpuDevice> devices = GpuDevices.List();
        var table = new ResultTable("backend", ">number", "device", ">memory", "driver", "");
        foreach (GpuDevice device in devices)
        {
            table.Add(
                device.Kind == GpuKind.Cuda ? "cuda" : "opencl", Text.Number(device.Number), device.Name, Text.Bytes(device.MemoryBytes),
                device.Driver,
                device.Refusal is null ? "passes its check" : $"refused: {device.Refusal}");
        }

        table.Add("simd", "", $"{Environment.ProcessorCount} CPUs", "", "", "always available");
        Terminal.Table(table);
        if (devices.Count == 0)
            Terminal.Line("No GPU was found: neither NVIDIA's driver nor an OpenCL driver reports one that ILGPU can program.");
        return ExitCode.Done;
    }
}
