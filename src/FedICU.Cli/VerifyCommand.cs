using System.CommandLine;
using FedICU.Compute;

namespace FedICU.Cli;

/// <summary><c>fedicu verify</c>: whether this machine computes as it should.</summary>
internal sealed class VerifyCommand : FedIcuCommand
{
    private readonly Option<string?> _backend = Flags.Optional("--backend", "BACKEND", "auto, simd or reference. Default: each of them.");

    public VerifyCommand(Terminal terminal) : base("verify", "Runs each backend against the float64 reference on random data; exit code 1 where one fails.", terminal) =>
        Add(_backend);

    public override IReadOnlyList<string> Examples => ["fedicu verify", "fedicu verify --backend simd"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken) => Task.Run(() => Run(line, cancellationToken), cancellationToken);

    private int Run(ParseResult line, CancellationToken cancellationToken)
    {
        IComputeBackend[] backends = line.GetValue(_backend) is { } name ? [Flags.ReadBackend(name)] : [new SimdBackend(), new ReferenceBackend()];
        return Verify(backends, Terminal, cancellationToken) ? ExitCode.Done : ExitCode.Refused;
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
