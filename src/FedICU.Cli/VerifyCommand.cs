using System.CommandLine;
using FedICU.Compute;
using FedICU.Gpu;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu verify</c>: checks that this machine's backends compute correctly.</summary>
internal sealed class VerifyCommand : FedIcuCommand
{
    private readonly Option<string?> _backend = Flags.Optional(
        "--backend", "BACKEND",
        $"{string.Join(", ", ComputeBackends.Names)}. Default: the CPU's backends and, if there is a GPU, its backend.");

    public VerifyCommand(Terminal terminal)
        : base("verify", "Compares each backend with the float64 reference on random data; exit code 1 if one fails.", terminal) =>
        Add(_backend);

    public override IReadOnlyList<string> Examples => ["fedicu verify", "fedicu verify --backend cuda"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken) =>
        Task.Run(() => Run(line, cancellationToken), cancellationToken);

    private int Run(ParseResult line, CancellationToken cancellationToken)
    {
        if (!ManagedTool.IsThis)
            throw new ManagedToolNeededException("'fedicu verify'");
        // a device runs every verb itself, even for little data, and no other backend replaces it
        var options = new GpuOptions { LeastBytes = 0, Fallback = false, Warning = Terminal.Warn };
        List<IComputeBackend> backends = line.GetValue(_backend) is { } name
            ? [Flags.ReadBackend(name, options)]
            : [new SimdBackend(), new ReferenceBackend()];
        if (backends.Count > 1 && ComputeBackends.Best(options) is IDisposable and IComputeBackend gpu)
            backends.Add(gpu);
        else if (backends.Count > 1 && Environment.GetEnvironmentVariable(Flags.RequireGpu) == "1")
            throw new RefusedException($"{Flags.RequireGpu}=1, and no GPU was found that passes its check.");
        try
        {
            bool passed = Verify(backends, Terminal, cancellationToken);
            if (backends.Exists(backend => backend.Name == "cuda"))
                passed &= VerifyLongTensor();
            return passed ? ExitCode.Done : ExitCode.Refused;
        }
        finally
        {
            backends.ForEach(backend => (backend as IDisposable)?.Dispose());
        }
    }

    private bool VerifyLongTensor()
    {
        if (!GpuBackend.TryCreate(GpuKind.Cuda, null, out GpuBackend? device, out string? reason))
            throw new RefusedException(reason);
        using (device)
        {
            bool? passed = device.VerifyLongTensor(out string? finding);
            if (passed is null)
                Terminal.Warn(finding!);
            else
                Terminal.Verdict($"tensors of more than 2^31 elements: {(passed.Value ? "pass" : $"FAIL: {finding}")}", passed.Value);
            return passed ?? true;
        }
    }

    /// <summary>Verifies the backends and shows a table for each.</summary>
    public static bool Verify(IReadOnlyList<IComputeBackend> backends, Terminal terminal, CancellationToken cancellationToken)
    {
        bool passed = true;
        foreach (IComputeBackend backend in backends)
        {
            VerificationResult result = BackendVerification.Run(backend, cancellationToken: cancellationToken);
            var table = new ResultTable("backend", "verb", "type", ">elements", ">worst error / allowed", "");
            foreach (VerificationRow row in result.Rows)
            {
                table.Add(
                    result.Backend, row.Verb, row.DType.SafetensorsName, Text.Count(row.Elements), Text.Number(row.WorstError),
                    row.Passed ? "pass" : "FAIL");
            }

            terminal.Table(table);
            terminal.Verdict($"backend {result.Backend}: {(result.Passed ? "pass" : "FAIL")}", result.Passed);
            passed &= result.Passed;
        }

        return passed;
    }
}
