using System.CommandLine;
using FedICU.Compute;
using FedICU.Gpu;

namespace FedICU.Cli;

/// <summary><c>fedicu verify</c>: whether this machine computes as it should.</summary>
internal sealed class VerifyCommand : FedIcuCommand
{
    private readonly Option<string?> _backend = Flags.Optional("--backend", "BACKEND", $"{string.Join(", ", ComputeBackends.Names)}. Default: the processor's and, where there is one, the GPU's.");

    public VerifyCommand(Terminal terminal) : base("verify", "Runs each backend against the float64 reference on random data; exit code 1 where one fails.", terminal) =>
        Add(_backend);

    public override IReadOnlyList<string> Examples => ["fedicu verify", "fedicu verify --backend cuda"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken) => Task.Run(() => Run(line, cancellationToken), cancellationToken);

    private int Run(ParseResult line, CancellationToken cancellationToken)
    {
        // a device is asked for every verb, and nothing stands in for it
        var options = new GpuOptions { LeastBytes = 0, Fallback = false, Warning = Terminal.Warn };
        List<IComputeBackend> backends = line.GetValue(_backend) is { } name ? [Flags.ReadBackend(name, options)] : [new SimdBackend(), new ReferenceBackend()];
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
            bool? right = device.VerifyLongTensor(out string? said);
            if (right is null)
                Terminal.Warn(said!);
            else
                Terminal.Verdict($"tensors of more than 2^31 elements: {(right.Value ? "pass" : $"FAIL: {said}")}", right.Value);
            return right ?? true;
        }
    }

    /// <summary>Verifies the backends and shows each one's table.</summary>
    public static bool Verify(IReadOnlyList<IComputeBackend> backends, Terminal terminal, CancellationToken cancellationToken)
    {
        bool passed = true;
        foreach (IComputeBackend backend in backends)
        {
            VerificationResult result = BackendVerification.Run(backend, cancellationToken: cancellationToken);
            var table = new ResultTable("backend", "verb", "type", ">elements", ">worst error / allowed", "");
            foreach (VerificationRow row in result.Rows)
                table.Add(result.Backend, row.Verb, row.DType.SafetensorsName, Text.Count(row.Elements), Text.Number(row.WorstError), row.Passed ? "pass" : "FAIL");
            terminal.Table(table);
            terminal.Verdict($"backend {result.Backend}: {(result.Passed ? "pass" : "FAIL")}", result.Passed);
            passed &= result.Passed;
        }

        return passed;
    }
}
