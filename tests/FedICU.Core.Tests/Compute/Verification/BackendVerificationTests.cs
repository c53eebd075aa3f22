using FedICU.Compute;

namespace FedICU.Tests.Compute;

/// <summary>
/// Tests the library's verification: correct backends pass, and every faulty verb is found and named.
/// </summary>
[Parallelizable(ParallelScope.Self)]
public sealed class BackendVerificationTests
{
    [Test]
    public void ABackendWithoutClientVerbsIsVerifiedByItsServerVerbs()
    {
        var backend = new CountingBackend(ReferenceBackend.Instance, new RoundWork(ReferenceBackend.Instance));
        VerificationResult result = BackendVerification.Run(backend, quick: true);
        Assert.That(result.Passed);
        IEnumerable<string> verbs = typeof(IComputeBackend).GetMethods()
            .Where(method => method.IsAbstract && !method.IsSpecialName).Select(method => method.Name);
        Assert.That(result.Rows.Select(row => row.Verb).Distinct(), Is.EquivalentTo(verbs));
    }

    [Test]
    public void EveryVerbAndTypeHasARow()
    {
        VerificationResult result = BackendVerification.Run(new ReferenceBackend());
        IEnumerable<string> verbs = typeof(IComputeBackend).GetMethods().Concat(typeof(IClientBackend).GetMethods())
            .Where(method => method.IsAbstract && !method.IsSpecialName).Select(method => method.Name);
        Assert.That(result.Rows.Select(row => row.Verb).Distinct(), Is.EquivalentTo(verbs));
        Assert.That(result.Rows, Has.Count.EqualTo(14 * 4).And.All.Property(nameof(VerificationRow.Passed)).True);
        Assert.That(result.Rows.Select(row => row.WorstError), Is.All.Zero);
        Assert.That(result.Passed);
    }

    [Test]
    public void AWrongVerbIsFound(
        [Values("WeightedSum", "AddSquares", "AddGram", "AddProjections", "Combine", "MiddleMean", "AddPairDistances", "AddDistances",
            "CountNonFinite", "AddMoments", "SelectImportant", "Importance", "Pack", "AddProximal")] string verb)
    {
        VerificationResult result = BackendVerification.Run(new FaultyBackend(verb), quick: true, seed: 3);
        Assert.That(result.Rows.Where(row => !row.Passed).Select(row => (row.Verb, row.DType)),
            Is.EquivalentTo(new[] { DType.F64, DType.F32, DType.F16, DType.BF16 }.Select(dtype => (verb, dtype))));
    }

    [Test]
    public void AWriteBeyondTheOutputIsFound()
    {
        VerificationResult result = BackendVerification.Run(new FaultyBackend("Overrun"), quick: true);
        Assert.That(result.Rows.Where(row => row.Verb == "WeightedSum").Select(row => row.Passed), Is.All.False);
    }

    [Test]
    public void ACancelledVerificationEnds()
    {
        using var cancellation = new CancellationTokenSource();
        cancellation.Cancel();
        Assert.That(
            () => BackendVerification.Run(new ReferenceBackend(), cancellationToken: cancellation.Token),
            Throws.InstanceOf<OperationCanceledException>());
    }
}
